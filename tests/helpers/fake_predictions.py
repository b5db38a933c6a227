"""Scored predictions from keyword arguments named as the keys of a log."""

from typing import Any

from flan_tf.eval.prediction_log import TaskLog
from flan_tf.eval.scored_prediction import ScoredPrediction

_GENERATION = {
  "part": "test",
  "template": 0,
  "row": 0,
  "prompt": "",
  "exemplars": 0,
  "trimmed": False,
  "answer": "",
  "references": (),
  "group": "",
  "right": None,
  "score": 0.0,
}


def scored(**fields: Any) -> ScoredPrediction:
  """Returns a scored prediction; fields have the names of a log's keys."""
  return ScoredPrediction.from_json({**_GENERATION, **fields})


def changed(prediction: ScoredPrediction, **fields: Any) -> ScoredPrediction:
  """Returns a copy with other values of some fields."""
  return ScoredPrediction.from_json({**prediction.to_json(), **fields})


def task_log(*predictions: ScoredPrediction, **header: Any) -> TaskLog:
  """Returns a log of these predictions."""
  return TaskLog(header, predictions)
