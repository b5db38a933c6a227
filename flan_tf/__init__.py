"""FLAN, whole: instruction tuning of language models on TensorFlow.

Read it in the order in which a row of data travels:

  schema, registry, splits, config   what a task is, which tasks train, a run
  data/    rows -> fields -> prompts -> token ids -> mixture -> packed batches
  prepare/ downloads data sets and writes TFDS directories
  mesh/    devices, layouts, collectives, weights as slices, checkpoints
  model/   the language model with named dimensions, and decoding
  train/   Adafactor, schedules, the step and the loop around it
  eval/    option scores, generations, metrics, results, the report

Imports only point down this list; `tests/project/architecture_test.py` holds them to
it. The data sets themselves are values in the package `tasks`, which this
package never imports: a registry is passed in.
"""

from flan_tf.version import __version__ as __version__
