"""The tables of a report: lists of rows of texts, the first row the heads.

Built here without markup, then written as Markdown or for the terminal.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from flan_tf.eval import results
from flan_tf.report import cells, comparison, paper_averages, published

Table = list[list[str]]


def to_markdown(table: Table) -> str:
  """A GitHub-flavoured Markdown table; columns of numbers to the right.

  Blanks between numbers do not break: a wide table scrolls instead.
  """
  to_right = to_the_right(table)
  heads, *body = [
    [
      _unbroken(escape(cell)) if right else escape(cell)
      for cell, right in zip(row, to_right, strict=True)
    ]
    for row in table
  ]
  marks = ["---:" if right else "---" for right in to_right]
  lines = (heads, marks, *body)
  return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_text(table: Table) -> str:
  """The same with aligned columns, for a terminal."""
  right = to_the_right(table)
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  lines = [
    "  ".join(
      cell.rjust(width) if to_right else cell.ljust(width)
      for cell, width, to_right in zip(row, widths, right, strict=True)
    ).rstrip()
    for row in table
  ]
  lines.insert(1, "  ".join("-" * width for width in widths))
  return "\n".join(lines)


def models(evaluations: comparison.Evaluations) -> Table:
  """Which weights, on how much."""
  table = [["model", "checkpoint", "tasks", "seed", "settings"]]
  for label, e in zip(comparison.labels(evaluations), evaluations, strict=True):
    settings = ", ".join(f"{key}={value}" for key, value in e.settings.items())
    table.append(
      [
        label,
        e.checkpoint,
        str(len(e.tasks)),
        str(e.seed),
        settings or cells.ABSENT,
      ]
    )
  return table


def weights(evaluations: comparison.Evaluations) -> Table:
  """Which weights, on how much, and the seed of the rows that were drawn."""
  table = [["model", "checkpoint", "tasks", "held out", "seed"]]
  for label, e in zip(comparison.labels(evaluations), evaluations, strict=True):
    held_out = e.held_out or cells.ABSENT
    line = [label, e.checkpoint, str(len(e.tasks)), held_out, str(e.seed)]
    table.append(line)
  return table


def facts(evaluations: comparison.Evaluations, what: str) -> Table:
  """Of each model what its results hold as `settings`, `run` or `time`."""
  found = [_flat(getattr(e, what)) for e in evaluations]
  table = [["", *comparison.labels(evaluations)]]
  for name in dict.fromkeys(name for one in found for name in one):
    table.append([name, *(one.get(name, cells.ABSENT) for one in found)])
  return table


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
  """Name -> value, both as texts; values inside of values on their own."""
  flat = {}
  for key, value in values.items():
    name = before + key.replace("_", " ")
    if isinstance(value, Mapping):
      flat |= _flat(value, f"{name}: ")
    else:
      text = value if isinstance(value, str) else json.dumps(value)
      flat[name] = text or cells.ABSENT
  return flat


def clusters(evaluations: comparison.Evaluations) -> Table:
  """Cluster means over all tasks that were evaluated."""
  names = dict.fromkeys(n for e in evaluations for n in e.clusters)
  heads = ["cluster", "tasks", *comparison.labels(evaluations)]
  several = len(evaluations) > 1
  table = [heads + ["diff."] * several]
  for name in names:
    tasks = {r.task for e in evaluations for r in e.tasks if r.cluster == name}
    means = [cells.number(e.clusters.get(name)) for e in evaluations]
    line = [cells.cluster(name), str(len(tasks)), *means]
    if several:
      line.append(cells.difference(comparison.cluster_gain(evaluations, name)))
    table.append(line)
  return table


def named_averages(evaluations: comparison.Evaluations) -> Table:
  """Means over the tasks of the paper's averages, ours beside the paper's."""
  heads = ["average", *comparison.labels(evaluations), *published.SYSTEMS]
  table = [heads]
  for average in paper_averages.of_any(evaluations):
    found = [paper_averages.ours(e, average) for e in evaluations]
    if all(ours.value is None for ours in found):
      continue
    table.append(
      [
        average.name,
        *(paper_averages.written(ours) for ours in found),
        *(cells.number(average.printed.get(x)) for x in published.SYSTEMS),
      ]
    )
  return table


def tasks(evaluations: comparison.Evaluations, brief: bool = False) -> Table:
  """The main table: a row a task.

  Args:
    evaluations: one to four result sets.
    brief: without intervals, best dev and published means, for a terminal.
  """
  labels = comparison.labels(evaluations)
  several = len(labels) > 1
  with_intervals = not brief and any(
    result.interval for e in evaluations for result in e.tasks
  )
  heads = ["task", "metric", *labels, *["diff."] * several]
  heads += [] if brief else ["best dev"]
  heads += ["95 %"] * with_intervals
  heads += ["majority", "rows", *([] if brief else ["paper"])]
  table = [heads]
  for row in comparison.rows(evaluations):
    result = comparison.any_of(row)
    metrics = dict.fromkeys(r.metric for r in row if r is not None)
    line = [result.task, " / ".join(metrics), *map(cells.mean_and_std, row)]
    if several:
      line.append(cells.difference(comparison.gain(row)))
    if not brief:
      line.append(" → ".join(map(cells.best_dev, row)))
    if with_intervals:
      line.append(" → ".join(cells.interval(r and r.interval) for r in row))
    line += [cells.majority(result), f"{result.examples:,}"]
    if not brief:
      line.append(cells.of_paper(result, published.FLAN_ZERO))
    table.append(line)
  return table


def of_paper(evaluations: comparison.Evaluations) -> Table:
  """What the paper's systems reached on the tasks of the report.

  A best-dev score stands in brackets behind the mean.
  """
  table = [["task", *published.SYSTEMS, "metric", "where", "note"]]
  for row in comparison.rows(evaluations):
    result = comparison.any_of(row)
    found = published.PUBLISHED.get(result.task)
    if found is None:
      continue
    line = [result.task]
    for system in published.SYSTEMS:
      best = cells.of_paper(result, system, best=True)
      behind = "" if best == cells.ABSENT else f" [{best}]"
      line.append(cells.of_paper(result, system) + behind)
    line += [found.metric, found.source, found.note or cells.ABSENT]
    table.append(line)
  return table


def templates(evaluation: results.EvaluationResults, label: str) -> Table:
  """Every template's test score; the best on the dev rows has a star."""
  indices = sorted(
    {score.template for r in evaluation.tasks for score in r.templates}
  )
  table = [[label, *map(str, indices)]]
  for result in evaluation.tasks:
    by_index = {score.template: score.test for score in result.templates}
    table.append(
      [
        result.task,
        *(
          cells.number(by_index.get(index))
          + ("★" if index == result.best_dev_template else "")
          for index in indices
        ),
      ]
    )
  return table


def others(evaluations: comparison.Evaluations) -> Table:
  """Means over templates of the metrics that are not the headline."""
  table = [["task", "metric", *comparison.labels(evaluations)]]
  for row in comparison.rows(evaluations):
    names = dict.fromkeys(
      name for r in row if r for score in r.templates for name in score.others
    )
    for name in names:
      table.append(
        [
          comparison.any_of(row).task,
          name,
          *(_other_mean(r, name) for r in row),
        ]
      )
  return table


def rows(evaluations: comparison.Evaluations) -> Table:
  """Where rows came from, which were left out and why; prompts too long."""
  table = [["task", "test rows", "from", "dev rows", "left out", "cut prompts"]]
  for row in comparison.rows(evaluations):
    result = comparison.any_of(row)
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


def not_read(evaluations: comparison.Evaluations) -> Table:
  """Tasks without data, and why."""
  table = [["task", "why"]]
  names = dict.fromkeys(name for e in evaluations for name in e.not_read)
  for name in names:
    reasons = [e.not_read.get(name) for e in evaluations]
    if len(set(reasons)) == 1:
      table.append([name, str(reasons[0])])
      continue
    table.extend(
      [name, f"{reason} ({label} only)"]
      for label, reason in zip(
        comparison.labels(evaluations), reasons, strict=True
      )
      if reason is not None
    )
  return table


def _other_mean(result: results.TaskResult | None, name: str) -> str:
  if result is None:
    return cells.ABSENT
  values = [score.others.get(name, math.nan) for score in result.templates]
  return cells.number(results.mean(values))


def escape(cell: str) -> str:
  """Keeps a text inside its cell and its marks from being read as markup.

  An underscore inside a word is no markup, and names stay readable.
  """
  cell = " ".join(cell.split())
  return re.sub(r"([\\|`*<>]|\b_|_\b|\](?=\())", r"\\\1", cell)


def _unbroken(cell: str) -> str:
  return re.sub(r" (?=[(±→\d–+-]|to )", "\N{NO-BREAK SPACE}", cell)


def to_the_right(table: Table) -> list[bool]:
  """Which columns hold numbers: cells that begin with one, or nothing."""
  columns = list(zip(*table[1:], strict=True)) or [()] * len(table[0])
  return [
    bool(column)
    and all(
      re.match(rf"[+-]?\d|{cells.ABSENT}|{cells.UNDEFINED}", c) for c in column
    )
    and any(re.match(r"[+-]?\d", cell) for cell in column)
    for column in columns
  ]
