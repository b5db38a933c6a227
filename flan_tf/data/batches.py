"""Global batches of packed rows, the same for any number of hosts.

A batch is a pure function of (tables, rates, seed, position): every host
computes the same global batch and takes its share of the packed rows. The
position consists of two numbers, so a run resumes where it stopped without
replaying anything.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from flan_tf.data import example_table, mixture, packing, random_draws


class BatchState(NamedTuple):
  """A position in the stream of packed rows.

  Attributes:
    block: a block of the mixture.
    row: a packed row of that block.
  """

  block: int = 0
  row: int = 0

  def to_json(self) -> dict[str, int]:
    """Returns a plain dict, for json.dumps."""
    return {"block": int(self.block), "row": int(self.row)}

  @classmethod
  def from_json(cls, value: Mapping[str, int]) -> "BatchState":
    """Reads what `to_json` returned."""
    return cls(int(value["block"]), int(value["row"]))


@dataclasses.dataclass(frozen=True)
class Batch:
  """A global batch of packed rows.

  Attributes:
    features: `packing.FEATURES`, each [batch size, row length].
    state: the position of the next batch. Checkpoints save it together with the
      weights after this batch.
    names: the tasks, in the order of the numbers in `task_ids`.
  """

  features: dict[str, np.ndarray]
  state: BatchState
  names: tuple[str, ...]

  @property
  def fill(self) -> float:
    """The share of the positions that hold a token."""
    return float((self.features["segment_ids"] > 0).mean())

  @property
  def tokens_per_task(self) -> dict[str, int]:
    """The number of tokens of each task, prompts included."""
    task_ids = self.features["task_ids"][self.features["segment_ids"] > 0]
    count = np.bincount(task_ids, minlength=len(self.names))
    return dict(zip(self.names, count.tolist(), strict=True))


class _PackedBlock(NamedTuple):
  """The packed rows of a block of the mixture, in training order.

  Attributes:
    block: number of the block.
    packed_rows: the draws in each packed row.
    task_numbers: int32 [draws], the task of each draw.
    examples: int64 [draws], the example of that task.
  """

  block: int
  packed_rows: list[list[int]]
  task_numbers: np.ndarray
  examples: np.ndarray


class Batches:
  """Endless iterator of global batches; only one thread may use it."""

  def __init__(
    self,
    tables: Mapping[str, example_table.ExampleTable],
    rates: Mapping[str, int],
    batch_size: int,
    row_length: int,
    seed: int,
    start_id: int | None,
    pad_id: int = 0,
    state: BatchState | None = None,
    block_examples: int = mixture.BLOCK_EXAMPLES,
  ):
    """Prepares the mixture; starts at `state`, or at the beginning.

    Args:
      tables: {name of a task: its examples}. Empty tables are left out.
      rates: mixing rates of the tasks in `tables`, by name.
      batch_size: packed rows of a global batch.
      row_length: tokens of a packed row.
      seed: of the order of examples; the same for all hosts.
      start_id: the input at the start of each example; None for none.
      pad_id: fills packed rows.
      state: position of the first batch.
      block_examples: number of draws that are packed together.

    Raises:
      ValueError: no table has an example, or a size is not positive.
    """
    if batch_size < 1:
      raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    tables = {name: table for name, table in tables.items() if len(table)}
    self._mixture = mixture.Mixture(
      sizes={name: len(table) for name, table in tables.items()},
      rates={name: rates[name] for name in tables},
      seed=seed,
      block_examples=block_examples,
    )
    self._tables = list(tables.values())
    self._lengths = [table.lengths for table in self._tables]
    self._batch_size = batch_size
    self._row_length = row_length
    self._seed = seed
    self._start_id, self._pad_id = start_id, pad_id
    self._state = state or BatchState()
    self._packed_block: _PackedBlock | None = None

  @property
  def state(self) -> BatchState:
    """The position of the next batch."""
    return self._state

  @property
  def names(self) -> tuple[str, ...]:
    """The tasks, in the order of the numbers in `task_ids`."""
    return self._mixture.names

  def __iter__(self) -> Iterator[Batch]:
    return self

  def __next__(self) -> Batch:
    stretches, missing = [], self._batch_size
    block, first_row = self._state
    while missing:
      packed = self._pack(block)
      packed_rows = packed.packed_rows[first_row : first_row + missing]
      stretches.append(
        packing.fill_packed_rows(
          packed_rows,
          self._tables,
          packed.task_numbers,
          packed.examples,
          self._row_length,
          self._start_id,
          self._pad_id,
        )
      )
      missing -= len(packed_rows)
      first_row += len(packed_rows)
      if first_row >= len(packed.packed_rows):
        block, first_row = block + 1, 0
    self._state = BatchState(block, first_row)
    features = {
      name: np.concatenate([stretch[name] for stretch in stretches])
      for name in packing.FEATURES
    }
    return Batch(features, self._state, self.names)

  def _pack(self, block: int) -> _PackedBlock:
    """Draws and packs the examples of a block; keeps the last block."""
    if self._packed_block is None or self._packed_block.block != block:
      task_numbers, examples = self._mixture.draws(block)
      lengths = np.empty(len(examples), np.int64)
      for number, task_lengths in enumerate(self._lengths):
        of_task = task_numbers == number
        lengths[of_task] = task_lengths[examples[of_task]]
      packed_rows = packing.choose_packed_rows(lengths, self._row_length)
      # Packing puts the longest examples first; training should not.
      generator = random_draws.random_generator(self._seed, "rows", block)
      packed_rows = [
        packed_rows[i] for i in generator.permutation(len(packed_rows))
      ]
      self._packed_block = _PackedBlock(
        block, packed_rows, task_numbers, examples
      )
    return self._packed_block
