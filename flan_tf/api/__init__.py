"""The Python interface of flan_tf, and the work of the binaries as functions.

`import flan_tf as flan` offers the public names and imports the modules below
when a name is used. The binaries of `launch` call these modules, too. Nothing
here prints: functions return values, and the binaries print them.

  loading        load, generate, score
  models         a loaded model
  task_table     tasks: the shipped tasks and the user's own
  task_prompts   prompts of a task, as a model reads them
  run_files      reads a RunConfig from a run file
  training_tasks the tasks that a run trains on
  training       train; previews of a training run
  evaluation_settings
                 the settings of an evaluation
  evaluation     evaluate; compares two evaluations
  report_files   the files of an evaluation
  conversion     convert
  contamination  overlap of an evaluation with a training corpus
  control        the positive control
  vocabularies   trains vocabularies
  cache          files that are made once on a machine
"""
