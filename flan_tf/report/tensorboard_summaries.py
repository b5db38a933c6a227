"""Evaluation results for TensorBoard: scalars, the report and its plot."""

from flan_tf.eval import results
from flan_tf.report import comparison


def write(
  directory: str,
  evaluations: comparison.Evaluations,
  markdown: str,
  png: bytes,
  step: int = 0,
) -> None:
  """Writes one run per result set below `directory`.

  Scalars without a value (nan) are left out. The report and the plot, which
  show all result sets, stand in the last one's run.

    <directory>/<label>  eval/<task>/<metric>, its std and best-dev score;
                         clusters/<name>

  Args:
    directory: the logdir, local or `gs://`.
    evaluations: one to four result sets.
    markdown: the report.
    png: the plot.
    step: the training step of the weights.
  """
  import tensorflow as tf

  for index, (label, evaluation) in enumerate(
    zip(comparison.labels(evaluations), evaluations, strict=True)
  ):
    # One run a label; a label may be any text, a folder's name may not.
    folder = tf.strings.regex_replace(label, r"[^\w.-]+", "_").numpy().decode()
    writer = tf.summary.create_file_writer(tf.io.gfile.join(directory, folder))
    with writer.as_default(step=step):
      for name, value in scalars(evaluation).items():
        tf.summary.scalar(name, value)
      if index == len(evaluations) - 1:
        tf.summary.text("report", markdown)
        tf.summary.image("templates", tf.io.decode_png(png, 3)[tf.newaxis])
    writer.close()


def scalars(evaluation: results.EvaluationResults) -> dict[str, float]:
  """Tag -> value of every number that exists."""
  values = {}
  for result in evaluation.tasks:
    tag = f"eval/{result.task}/{result.metric}"
    values[tag] = result.mean
    values[f"{tag}_std"] = result.std
    values[f"{tag}_best_dev"] = result.best_dev_test
  for cluster, mean in evaluation.clusters.items():
    values[f"clusters/{cluster}"] = mean
  return {tag: value for tag, value in values.items() if value == value}
