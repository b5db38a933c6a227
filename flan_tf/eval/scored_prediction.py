"""One prediction with its score: a line of a prediction log.

The records are composed, so that each field is declared once:

    Example            row_index, references, options, answer_index, group
    Request            example, prompt, template, part, exemplars
    Prediction         request, answer, trimmed, choice, log_probs,
                       option_scores
    ScoredPrediction   prediction, score, right

A line of a prediction log is one flat JSON object with all of these fields.
Three keys have other names: "row" holds `row_index`, "scores" holds
`log_probs`, and "values" holds `option_scores`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan_tf import json_lines
from flan_tf.data.requests import Example, Request
from flan_tf.inference.predictions import Prediction

_LISTS = (list, tuple)  # JSON has lists, predictions in memory have tuples.
# Key of a line -> types of its value.
_TYPES: dict[str, Any] = {
  "part": str,
  "template": int,
  "row": int,
  "prompt": str,
  "exemplars": int,
  "trimmed": bool,
  "answer": str,
  "references": _LISTS,
  "group": str,
  "right": (bool, type(None)),
  "score": (int, float),
}
# The further keys of a classification.
_OPTION_TYPES: dict[str, Any] = {
  "options": _LISTS,
  "answer_index": int,
  "choice": int,
  "scores": _LISTS,
  "values": _LISTS,
}


@dataclasses.dataclass(frozen=True)
class ScoredPrediction:
  """A prediction with its score.

  Attributes:
    prediction: the answer, with its request and example.
    score: value of the headline metric for this prediction alone, 0 to 100. A
      metric of whole sets, such as F1, has no such value; another score, named
      by "line_score" in the log's header, stands in for it.
    right: for a classification, True if the answer is one of the references;
      for a generation, True if it equals a reference after the metric's own
      normalization, and None if the metric has no normalization.
  """

  prediction: Prediction
  score: float
  right: bool | None

  @property
  def request(self) -> Request:
    return self.prediction.request

  @property
  def example(self) -> Example:
    return self.prediction.request.example

  def without_prompt(self) -> "ScoredPrediction":
    """Returns a copy with an empty prompt, which takes less memory."""
    request = dataclasses.replace(self.request, prompt="")
    prediction = dataclasses.replace(self.prediction, request=request)
    return dataclasses.replace(self, prediction=prediction)

  def to_json(self) -> dict[str, Any]:
    """Returns the line of a log; a generation's has no keys about options."""
    prediction, request, example = self.prediction, self.request, self.example
    value = {
      "part": request.part,
      "template": request.template,
      "row": example.row_index,
      "prompt": request.prompt,
      "exemplars": request.exemplars,
      "trimmed": prediction.trimmed,
      "answer": prediction.answer,
      "references": example.references,
      "group": example.group,
      "right": self.right,
      "score": self.score,
    }
    if prediction.choice is None:
      return value
    return value | {
      "options": example.options,
      "answer_index": example.answer_index,
      "choice": prediction.choice,
      "scores": prediction.log_probs,
      "values": prediction.option_scores,
    }

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> "ScoredPrediction":
    """Builds the prediction of a line.

    Raises:
      ValueError: a key is missing or unknown, or has a value of another type.
    """
    _check_keys(value)
    fields = dict(value)
    example = Example(
      row_index=fields.pop("row"),
      references=tuple(fields.pop("references")),
      options=tuple(fields.pop("options", ())),
      answer_index=fields.pop("answer_index", -1),
      group=fields.pop("group"),
    )
    request = Request(
      example=example,
      prompt=fields.pop("prompt"),
      template=fields.pop("template"),
      part=fields.pop("part"),
      exemplars=fields.pop("exemplars"),
    )
    prediction = Prediction(
      request=request,
      answer=fields.pop("answer"),
      trimmed=fields.pop("trimmed"),
      choice=fields.pop("choice", None),
      log_probs=tuple(fields.pop("scores", ())),
      option_scores=tuple(fields.pop("values", ())),
    )
    return cls(prediction, fields.pop("score"), fields.pop("right"))


def _check_keys(value: Mapping[str, Any]) -> None:
  """Raises ValueError if a line has other keys, or values of other types."""
  known = _TYPES if value.get("choice") is None else _TYPES | _OPTION_TYPES
  json_lines.check_types(value, known)
  unknown = value.keys() - known.keys()
  if unknown:
    raise ValueError(f"key {min(unknown)!r} is unknown.")
