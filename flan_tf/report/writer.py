"""Writes the files of a report: Markdown, HTML page, plot, TensorBoard."""

from flan_tf import safe_files
from flan_tf.report import (
  comparison,
  markdown,
  page,
  plot,
  tensorboard_summaries,
)

_PLOT_FILE = "templates.png"
_MARKDOWN_FILE = "report.md"
_PAGE_FILE = "report.html"
_TENSORBOARD_FOLDER = "tensorboard"


def write(
  directory: str,
  compared: comparison.Comparison,
  step: int = 0,
  tensorboard: bool = True,
) -> str:
  """Writes `report.md`, `report.html`, `templates.png` and TensorBoard events.

  If no task was evaluated, the report says which tasks could not be, and there
  are no plot and no events.

  Args:
    directory: local or `gs://`; created if it does not exist.
    compared: the evaluations.
    step: training step of the weights, for TensorBoard.
    tensorboard: whether to write events to `directory/tensorboard`.

  Returns:
    The path of `report.md`.
  """
  import tensorflow as tf

  join = tf.io.gfile.join
  tf.io.gfile.makedirs(directory)
  path = join(directory, _MARKDOWN_FILE)
  safe_files.write_text(join(directory, _PAGE_FILE), page.html(compared))
  if not compared.tasks:
    safe_files.write_text(path, markdown.markdown(compared))
    return path
  png = plot.templates_png(compared)
  safe_files.write_bytes(join(directory, _PLOT_FILE), png)
  safe_files.write_text(path, markdown.markdown(compared, _PLOT_FILE))
  if tensorboard:
    tensorboard_summaries.write(
      join(directory, _TENSORBOARD_FOLDER),
      compared,
      markdown=markdown.markdown(compared),
      png=png,
      step=step,
    )
  return path
