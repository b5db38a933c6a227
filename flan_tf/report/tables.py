"""The tables of a report: lists of rows of texts, the first row the heads.

Built here without markup, then written as Markdown or for the terminal.
"""

import math
import re

from flan_tf.eval import results
from flan_tf.report import compare, published

Table = list[list[str]]

ABSENT = "–"
UNDEFINED = "undef."


def to_markdown(table: Table) -> str:
  """A GitHub-flavoured Markdown table; columns of numbers to the right.

  Blanks between numbers do not break: a wide table scrolls instead.
  """
  to_right = _to_the_right(table)
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
  right = _to_the_right(table)
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


def models(evaluations: compare.Evaluations) -> Table:
  """Which weights, on how much."""
  table = [["model", "checkpoint", "tasks", "seed", "settings"]]
  for label, e in zip(compare.labels(evaluations), evaluations, strict=True):
    settings = ", ".join(f"{key}={value}" for key, value in e.settings.items())
    table.append(
      [
        label,
        e.checkpoint,
        str(len(e.tasks)),
        str(e.seed),
        settings or ABSENT,
      ]
    )
  return table


def clusters(evaluations: compare.Evaluations) -> Table:
  """Cluster means."""
  names = dict.fromkeys(n for e in evaluations for n in e.clusters)
  heads = ["cluster", "tasks", *compare.labels(evaluations)]
  table = [heads + (["diff."] if len(evaluations) == 2 else [])]
  for name in names:
    tasks = {r.task for e in evaluations for r in e.tasks if r.cluster == name}
    means = [e.clusters.get(name) for e in evaluations]
    line = [name.replace("_", " "), str(len(tasks)), *map(number, means)]
    if len(evaluations) == 2:
      # A mean of other tasks is no comparison.
      same = [
        {r.task for r in e.tasks if r.cluster == name} == tasks
        for e in evaluations
      ]
      line.append(_difference(*means) if all(same) else ABSENT)
    table.append(line)
  return table


def tasks(evaluations: compare.Evaluations, brief: bool = False) -> Table:
  """The main table: a row a task.

  Args:
    evaluations: one or two result sets.
    brief: without best dev and published averages, for a terminal.
  """
  labels = compare.labels(evaluations)
  two = len(labels) == 2
  heads = ["task", "metric", *labels, *(["diff."] if two else [])]
  if not brief:
    heads.append("best dev")
  heads += ["majority", "rows", *([] if brief else ["paper"])]
  table = [heads]
  for row in compare.rows(evaluations):
    result = compare.any_of(row)
    metrics = dict.fromkeys(r.metric for r in row if r is not None)
    line = [result.task, " / ".join(metrics), *map(mean_and_std, row)]
    if two:
      first, second = row
      if first and second and first.metric == second.metric:
        line.append(_difference(first.mean, second.mean))
      else:
        line.append(ABSENT)
    if not brief:
      line.append(" → ".join(map(_best_dev, row)))
    line += [_majority(result), f"{result.examples:,}"]
    if not brief:
      line.append(_published(result))
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
          number(by_index.get(index))
          + ("★" if index == result.best_dev_template else "")
          for index in indices
        ),
      ]
    )
  return table


def others(evaluations: compare.Evaluations) -> Table:
  """Means over templates of the metrics that are not the headline."""
  table = [["task", "metric", *compare.labels(evaluations)]]
  for row in compare.rows(evaluations):
    names = dict.fromkeys(
      name for r in row if r for score in r.templates for name in score.others
    )
    for name in names:
      table.append(
        [
          compare.any_of(row).task,
          name,
          *(_other_mean(r, name) for r in row),
        ]
      )
  return table


def rows(evaluations: compare.Evaluations) -> Table:
  """Where rows came from, which were left out and why; prompts too long."""
  table = [["task", "test rows", "from", "dev rows", "left out", "cut prompts"]]
  for row in compare.rows(evaluations):
    result = compare.any_of(row)
    left_out = "; ".join(
      f"{reason}: {count:,}" for reason, count in result.left_out.items()
    )
    table.append(
      [
        result.task,
        f"{result.examples:,}",
        result.test_rows_from or ABSENT,
        f"{result.dev_examples:,}",
        left_out or "none",
        f"{result.trimmed:,}",
      ]
    )
  return table


def not_read(evaluations: compare.Evaluations) -> Table:
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
        compare.labels(evaluations), reasons, strict=True
      )
      if reason is not None
    )
  return table


def number(value: float | None) -> str:
  """One decimal; "undef." for nan and a dash for None."""
  if value is None:
    return ABSENT
  return UNDEFINED if math.isnan(value) else f"{value:.1f}"


def mean_and_std(result: results.TaskResult | None) -> str:
  """`54.3 (2.1)`; starred where some templates have no value."""
  if result is None or math.isnan(result.mean):
    return number(result and result.mean)
  star = "*" if result.undefined else ""
  return f"{result.mean:.1f} ({result.std:.1f}){star}"


def _difference(first: float | None, second: float | None) -> str:
  if first is None or second is None or math.isnan(second - first):
    return ABSENT
  return f"{second - first:+.1f}"


def _best_dev(result: results.TaskResult | None) -> str:
  if result is None or result.best_dev_template is None:
    return ABSENT
  return number(result.best_dev_test)


def _majority(result: results.TaskResult) -> str:
  if result.majority is None:
    return ABSENT
  return f"{result.majority:.1f} ± {result.majority_interval:.1f}"


def _published(result: results.TaskResult) -> str:
  cell = published.PUBLISHED.get(result.task)
  if cell is None:
    return ABSENT
  return f"{cell.average:.1f}{'' if cell.metric == result.metric else '†'}"


def _other_mean(result: results.TaskResult | None, name: str) -> str:
  if result is None:
    return ABSENT
  values = [score.others.get(name, math.nan) for score in result.templates]
  return number(results.mean(values))


def escape(cell: str) -> str:
  """Keeps a text inside its cell and its marks from being read as markup.

  An underscore inside a word is no markup, and names stay readable.
  """
  cell = " ".join(cell.split())
  return re.sub(r"([\\|`*<>]|\b_|_\b|\](?=\())", r"\\\1", cell)


def _unbroken(cell: str) -> str:
  return re.sub(r" (?=[(±→\d–])", "\N{NO-BREAK SPACE}", cell)


def _to_the_right(table: Table) -> list[bool]:
  """Which columns hold numbers: cells that begin with one, or nothing."""
  columns = list(zip(*table[1:], strict=True)) or [()] * len(table[0])
  return [
    bool(column)
    and all(re.match(rf"[+-]?\d|{ABSENT}|{UNDEFINED}", c) for c in column)
    and any(re.match(r"[+-]?\d", cell) for cell in column)
    for column in columns
  ]
