"""Predictions get scores, and scored predictions give metrics.

All numbers of an evaluation are computed from scored predictions, whether these
were made now or read from a log. So a resumed evaluation gives the same numbers
as one that was never stopped.
"""

import math
from collections.abc import Sequence

from flan_tf.eval import metrics, text_metrics
from flan_tf.eval.scored_prediction import ScoredPrediction
from flan_tf.inference.predictions import Prediction
from flan_tf.task import schema


def score_name(metric: str) -> str:
  """Returns the name of `ScoredPrediction.score` for a headline metric."""
  return metrics.METRICS[metric].stand_in or metric


def score_predictions(
  task: schema.Task, predictions: Sequence[Prediction]
) -> list[ScoredPrediction]:
  """Scores each prediction by the task's headline metric.

  Args:
    task: the task of all predictions.
    predictions: the predictions.
  """
  if not predictions:
    return []
  metric = metrics.METRICS[task.metrics[0]]
  if metric.kind is schema.TaskKind.CLASSIFICATION:
    scores = metric.per_example(
      [_credited_choice(prediction) for prediction in predictions],
      [prediction.example.answer_index for prediction in predictions],
    )
  else:
    scores = metric.per_example(
      [prediction.answer for prediction in predictions],
      [prediction.example.references for prediction in predictions],
    )
  return [
    ScoredPrediction(prediction, float(score), _is_right(task, prediction))
    for prediction, score in zip(predictions, scores, strict=True)
  ]


def compute_metrics(
  names: Sequence[str], predictions: Sequence[ScoredPrediction]
) -> dict[str, float]:
  """Computes metrics of the predictions for one template and part.

  Args:
    names: the task's metrics; the first one is the headline metric.
    predictions: the scored predictions.

  Returns:
    Metric -> value; empty without predictions.
  """
  if not predictions:
    return {}
  return {name: _compute(name, names[0], predictions) for name in names}


def _compute(
  name: str, headline: str, predictions: Sequence[ScoredPrediction]
) -> float:
  metric = metrics.METRICS[name]
  if name == headline and not metric.stand_in:
    return math.fsum(scored.score for scored in predictions) / len(predictions)
  examples = [scored.example for scored in predictions]
  if metric.kind is schema.TaskKind.CLASSIFICATION:
    return metrics.compute(
      name,
      predictions=credited_choices(predictions),
      references=[example.answer_index for example in examples],
      # Examples may differ in their number of options.
      options=max(len(example.options) for example in examples),
      groups=[example.group for example in examples],
    )
  return metrics.compute(
    name,
    predictions=[scored.prediction.answer for scored in predictions],
    references=[example.references for example in examples],
  )


def bleu_signature(metric: str, predictions: Sequence[ScoredPrediction]) -> str:
  """Returns sacrebleu's signature if the metric is BLEU, else ""."""
  if metric != "bleu" or not predictions:
    return ""
  return text_metrics.bleu_signature(
    [scored.prediction.answer for scored in predictions],
    [scored.example.references for scored in predictions],
  )


def credited_choices(predictions: Sequence[ScoredPrediction]) -> list[int]:
  """Returns the chosen options, where every right option counts as right.

  An example may have several right options, but has one `answer_index`. For a
  choice of any right option, the result is this index.
  """
  return [_credited_choice(scored.prediction) for scored in predictions]


def _credited_choice(prediction: Prediction) -> int:
  example = prediction.example
  if prediction.answer in example.references:
    return example.answer_index
  assert prediction.choice is not None
  return prediction.choice


def _is_right(task: schema.Task, prediction: Prediction) -> bool | None:
  references = prediction.example.references
  if task.kind is schema.TaskKind.CLASSIFICATION:
    return prediction.answer in references
  equal = metrics.METRICS[task.metrics[0]].equal
  if equal is None:
    return None
  return any(equal(prediction.answer, text) for text in references)
