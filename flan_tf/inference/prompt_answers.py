"""Answers the user's prompts, and gives each answer its log-probability."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_tf.data.prompt_format import PromptFormat
from flan_tf.data.requests import (
  EncodedRequest,
  Example,
  Request,
  encode_requests,
)
from flan_tf.inference.language_model import LanguageModel
from flan_tf.inference.stop_strings import text_before_stop
from flan_tf.sampling import GREEDY, Sampling
from flan_tf.task import wordings


@dataclasses.dataclass(frozen=True)
class PromptAnswer:
  """The answer to one prompt.

  Attributes:
    prompt: the prompt without markers.
    text: the generated text, or the most likely option.
    log_prob: sum of the log-probabilities of the answer's tokens. They include
      what ended the answer: end-of-text, the end of a turn, or a stop string.
    tokens: number of these tokens.
    ended: True if the model ended the answer, False if it was cut at the
      maximum length.
    trimmed: True if the prompt was too long, and was cut.
    option_log_probs: option -> its log-probability; empty without options.
  """

  prompt: str
  text: str
  log_prob: float
  tokens: int
  ended: bool
  trimmed: bool
  option_log_probs: Mapping[str, float] = dataclasses.field(
    default_factory=dict
  )

  @property
  def probability(self) -> float:
    """Probability of the best option, if the answer is one of the options."""
    odds = [math.exp(x - self.log_prob) for x in self.option_log_probs.values()]
    return 1 / sum(odds)

  def to_json(self) -> dict[str, Any]:
    """Returns the keys that the answer adds to a line of a file of prompts."""
    value = {
      "answer": self.text,
      "log_prob": self.log_prob,
      "tokens": self.tokens,
      "ended": self.ended,
      "trimmed": self.trimmed,
    }
    if self.option_log_probs:
      value["scores"] = dict(self.option_log_probs)
      value["probability"] = self.probability
    return value


def answer_prompts(
  model: LanguageModel,
  prompts: Sequence[str],
  max_new: int = 0,
  markers: str = "",
  options: Sequence[Sequence[str]] = (),
  sampling: Sampling = GREEDY,
  stops: Sequence[str] = (),
  first: int = 0,
) -> list[PromptAnswer]:
  """Continues each prompt, or ranks its options.

  As in an evaluation, options are ranked by the log-probability of all their
  tokens. Among equal options, the first one is chosen.

  Args:
    model: the model. Prompts get the separator of its run.
    prompts: texts.
    max_new: maximum number of new tokens; 0 for the target length of the run.
    markers: texts around a prompt, see `wordings.markers`; empty for those that
      the model was trained with.
    options: options of each prompt; a prompt with empty options is continued.
      Empty if no prompt has options.
    sampling: how tokens are chosen.
    stops: texts that end an answer; they are no part of it.
    first: number of the first prompt. Random draws depend on these numbers.

  Raises:
    NotFiniteError: the model gives log-probabilities or logits that are NaN
      or infinite.
    ValueError: an option has no tokens, or a stop string is empty.
  """
  around = wordings.markers(markers or model.run.data.markers)
  prompt_format = model.prompt_format
  requests = [
    Request(Example(number, (), tuple(of_prompt)), around.join(prompt))
    for number, (prompt, of_prompt) in enumerate(
      zip(prompts, options or [()] * len(prompts), strict=True)
    )
  ]
  encoded = encode_requests(requests, prompt_format)
  continued = [i for i, item in enumerate(encoded) if not item.options]
  longest = prompt_format.max_target_length
  new_ids = model.continuations(
    [encoded[i].prompt for i in continued],
    min(max_new or longest, longest),
    prompt_format.end_ids,
    sampling=sampling,
    stops=stops,
    numbers=[first + i for i in continued],
  )
  by_prompt = dict(zip(continued, new_ids, strict=True))
  candidates = [
    item.options or (by_prompt[i],) for i, item in enumerate(encoded)
  ]
  log_probs = model.score_options([item.prompt for item in encoded], candidates)
  answers = []
  for prompt, item, ids, of_prompt in zip(
    prompts, encoded, candidates, log_probs, strict=True
  ):
    if item.options:
      answers.append(_best_option(prompt, item, of_prompt))
    else:
      (log_prob,) = of_prompt.tolist()
      answer = _continuation(
        prompt, item, ids[0], log_prob, prompt_format, stops
      )
      answers.append(answer)
  return answers


def _best_option(
  prompt: str, encoded: EncodedRequest, log_probs: np.ndarray
) -> PromptAnswer:
  best = int(np.argmax(log_probs))
  texts = encoded.request.example.options
  return PromptAnswer(
    prompt=prompt,
    text=texts[best],
    log_prob=float(log_probs[best]),
    tokens=len(encoded.options[best]),
    ended=True,
    trimmed=encoded.trimmed,
    option_log_probs=dict(zip(texts, log_probs.tolist(), strict=True)),
  )


def _continuation(
  prompt: str,
  encoded: EncodedRequest,
  ids: np.ndarray,
  log_prob: float,
  prompt_format: PromptFormat,
  stops: Sequence[str],
) -> PromptAnswer:
  """Returns the answer for the new ids of a prompt, ends included."""
  has_end = bool(np.isin(ids[-1:], prompt_format.end_ids).any())
  full_text = prompt_format.decode(ids)
  text = text_before_stop(full_text, stops)
  return PromptAnswer(
    prompt=prompt,
    text=text,
    log_prob=log_prob,
    tokens=len(ids),
    ended=has_end or text != full_text,
    trimmed=encoded.trimmed,
  )
