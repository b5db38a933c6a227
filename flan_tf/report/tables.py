"""Builds the tables of a report as lists of rows of texts.

They have no markup; `table_format` writes them as Markdown and for the
terminal, and the page's template as HTML.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from flan_tf.eval import results, task_result
from flan_tf.report import cells, comparison, paper_averages, published
from flan_tf.report.table_format import Table
from flan_tf.report.task_comparison import TaskComparison


def checkpoints_and_settings(compared: comparison.Comparison) -> Table:
  """Returns a row for each evaluation, with all settings in one cell."""
  table = [["model", "checkpoint", "tasks", "seed", "settings"]]
  for label, evaluation in compared.labeled:
    settings = ", ".join(
      f"{name}={value}" for name, value in evaluation.settings.items()
    )
    table.append(
      [
        label,
        evaluation.checkpoint,
        str(len(evaluation.tasks)),
        str(evaluation.seed),
        settings or cells.ABSENT,
      ]
    )
  return table


def checkpoints(compared: comparison.Comparison) -> Table:
  """Returns a row for each evaluation: weights, tasks, held out, seed."""
  table = [["model", "checkpoint", "tasks", "held out", "seed"]]
  for label, evaluation in compared.labeled:
    table.append(
      [
        label,
        evaluation.checkpoint,
        str(len(evaluation.tasks)),
        evaluation.held_out or cells.ABSENT,
        str(evaluation.seed),
      ]
    )
  return table


def settings(compared: comparison.Comparison) -> Table:
  """Returns a row for each setting, with a column for each evaluation."""
  return _values(compared, [e.settings for e in compared.evaluations])


def software_and_hardware(compared: comparison.Comparison) -> Table:
  """Returns a row for each value of `run`: packages, devices, ..."""
  return _values(compared, [e.run for e in compared.evaluations])


def durations(compared: comparison.Comparison) -> Table:
  """Returns a row for each value of `time`: seconds, speed, ..."""
  return _values(compared, [e.time for e in compared.evaluations])


def _values(
  compared: comparison.Comparison, by_evaluation: list[Mapping[str, Any]]
) -> Table:
  columns = [_flatten(values) for values in by_evaluation]
  table = [["", *compared.labels]]
  for name in dict.fromkeys(name for column in columns for name in column):
    table.append(
      [name, *(column.get(name, cells.ABSENT) for column in columns)]
    )
  return table


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
  """Returns name -> text; a nested value gets the name `outer: inner`."""
  flat = {}
  for key, value in values.items():
    name = prefix + key.replace("_", " ")
    if isinstance(value, Mapping):
      flat |= _flatten(value, f"{name}: ")
    else:
      text = value if isinstance(value, str) else json.dumps(value)
      flat[name] = text or cells.ABSENT
  return flat


def clusters(compared: comparison.Comparison) -> Table:
  """Returns a row for each cluster: the mean over its evaluated tasks."""
  headings = ["cluster", "tasks", *compared.labels]
  if compared.has_pair:
    headings.append("diff.")
  table = [headings]
  for cluster in compared.clusters:
    name, size = cells.cluster_title(cluster.name), str(len(cluster.tasks))
    row = [name, size, *map(cells.number, cluster.means)]
    if compared.has_pair:
      row.append(cells.difference(cluster.gain))
    table.append(row)
  return table


def averages(compared: comparison.Comparison) -> Table:
  """Returns a row for each average of the paper of which we have a mean."""
  table = [["average", *compared.labels, *published.SYSTEMS]]
  for average in compared.averages:
    if all(own.value is None for own in average.own):
      continue
    printed = average.named.printed
    table.append(
      [
        average.named.name,
        *map(paper_averages.format_average, average.own),
        *(cells.number(printed.get(system)) for system in published.SYSTEMS),
      ]
    )
  return table


def scores(compared: comparison.Comparison) -> Table:
  """Returns the main table: a row for each task."""
  has_intervals = any(
    r.interval for task in compared.tasks for r in task.existing
  )
  headings = _score_headings(compared) + ["best dev"]
  if has_intervals:
    headings.append("95 % interval")
  table = [headings + ["majority", "rows", "paper"]]
  for task in compared.tasks:
    row = _score_row(compared, task)
    row.append(" → ".join(map(cells.best_dev, task.results)))
    if has_intervals:
      intervals = [result and result.interval for result in task.results]
      row.append(" → ".join(map(cells.interval, intervals)))
    row += [cells.majority(task.first), f"{task.first.examples:,}"]
    row.append(cells.published_mean(task.first, published.FLAN_ZERO))
    table.append(row)
  return table


def brief_scores(compared: comparison.Comparison) -> Table:
  """Returns `scores` without interval, best dev and paper, for a terminal."""
  table = [_score_headings(compared) + ["majority", "rows"]]
  for task in compared.tasks:
    row = _score_row(compared, task)
    row += [cells.majority(task.first), f"{task.first.examples:,}"]
    table.append(row)
  return table


def _score_headings(compared: comparison.Comparison) -> list[str]:
  headings = ["task", "metric", *compared.labels]
  return headings + ["diff."] if compared.has_pair else headings


def _score_row(
  compared: comparison.Comparison, task: TaskComparison
) -> list[str]:
  metrics = dict.fromkeys(result.metric for result in task.existing)
  means = map(cells.mean_and_std, task.results)
  row = [task.name, " / ".join(metrics), *means]
  return row + [cells.difference(task.gain)] if compared.has_pair else row


def paired_differences(compared: comparison.Comparison) -> Table:
  """Returns a row for each task with a paired difference."""
  headings = ["task", "metric", "rows", "difference", "95 % interval"]
  table = [headings + ["won", "lost"]]
  for difference in compared.differences.values():
    counts = difference.won, difference.lost
    table.append(
      [
        difference.task,
        difference.metric,
        str(difference.rows),
        cells.difference(difference.value),
        cells.difference_interval(difference.interval),
        *(cells.ABSENT if n is None else str(n) for n in counts),
      ]
    )
  return table


def published_scores(compared: comparison.Comparison) -> Table:
  """Returns a row for each evaluated task that has published scores.

  A best-dev score follows its mean in brackets.
  """
  table = [["task", *published.SYSTEMS, "metric", "source", "note"]]
  for task in compared.tasks:
    known = task.published
    if known is None:
      continue
    row = [task.name]
    for system in published.SYSTEMS:
      text = cells.published_mean(task.first, system)
      best_dev = cells.published_best_dev(task.first, system)
      row.append(text if best_dev == cells.ABSENT else f"{text} [{best_dev}]")
    table.append([*row, known.metric, known.source, known.note or cells.ABSENT])
  return table


def template_scores(evaluation: results.EvaluationResults, label: str) -> Table:
  """Returns the test score of every template of one evaluation.

  A star marks the template with the best score on the dev rows.
  """
  numbers = sorted(
    {score.template for r in evaluation.tasks for score in r.templates}
  )
  table = [[label, *map(str, numbers)]]
  for result in evaluation.tasks:
    test_scores = {score.template: score.test for score in result.templates}
    row = [result.task]
    for number in numbers:
      star = "★" if number == result.best_dev_template else ""
      row.append(cells.number(test_scores.get(number)) + star)
    table.append(row)
  return table


def other_metrics(compared: comparison.Comparison) -> Table:
  """Returns means over templates of all metrics but the headline metric."""
  table = [["task", "metric", *compared.labels]]
  for task in compared.tasks:
    names = dict.fromkeys(
      name
      for result in task.existing
      for score in result.templates
      for name in score.others
    )
    for name in names:
      means = [_other_mean(result, name) for result in task.results]
      table.append([task.name, name, *means])
  return table


def _other_mean(result: task_result.TaskResult | None, name: str) -> str:
  if result is None:
    return cells.ABSENT
  values = [score.others.get(name, math.nan) for score in result.templates]
  return cells.number(task_result.mean_or_nan(values))


def rows(compared: comparison.Comparison) -> Table:
  """Returns for each task where its rows come from, and how many were used."""
  headings = ["task", "test rows", "source", "dev rows", "rows left out"]
  table = [headings + ["truncated prompts"]]
  for task in compared.tasks:
    result = task.first
    left_out = "; ".join(
      f"{reason}: {count:,}" for reason, count in result.left_out.items()
    )
    table.append(
      [
        result.task,
        f"{result.examples:,}",
        result.test_rows_from or cells.ABSENT,
        f"{result.dev_examples:,}",
        left_out or "none",
        f"{result.trimmed:,}",
      ]
    )
  return table


def not_evaluated(compared: comparison.Comparison) -> Table:
  """Returns the tasks that could not be evaluated, with the reason.

  A task can appear once for each evaluation, if the reasons differ.
  """
  table = [["task", "reason"]]
  for name in compared.not_evaluated:
    reasons = [e.not_read.get(name) for e in compared.evaluations]
    if len(set(reasons)) == 1:
      table.append([name, str(reasons[0])])
      continue
    table.extend(
      [name, f"{reason} ({label} only)"]
      for label, reason in zip(compared.labels, reasons, strict=True)
      if reason is not None
    )
  return table
