"""Every score of an evaluation as a line of CSV, for a spreadsheet.

    label, cluster, task, metric, template, test, low, high, dev, examples, ...

`template` is a template's number, or names what sums them up: "mean" (with the
interval of the mean), "std", "best_dev", or "majority" (an accuracy, whatever
the metric; with its interval). Scores are percentages; an empty cell is a
number that does not exist.
"""

import csv
import io
import json
import math
from collections.abc import Iterator

from flan_tf.eval import results
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


def write(path: str, evaluations: comparison.Evaluations) -> None:
  """Writes a file, local or `gs://`, into a folder that is there."""
  import tensorflow as tf

  with tf.io.gfile.GFile(path, "w") as file:
    file.write(text(evaluations))


def text(evaluations: comparison.Evaluations) -> str:
  """The whole file: a line of names, then the scores."""
  out = io.StringIO()
  writer: csv.DictWriter = csv.DictWriter(out, COLUMNS, lineterminator="\n")
  writer.writeheader()
  for label, evaluation in zip(
    comparison.labels(evaluations), evaluations, strict=True
  ):
    settings = json.dumps({**evaluation.settings, "seed": evaluation.seed})
    for result in evaluation.tasks:
      for line in _lines(result):
        writer.writerow({"label": label, **line, "settings": settings})
  return out.getvalue()


def _lines(result: results.TaskResult) -> Iterator[dict[str, object]]:
  def line(template, metric, test, interval=None, dev=math.nan):
    low, high = interval or (math.nan, math.nan)
    numbers = {"test": test, "low": low, "high": high, "dev": dev}
    return {
      "cluster": result.cluster,
      "task": result.task,
      "metric": metric,
      "template": template,
      # Not rounded: they are those of results.json.
      **{k: "" if math.isnan(x) else repr(x) for k, x in numbers.items()},
      "examples": result.examples,
      "dev_examples": result.dev_examples,
    }

  for score in result.templates:
    yield line(
      score.template, result.metric, score.test, score.interval, score.dev
    )
    for name, value in score.others.items():
      yield line(score.template, name, value)
  yield line("mean", result.metric, result.mean, result.interval)
  for name in result.templates[0].others:
    values = [score.others.get(name, math.nan) for score in result.templates]
    yield line("mean", name, results.mean(values))
  yield line("std", result.metric, result.std)
  yield line("best_dev", result.metric, result.best_dev_test)
  if result.majority is not None:
    half = result.majority_interval or 0.0
    ends = result.majority - half, result.majority + half
    yield line("majority", "accuracy", result.majority, ends)
