"""Metrics as functions of sums over examples, for the bootstrap.

A bootstrap draw says how often it drew each unit, i.e. each example or group of
examples. If a metric is a function of sums over units, the scores of all draws
need one matrix product:

    draws [R, U] @ features [U, F] = sums [R, F] -> scores [R]

    metric                   features of a unit
    mean of scores           sum of scores, number of examples
    f1, matthews, pearson..  number of examples with right option i and chosen
                             option j, for each i and j
    bleu                     matching n-grams, n-grams, words

The scores equal those that `metrics.compute` gives for the drawn examples.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from flan_tf.eval import metrics, scoring, text_metrics
from flan_tf.eval.scored_prediction import ScoredPrediction
from flan_tf.task import schema


@dataclasses.dataclass(frozen=True)
class MetricSums:
  """A metric of a set of units, as a function of sums over them.

  Attributes:
    features: float64 [U, F], the features of each unit.
    score: maps sums [R, F] to scores [R]; nan where the metric is undefined.
  """

  features: np.ndarray
  score: Callable[[np.ndarray], np.ndarray]


def metric_sums(
  name: str, predictions: Sequence[ScoredPrediction], units: Sequence[int]
) -> MetricSums:
  """Returns a metric as a function of sums.

  Args:
    name: the headline metric of the predictions.
    predictions: N predictions.
    units: unit of each prediction, N numbers from 0 to U - 1.
  """
  metric = metrics.METRICS[name]
  if not metric.stand_in:
    scores = [scored.score for scored in predictions]
    features = np.stack([scores, np.ones(len(predictions))], axis=1)
    return MetricSums(_sum_by_unit(features, units), _mean)
  if metric.grouped:
    return MetricSums(_group_features(predictions, units), _mean)
  if metric.kind is schema.TaskKind.CLASSIFICATION:
    return _confusion_sums(name, predictions, units)
  counts = text_metrics.bleu_counts(
    [scored.prediction.answer for scored in predictions],
    [scored.example.references for scored in predictions],
  )
  return MetricSums(_sum_by_unit(counts, units), _bleu)


def _group_features(
  predictions: Sequence[ScoredPrediction], units: Sequence[int]
) -> np.ndarray:
  """Returns [U, 2]: 100 where all predictions of a unit are right, and 1."""
  wrong = np.array([[scored.score < 100] for scored in predictions], float)
  all_right = _sum_by_unit(wrong, units) == 0
  return np.concatenate([100.0 * all_right, np.ones_like(all_right)], axis=1)


def _confusion_sums(
  name: str, predictions: Sequence[ScoredPrediction], units: Sequence[int]
) -> MetricSums:
  """Returns a metric as a function of a confusion matrix."""
  options = max(len(scored.example.options) for scored in predictions)
  cells = np.zeros([len(predictions), options, options])
  right = [scored.example.answer_index for scored in predictions]
  chosen = scoring.credited_choices(predictions)
  cells[np.arange(len(predictions)), right, chosen] = 1
  function = _OF_CONFUSIONS[name]
  return MetricSums(
    _sum_by_unit(cells.reshape([len(predictions), -1]), units),
    lambda sums: function(sums.reshape([-1, options, options])),
  )


def _sum_by_unit(features: np.ndarray, units: Sequence[int]) -> np.ndarray:
  """Sums the features of predictions, [N, F], to those of units, [U, F]."""
  sums = np.zeros([1 + max(units), features.shape[1]])
  np.add.at(sums, list(units), features)
  return sums


def _mean(sums: np.ndarray) -> np.ndarray:
  return sums[:, 0] / sums[:, 1]


def _bleu(sums: np.ndarray) -> np.ndarray:
  return np.array([text_metrics.bleu_of_counts(row) for row in sums])


# The functions below take confusion matrices, float64 [R, right, chosen], and
# return scores, float64 [R].


def _f1(confusions: np.ndarray) -> np.ndarray:
  return _f1_of_options(confusions)[:, 1]


def _macro_f1(confusions: np.ndarray) -> np.ndarray:
  return _f1_of_options(confusions).mean(axis=1)


def _f1_of_options(confusions: np.ndarray) -> np.ndarray:
  """Returns F1 of each option, [R, options]."""
  hits = np.diagonal(confusions, axis1=1, axis2=2)
  right_or_chosen = confusions.sum(axis=1) + confusions.sum(axis=2)
  return 100 * _divide(2 * hits, right_or_chosen, default=0.0)


def _matthews(confusions: np.ndarray) -> np.ndarray:
  """Returns Matthews' correlation for two or more options (Gorodkin 2004)."""
  right, chosen = confusions.sum(axis=2), confusions.sum(axis=1)
  total = right.sum(axis=1)
  hits = np.trace(confusions, axis1=1, axis2=2)
  covariance = hits * total - (right * chosen).sum(axis=1)
  variances = (total**2 - (right**2).sum(axis=1)) * (
    total**2 - (chosen**2).sum(axis=1)
  )
  return 100 * _divide(covariance, np.sqrt(variances), default=0.0)


def _pearson(confusions: np.ndarray) -> np.ndarray:
  values = np.arange(confusions.shape[1], dtype=float)[np.newaxis]
  return _correlation(confusions, values, values)


def _spearman(confusions: np.ndarray) -> np.ndarray:
  return _correlation(
    confusions,
    _mean_ranks(confusions.sum(axis=2)),
    _mean_ranks(confusions.sum(axis=1)),
  )


def _mean_ranks(counts: np.ndarray) -> np.ndarray:
  """Returns the rank of each option, the mean rank of all its examples.

  Args:
    counts: number of examples with each option, [R, options].
  """
  return np.cumsum(counts, axis=1) - counts / 2 + 0.5


def _correlation(
  confusions: np.ndarray, right_values: np.ndarray, chosen_values: np.ndarray
) -> np.ndarray:
  """Returns Pearson's r times 100; nan if one side is constant.

  Args:
    confusions: [R, right, chosen].
    right_values: value of each option on the right side, [R or 1, options].
    chosen_values: value of each option on the chosen side, the same shape.
  """
  total = confusions.sum(axis=(1, 2))[:, np.newaxis]
  right, chosen = confusions.sum(axis=2), confusions.sum(axis=1)
  right_mean = (right * right_values).sum(axis=1, keepdims=True) / total
  chosen_mean = (chosen * chosen_values).sum(axis=1, keepdims=True) / total
  right_values = right_values - right_mean
  chosen_values = chosen_values - chosen_mean
  covariance = np.einsum(
    "rij,ri,rj->r", confusions, right_values, chosen_values
  )
  variances = (right * right_values**2).sum(axis=1) * (
    chosen * chosen_values**2
  ).sum(axis=1)
  varied = ((right > 0).sum(axis=1) > 1) & ((chosen > 0).sum(axis=1) > 1)
  variances = np.where(varied, variances, 0.0)
  return 100 * _divide(covariance, np.sqrt(variances), default=np.nan)


def _divide(
  numerator: np.ndarray, denominator: np.ndarray, default: float
) -> np.ndarray:
  """Returns numerator / denominator, or the default where that is not > 0."""
  out = np.full(np.shape(numerator), default)
  return np.divide(numerator, denominator, out=out, where=denominator > 0)


_OF_CONFUSIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  "f1": _f1,
  "macro_f1": _macro_f1,
  "matthews": _matthews,
  "pearson": _pearson,
  "spearman": _spearman,
}
