"""Result sets side by side: which results belong together, and which do not."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from flan_tf.eval import results

MOST = 4
Evaluations = Sequence[results.EvaluationResults]
# One result per result set, None where the set lacks the task.
Row = tuple[results.TaskResult | None, ...]
Item = TypeVar("Item")


def check(evaluations: Evaluations) -> None:
  """Raises ValueError unless there are one to four result sets."""
  if not 1 <= len(evaluations) <= MOST:
    raise ValueError(
      f"Expected one to {MOST} result sets, of which the last two are compared"
      f" (base, then tuned); got {len(evaluations)}."
    )


def rows(evaluations: Evaluations) -> list[Row]:
  """The results of each task, one row a task.

  Tasks of one cluster stay together; clusters and tasks come in the order in
  which they first appear.
  """
  cluster = {}
  for evaluation in evaluations:
    for result in evaluation.tasks:
      cluster.setdefault(result.task, result.cluster)
  clusters = list(dict.fromkeys(cluster.values()))
  order = sorted(cluster, key=lambda task: clusters.index(cluster[task]))
  return [tuple(e.get(task) for e in evaluations) for task in order]


def any_of(row: Row) -> results.TaskResult:
  """The first result of a row that is there."""
  return next(result for result in row if result is not None)


def labels(evaluations: Evaluations) -> tuple[str, ...]:
  """The labels; numbered where two result sets have the same one."""
  names = [evaluation.label for evaluation in evaluations]
  if len(set(names)) == len(names):
    return tuple(names)
  return tuple(f"{name} {i}" for i, name in enumerate(names, start=1))


def last_two(items: Sequence[Item]) -> tuple[Item, Item] | None:
  """What a difference is of: the last, and the one before it; None of one."""
  return (items[-2], items[-1]) if len(items) > 1 else None


def gain(row: Row) -> float | None:
  """The last mean less the one before; None where they cannot be compared."""
  first, second = last_two(row) or (None, None)
  if first is None or second is None or first.metric != second.metric:
    return None
  difference = second.mean - first.mean
  return None if math.isnan(difference) else difference


def cluster_gain(evaluations: Evaluations, cluster: str) -> float | None:
  """The mean gain of a cluster's tasks; None unless all of them have one."""
  gains = [gain(r) for r in rows(evaluations) if any_of(r).cluster == cluster]
  known = [value for value in gains if value is not None]
  # A mean of some of the tasks is no comparison.
  return statistics.fmean(known) if len(known) == len(gains) else None


def same_words(
  one: results.EvaluationResults, other: results.EvaluationResults
) -> bool:
  """Whether a template's number means the same wording to both."""
  return one.settings.get("wording") == other.settings.get("wording")


def differences(evaluations: Evaluations) -> list[str]:
  """What keeps result sets from being compared like with like."""
  if len(evaluations) < 2:
    return []
  found = []
  for what in ("held_out", "seed", "settings"):
    values = [getattr(e, what) for e in evaluations]
    if any(value != values[0] for value in values):
      if what == "settings":
        values = _what_differs(values)
      found.append(f"{what} differs: " + _each(evaluations, map(repr, values)))
  for row in rows(evaluations):
    found.extend(_row_differences(evaluations, row))
  return found


def _what_differs(settings: Sequence[Mapping[str, Any]]) -> list[dict]:
  """Of each the settings that are not the same in all."""
  names = list(dict.fromkeys(name for one in settings for name in one))
  names = [
    name
    for name in names
    if any(one.get(name) != settings[0].get(name) for one in settings)
  ]
  return [{n: one[n] for n in names if n in one} for one in settings]


def _row_differences(evaluations: Evaluations, row: Row) -> Iterator[str]:
  task = any_of(row).task
  named = labels(evaluations)
  for label, evaluation, result in zip(named, evaluations, row, strict=True):
    if result is None:
      why = evaluation.not_read.get(task)
      yield f"{task} has no {label} result" + (f" ({why})" if why else "")
  if None in row:
    return
  worded = {evaluation.settings.get("wording") for evaluation in evaluations}
  for what, read in (
    ("metrics", lambda r: r.metric),
    ("numbers of test rows", lambda r: r.examples),
    ("test rows", lambda r: r.test_rows_from),
    ("templates", lambda r: [score.template for score in r.templates]),
  ):
    if what == "templates" and len(worded) > 1:
      continue  # The settings differ, which is said once.
    values = [read(result) for result in row]
    if any(value != values[0] for value in values):
      yield f"{task} has different {what}: {_each(evaluations, values)}"


def _each(evaluations: Evaluations, values: Iterable[Any]) -> str:
  return ", ".join(
    f"{label} {value}"
    for label, value in zip(labels(evaluations), values, strict=True)
  )
