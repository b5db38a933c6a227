"""Global batches of packed rows, the same for any number of hosts.

A batch is a pure function of (tables, mixture, seed, position): every host
computes the same global batch and takes its rows of it. The position is two
numbers, so a run resumes where it stopped without replaying anything.
"""

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from flan_tf.data import example_table, mixture, packing


class BatchState(NamedTuple):
  """Where the next batch starts: a block of the mixture and a row of it."""

  block: int = 0
  row: int = 0

  def to_json(self) -> dict[str, int]:
    return {"block": int(self.block), "row": int(self.row)}

  @classmethod
  def from_json(cls, value: Mapping[str, int]) -> "BatchState":
    return cls(int(value["block"]), int(value["row"]))


@dataclasses.dataclass(frozen=True)
class Batch:
  """Rows to train on, and where the batch behind them starts.

  Attributes:
    features: `packing.FEATURES`, each [rows, length].
    state: of the next batch. Save it with the weights that this one gave.
    names: the tasks that `task_ids` numbers.
  """

  features: dict[str, np.ndarray]
  state: BatchState
  names: tuple[str, ...]

  @property
  def fill(self) -> float:
    """Share of the positions that hold a token."""
    return float((self.features["segment_ids"] > 0).mean())

  @property
  def tokens_per_task(self) -> dict[str, int]:
    """Tokens of each task, prompts included."""
    here = self.features["task_ids"][self.features["segment_ids"] > 0]
    count = np.bincount(here, minlength=len(self.names))
    return dict(zip(self.names, count.tolist(), strict=True))


class Batches:
  """Endless iterator of global batches. Not for several threads at once."""

  def __init__(
    self,
    tables: Mapping[str, example_table.TokenTable],
    rates: Mapping[str, int],
    batch_rows: int,
    row_length: int,
    seed: int,
    bos_id: int | None,
    pad_id: int = 0,
    state: BatchState | None = None,
    block_examples: int = mixture.BLOCK_EXAMPLES,
  ):
    """Starts at `state`, or at the beginning.

    Args:
      tables: task name -> examples. Empty tables are left out.
      rates: task name -> mixing rate, for the tables at least.
      batch_rows: rows of a global batch.
      row_length: tokens of a row.
      seed: of the order; the same for all hosts.
      bos_id: the vocabulary's `start_id`.
      pad_id: of the vocabulary.
      state: of the batch to start with.
      block_examples: draws that are packed together.

    Raises:
      ValueError: no table has an example, or sizes that cannot be.
    """
    if batch_rows < 1:
      raise ValueError(f"batch_rows is {batch_rows}; it must be 1 or more.")
    tables = {name: table for name, table in tables.items() if len(table)}
    self._mixture = mixture.Mixture(
      sizes={name: len(table) for name, table in tables.items()},
      rates={name: rates[name] for name in tables},
      seed=seed,
      block_examples=block_examples,
    )
    self._tables = list(tables.values())
    self._lengths = [table.lengths for table in self._tables]
    self._batch_rows = batch_rows
    self._row_length = row_length
    self._seed = seed
    self._bos_id, self._pad_id = bos_id, pad_id
    self._state = state or BatchState()
    self._block: tuple[int, Any] = (-1, None)

  @property
  def state(self) -> BatchState:
    """Where the next batch starts."""
    return self._state

  @property
  def names(self) -> tuple[str, ...]:
    """The tasks by their number in `task_ids`."""
    return self._mixture.names

  def __iter__(self) -> Iterator[Batch]:
    return self

  def __next__(self) -> Batch:
    parts, missing = [], self._batch_rows
    block, row = self._state
    while missing:
      rows, task_numbers, examples = self._packed(block)
      taken = rows[row : row + missing]
      parts.append(
        packing.fill_rows(
          taken,
          self._tables,
          task_numbers,
          examples,
          self._row_length,
          self._bos_id,
          self._pad_id,
        )
      )
      missing -= len(taken)
      row += len(taken)
      if row >= len(rows):
        block, row = block + 1, 0
    self._state = BatchState(block, row)
    features = {
      name: np.concatenate([part[name] for part in parts])
      for name in packing.FEATURES
    }
    return Batch(features, self._state, self.names)

  def _packed(self, block: int):
    """Rows of a block in training order, its task numbers and examples."""
    if self._block[0] != block:
      task_numbers, examples = self._mixture.block(block)
      lengths = np.empty(len(examples), np.int64)
      for number, of_task in enumerate(self._lengths):
        here = task_numbers == number
        lengths[here] = of_task[examples[here]]
      rows = packing.plan_rows(lengths, self._row_length)
      # Packing puts the longest first; training should not.
      order = mixture.generator(self._seed, "rows", block)
      rows = [rows[i] for i in order.permutation(len(rows))]
      self._block = (block, (rows, task_numbers, examples))
    return self._block[1]


class Prefetcher:
  """Runs an iterator in a thread, a few items ahead.

  An exception in the thread is raised where its item would have come. Close it
  (or use `with`) to stop the thread.
  """

  def __init__(
    self, items: Iterator[Any], size: int = 4, fn: Callable | None = None
  ):
    """Takes over `items`; `fn` is applied to each in the thread."""
    self._queue: queue.Queue = queue.Queue(max(1, size))
    self._stop = threading.Event()
    self._done = False
    self._thread = threading.Thread(
      target=self._run, args=(items, fn), name="prefetch", daemon=True
    )
    self._thread.start()

  def __iter__(self) -> "Prefetcher":
    return self

  def __next__(self) -> Any:
    kind: str = "end"
    value: Any = None
    while not self._done:
      try:
        kind, value = self._queue.get(timeout=0.1)
        break
      except queue.Empty:
        continue  # it may have been closed meanwhile
    if kind == "item":
      return value
    self._done = True
    if kind == "error":
      raise value
    raise StopIteration

  def __enter__(self) -> "Prefetcher":
    return self

  def __exit__(self, *exc) -> None:
    self.close()

  def close(self) -> None:
    """Stops the thread; may be called twice."""
    self._stop.set()
    self._done = True
    while self._thread.is_alive():
      try:
        self._queue.get_nowait()  # a thread that waits for room gets some
      except queue.Empty:
        self._thread.join(0.02)

  def _run(self, items: Iterator[Any], fn: Callable | None) -> None:
    try:
      for item in items:
        self._put("item", fn(item) if fn else item)
        if self._stop.is_set():
          return
      self._put("end", None)
    except BaseException as error:  # it is raised again by the reader
      self._put("error", error)

  def _put(self, kind: str, value: Any) -> None:
    while not self._stop.is_set():
      try:
        return self._queue.put((kind, value), timeout=0.1)
      except queue.Full:
        continue
