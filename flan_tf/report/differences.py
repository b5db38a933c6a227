"""Two models on the same rows, task by task, from the predictions kept."""

import dataclasses
import math
from collections.abc import Sequence

from flan_tf.eval import paired, prediction_log
from flan_tf.report import cells, comparison, tables


def read(
  evaluations: comparison.Evaluations,
  predictions: Sequence[str],
  resamples: int = 1_000,
) -> dict[str, paired.Difference]:
  """Task -> how far the last model is above the one before it.

  Args:
    evaluations: result sets; of one there is no difference.
    predictions: for each the folder of its files of predictions, or "".
    resamples: draws of the bootstrap.

  Returns:
    Those tasks of which both have predictions of the same rows.
  """
  pair = comparison.last_two(evaluations)
  folders = comparison.last_two(predictions)
  if pair is None or folders is None or not all(folders):
    return {}
  found = {}
  for row in comparison.rows(pair):
    if None in row or len({result.metric for result in row if result}) > 1:
      continue
    result = comparison.any_of(row)
    try:
      first, second = (
        prediction_log.read_task(f, result.task) for f in folders
      )
    except FileNotFoundError:
      continue
    difference = paired.difference(
      result.task, result.metric, first, second, pair[-1].seed, resamples
    )
    if difference is not None and not comparison.same_words(*pair):
      # Template 0 of one is not that of the other.
      difference = dataclasses.replace(difference, won=None, lost=None)
    if difference is not None:
      found[result.task] = difference
  return found


def table(found: dict[str, paired.Difference]) -> tables.Table:
  """A row for each task, below the names of the columns."""
  heads = ["task", "metric", "rows", "difference", "95 %", "won", "lost"]
  return [heads, *(_row(difference) for difference in found.values())]


def _row(found: paired.Difference) -> list[str]:
  undefined = math.isnan(found.value)
  ends = found.interval or ()
  return [
    found.task,
    found.metric,
    str(found.rows),
    cells.UNDEFINED if undefined else cells.difference(found.value),
    " to ".join(map(cells.difference, ends)) or cells.ABSENT,
    *(cells.ABSENT if n is None else str(n) for n in (found.won, found.lost)),
  ]


def text(found: dict[str, paired.Difference], labels: Sequence[str]) -> str:
  """For a terminal; empty without differences."""
  if not found:
    return ""
  base, tuned = labels[-2:]
  clear = [name for name, difference in found.items() if difference.is_clear]
  lines = [
    f"{tuned} less {base}, on the rows that both answered: mean over templates,"
    " its 95 % interval, and answers (a row in one template) won and lost",
    "",
    tables.to_text(table(found)),
    "",
    f"The interval leaves 0 out: {', '.join(clear) or 'of no task'}.",
  ]
  lines += [
    f"{name}: {difference.left_out} rows left out, which one of them alone"
    " answered, or with another right answer."
    for name, difference in found.items()
    if difference.left_out
  ]
  return "\n".join(lines) + "\n"
