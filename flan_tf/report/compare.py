"""Result sets side by side: which results belong together, and which do not."""

from collections.abc import Iterator, Sequence

from flan_tf.eval import results

Evaluations = Sequence[results.EvaluationResults]
# One result per result set, None where the set lacks the task.
Row = tuple[results.TaskResult | None, ...]


def check(evaluations: Evaluations) -> None:
  """Raises ValueError unless there are one or two result sets."""
  if not 1 <= len(evaluations) <= 2:
    raise ValueError(
      "Expected one result set, or two to compare (base, then tuned); got"
      f" {len(evaluations)}."
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


def differences(evaluations: Evaluations) -> list[str]:
  """What keeps two result sets from being compared like with like."""
  if len(evaluations) < 2:
    return []
  found = []
  for what in ("held_out", "seed", "settings"):
    first, second = (getattr(e, what) for e in evaluations)
    if first != second:
      found.append(
        f"{what} differs: " + _each(evaluations, (repr(first), repr(second)))
      )
  for row in rows(evaluations):
    found.extend(_row_differences(evaluations, row))
  return found


def _row_differences(evaluations: Evaluations, row: Row) -> Iterator[str]:
  task = any_of(row).task
  if None in row:
    missing = labels(evaluations)[row.index(None)]
    why = evaluations[row.index(None)].not_read.get(task)
    yield f"{task} has no {missing} result" + (f" ({why})" if why else "")
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
    if values[0] != values[1]:
      yield f"{task} has different {what}: {_each(evaluations, values)}"


def _each(evaluations: Evaluations, values) -> str:
  return ", ".join(
    f"{label} {value}"
    for label, value in zip(labels(evaluations), values, strict=True)
  )
