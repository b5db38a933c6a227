"""Bootstrap intervals: the uncertainty of a score due to the rows drawn.

Rows are drawn again with replacement, as many as there are, 1,000 times. The
percentile interval holds 95 % of the scores of these draws (Efron 1979; for
BLEU Koehn 2004). A row is drawn with all of its templates. Rows of one group,
e.g. all questions about a passage, are drawn together, because their answers
are not independent.

For a handful of rows, or where all are right, such an interval is too narrow.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan_tf.eval.metric_sums import metric_sums
from flan_tf.eval.scored_prediction import ScoredPrediction

Interval = tuple[float, float]
_PERCENTILES = (2.5, 97.5)
# Draws are made in parts of about so many numbers, to bound memory.
_NUMBERS_AT_ONCE = 1 << 22

Predictions = Sequence[ScoredPrediction]


class TemplateIntervals(NamedTuple):
  """Intervals of the scores of a task.

  Attributes:
    by_template: interval of each template's score.
    mean: interval of the mean over templates, undefined ones left out.

  An interval is None if there are fewer than two units to draw, or if no draw
  has a score.
  """

  by_template: list[Interval | None]
  mean: Interval | None


def template_intervals(
  metric: str,
  by_template: Sequence[Predictions],
  random: np.random.Generator,
  resamples: int = 1_000,
) -> TemplateIntervals:
  """Computes the intervals of each template's score, and of their mean.

  Args:
    metric: the headline metric.
    by_template: for each template its predictions on test rows. All templates
      have the same rows in the same order.
    random: source of the draws.
    resamples: number of draws.

  Raises:
    ValueError: templates have different rows.
  """
  scores = draw_scores(metric, [by_template], random, resamples)
  if scores is None:
    return TemplateIntervals([None] * len(by_template), None)
  (of_model,) = scores
  return TemplateIntervals(
    [percentile_interval(column) for column in of_model.T],
    percentile_interval(mean_over_templates(of_model)),
  )


def draw_scores(
  metric: str,
  models: Sequence[Sequence[Predictions]],
  random: np.random.Generator,
  resamples: int = 1_000,
) -> list[np.ndarray] | None:
  """Computes the scores of each draw; all models share the same draws.

  Args:
    metric: the headline metric.
    models: for each model and template the predictions. All have the same rows
      in the same order.
    random: source of the draws.
    resamples: number of draws, R.

  Returns:
    For each model float64 [R, templates]; None for fewer than two units.

  Raises:
    ValueError: predictions are of different rows.
  """
  every = [predictions for of_model in models for predictions in of_model]
  _check_same_rows(every)
  units = _units(every[0])
  num_units = 1 + max(units, default=-1)
  if num_units < 2:
    return None
  sums = [metric_sums(metric, predictions, units) for predictions in every]
  scores = [[] for _ in every]
  for counts in _draw_counts(num_units, random, resamples):
    for part, of_metric in zip(scores, sums, strict=True):
      part.append(of_metric.score(counts @ of_metric.features))
  columns = iter([np.concatenate(parts) for parts in scores])
  return [
    np.stack([next(columns) for _ in of_model], axis=1) for of_model in models
  ]


def percentile_interval(scores: np.ndarray) -> Interval | None:
  """Returns the interval that holds 95 % of the scores; ignores nan.

  Args:
    scores: the score of each draw, [R].
  """
  scores = scores[~np.isnan(scores)]
  if not scores.size:
    return None
  low, high = np.percentile(scores, _PERCENTILES)
  return float(low), float(high)


def mean_over_templates(scores: np.ndarray) -> np.ndarray:
  """Averages [R, templates] to [R]; ignores nan, and is nan if all are."""
  defined = ~np.isnan(scores)
  count = defined.sum(axis=1)
  total = np.where(defined, scores, 0).sum(axis=1)
  return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _check_same_rows(every: Sequence[Predictions]) -> None:
  rows = [scored.example.row_index for scored in every[0]]
  for predictions in every:
    if [scored.example.row_index for scored in predictions] != rows:
      raise ValueError(
        "Bootstrap intervals need the same rows in the same order for all"
        f" templates and models; one has {len(predictions)} rows, the first"
        f" {len(rows)}, or the rows differ."
      )


def _units(predictions: Predictions) -> list[int]:
  """Returns the unit of each prediction: one per group, or one per row."""
  numbers: dict[str | int, int] = {}
  return [
    numbers.setdefault(scored.example.group or index, len(numbers))
    for index, scored in enumerate(predictions)
  ]


def _draw_counts(
  num_units: int, random: np.random.Generator, resamples: int
) -> Iterator[np.ndarray]:
  """Yields how often each draw takes each unit: float64 [part of R, U]."""
  part = max(_NUMBERS_AT_ONCE // num_units, 1)
  for begin in range(0, resamples, part):
    size = min(part, resamples - begin)
    chosen = random.integers(num_units, size=[size, num_units])
    chosen += num_units * np.arange(size)[:, np.newaxis]
    counts = np.bincount(chosen.ravel(), minlength=size * num_units)
    yield counts.reshape([size, num_units]).astype(np.float64)
