"""Two models on the same rows: their difference, and how sure it is.

Both are drawn again with the same rows (paired bootstrap), so that what makes a
row hard for both does not count. Beside it stand the answers that one model won
and lost against the other, as McNemar's test counts them.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_tf.data import mixture
from flan_tf.eval import bootstrap, prediction_log, scoring


@dataclasses.dataclass(frozen=True)
class Difference:
  """How far the second model is above the first one, on a task.

  Attributes:
    task: its name.
    metric: the headline metric.
    value: difference of the means over templates, in points; nan if undefined.
    interval: the ends of its 95 % interval; None where there is none.
    rows: test rows that both answered.
    won: answers (a row in one template) where the second model scores higher.
    lost: where the first one does; both are None where the models were asked
      in different templates.
    left_out: rows that one of them alone answered, or with another right
      answer.
  """

  task: str
  metric: str
  value: float
  interval: bootstrap.Interval | None
  rows: int
  won: int | None
  lost: int | None
  left_out: int = 0

  @property
  def is_clear(self) -> bool:
    """Whether the interval leaves 0 out."""
    return self.interval is not None and (
      self.interval[0] > 0 or self.interval[1] < 0
    )


def difference(
  task: str,
  metric: str,
  first: Sequence[prediction_log.PredictionLine],
  second: Sequence[prediction_log.PredictionLine],
  seed: int = 0,
  resamples: int = 1_000,
) -> Difference | None:
  """Compares two models' predictions; None if they share no row.

  Args:
    task: its name.
    metric: the headline metric.
    first: predictions of one model.
    second: of the other one.
    seed: of the draws.
    resamples: how many there are.
  """
  one, other = tables = _table(first), _table(second)
  answers = [
    {row: _right(line) for (_, row), line in table.items()} for table in tables
  ]
  every = sorted({*answers[0], *answers[1]})
  rows = [r for r in every if r in answers[0] and r in answers[1]]
  rows = [row for row in rows if answers[0][row] == answers[1][row]]
  if not rows:
    return None
  models = [
    [
      [table[template, row] for row in rows]
      for template in sorted({template for template, _ in table})
    ]
    for table in tables
  ]
  value = [
    bootstrap.mean(
      np.array([[scoring.measure([metric], x)[metric] for x in by_template]])
    )
    for by_template in models
  ]
  random = mixture.generator(seed, "bootstrap", task)
  drawn = bootstrap.draw(metric, models, random, resamples)
  ends = None
  if drawn is not None:
    ends = bootstrap.ends(bootstrap.mean(drawn[1]) - bootstrap.mean(drawn[0]))
  won, lost = _won_and_lost(one, other, set(rows))
  return Difference(
    task=task,
    metric=metric,
    value=float(value[1][0] - value[0][0]),
    interval=ends,
    rows=len(rows),
    won=won,
    lost=lost,
    left_out=len(every) - len(rows),
  )


def _table(lines) -> dict[tuple[int, int], prediction_log.PredictionLine]:
  return {
    (line.template, line.row): line
    for line in lines
    if line.part == prediction_log.TEST
  }


def _right(line: prediction_log.PredictionLine) -> object:
  """What must be equal of the same row, also where options have other names."""
  return line.references if line.choice is None else line.answer_index


def _won_and_lost(first, second, rows) -> tuple[int | None, int | None]:
  if {template for template, _ in first} != {
    template for template, _ in second
  }:
    return None, None
  gains = [
    second[key].score - line.score
    for key, line in first.items()
    if key[1] in rows
  ]
  return sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
