"""Writes evaluation results for TensorBoard: scalars, report and plot."""

import math

from flan_tf.eval import results
from flan_tf.report import comparison


def write(
  directory: str,
  compared: comparison.Comparison,
  markdown: str,
  png: bytes,
  step: int = 0,
) -> None:
  """Writes one TensorBoard run for each evaluation.

    <directory>/<label>  eval/<task>/<metric>, with _std and _best_dev
                         clusters/<name>

  Scores that are nan are left out. The report and the plot, which show all
  evaluations, are in the run of the last evaluation.

  Args:
    directory: the log directory, local or `gs://`.
    compared: the evaluations.
    markdown: the report.
    png: the plot.
    step: training step of the weights.
  """
  import tensorflow as tf

  last = compared.evaluations[-1]
  for label, evaluation in compared.labeled:
    # A label can contain characters that a folder name cannot.
    folder = tf.strings.regex_replace(label, r"[^\w.-]+", "_").numpy().decode()
    writer = tf.summary.create_file_writer(tf.io.gfile.join(directory, folder))
    with writer.as_default(step=step):
      for name, value in scalars(evaluation).items():
        tf.summary.scalar(name, value)
      if evaluation is last:
        tf.summary.text("report", markdown)
        tf.summary.image("templates", tf.io.decode_png(png, 3)[tf.newaxis])
    writer.close()


def scalars(evaluation: results.EvaluationResults) -> dict[str, float]:
  """Returns tag -> value for every score that exists."""
  values = {}
  for result in evaluation.tasks:
    tag = f"eval/{result.task}/{result.metric}"
    values[tag] = result.mean
    values[f"{tag}_std"] = result.std
    values[f"{tag}_best_dev"] = result.best_dev_test
  for cluster, mean in evaluation.clusters.items():
    values[f"clusters/{cluster}"] = mean
  return {tag: value for tag, value in values.items() if not math.isnan(value)}
