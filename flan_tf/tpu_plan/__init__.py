"""Plans for TPU slices that are not at hand: memory, time and correctness.

The package has two halves that run in two processes.

`compiler/` is the worker. It needs libtpu, jax and tensorflow-tpu, which live
in an environment of their own (.venv-tpu).

  abstract_devices   devices without values, so that programs can be traced
  programs           the train, score and decode programs of a run
  lower              turns the program of one core into HLO
  compile            compiles HLO for a slice: HBM, FLOPs, cycles
  hlo                reads cycles and wire bytes from compiled HLO
  virtual_cores      runs the HLO of a TPU program on CPU threads
  random_inputs      weights, batches and prompts for such runs
  execute            compares virtual cores with one device
  worker             the main function of the process

`planner/` answers questions about a run. It needs neither TensorFlow nor jax.

  compiler_process   starts the worker
  report_cache       keeps its reports
  flop_counts        model FLOPs; step_estimate: MFU, HFU, tokens per second
  tensor_sizes       bytes per core; cost_model: an estimate without a compiler
  search             finds meshes and layouts; ranking shows them
  suggestions        finds settings that fit, if those of the run do not
  scaling            plans model sizes on many slices; scaling_limit finds where
                     training stops scaling, scaling_table shows both
  summary            the plan of a run as JSON; summary_text: for a terminal

Both halves share the modules of this folder and import nothing of each other.

  request            CompileRequest and CompileReport
  chips              TPU generations and slices
  mesh_sizes         the mesh as plain numbers
  parameter_count    weights and their shapes
  reduced_run        a small run with the same structure, for execution
  source_digest      a digest of the source code that a report depends on
"""
