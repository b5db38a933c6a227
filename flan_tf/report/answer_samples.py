"""Draws single answers for people to read: rows that tuning won and lost.

The answers are drawn at random, so that nobody picks favorable ones. The number
of answers in each group is counted over all test rows and templates.
"""

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flan_tf.eval.prediction_log import TaskLog
from flan_tf.eval.scored_prediction import ScoredPrediction

# A page holds hundreds of answers. Longer texts are cut in the middle, and only
# the most likely options are shown.
_MAX_PROMPT, _MAX_ANSWER = 2000, 600  # characters
_MAX_OPTIONS = 12

# (template, row): the same key means the same question to each model.
_Key = tuple[int, int]
_Predictions = Mapping[_Key, ScoredPrediction]


@dataclasses.dataclass(frozen=True)
class ShownOption:
  """One option of a classification.

  Attributes:
    text: the option, maybe shortened.
    share: softmax over the options' ranking values, 0 to 1.
    chosen: whether the model chose it.
    right: whether it is a right answer.
  """

  text: str
  share: float
  chosen: bool
  right: bool


@dataclasses.dataclass(frozen=True)
class ShownAnswer:
  """The answer of one model to one prompt.

  Attributes:
    label: label of the model's evaluation.
    text: the answer, maybe shortened.
    right: whether it is right; None if the metric does not say.
    score: its score, 0 to 100.
    options: the options of a classification; empty for a generation.
    more_options: number of options that are not in `options`.
  """

  label: str
  text: str
  right: bool | None
  score: float
  options: tuple[ShownOption, ...] = ()
  more_options: int = 0


@dataclasses.dataclass(frozen=True)
class SampledRow:
  """One test row in one template, with the answer of each model.

  Attributes:
    template: number of the template.
    row: number of the row in its split.
    prompt: the prompt, maybe shortened.
    characters: length of the whole prompt.
    references: the right answers.
    answers: one for each model.
  """

  template: int
  row: int
  prompt: str
  characters: int
  references: tuple[str, ...]
  answers: tuple[ShownAnswer, ...]


@dataclasses.dataclass(frozen=True)
class AnswerGroup:
  """The answers with one outcome.

  Attributes:
    name: "won" or "lost" for two models; "right" or "wrong" for one model,
      "above" or "below" if its metric does not judge single answers.
    definition: a sentence that defines the outcome.
    count: number of answers with it.
    samples: a few of them.
  """

  name: str
  definition: str
  count: int
  samples: tuple[SampledRow, ...]


@dataclasses.dataclass(frozen=True)
class AnswerSamples:
  """Some answers to the test rows of one task.

  Attributes:
    answers: number of pairs of test row and template that each model answered.
    groups: the answers by outcome; empty if there is nothing to show.
    unavailable: reason why there is nothing to show; else empty.
  """

  answers: int = 0
  groups: tuple[AnswerGroup, ...] = ()
  unavailable: str = ""


NOT_SAVED = AnswerSamples(unavailable="The predictions were not saved.")
OTHER_WORDING = AnswerSamples(
  unavailable="The two models were evaluated with different wordings."
)


def draw(
  logs: Mapping[str, TaskLog | None], samples: int = 3, seed: int = 0
) -> AnswerSamples:
  """Counts and draws answers to the test rows of one task.

  Args:
    logs: label -> prediction log, of one model or of two, the untuned one
      first. None if it was not saved.
    samples: maximum number of answers drawn from each group.
    seed: seed of the draw.
  """
  tables: dict[str, _Predictions] = {}
  for label, log in logs.items():
    if log is None:
      return AnswerSamples(
        unavailable=f"The predictions of {label} were not saved."
      )
    tables[label] = log.test
  keys = sorted(set.intersection(*map(set, tables.values())))
  is_classification = all(
    table[key].prediction.choice is not None
    for table in tables.values()
    for key in keys
  )
  scores = {
    label: [_score(table[key], is_classification) for key in keys]
    for label, table in tables.items()
  }
  suffix = "" if is_classification else _score_name(logs)
  groups = tuple(
    AnswerGroup(
      name=outcome.name,
      definition=outcome.definition + suffix,
      count=len(outcome.indices),
      samples=_sample_rows(
        tables, [keys[index] for index in outcome.indices], samples, seed
      ),
    )
    for outcome in _split_by_outcome(scores, is_classification)
  )
  return AnswerSamples(len(keys), groups)


def _score_name(logs: Mapping[str, TaskLog | None]) -> str:
  """Returns the name of the score of a single answer, e.g. ` (rougeL)`."""
  *_, last = logs.values()
  name = last.header.get("line_score") if last else None
  return f" ({name})" if name else ""


def _score(scored: ScoredPrediction, is_classification: bool) -> float:
  """Returns the score of an answer; 1 or 0 for a classification."""
  if is_classification:
    return float(bool(scored.right))
  return 0.0 if math.isnan(scored.score) else scored.score


class _Outcome(NamedTuple):
  name: str
  definition: str
  indices: list[int]


def _split_by_outcome(
  scores: Mapping[str, Sequence[float]], is_classification: bool
) -> list[_Outcome]:
  """Splits answers into two groups; those with equal scores are in none.

  Args:
    scores: label -> score of each answer, for one model or for two.
    is_classification: whether 1 means right and 0 means wrong.
  """
  *labels, tuned = scores
  if labels:
    (base,) = labels
    gains = [b - a for a, b in zip(scores[base], scores[tuned], strict=True)]
    won = [index for index, gain in enumerate(gains) if gain > 0]
    lost = [index for index, gain in enumerate(gains) if gain < 0]
    if is_classification:
      return [
        _Outcome("won", f"{tuned} is right, {base} is wrong", won),
        _Outcome("lost", f"{tuned} is wrong, {base} is right", lost),
      ]
    return [
      _Outcome("won", f"{tuned} scores higher than {base}", won),
      _Outcome("lost", f"{tuned} scores lower than {base}", lost),
    ]
  values = scores[tuned]
  middle = 0.5 if is_classification else sum(values) / max(len(values), 1)
  high = [index for index, value in enumerate(values) if value >= middle]
  low = [index for index, value in enumerate(values) if value < middle]
  if is_classification:
    return [
      _Outcome("right", f"{tuned} is right", high),
      _Outcome("wrong", f"{tuned} is wrong", low),
    ]
  return [
    _Outcome("above", f"{tuned} scores its mean or higher", high),
    _Outcome("below", f"{tuned} scores lower than its mean", low),
  ]


def _sample_rows(
  tables: Mapping[str, _Predictions],
  keys: Sequence[_Key],
  count: int,
  seed: int,
) -> tuple[SampledRow, ...]:
  """Draws up to `count` of the keys, of different rows as far as possible."""
  shuffled = random.Random(seed).sample(keys, len(keys))
  one_per_row = {row: (template, row) for template, row in reversed(shuffled)}
  order = dict.fromkeys([*reversed(one_per_row.values()), *shuffled])
  return tuple(_sampled_row(tables, key) for key in list(order)[:count])


def _sampled_row(tables: Mapping[str, _Predictions], key: _Key) -> SampledRow:
  *_, last = (table[key] for table in tables.values())
  prompt, references = last.request.prompt, last.example.references
  return SampledRow(
    template=last.request.template,
    row=last.example.row_index,
    prompt=_shorten(prompt, _MAX_PROMPT),
    characters=len(prompt),
    references=tuple(
      _shorten(text, _MAX_ANSWER) for text in references[:_MAX_OPTIONS]
    ),
    answers=tuple(
      _shown_answer(label, table[key]) for label, table in tables.items()
    ),
  )


def _shown_answer(label: str, scored: ScoredPrediction) -> ShownAnswer:
  prediction, example = scored.prediction, scored.example
  shares = _softmax(prediction.option_scores)
  right = {example.answer_index} | {
    example.options.index(text)
    for text in example.references
    if text in example.options
  }
  options = [
    ShownOption(
      text=_shorten(text, _MAX_ANSWER),
      share=share,
      chosen=index == prediction.choice,
      right=index in right,
    )
    for index, (text, share) in enumerate(
      zip(example.options, shares, strict=True)
    )
  ]
  if len(options) > _MAX_OPTIONS:
    options.sort(key=lambda option: -option.share)
  return ShownAnswer(
    label=label,
    text=_shorten(prediction.answer, _MAX_ANSWER),
    right=scored.right,
    score=scored.score,
    options=tuple(options[:_MAX_OPTIONS]),
    more_options=max(0, len(options) - _MAX_OPTIONS),
  )


def _softmax(values: Sequence[float]) -> list[float]:
  if not values:
    return []
  highest = max(values)
  powers = [math.exp(value - highest) for value in values]
  return [power / sum(powers) for power in powers]


def _shorten(text: str, limit: int) -> str:
  """Cuts the middle out of a text of more than `limit` characters.

  The result names the number of characters that were cut out.
  """
  if len(text) <= limit:
    return text
  head = limit // 3
  tail = limit - head
  cut = len(text) - limit
  return f"{text[:head]} [... {cut:,} characters ...] {text[-tail:]}"
