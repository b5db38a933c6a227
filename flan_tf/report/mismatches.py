"""Finds differences between evaluations that make their scores incomparable."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_tf.report import comparison
from flan_tf.report.task_comparison import TaskComparison


def find_mismatches(compared: comparison.Comparison) -> list[str]:
  """Returns a sentence, without period, for each difference.

  The evaluations are compared by what they held out, seed, settings, tasks,
  metrics, test rows and templates.
  """
  if not compared.has_pair:
    return []
  sentences = list(_setup_mismatches(compared))
  for task in compared.tasks:
    sentences.extend(_task_mismatches(compared, task))
  return sentences


def _setup_mismatches(compared: comparison.Comparison) -> Iterator[str]:
  evaluations = compared.evaluations
  held_out = [evaluation.held_out or "nothing" for evaluation in evaluations]
  if not _all_equal(held_out):
    yield f"The held-out tasks differ: {_by_label(compared, held_out)}"
  seeds = [evaluation.seed for evaluation in evaluations]
  if not _all_equal(seeds):
    yield f"The seed differs: {_by_label(compared, seeds)}"
  settings = [evaluation.settings for evaluation in evaluations]
  for name in dict.fromkeys(name for values in settings for name in values):
    values = [_format_setting(one, name) for one in settings]
    if not _all_equal(values):
      yield f"The setting {name} differs: {_by_label(compared, values)}"


def _format_setting(settings: Mapping[str, Any], name: str) -> str:
  if name not in settings:
    return "not set"
  value = settings[name]
  return value if value and isinstance(value, str) else json.dumps(value)


def _task_mismatches(
  compared: comparison.Comparison, task: TaskComparison
) -> Iterator[str]:
  pairs = zip(compared.labeled, task.results, strict=True)
  for (label, evaluation), result in pairs:
    if result is None:
      reason = evaluation.not_read.get(task.name)
      suffix = f" ({reason})" if reason else ""
      yield f"{label} has no result for {task.name}{suffix}"
  if None in task.results:
    return
  values_of = {
    "metrics": [result.metric for result in task.existing],
    "numbers of test rows": [result.examples for result in task.existing],
    "test rows": [result.test_rows_from for result in task.existing],
  }
  # Templates of different wordings differ, but the setting says so already.
  if all(compared.shares_last_wording):
    values_of["templates"] = [
      [score.template for score in result.templates] for result in task.existing
    ]
  for name, values in values_of.items():
    if not _all_equal(values):
      yield f"{task.name} has different {name}: {_by_label(compared, values)}"


def _all_equal(values: Sequence[Any]) -> bool:
  return all(value == values[0] for value in values)


def _by_label(compared: comparison.Comparison, values: Sequence[Any]) -> str:
  """Formats one value for each evaluation: `base 0, tuned 5`."""
  pairs = zip(compared.labels, values, strict=True)
  return ", ".join(f"{label} {value}" for label, value in pairs)
