"""The report of an evaluation: Markdown, a page, a plot, a terminal table.

One result set stands alone; up to four stand side by side, with the difference
of the last two (base and tuned). What is missing is named: tasks without data,
rows left out, scores that are undefined, and comparisons that are not like with
like.
"""

import os
from collections.abc import Mapping, Sequence

from flan_tf.report import (
  comparison,
  page,
  plot,
  published,
  sentences,
  tables,
  tensorboard_summaries,
)
from flan_tf.report import differences as differences_lib

_PLOT_FILE = "templates.png"
_REPORT_FILE = "report.md"
_PAGE_FILE = "report.html"


def write(
  directory: str,
  evaluations: comparison.Evaluations,
  step: int = 0,
  tensorboard: bool = True,
  predictions: Sequence[str] = (),
  templates: Mapping[str, Sequence[str]] | None = None,
  differences: sentences.Differences | None = None,
) -> str:
  """Writes `report.md`, `report.html`, `templates.png` and for TensorBoard.

  With no task evaluated there is a report of what was not read, and no more.

  Args:
    directory: where to, local or `gs://`; made if it is not there.
    evaluations: one to four result sets, e.g. base first, then tuned.
    step: the training step of the weights, for TensorBoard.
    tensorboard: whether to write summaries, below `directory/tensorboard`.
    predictions: for each result set the folder of its files of predictions
      (`journal.folder_of`), "" if they were not kept; empty for none at all.
    templates: task -> the inputs of each of its templates, for the page.
    differences: task -> how sure its gain is; None to read that from the
      predictions.

  Returns:
    The path of the report.

  Raises:
    ValueError: not one to four result sets.
  """
  import tensorflow as tf

  comparison.check(evaluations)
  join = tf.io.gfile.join
  tf.io.gfile.makedirs(directory)
  path = join(directory, _REPORT_FILE)
  if differences is None:
    differences = differences_lib.read(evaluations, predictions)
  shown = page.html(evaluations, predictions, templates, differences)
  _write(join(directory, _PAGE_FILE), shown)
  if not comparison.rows(evaluations):
    _write(path, markdown(evaluations))
    return path
  png = plot.templates_png(evaluations)
  _write(join(directory, _PLOT_FILE), png)
  _write(path, markdown(evaluations, _PLOT_FILE, differences))
  if tensorboard:
    folder = join(directory, "tensorboard")
    shown = markdown(evaluations, differences=differences)
    tensorboard_summaries.write(folder, evaluations, shown, png, step)
  return path


def markdown(
  evaluations: comparison.Evaluations,
  plot_file: str = "",
  differences: sentences.Differences | None = None,
) -> str:
  """The report as GitHub-flavoured Markdown.

  Args:
    evaluations: one to four result sets, e.g. base first, then tuned.
    plot_file: the plot's address as seen from the report; empty for none.
    differences: task -> how sure its gain is, where that is known.

  Raises:
    ValueError: not one to four result sets.
  """
  import jinja2

  comparison.check(evaluations)
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # HTML's rules are not Markdown's: see tables.escape
  )
  text = environment.get_template("report.md.j2").render(
    plot_file=plot_file,
    differences=differences or {},
    paired_table=differences_lib.table,
    evaluations=evaluations,
    labels=comparison.labels(evaluations),
    compare=comparison,
    published=published,
    sentences=sentences,
    tables=tables,
    table=tables.to_markdown,
    escape=tables.escape,
  )
  return text.rstrip() + "\n"


def text(evaluations: comparison.Evaluations) -> str:
  """The main table for a terminal, and below it what is missing."""
  comparison.check(evaluations)
  lines = [sentences.title(evaluations)]
  if comparison.rows(evaluations):
    lines += ["", tables.to_text(tables.tasks(evaluations, brief=True))]
    lines += [f"* {line}" for line in sentences.undefined(evaluations)]
    lines += ["", tables.to_text(tables.clusters(evaluations))]
    lines += ["", sentences.verdict(evaluations)]
  not_read = tables.not_read(evaluations)[1:]
  missing = [f"not read: {task}: {why}" for task, why in not_read]
  if not_held_out := sentences.not_held_out(evaluations):
    missing.append(f"not all held out: {not_held_out}")
  if about_start := sentences.tuned_start(evaluations):
    missing.append(f"an already instruction-tuned start: {about_start}")
  missing += [
    f"not like with like: {line}"
    for line in comparison.differences(evaluations)
  ]
  return "\n".join([*lines, *([""] if missing else []), *missing]) + "\n"


def _write(path: str, content: str | bytes) -> None:
  import tensorflow as tf

  with tf.io.gfile.GFile(path, "w" if isinstance(content, str) else "wb") as f:
    f.write(content)
