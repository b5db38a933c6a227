"""Predictions for requests: the best option, or generated text.

The options of a classification are ranked by one of these scores:

    sum             log p(option | prompt), as in the paper
    per_token       sum / number of tokens of the option
    per_character   sum / number of characters of the option
    unconditional   log p(option | prompt) - log p(option | empty prompt)

The tokens of an option include those that end an answer, e.g. end-of-text.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from flan_tf import name_lists
from flan_tf.config import SCORES
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.data.requests import (
  EncodedRequest,
  Example,
  Request,
  encode_requests,
)
from flan_tf.inference import stop_strings
from flan_tf.inference.language_model import LanguageModel
from flan_tf.mesh.finite import NotFiniteError
from flan_tf.task import schema


@dataclasses.dataclass(frozen=True)
class Prediction:
  """A model's answer to one request.

  Attributes:
    request: the request.
    answer: text of the chosen option, or the generated text.
    trimmed: True if the prompt or an option was too long, and was cut.
    choice: index of the chosen option; None for a generation.
    log_probs: log-probability of each option; empty for a generation.
    option_scores: value that each option was ranked by; `log_probs` for the
      score "sum".

  Raises:
    NotFiniteError: a log-probability or a score is NaN or infinite.
  """

  request: Request
  answer: str
  trimmed: bool
  choice: int | None = None
  log_probs: tuple[float, ...] = ()
  option_scores: tuple[float, ...] = ()

  def __post_init__(self):
    numbers = [*self.log_probs, *self.option_scores]
    if not all(map(math.isfinite, numbers)):
      raise NotFiniteError(
        f"Row {self.example.row_index}: the options {self.example.options} have"
        f" the log-probabilities {self.log_probs} and the scores"
        f" {self.option_scores}. These are not finite, so that no option is the"
        " best one: the weights are not usable."
      )

  @property
  def example(self) -> Example:
    return self.request.example


def predict(
  model: LanguageModel,
  task: schema.Task,
  requests: Sequence[Request],
  prompt_format: PromptFormat,
  stops: Sequence[str] = (),
  score: str = "sum",
) -> list[Prediction]:
  """Ranks the options of each request, or generates a greedy continuation.

  Args:
    model: the model.
    task: the task of the requests; its kind decides between ranking and
      generation.
    requests: the requests.
    prompt_format: maximum lengths, and the ids around prompts and answers.
    stops: texts that end a generation; they are no part of the answer.
    score: one of `SCORES`. Among equal options, the first one is chosen.

  Raises:
    NotFiniteError: the model gives log-probabilities or logits that are NaN
      or infinite.
    ValueError: the score is unknown, or an option has no tokens.
  """
  if score not in SCORES:
    raise ValueError(name_lists.unknown_name("score", score, SCORES))
  encoded = encode_requests(requests, prompt_format)
  if task.kind is schema.TaskKind.CLASSIFICATION:
    return _rank_options(model, encoded, prompt_format, score)
  return _generate(model, encoded, prompt_format, stops)


def _generate(
  model: LanguageModel,
  encoded: Sequence[EncodedRequest],
  prompt_format: PromptFormat,
  stops: Sequence[str],
) -> list[Prediction]:
  generated = model.generate(
    [item.prompt for item in encoded],
    prompt_format.max_target_length,
    prompt_format.end_ids,
    stops=tuple(stops),
  )
  predictions = []
  for item, ids in zip(encoded, generated, strict=True):
    text = prompt_format.decode(ids)
    if stops:
      text = stop_strings.text_before_stop(text, stops).strip()
    predictions.append(Prediction(item.request, text, item.trimmed))
  return predictions


def _rank_options(
  model: LanguageModel,
  encoded: Sequence[EncodedRequest],
  prompt_format: PromptFormat,
  score: str,
) -> list[Prediction]:
  log_probs = model.score_options(
    [item.prompt for item in encoded], [item.options for item in encoded]
  )
  option_scores = _option_scores(
    model, encoded, log_probs, prompt_format, score
  )
  predictions = []
  for item, of_options, ranked in zip(
    encoded, log_probs, option_scores, strict=True
  ):
    choice = int(np.argmax(ranked))
    predictions.append(
      Prediction(
        request=item.request,
        answer=item.request.example.options[choice],
        trimmed=item.trimmed,
        choice=choice,
        log_probs=tuple(of_options.tolist()),
        option_scores=tuple(ranked.tolist()),
      )
    )
  return predictions


def _option_scores(
  model: LanguageModel,
  encoded: Sequence[EncodedRequest],
  log_probs: Sequence[np.ndarray],
  prompt_format: PromptFormat,
  score: str,
) -> list[np.ndarray]:
  """Returns the score of each option of each request."""
  texts = [item.request.example.options for item in encoded]
  if score == "sum":
    return list(log_probs)
  if score == "per_token":
    lengths = [list(map(len, item.options)) for item in encoded]
    return [x / n for x, n in zip(log_probs, lengths, strict=True)]
  if score == "per_character":
    lengths = [list(map(len, options)) for options in texts]
    return [x / n for x, n in zip(log_probs, lengths, strict=True)]
  distinct = sorted({text for options in texts for text in options})
  alone = _unconditional_log_probs(model, distinct, prompt_format)
  return [
    x - [alone[text] for text in options]
    for x, options in zip(log_probs, texts, strict=True)
  ]


def _unconditional_log_probs(
  model: LanguageModel, options: Sequence[str], prompt_format: PromptFormat
) -> dict[str, float]:
  """Returns the log-probability of each option after an empty prompt."""
  # One request per option: the tokens of an option may depend on the other
  # options of its request.
  requests = [Request(Example(0, (text,), (text,), 0), "") for text in options]
  encoded = encode_requests(requests, prompt_format)
  log_probs = model.score_options(
    [item.prompt for item in encoded], [item.options for item in encoded]
  )
  return {text: float(x) for text, (x,) in zip(options, log_probs, strict=True)}
