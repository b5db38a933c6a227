"""Packs the examples of a block into packed rows of one length.

Examples [5 6 1 7 1] with a prompt of 3 tokens and [8 1 9 1] with a prompt of 2,
in a packed row of 12 tokens, with the start id 0:

    targets       5 6 1 7 1 8 1 9 1 0 0 0
    inputs        0 5 6 1 7 0 8 1 9 0 0 0    shifted within each segment
    loss_weights  0 0 0 1 1 0 0 1 1 0 0 0    1 where there is a loss
    segment_ids   1 1 1 1 1 2 2 2 2 0 0 0    0 is padding
    positions     0 1 2 3 4 0 1 2 3 0 0 0
    task_ids      3 3 3 3 3 7 7 7 7 0 0 0    number of the task
"""

import bisect
from collections.abc import Sequence

import numpy as np

from flan_tf.data import example_table

# Names and types of a batch's arrays, each [packed rows, row length].
FEATURES = {
  "inputs": np.int32,
  "targets": np.int32,
  "loss_weights": np.float32,
  "segment_ids": np.int32,
  "positions": np.int32,
  "task_ids": np.int32,
}


def choose_packed_rows(lengths: np.ndarray, row_length: int) -> list[list[int]]:
  """Assigns examples to packed rows, by best-fit decreasing.

  Examples are taken in the order of decreasing length. Each goes to the packed
  row with the least room that still holds it.

  Args:
    lengths: int [n], each from 1 to `row_length`.
    row_length: tokens of a packed row.

  Returns:
    The examples of each packed row, in ascending order. Every example is in
    exactly one packed row.

  Raises:
    ValueError: an example does not fit into a packed row.
  """
  lengths = np.asarray(lengths)
  if len(lengths) and (lengths.max() > row_length or lengths.min() < 1):
    raise ValueError(
      f"Examples of {lengths.min()} to {lengths.max()} tokens do not fit into"
      f" rows of {row_length}; expected 1 to {row_length}."
    )
  packed_rows: list[list[int]] = []
  # The packed rows with so many free tokens.
  rows_by_room: list[list[int]] = [[] for _ in range(row_length + 1)]
  rooms: list[
    int
  ] = []  # The values of `room` that some packed row has, sorted.
  # A stable order: equal lengths stay in the order in which they were drawn.
  for example in np.argsort(-lengths, kind="stable").tolist():
    length = int(lengths[example])
    best = bisect.bisect_left(rooms, length)
    if best == len(rooms):
      row, room = len(packed_rows), row_length
      packed_rows.append([])
    else:
      room = rooms[best]
      row = rows_by_room[room].pop()
      if not rows_by_room[room]:
        del rooms[best]
    packed_rows[row].append(example)
    room -= length
    if room:
      if not rows_by_room[room]:
        bisect.insort(rooms, room)
      rows_by_room[room].append(row)
  return [sorted(row) for row in packed_rows]


def fill_packed_rows(
  packed_rows: Sequence[Sequence[int]],
  tables: Sequence[example_table.ExampleTable],
  task_numbers: np.ndarray,
  examples: np.ndarray,
  row_length: int,
  start_id: int | None,
  pad_id: int,
) -> dict[str, np.ndarray]:
  """Builds the arrays of packed rows.

  Args:
    packed_rows: the draws in each packed row, from `choose_packed_rows`.
    tables: one per task.
    task_numbers: int [draws], the index in `tables` of each draw.
    examples: int [draws], the example in that table.
    row_length: tokens of a packed row.
    start_id: the input at the start of each segment. If it is None, that
      position is padding, and the first token of the segment is an input only.
    pad_id: input and target at positions of padding.

  Returns:
    FEATURES, each [len(packed_rows), row_length].
  """
  shape = [len(packed_rows), row_length]
  out = {name: np.zeros(shape, dtype) for name, dtype in FEATURES.items()}
  out["inputs"].fill(pad_id)
  out["targets"].fill(pad_id)
  for number, draws in enumerate(packed_rows):
    start = 0
    for segment, draw in enumerate(draws, 1):
      table, example = tables[task_numbers[draw]], examples[draw]
      ids = table.example(example)
      stop = start + len(ids)
      loss_start = start + table.prompt_lengths[example]
      out["targets"][number, start:stop] = ids
      out["inputs"][number, start] = pad_id if start_id is None else start_id
      out["inputs"][number, start + 1 : stop] = ids[:-1]
      out["loss_weights"][number, loss_start:stop] = 1
      out["segment_ids"][number, start:stop] = segment
      out["positions"][number, start:stop] = np.arange(len(ids))
      out["task_ids"][number, start:stop] = task_numbers[draw]
      if start_id is None:
        out["targets"][number, start] = pad_id
        out["loss_weights"][number, start] = 0
        out["segment_ids"][number, start] = 0
        out["task_ids"][number, start] = 0
        out["positions"][number, start + 1 : stop] -= 1
      start = stop
  return out
