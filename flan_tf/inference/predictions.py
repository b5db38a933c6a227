"""Requests in, answers out: ranked options, or continuations.

    score           an option's value
    sum             log p(option | prompt), the paper's
    per_token       the same / tokens of the option
    per_character   the same / characters of the option
    unconditional   log p(option | prompt) - log p(option | an empty prompt)

Tokens are those that have a probability: what ends an answer among them.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_tf import name_lists
from flan_tf.config import SCORES
from flan_tf.data import prompt_format, requests
from flan_tf.inference import stop_strings
from flan_tf.inference.language_model import LanguageModel
from flan_tf.task import schema


@dataclasses.dataclass(frozen=True)
class Prediction:
  """One answered request.

  Attributes:
    request: what was asked.
    text: the answer.
    trimmed: whether the prompt was too long and lost a part.
    choice: of a classification, the index of the answer among the options.
    scores: of a classification, the log-probability of each option.
    values: what the options were ranked by; `scores` where it is their sum.
  """

  request: requests.Request
  text: str
  trimmed: bool
  choice: int | None = None
  scores: tuple[float, ...] = ()
  values: tuple[float, ...] = ()


def predict(
  model: LanguageModel,
  task: schema.Task,
  asked: Sequence[requests.Request],
  limits: prompt_format.Limits,
  stops: Sequence[str] = (),
  score: str = "sum",
) -> list[Prediction]:
  """Answers requests: the best option, or a greedy continuation.

  Equal options: the first one of them. A continuation ends where one of
  `stops` begins.

  Args:
    model: what answers.
    task: classifications are ranked, generations continued.
    asked: the requests.
    limits: lengths and separator.
    stops: texts that end a continuation.
    score: one of SCORES.

  Raises:
    ValueError: an unknown score, or an option without tokens.
  """
  if score not in SCORES:
    raise ValueError(name_lists.unknown_name("score", score, SCORES))
  tokenized = requests.tokenize_requests(asked, model.vocabulary, limits)
  if task.kind is schema.TaskKind.CLASSIFICATION:
    return _rank(model, tokenized, limits, score)
  new = model.generate(
    [item.prompt for item in tokenized],
    limits.longest_target,
    limits.wrapper(model.vocabulary).ends,
    stops=tuple(stops),
  )

  def text(ids: np.ndarray) -> str:
    found = stop_strings.until(model.vocabulary.decode(ids), stops)
    return found.strip() if stops else found

  return [
    Prediction(item.request, text(ids), item.trimmed)
    for item, ids in zip(tokenized, new, strict=True)
  ]


def _rank(model, tokenized, limits, score) -> list[Prediction]:
  log_probs = model.score_options(
    [item.prompt for item in tokenized], [item.options for item in tokenized]
  )
  asked = [item.request for item in tokenized]
  if score == "sum":
    values = log_probs
  elif score == "per_token":
    sizes = [list(map(len, item.options)) for item in tokenized]
    values = [x / n for x, n in zip(log_probs, sizes, strict=True)]
  elif score == "per_character":
    sizes = [list(map(len, request.options)) for request in asked]
    values = [x / n for x, n in zip(log_probs, sizes, strict=True)]
  else:
    alone = _unconditional(model, asked, limits)
    values = [
      x - [alone[text] for text in request.options]
      for x, request in zip(log_probs, asked, strict=True)
    ]
  answered = []
  for item, found, ranked in zip(tokenized, log_probs, values, strict=True):
    choice = int(np.argmax(ranked))
    answered.append(
      Prediction(
        item.request,
        item.request.options[choice],
        item.trimmed,
        choice,
        tuple(found.tolist()),
        tuple(ranked.tolist()),
      )
    )
  return answered


def _unconditional(model, asked, limits) -> dict[str, float]:
  """The log-probability of each option's text behind an empty prompt."""
  texts = sorted({text for request in asked for text in request.options})
  # Each for itself: no option's pieces depend on the others.
  nothing = [requests.Request(0, "", (text,), 0, (text,)) for text in texts]
  items = requests.tokenize_requests(nothing, model.vocabulary, limits)
  found = model.score_options(
    [item.prompt for item in items], [item.options for item in items]
  )
  return {text: float(x) for text, (x,) in zip(texts, found, strict=True)}


def limits_of(model: LanguageModel) -> prompt_format.Limits:
  """The lengths and the separator of a model's run."""
  data = model.run.data
  return prompt_format.Limits(
    input_length=data.input_length,
    target_length=data.target_length,
    row_length=data.length - model.run.adapter.soft_prompt,
    overflow=prompt_format.Overflow(data.overflow),
    separator=prompt_format.Separator(data.separator),
    chat=model.run.chat,
  )
