"""Requests: what a model is asked about data-set rows, and the right answers.

rows = read_evaluation_rows(task, dataset, ranges.test).rows   once per task
requests = render_requests(task, rows, template)               per template
encoded = encode_requests(requests, prompt_format)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf.data import prompts, random_draws, row_ranges, rows
from flan_tf.data.prepared_dataset import PreparedDataset
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.task import schema


@dataclasses.dataclass(frozen=True)
class Example:
  """A data-set row to evaluate, with its right answers.

  Attributes:
    row_index: number of the row in its TFDS split.
    references: all right answers, at least one.
    options: the options of a classification in label order; empty for a
      generation.
    answer_index: index of the right option; -1 for a generation.
    group: examples of one group are scored together, e.g. all questions about
      one passage; "" for an example without a group.
    slots: text of each slot that a template may name, `answer` and `options_`
      among them; empty where the prompt is written already.
  """

  row_index: int
  references: tuple[str, ...]
  options: tuple[str, ...] = ()
  answer_index: int = -1
  group: str = ""
  slots: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EvaluationRows:
  """The rows of a task that can be evaluated.

  Attributes:
    rows: the rows with public answers.
    hidden: number of rows whose label, or whose references, are not public.
    left_out: number of rows that the task's field function left out
      (keep=False).
  """

  rows: tuple[Example, ...]
  hidden: int = 0
  left_out: int = 0


@dataclasses.dataclass(frozen=True)
class Request:
  """An example, written with one template.

  Attributes:
    example: the row and its right answers.
    prompt: the text that a model reads, with few-shot exemplars.
    template: index of the template among those of the task.
    part: the part of the data set, "test" or "dev"; "" where it does not
      matter.
    exemplars: number of exemplars in the prompt.
  """

  example: Example
  prompt: str
  template: int = 0
  part: str = ""
  exemplars: int = 0


@dataclasses.dataclass(frozen=True)
class EncodedRequest:
  """A request as token ids.

  Attributes:
    request: the request.
    prompt: int32 [n], with the ids that the prompt format puts around it.
    options: int32 [m] each, none empty; a generation has no options.
    trimmed: whether the prompt or an option was too long, and was cut.
  """

  request: Request
  prompt: np.ndarray
  options: tuple[np.ndarray, ...]
  trimmed: bool


def read_evaluation_rows(
  task: schema.Task,
  dataset: PreparedDataset,
  row_range: row_ranges.RowRange,
  limit: int | None = None,
  seed: int = 0,
  row_indices: np.ndarray | None = None,
) -> EvaluationRows:
  """Reads the rows of a range that have public answers.

  Args:
    task: the task.
    dataset: the task's data set.
    row_range: the rows to read, e.g. `opened_task.ranges.test`.
    limit: the maximum number of usable rows, drawn at random; None takes all.
    seed: of that draw.
    row_indices: int64 [n], the numbers of the rows to read; None reads the
      whole range.

  Raises:
    rows.DataCorruptionError: a file cannot be read.
  """
  examples: list[Example] = []
  hidden = left_out = 0
  slots = _read_slots(task, dataset, row_range, row_indices)
  with rows.naming_corrupt_files(dataset, row_range.split):
    for row in slots.as_numpy_iterator():
      references = tuple(filter(None, map(_text, row[prompts.REFERENCES])))
      if not row[prompts.KEEP]:
        left_out += 1
      elif row[prompts.HIDDEN] or not references:
        hidden += 1
      else:
        examples.append(
          Example(
            row_index=int(row[rows.ROW_INDEX]),
            references=references,
            options=tuple(map(_text, row[prompts.OPTIONS])),
            answer_index=int(row[prompts.ANSWER_INDEX]),
            group=_text(row[prompts.GROUP]),
            slots={
              name: _text(row[name]) for name in sorted(task.available_slots)
            },
          )
        )
  if limit is not None and len(examples) > limit:
    # Not the first rows: files are often sorted by label.
    generator = random_draws.random_generator(seed, "evaluation", task.name)
    chosen = generator.choice(len(examples), limit, replace=False)
    examples = [examples[i] for i in sorted(chosen)]
  return EvaluationRows(tuple(examples), hidden, left_out)


def render_requests(
  task: schema.Task,
  examples: Sequence[Example],
  template: int,
  part: str = "",
) -> list[Request]:
  """Writes the requests of examples in the words of one template.

  Args:
    task: the task of the examples.
    examples: the rows to ask about.
    template: index of the template.
    part: "test" or "dev", kept in each request.

  Raises:
    ValueError: there is no such template, or it is inverse: it does not ask for
      the answer of the task.
  """
  if template not in task.forward_templates:
    raise ValueError(
      f"Task {task.name!r}: template {template} cannot be evaluated. Templates"
      f" that ask for the answer: {list(task.forward_templates)}."
    )
  return [
    Request(example, prompt, template, part)
    for example, (prompt, _) in zip(
      examples,
      render_prompts_and_targets(task, examples, template),
      strict=True,
    )
  ]


def render_prompts_and_targets(
  task: schema.Task, examples: Sequence[Example], template: int
) -> list[tuple[str, str]]:
  """Returns (prompt, target) of each example; inverse templates are allowed."""
  if not examples:
    return []
  slots = {
    name: [example.slots[name] for example in examples]
    for name in examples[0].slots
  }
  templates = tf.fill([len(examples)], template)
  inputs, targets = prompts.render(task, slots, templates)
  return list(
    zip(map(_text, inputs.numpy()), map(_text, targets.numpy()), strict=True)
  )


def encode_requests(
  requests: Sequence[Request], prompt_format: PromptFormat
) -> list[EncodedRequest]:
  """Turns requests into token ids; prompts that are too long are cut.

  No request is left out, even with the overflow "skip". See
  `PromptFormat.encode_options`.

  Raises:
    ValueError: an option has no tokens, so it has no probability.
  """
  encoded = prompt_format.encode_options(
    [request.prompt for request in requests],
    [request.example.options for request in requests],
  )
  after = len(prompt_format.tokenizer.after)
  for request, (_, options, _) in zip(requests, encoded, strict=True):
    example = request.example
    for text, ids in zip(example.options, options, strict=True):
      if len(ids) == after:
        raise ValueError(
          f"Row {example.row_index}: option {text!r} has no tokens, so it"
          f" cannot be ranked. Options: {list(example.options)}."
          f"\n  prompt: {request.prompt[-200:]!r}"
        )
  return [
    EncodedRequest(request, prompt, options, trimmed)
    for request, (prompt, options, trimmed) in zip(
      requests, encoded, strict=True
    )
  ]


def _read_slots(
  task: schema.Task,
  dataset: PreparedDataset,
  row_range: row_ranges.RowRange,
  row_indices: np.ndarray | None,
) -> tf.data.Dataset:
  """Reads the slots of rows: those of a range, or some of them by index."""
  read = rows.read_rows(dataset, row_range)
  if row_indices is not None:
    chosen = np.zeros([len(row_range)], bool)
    chosen[row_indices - row_range.start] = True
    read = read.filter(
      lambda row: tf.constant(chosen)[row[rows.ROW_INDEX] - row_range.start]
    )
  return read.map(
    lambda row: {
      **prompts.fill_slots(task, row),
      rows.ROW_INDEX: row[rows.ROW_INDEX],
    },
    num_parallel_calls=tf.data.AUTOTUNE,
    deterministic=True,
  )


def _text(value: Any) -> str:
  return value.decode("utf-8", "replace")
