"""Single answers for people to read: what tuning won and lost, row by row.

They are drawn at random, so that nobody has picked them; how many there are of
a kind is counted over all test rows and templates.
"""

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence

from flan_tf.eval import prediction_log
from flan_tf.report import comparison

# A page holds hundreds of them: longer texts lose their middle, rows with more
# options the end.
_LONGEST_PROMPT, _LONGEST_ANSWER, _MOST_OPTIONS = 2000, 600, 12

# (template, row): the same question to each model.
_Key = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class ShownOption:
  """One option: its text, and its share of the options' probability, 0 to 1.

  The share is a softmax of what the options were ranked by.
  """

  text: str
  share: float
  chosen: bool
  right: bool


@dataclasses.dataclass(frozen=True)
class ShownAnswer:
  """What one model said; `options` is empty for a generation."""

  label: str
  text: str
  right: bool | None
  score: float
  options: tuple[ShownOption, ...] = ()
  more_options: int = 0


@dataclasses.dataclass(frozen=True)
class ComparedRow:
  """One test row, asked in one wording, and what each model said."""

  template: int
  row: int
  prompt: str
  characters: int
  references: tuple[str, ...]
  answers: tuple[ShownAnswer, ...]


@dataclasses.dataclass(frozen=True)
class ComparedGroup:
  """All answers of a kind.

  Attributes:
    name: e.g. "won".
    about: what makes an answer one of them.
    count: how many there are.
    drawn: a few of them.
  """

  name: str
  about: str
  count: int
  drawn: tuple[ComparedRow, ...]


@dataclasses.dataclass(frozen=True)
class ComparedRows:
  """The answers of a task.

  Attributes:
    asked: how many pairs of test row and template all models have answered.
    kinds: of two models won and lost, of one right and wrong; empty if
      `missing`.
    missing: why there are none, or empty.
  """

  asked: int = 0
  kinds: tuple[ComparedGroup, ...] = ()
  missing: str = ""


def read(
  evaluations: comparison.Evaluations,
  predictions: Sequence[str],
  task: str,
  most: int = 3,
  seed: int = 0,
) -> ComparedRows:
  """Counts and draws the answers of a task's test rows.

  Args:
    evaluations: one to four result sets; the last two are compared.
    predictions: for each the folder of its files of predictions, or "".
    task: its name.
    most: how many of a kind are drawn, of different rows where there are.
    seed: of the draw.

  Raises:
    ValueError: not as many folders as result sets, or a file is not one of
      predictions.
  """
  if not any(predictions):
    return ComparedRows(missing="Predictions were not kept.")
  if len(predictions) != len(evaluations):
    raise ValueError(
      "Expected a folder of predictions for each result set, or none; got"
      f" {len(predictions)} for {len(evaluations)}."
    )
  pair = comparison.last_two(evaluations)
  if pair is not None and not comparison.same_words(*pair):
    return ComparedRows(missing="The two were asked in different words.")
  labels = comparison.labels(evaluations)
  lines = {}
  for label, folder in list(zip(labels, predictions, strict=True))[-2:]:
    try:
      if not folder:
        raise FileNotFoundError
      found = prediction_log.read_task(folder, task)
    except FileNotFoundError:
      return ComparedRows(missing=f"No predictions of {label} were kept.")
    lines[label] = {
      (line.template, line.row): line
      for line in found
      if line.part == prediction_log.TEST
    }
  shared = sorted(set.intersection(*map(set, lines.values())))
  judged = all(
    found[key].choice is not None for found in lines.values() for key in shared
  )
  counts = "" if judged else _what_counts(predictions[-1], task)
  return ComparedRows(
    len(shared),
    tuple(
      ComparedGroup(
        name, about + counts, len(keys), _drawn(lines, keys, most, seed)
      )
      for name, about, keys in _kinds(lines, shared, judged)
    ),
  )


def _what_counts(folder: str, task: str) -> str:
  """What the score of a single answer is, in brackets."""
  score = prediction_log.read_header(folder, task).get("line_score")
  return f" ({score})" if score else ""


def _kinds(
  lines: Mapping[str, Mapping[_Key, prediction_log.PredictionLine]],
  keys: Sequence[_Key],
  judged: bool,
) -> list[tuple[str, str, list[_Key]]]:
  """(name, what it means, its keys); judged if all are right or wrong."""
  *before, tuned = lines
  if not before:
    values = [_value(lines[tuned][key], judged) for key in keys]
    middle = 0.5 if judged else sum(values) / max(len(values), 1)
    high = [k for k, v in zip(keys, values, strict=True) if v >= middle]
    low = [k for k, v in zip(keys, values, strict=True) if v < middle]
    if judged:
      return [
        ("right", f"{tuned} is right", high),
        ("wrong", f"{tuned} is wrong", low),
      ]
    return [
      ("above", f"{tuned} scores its mean or more", high),
      ("below", f"{tuned} scores less than its mean", low),
    ]
  (base,) = before
  gains = [
    _value(lines[tuned][key], judged) - _value(lines[base][key], judged)
    for key in keys
  ]
  won = [k for k, gain in zip(keys, gains, strict=True) if gain > 0]
  lost = [k for k, gain in zip(keys, gains, strict=True) if gain < 0]
  if judged:
    return [
      ("won", f"{tuned} is right, {base} is wrong", won),
      ("lost", f"{tuned} is wrong, {base} is right", lost),
    ]
  return [
    ("won", f"{tuned} scores higher than {base}", won),
    ("lost", f"{tuned} scores lower than {base}", lost),
  ]


def _value(line: prediction_log.PredictionLine, judged: bool) -> float:
  """0 to 1; 0 where there is none."""
  if judged:
    return float(bool(line.right))
  return 0.0 if math.isnan(line.score) else line.score / 100


def _drawn(
  lines: Mapping[str, Mapping[_Key, prediction_log.PredictionLine]],
  keys: Sequence[_Key],
  most: int,
  seed: int,
) -> tuple[ComparedRow, ...]:
  mixed = random.Random(seed).sample(keys, len(keys))
  first = {row: (template, row) for template, row in reversed(mixed)}
  # Different rows first, as far as there are.
  order = dict.fromkeys([*reversed(first.values()), *mixed])
  return tuple(_example(lines, key) for key in list(order)[:most])


def _example(
  lines: Mapping[str, Mapping[_Key, prediction_log.PredictionLine]], key: _Key
) -> ComparedRow:
  asked = list(lines.values())[-1][key]
  return ComparedRow(
    template=key[0],
    row=key[1],
    prompt=_cut(asked.prompt, _LONGEST_PROMPT),
    characters=len(asked.prompt),
    references=tuple(
      _cut(text, _LONGEST_ANSWER) for text in asked.references[:_MOST_OPTIONS]
    ),
    answers=tuple(_answer(label, found[key]) for label, found in lines.items()),
  )


def _answer(label: str, line: prediction_log.PredictionLine) -> ShownAnswer:
  shares = _softmax(line.values)
  right = {line.options.index(x) for x in line.references if x in line.options}
  options = [
    ShownOption(
      text=_cut(text, _LONGEST_ANSWER),
      share=share,
      chosen=index == line.choice,
      right=index in right or index == line.answer_index,
    )
    for index, (text, share) in enumerate(
      zip(line.options, shares, strict=True)
    )
  ]
  # The likeliest of many; else in their own order.
  if len(options) > _MOST_OPTIONS:
    options.sort(key=lambda option: -option.share)
  return ShownAnswer(
    label=label,
    text=_cut(line.answer, _LONGEST_ANSWER),
    right=line.right,
    score=line.score,
    options=tuple(options[:_MOST_OPTIONS]),
    more_options=max(0, len(options) - _MOST_OPTIONS),
  )


def _softmax(values: Sequence[float]) -> list[float]:
  if not values:
    return []
  highest = max(values)
  powers = [math.exp(value - highest) for value in values]
  return [power / sum(powers) for power in powers]


def _cut(text: str, most: int) -> str:
  """Both ends of a text that is too long, and how much is between them."""
  if len(text) <= most:
    return text
  head = most // 3
  tail = most - head
  gone = len(text) - most
  return f"{text[:head]} [... {gone:,} characters ...] {text[-tail:]}"
