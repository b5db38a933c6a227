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
# Further keys of a prediction that chose one of several options.
_CLASSIFICATION = {"scores": [], "values": []}


def scored(**fields: Any) -> ScoredPrediction:
  """Returns a scored prediction; fields have the names of a log's keys."""
  has_choice = fields.get("choice") is not None
  defaults = _GENERATION | (_CLASSIFICATION if has_choice else {})
  return ScoredPrediction.from_json({**defaults, **fields})


def changed(prediction: ScoredPrediction, **fields: Any) -> ScoredPrediction:
  """Returns a copy with other values of some fields."""
  return ScoredPrediction.from_json({**prediction.to_json(), **fields})


def task_log(*predictions: ScoredPrediction, **header: Any) -> TaskLog:
  """Returns a log of these predictions."""
  return TaskLog(header, predictions)
