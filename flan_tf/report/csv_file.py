"""Writes every score of an evaluation to a CSV file, for a spreadsheet.

    label, cluster, task, metric, template, test, low, high, dev, examples, ...

`template` is the number of a template, or the name of a summary over templates:
"mean" (with the interval of the mean), "std", "best_dev", or "majority" (always
an accuracy, with its interval). Scores are percentages. An empty cell is a
number that does not exist. A text that a spreadsheet would take for a formula
begins with an apostrophe.
"""

import csv
import io
import json
import math
from collections.abc import Iterator

from flan_tf import safe_files
from flan_tf.eval import task_result
from flan_tf.report import comparison

COLUMNS = (
  "label",
  "cluster",
  "task",
  "metric",
  "template",
  "test",
  "low",
  "high",
  "dev",
  "examples",
  "dev_examples",
  "settings",
)
# A cell that begins with one of these is a formula, or may become one.
_FORMULA = ("=", "+", "-", "@", "\t", "\n")
_TEXTS = ("label", "cluster", "task", "metric", "template", "settings")


def write(path: str, compared: comparison.Comparison) -> None:
  """Writes a file, local or `gs://`, into an existing folder."""
  safe_files.write_text(path, text(compared))


def text(compared: comparison.Comparison) -> str:
  """Returns the content of the file: a line of column names, then scores."""
  out = io.StringIO()
  writer: csv.DictWriter = csv.DictWriter(out, COLUMNS, lineterminator="\n")
  writer.writeheader()
  for label, evaluation in compared.labeled:
    settings = json.dumps({**evaluation.settings, "seed": evaluation.seed})
    for result in evaluation.tasks:
      for line in _lines(result):
        cells = {"label": label, **line, "settings": settings}
        cells |= {name: as_text(str(cells[name])) for name in _TEXTS}
        writer.writerow(cells)
  return out.getvalue()


def as_text(cell: str) -> str:
  """Returns the text of a cell so that no spreadsheet runs it as a formula."""
  # Python writes a carriage return without quotes, so it would end the row.
  cell = cell.replace("\r", "\n")
  return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _lines(result: task_result.TaskResult) -> Iterator[dict[str, object]]:
  """Yields the lines of one task, without label and settings."""
  for score in result.templates:
    yield _line(
      result,
      score.template,
      result.metric,
      score.test,
      interval=score.interval,
      dev=score.dev,
    )
    for name, value in score.others.items():
      yield _line(result, score.template, name, value)
  yield _line(
    result, "mean", result.metric, result.mean, interval=result.interval
  )
  for name in result.templates[0].others:
    values = [score.others.get(name, math.nan) for score in result.templates]
    yield _line(result, "mean", name, task_result.mean_or_nan(values))
  yield _line(result, "std", result.metric, result.std)
  yield _line(result, "best_dev", result.metric, result.best_dev_test)
  if result.majority is not None:
    half = result.majority_interval or 0.0
    ends = result.majority - half, result.majority + half
    yield _line(result, "majority", "accuracy", result.majority, interval=ends)


def _line(
  result: task_result.TaskResult,
  template: int | str,
  metric: str,
  test: float,
  *,
  interval: tuple[float, float] | None = None,
  dev: float = math.nan,
) -> dict[str, object]:
  low, high = interval or (math.nan, math.nan)
  numbers = {"test": test, "low": low, "high": high, "dev": dev}
  return {
    "cluster": result.cluster,
    "task": result.task,
    "metric": metric,
    "template": template,
    # Not rounded: the same digits as in results.json.
    **{k: "" if math.isnan(x) else repr(x) for k, x in numbers.items()},
    "examples": result.examples,
    "dev_examples": result.dev_examples,
  }
