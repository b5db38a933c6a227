"""Training examples of a task as token ids, held in memory in flat arrays.

`build_table` reads a task's rows, renders each with its template and encodes
prompt and target (`flan_tf.data.encoded_examples`). Every row is counted: those
that became examples, and those that were left out or truncated.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf.data import (
  encoded_examples,
  prompts,
  random_draws,
  row_ranges,
  rows,
)
from flan_tf.data.prepared_dataset import PreparedDataset
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.task import schema

_BATCH = 256  # Texts tokenized at once: seven times faster than one by one.


@dataclasses.dataclass
class RowCounts:
  """Counts of a task's data-set rows, by what became of them.

  Attributes:
    rows: rows read. With templates it is the sum of `examples`, `left_out`,
      `hidden_label`, `empty_target` and `too_long`.
    examples: examples to train on.
    tokens: tokens of all examples.
    left_out: rows that the task's field function left out (keep=False).
    hidden_label: rows whose label is not public.
    empty_target: rows whose target has no tokens.
    too_long: examples left out because of their length (overflow "skip").
    trimmed_inputs: examples that lost a part of their prompt.
    trimmed_targets: examples that lost the end of their target.
    duplicates: rows whose text came before; only counted for plain text.
  """

  rows: int = 0
  examples: int = 0
  tokens: int = 0
  left_out: int = 0
  hidden_label: int = 0
  empty_target: int = 0
  too_long: int = 0
  trimmed_inputs: int = 0
  trimmed_targets: int = 0
  duplicates: int = 0

  def as_dict(self) -> dict[str, int]:
    """Returns the counts by name."""
    return dataclasses.asdict(self)

  def describe(self) -> str:
    """Returns text such as "40 rows, 36 left out, 4 too long"."""
    return ", ".join(
      f"{count} {name.replace('_', ' ')}"
      for name, count in self.as_dict().items()
      if count
    )


@dataclasses.dataclass(frozen=True)
class ExampleTable:
  """The examples of one task, one after another.

  Attributes:
    ids: int32 [tokens], all examples.
    offsets: int64 [examples + 1]; example i is ids[offsets[i]:offsets[i + 1]].
    prompt_lengths: int32 [examples]; tokens before the loss starts.
    row_indices: int64 [examples]; the number of the data-set row that each
      example was made from.
  """

  ids: np.ndarray
  offsets: np.ndarray
  prompt_lengths: np.ndarray
  row_indices: np.ndarray

  def __len__(self) -> int:
    return len(self.prompt_lengths)

  @property
  def lengths(self) -> np.ndarray:
    """Tokens of each example: int64 [examples]."""
    return np.diff(self.offsets)

  def example(self, index: int) -> np.ndarray:
    """Returns the ids of one example."""
    return self.ids[self.offsets[index] : self.offsets[index + 1]]

  def prepend(self, count: int, token_id: int) -> "ExampleTable":
    """Returns a table with `count` more tokens, without loss, per example.

    Args:
      count: number of tokens put before each example.
      token_id: the id of these tokens.
    """
    positions = np.repeat(self.offsets[:-1], count)
    return dataclasses.replace(
      self,
      ids=np.insert(self.ids, positions, np.int32(token_id)),
      offsets=self.offsets + count * np.arange(len(self.offsets)),
      prompt_lengths=self.prompt_lengths + np.int32(count),
    )


class TableWriter:
  """Collects examples into an ExampleTable."""

  def __init__(self):
    self._ids: list[np.ndarray] = [np.zeros(0, np.int32)]
    self._lengths: list[np.ndarray] = [np.zeros(0, np.int64)]
    self._prompt_lengths: list[np.ndarray] = [np.zeros(0, np.int32)]
    self._row_indices: list[np.ndarray] = [np.zeros(0, np.int64)]

  def add(self, ids: np.ndarray, prompt_length: int, row_index: int) -> None:
    """Adds one example."""
    self.extend(ids, [len(ids)], [prompt_length], [row_index])

  def extend(
    self, ids: Any, lengths: Any, prompt_lengths: Any, row_indices: Any
  ) -> None:
    """Adds examples whose ids follow one another in `ids`."""
    self._ids.append(np.asarray(ids, np.int32))
    self._lengths.append(np.asarray(lengths, np.int64))
    self._prompt_lengths.append(np.asarray(prompt_lengths, np.int32))
    self._row_indices.append(np.asarray(row_indices, np.int64))

  def table(self) -> ExampleTable:
    """Returns the examples that were added."""
    lengths = np.concatenate(self._lengths)
    return ExampleTable(
      ids=np.concatenate(self._ids),
      offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
      prompt_lengths=np.concatenate(self._prompt_lengths),
      row_indices=np.concatenate(self._row_indices),
    )


def build_table(
  task: schema.Task,
  dataset: PreparedDataset,
  row_range: row_ranges.RowRange,
  prompt_format: PromptFormat,
  seed: int,
  shuffle_labels: bool = False,
) -> tuple[ExampleTable, RowCounts]:
  """Reads, renders and encodes the training rows of a task.

  `random_draws.draw_index` chooses the template of each row.

  Args:
    task: the task.
    dataset: the task's data set.
    row_range: the rows to read.
    prompt_format: how prompts and targets become ids. Space for its soft prompt
      is not included; see `ExampleTable.prepend`.
    seed: of the choice of templates and of the shuffled labels.
    shuffle_labels: a control; every answer is drawn at random, from the row's
      options or (for a generation) from the rows read with it.

  Raises:
    rows.DataCorruptionError: a file cannot be read.
  """
  counts, writer = RowCounts(), TableWriter()
  with rows.naming_corrupt_files(dataset, row_range.split):
    for slots in read_slot_batches(
      task, dataset, row_range, seed, shuffle_labels
    ):
      row_indices = slots[rows.ROW_INDEX].numpy()
      keep = slots[prompts.KEEP].numpy()
      usable = keep & ~slots[prompts.HIDDEN].numpy()
      templates = random_draws.draw_index(
        seed, task.name, row_indices, len(task.templates)
      )
      inputs, targets = prompts.render(task, slots, templates)
      examples = encoded_examples.encode_examples(
        tf.boolean_mask(inputs, usable),
        tf.boolean_mask(targets, usable),
        prompt_format,
      )
      writer.extend(
        examples.ids,
        examples.lengths,
        examples.prompt_lengths,
        row_indices[usable][examples.kept],
      )
      counts.rows += len(keep)
      counts.left_out += int(np.sum(~keep))
      counts.hidden_label += int(np.sum(keep & ~usable))
      counts.empty_target += examples.empty_targets
      counts.too_long += examples.too_long
      counts.trimmed_inputs += examples.trimmed_inputs
      counts.trimmed_targets += examples.trimmed_targets
      counts.examples += len(examples.lengths)
      counts.tokens += len(examples.ids)
  return writer.table(), counts


def read_slot_batches(
  task: schema.Task,
  dataset: PreparedDataset,
  row_range: row_ranges.RowRange,
  seed: int,
  shuffle_labels: bool = False,
) -> Iterator[prompts.Slots]:
  """Yields slots and `row_index` of a task's rows in batches, each [batch].

  One graph per task turns rows into slots. The later steps work on batches and
  run eagerly, because tracing a graph of them would take longer.
  """

  def fill(row):
    slots = prompts.fill_slots(task, row)
    if shuffle_labels and task.kind is schema.TaskKind.CLASSIFICATION:
      slots |= _random_option(seed, task, slots, row[rows.ROW_INDEX])
    # Options and references differ in number from row to row.
    del slots[prompts.OPTIONS], slots[prompts.REFERENCES]
    return {**slots, rows.ROW_INDEX: row[rows.ROW_INDEX]}

  read = rows.read_rows(dataset, row_range, fill)
  for batch in read.batch(_BATCH).prefetch(2):
    if shuffle_labels and task.kind is schema.TaskKind.GENERATION:
      batch = {**batch, **_permuted_answers(seed, task, batch)}
    yield batch


def _random_option(seed, task, slots, row_index) -> prompts.Slots:
  """Draws a random option as the answer of an example, as a control."""
  options = slots[prompts.OPTIONS]
  # A number below 2^30 first, since options differ in number.
  drawn = random_draws.draw_index(
    seed, f"{task.name}/label", row_index, 1 << 30
  )
  index = drawn % tf.maximum(tf.size(options, tf.int64), 1)
  # A hidden label stays hidden.
  hidden = slots[prompts.HIDDEN]
  return {
    prompts.ANSWER_INDEX: tf.where(hidden, tf.constant(-1, tf.int64), index),
    schema.ANSWER_SLOT: tf.where(hidden, "", options[index]),
  }


def _permuted_answers(seed, task, batch) -> prompts.Slots:
  """Shuffles the answers of a batch among its rows; each row gets one."""
  drawn = random_draws.draw_index(
    seed, f"{task.name}/label", batch[rows.ROW_INDEX], 1 << 30
  )
  answers = tf.gather(batch[schema.ANSWER_SLOT], tf.argsort(drawn, stable=True))
  return {schema.ANSWER_SLOT: answers}
