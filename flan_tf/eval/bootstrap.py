"""Bootstrap intervals: how far a score moves with the rows that were drawn.

Rows are drawn again, with replacement, as many as there are, 1,000 times; 95 %
of the scores of these draws lie in the percentile interval (Efron 1979; for
BLEU Koehn 2004). A row is drawn with all of its templates, and rows of one
group (the questions on a passage) are drawn together, since they are right or
wrong together.

A metric of a set of rows is a function of sums over them, so a draw is a vector
of how often each unit came, and all draws are one matrix product:

    draws [R, U] @ features [U, F] = sums [R, F] -> scores [R]

    mean of scores           sum, count
    f1, matthews, pearson..  how often option j was chosen where i was right
    bleu                     n-grams matched, n-grams, words

Of a handful of rows, or where all are right, such an interval is too narrow.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from flan_tf.eval import metrics, prediction_log, scoring
from flan_tf.task import schema

Interval = tuple[float, float]
_ENDS = (2.5, 97.5)  # percentiles
_AT_ONCE = 1 << 22  # numbers drawn at once

Lines = Sequence[prediction_log.PredictionLine]


@dataclasses.dataclass(frozen=True)
class _Sums:
  """A metric as a function of sums.

  Attributes:
    features: float64 [U, F], of each unit.
    score: sums [R, F] to scores [R]; nan where undefined.
  """

  features: np.ndarray
  score: Callable[[np.ndarray], np.ndarray]


def of_templates(
  metric: str,
  by_template: Sequence[Lines],
  random: np.random.Generator,
  resamples: int = 1_000,
) -> tuple[list[Interval | None], Interval | None]:
  """Intervals of each template's score, and of their mean.

  Args:
    metric: the headline metric.
    by_template: test lines, of all templates the same rows in the same order.
    random: of the draws.
    resamples: how many.

  Returns:
    (of each template, of the mean over those that are defined); None where
    there are not two units to draw, or no draw has a value.

  Raises:
    ValueError: templates with other rows.
  """
  scores = draw(metric, [by_template], random, resamples)
  if scores is None:
    return [None] * len(by_template), None
  return [ends(column) for column in scores[0].T], ends(mean(scores[0]))


def draw(
  metric: str,
  models: Sequence[Sequence[Lines]],
  random: np.random.Generator,
  resamples: int = 1_000,
) -> list[np.ndarray] | None:
  """The scores of each draw: the same draws of all models and templates.

  Args:
    metric: the headline metric.
    models: for each model its templates' lines, all of the same rows in the
      same order.
    random: of the draws.
    resamples: how many, R.

  Returns:
    For each model float64 [R, templates]; None with less than two units.

  Raises:
    ValueError: lines of different rows.
  """
  every = [lines for by_template in models for lines in by_template]
  rows = [line.row for line in every[0]]
  for lines in every:
    if [line.row for line in lines] != rows:
      raise ValueError(
        "Intervals want the same rows in the same order of all templates; one"
        f" has {len(lines)} rows, the first {len(rows)}, or others."
      )
  units = _units(every[0])
  count = 1 + max(units, default=-1)
  if count < 2:
    return None
  sums = [_sums(metric, lines, units, count) for lines in every]
  found = [[] for _ in every]
  for draws in _draws(count, random, resamples):
    for scores, of_lines in zip(found, sums, strict=True):
      scores.append(of_lines.score(draws @ of_lines.features))
  columns = iter([np.concatenate(scores) for scores in found])
  return [
    np.stack([next(columns) for _ in by_template], axis=1)
    for by_template in models
  ]


def ends(scores: np.ndarray) -> Interval | None:
  """The interval that holds 95 % of the draws' scores, those of nan aside."""
  scores = scores[~np.isnan(scores)]
  if not scores.size:
    return None
  low, high = np.percentile(scores, _ENDS)
  return float(low), float(high)


def mean(scores: np.ndarray) -> np.ndarray:
  """[R, templates] to [R]: the mean of those that are defined."""
  defined = ~np.isnan(scores)
  count = defined.sum(axis=1)
  total = np.where(defined, scores, 0).sum(axis=1)
  return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _units(lines: Lines) -> list[int]:
  """The number of each line's unit: its group, or itself alone."""
  numbers: dict[str | int, int] = {}
  return [
    numbers.setdefault(line.group or place, len(numbers))
    for place, line in enumerate(lines)
  ]


def _draws(count: int, random: np.random.Generator, resamples: int):
  """How often each unit is drawn: float64 [a part of R, U], until R."""
  part = max(_AT_ONCE // count, 1)
  for begin in range(0, resamples, part):
    size = min(part, resamples - begin)
    chosen = random.integers(count, size=[size, count])
    chosen += count * np.arange(size)[:, np.newaxis]
    times = np.bincount(chosen.ravel(), minlength=size * count)
    yield times.reshape([size, count]).astype(np.float64)


def _sums(name: str, lines: Lines, units: list[int], count: int) -> _Sums:
  metric = metrics.METRICS[name]
  if not metric.stand_in:
    scores = [line.score for line in lines]
    features = np.stack([scores, np.ones(len(lines))], axis=1)
    return _Sums(_add(features, units, count), _ratio)
  if metric.grouped:
    wrong = [[line.score < 100] for line in lines]
    right = _add(np.array(wrong, float), units, count) == 0
    features = np.concatenate([100.0 * right, np.ones([count, 1])], axis=1)
    return _Sums(features, _ratio)
  if metric.kind is schema.TaskKind.CLASSIFICATION:
    options = max(len(line.options) for line in lines)
    cells = np.zeros([len(lines), options, options])
    wanted = [line.answer_index for line in lines]
    cells[np.arange(len(lines)), wanted, scoring.choices(lines)] = 1
    flat = cells.reshape([len(lines), -1])
    return _Sums(
      _add(flat, units, count),
      lambda sums: _OF_COUNTS[name](sums.reshape([-1, options, options])),
    )
  counts = metrics.bleu_counts(
    [line.answer for line in lines], [line.references for line in lines]
  )
  return _Sums(
    _add(counts, units, count),
    lambda sums: np.array([metrics.bleu_of_counts(row) for row in sums]),
  )


def _add(features: np.ndarray, units: list[int], count: int) -> np.ndarray:
  """Features of lines [N, F] summed over units: [U, F]."""
  out = np.zeros([count, features.shape[1]])
  np.add.at(out, units, features)
  return out


def _ratio(sums: np.ndarray) -> np.ndarray:
  return sums[:, 0] / sums[:, 1]


# Of counts [R, right option, chosen option], what `metrics` computes of rows.


def _f1(counts: np.ndarray) -> np.ndarray:
  return _f1_of_options(counts)[:, 1]


def _macro_f1(counts: np.ndarray) -> np.ndarray:
  return _f1_of_options(counts).mean(axis=1)


def _f1_of_options(counts: np.ndarray) -> np.ndarray:
  hits = np.diagonal(counts, axis1=1, axis2=2)
  either = counts.sum(axis=1) + counts.sum(axis=2)
  return 100 * _divided(2 * hits, either, 0.0)


def _matthews(counts: np.ndarray) -> np.ndarray:
  """For two options or more, as scikit-learn (Gorodkin 2004)."""
  right, chosen = counts.sum(axis=2), counts.sum(axis=1)
  total = right.sum(axis=1)
  hits = np.trace(counts, axis1=1, axis2=2)
  above = hits * total - (right * chosen).sum(axis=1)
  below = (total**2 - (right**2).sum(axis=1)) * (
    total**2 - (chosen**2).sum(axis=1)
  )
  return 100 * _divided(above, np.sqrt(below), 0.0)


def _pearson(counts: np.ndarray) -> np.ndarray:
  values = np.arange(counts.shape[1], dtype=float)[np.newaxis]
  return _correlation(counts, values, values)


def _spearman(counts: np.ndarray) -> np.ndarray:
  return _correlation(
    counts, _ranks(counts.sum(axis=2)), _ranks(counts.sum(axis=1))
  )


def _ranks(counts: np.ndarray) -> np.ndarray:
  """Of each value the mean of the ranks of all rows that have it: [R, K]."""
  return np.cumsum(counts, axis=1) - counts / 2 + 0.5


def _correlation(counts, right: np.ndarray, chosen: np.ndarray) -> np.ndarray:
  """Pearson's r of the options' values; nan where one side is constant."""
  total = counts.sum(axis=(1, 2))[:, np.newaxis]
  of_right, of_chosen = counts.sum(axis=2), counts.sum(axis=1)
  right = right - (of_right * right).sum(axis=1, keepdims=True) / total
  chosen = chosen - (of_chosen * chosen).sum(axis=1, keepdims=True) / total
  above = np.einsum("rij,ri,rj->r", counts, right, chosen)
  below = (of_right * right**2).sum(axis=1) * (of_chosen * chosen**2).sum(
    axis=1
  )
  varied = ((of_right > 0).sum(axis=1) > 1) & ((of_chosen > 0).sum(axis=1) > 1)
  below = np.where(varied, below, 0.0)
  return 100 * _divided(above, np.sqrt(below), np.nan)


def _divided(above, below, otherwise: float) -> np.ndarray:
  """above / below, or another value where that is 0."""
  out = np.full(np.shape(above), otherwise)
  return np.divide(above, below, out=out, where=below > 0)


_OF_COUNTS = {
  "f1": _f1,
  "macro_f1": _macro_f1,
  "matthews": _matthews,
  "pearson": _pearson,
  "spearman": _spearman,
}
