"""Two models on the same rows: their difference, and its uncertainty.

The bootstrap draws the same rows for both models. So rows that are hard for
both do not widen the interval. As in McNemar's test, the answers that one model
won and lost against the other are counted, too.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from flan_tf.data import random_draws
from flan_tf.eval import bootstrap, scoring
from flan_tf.eval.prediction_log import TaskLog
from flan_tf.eval.scored_prediction import ScoredPrediction

# Predictions by (template, row).
_Table = Mapping[tuple[int, int], ScoredPrediction]


@dataclasses.dataclass(frozen=True)
class Difference:
  """The second model's score minus the first model's score, on one task.

  Attributes:
    task: name of the task.
    metric: the headline metric.
    value: difference of the means over templates, in points; nan if undefined.
    interval: its 95 % bootstrap interval; None if there is none.
    rows: number of test rows that both models answered.
    won: number of answers (a row in one template) where the second model
      scores higher; None if the models were asked in different templates.
    lost: number of answers where the first model scores higher, or None.
    left_out: number of rows that only one model answered, or for which the two
      logs have different right answers.
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
    """True if the interval excludes 0."""
    return self.interval is not None and (
      self.interval[0] > 0 or self.interval[1] < 0
    )


def difference(
  task: str,
  metric: str,
  first: TaskLog,
  second: TaskLog,
  seed: int = 0,
  resamples: int = 1_000,
) -> Difference | None:
  """Compares the predictions of two models on the test rows of a task.

  Args:
    task: name of the task.
    metric: the headline metric.
    first: log of one model.
    second: log of the other model.
    seed: seed of the draws.
    resamples: number of draws.

  Returns:
    The difference; None if the models share no row.
  """
  references = [_references_by_row(log.test) for log in (first, second)]
  all_rows = sorted({*references[0], *references[1]})
  rows = [
    row
    for row in all_rows
    if row in references[0]
    and row in references[1]
    and references[0][row] == references[1][row]
  ]
  if not rows:
    return None
  models = [_by_template(log.test, rows) for log in (first, second)]
  means = [_mean_score(metric, by_template) for by_template in models]
  won, lost = _count_won_and_lost(first.test, second.test, set(rows))
  return Difference(
    task=task,
    metric=metric,
    value=means[1] - means[0],
    interval=_difference_interval(task, metric, models, seed, resamples),
    rows=len(rows),
    won=won,
    lost=lost,
    left_out=len(all_rows) - len(rows),
  )


def _references_by_row(table: _Table) -> dict[int, object]:
  """Returns for each row its right answers.

  For a classification these are the index of the right option, because two
  wordings of a task may have different names for the same option.
  """
  return {
    row: scored.example.references
    if scored.prediction.choice is None
    else scored.example.answer_index
    for (_, row), scored in table.items()
  }


def _by_template(
  table: _Table, rows: Sequence[int]
) -> list[list[ScoredPrediction]]:
  """Returns for each template its predictions on the given rows."""
  return [
    [table[template, row] for row in rows]
    for template in sorted({template for template, _ in table})
  ]


def _mean_score(
  metric: str, by_template: Sequence[Sequence[ScoredPrediction]]
) -> float:
  scores = [
    scoring.compute_metrics([metric], predictions)[metric]
    for predictions in by_template
  ]
  return float(bootstrap.mean_over_templates(np.array([scores]))[0])


def _difference_interval(
  task: str,
  metric: str,
  models: Sequence[Sequence[Sequence[ScoredPrediction]]],
  seed: int,
  resamples: int,
) -> bootstrap.Interval | None:
  random = random_draws.random_generator(seed, "bootstrap", task)
  drawn = bootstrap.draw_scores(metric, models, random, resamples)
  if drawn is None:
    return None
  first, second = map(bootstrap.mean_over_templates, drawn)
  return bootstrap.percentile_interval(second - first)


def _count_won_and_lost(
  first: _Table, second: _Table, rows: Collection[int]
) -> tuple[int | None, int | None]:
  """Returns the numbers of answers that the second model won and lost.

  Both are None if the models were asked in different templates.
  """
  if {template for template, _ in first} != {
    template for template, _ in second
  }:
    return None, None
  gains = [
    second[template, row].score - scored.score
    for (template, row), scored in first.items()
    if row in rows
  ]
  return sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
