"""Held-back rows become requests: what a model is asked, and what is right.

rows = read_evaluation_rows(task, dataset, plan.test)     once a task
asked = prompts_for(task, rows, template)                 once a template
ids = tokenize_requests(asked, vocabulary, limits)
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf.data import mixture, prompt_format, prompts, row_ranges
from flan_tf.data import rows as rows_lib
from flan_tf.task import schema
from flan_tf.vocab.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class EvaluationRow:
  """One row to evaluate.

  Attributes:
    row: its number in the split.
    slots: the texts that templates name, `answer` and `options_` among them.
    options: of a classification, in label order; else empty.
    answer_index: the right option; -1 for a generation.
    references: all right answers, at least one.
    group: rows of one group are judged together; "" if each is alone.
  """

  row: int
  slots: dict[str, str]
  options: tuple[str, ...]
  answer_index: int
  references: tuple[str, ...]
  group: str = ""


@dataclasses.dataclass(frozen=True)
class EvaluationRows:
  """The rows of a task that can be evaluated, and how many could not."""

  rows: tuple[EvaluationRow, ...]
  hidden: int = 0  # the label or all references are not public
  left_out: int = 0  # the task's fields said keep=False


@dataclasses.dataclass(frozen=True)
class Request:
  """One row in one wording, as text; `exemplars` stand before it."""

  row: int
  prompt: str
  options: tuple[str, ...]
  answer_index: int
  references: tuple[str, ...]
  group: str = ""
  exemplars: int = 0


@dataclasses.dataclass(frozen=True)
class TokenRequest:
  """A request as ids, with what the separator puts around its parts.

  Attributes:
    request: what it was made from.
    prompt: int32 [n].
    options: int32 [m] each, none empty; of a generation there are none.
    trimmed: whether the prompt or an option was too long.
  """

  request: Request
  prompt: np.ndarray
  options: tuple[np.ndarray, ...]
  trimmed: bool


def read_evaluation_rows(
  task: schema.Task,
  dataset: rows_lib.Dataset,
  row_range: row_ranges.RowRange,
  limit: int | None = None,
  seed: int = 0,
  only: np.ndarray | None = None,
) -> EvaluationRows:
  """Reads rows with public answers.

  Args:
    task: the task.
    dataset: its data set.
    row_range: a part of the split plan, e.g. `plan.test`.
    limit: at most so many usable rows, drawn at random; None takes all.
    seed: of that draw.
    only: numbers of the rows to read, int64 [n]; None for the whole range.

  Raises:
    rows.DataCorruptionError: a file cannot be read.
  """
  numbered = rows_lib.read_rows(dataset, row_range)
  if only is not None:
    wanted = np.zeros([len(row_range)], bool)
    wanted[only - row_range.start] = True
    numbered = numbered.filter(
      lambda row: tf.constant(wanted)[row[rows_lib.ROW_INDEX] - row_range.start]
    )
  slots = numbered.map(
    lambda row: {
      **prompts.fill_slots(task, row),
      rows_lib.ROW_INDEX: row[rows_lib.ROW_INDEX],
    },
    num_parallel_calls=tf.data.AUTOTUNE,
    deterministic=True,
  )
  found: list[EvaluationRow] = []
  hidden = left_out = 0
  names = task.available_slots
  with rows_lib.naming_corrupt_files(dataset, row_range.split):
    for row in slots.as_numpy_iterator():
      references = tuple(filter(None, map(_text, row[prompts.REFERENCES])))
      if not row[prompts.KEEP]:
        left_out += 1
      elif row[prompts.HIDDEN] or not references:
        hidden += 1
      else:
        found.append(
          EvaluationRow(
            row=int(row[rows_lib.ROW_INDEX]),
            slots={name: _text(row[name]) for name in sorted(names)},
            options=tuple(map(_text, row[prompts.OPTIONS])),
            answer_index=int(row[prompts.ANSWER_INDEX]),
            references=references,
            group=_text(row[prompts.GROUP]),
          )
        )
  if limit is not None and len(found) > limit:
    # Not the first ones: files are often sorted by label.
    draw = mixture.generator(seed, "evaluation", task.name)
    chosen = draw.choice(len(found), limit, replace=False)
    found = [found[i] for i in sorted(chosen)]
  return EvaluationRows(tuple(found), hidden, left_out)


def prompts_for(
  task: schema.Task, rows: Sequence[EvaluationRow], template: int
) -> list[Request]:
  """The rows in one wording.

  Raises:
    ValueError: no such template, or one that turns the task around.
  """
  if template not in task.forward_templates:
    raise ValueError(
      f"Task {task.name!r}: template {template} cannot be evaluated. Those that"
      f" ask for the answer: {list(task.forward_templates)}."
    )
  return [
    Request(
      row=row.row,
      prompt=prompt,
      options=row.options,
      answer_index=row.answer_index,
      references=row.references,
      group=row.group,
    )
    for row, (prompt, _) in zip(
      rows, render_rows(task, rows, template), strict=True
    )
  ]


def render_rows(
  task: schema.Task, rows: Sequence[EvaluationRow], template: int
) -> list[tuple[str, str]]:
  """(prompt, target) of each row; also of a template that turns it around."""
  if not rows:
    return []
  slots = {name: [row.slots[name] for row in rows] for name in rows[0].slots}
  pair = prompts.render(task, slots, tf.fill([len(rows)], template))
  texts = (map(_text, part.numpy()) for part in pair)
  return list(zip(*texts, strict=True))


def tokenize_requests(
  requests: Sequence[Request],
  vocabulary: Vocabulary,
  limits: prompt_format.Limits,
) -> list[TokenRequest]:
  """Requests as ids; nothing is left out, whatever `limits.overflow` says.

  All options of a request share one prompt, cut so that the longest option
  fits behind it. A generation leaves room for `limits.target_length`.

  Raises:
    ValueError: an option has no tokens, so it has no probability.
  """
  overflow = limits.overflow
  if overflow is prompt_format.Overflow.SKIP:
    overflow = prompt_format.Overflow.MIDDLE
  wrapper = limits.wrapper(vocabulary)
  most = limits.longest_target - len(wrapper.after)
  encoded = wrapper.encode_options(
    [request.prompt for request in requests],
    [request.options for request in requests],
  )
  out = []
  for request, (ids, found) in zip(requests, encoded, strict=True):
    for text, option in zip(request.options, found, strict=True):
      if not len(option):
        raise ValueError(
          f"Row {request.row}: option {text!r} has no tokens, so it cannot be"
          f" ranked. Options: {list(request.options)}."
          f"\n  prompt: {request.prompt[-200:]!r}"
        )
    options = [np.concatenate([x[:most], wrapper.after]) for x in found]
    longest = max(map(len, options), default=limits.longest_target)
    room = min(limits.input_length, limits.row_length - longest)
    room -= wrapper.of_prompt
    prompt = wrapper.prompt(prompt_format.cut(ids, room, overflow))
    trimmed = len(ids) > room or any(len(x) > most for x in found)
    out.append(TokenRequest(request, prompt, tuple(options), trimmed))
  return out


def _text(value: Any) -> str:
  return value.decode("utf-8", "replace")
