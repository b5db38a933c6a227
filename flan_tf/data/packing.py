"""Packs the examples of a block into rows of one length.

Examples [5 6 1 7 1] with a prompt of 3 and [8 1 9 1] with one of 2, in a row
of 12, from a vocabulary that starts with 0:

    targets       5 6 1 7 1 8 1 9 1 0 0 0
    inputs        0 5 6 1 7 0 8 1 9 0 0 0    shifted within each segment
    loss_weights  0 0 0 1 1 0 0 1 1 0 0 0    targets only
    segment_ids   1 1 1 1 1 2 2 2 2 0 0 0    0 is padding
    positions     0 1 2 3 4 0 1 2 3 0 0 0
    task_ids      3 3 3 3 3 7 7 7 7 0 0 0    number of the task
"""

import bisect
from collections.abc import Sequence

import numpy as np

from flan_tf.data import example_table

# Names and types of a batch, each [rows, length].
FEATURES = {
  "inputs": np.int32,
  "targets": np.int32,
  "loss_weights": np.float32,
  "segment_ids": np.int32,
  "positions": np.int32,
  "task_ids": np.int32,
}


def plan_rows(lengths: np.ndarray, length: int) -> list[list[int]]:
  """Best-fit decreasing: each example goes where it leaves least room.

  Args:
    lengths: int [n], each from 1 to `length`.
    length: of a row.

  Returns:
    The examples of each row, in ascending order. Every one is in one row.

  Raises:
    ValueError: an example does not fit into a row.
  """
  lengths = np.asarray(lengths)
  if len(lengths) and (lengths.max() > length or lengths.min() < 1):
    raise ValueError(
      f"Examples of {lengths.min()} to {lengths.max()} tokens do not fit into"
      f" rows of {length}; expected 1 to {length}."
    )
  rows: list[list[int]] = []
  by_room: list[list[int]] = [[] for _ in range(length + 1)]
  rooms: list[int] = []  # those that some row has, ascending
  # A stable order: equal lengths stay in the order in which they were drawn.
  for index in np.argsort(-lengths, kind="stable").tolist():
    need = int(lengths[index])
    at = bisect.bisect_left(rooms, need)
    if at == len(rooms):
      row, room = len(rows), length
      rows.append([])
    else:
      room = rooms[at]
      row = by_room[room].pop()
      if not by_room[room]:
        del rooms[at]
    rows[row].append(index)
    left = room - need
    if left:
      if not by_room[left]:
        bisect.insort(rooms, left)
      by_room[left].append(row)
  return [sorted(row) for row in rows]


def fill_rows(
  rows: Sequence[Sequence[int]],
  tables: Sequence[example_table.TokenTable],
  task_numbers: np.ndarray,
  examples: np.ndarray,
  length: int,
  bos_id: int | None,
  pad_id: int,
) -> dict[str, np.ndarray]:
  """Builds the arrays of some rows.

  Args:
    rows: the draws in each row, as `plan_rows` gives them.
    tables: one a task.
    task_numbers: int [draws], the table of each draw.
    examples: int [draws], the example of that table.
    length: of a row.
    bos_id: the input at the start of each segment. With None that position is
      padding, and the segment starts with its first token as input.
    pad_id: inputs and targets of padding.

  Returns:
    FEATURES, each [len(rows), length].
  """
  out = {
    name: np.zeros([len(rows), length], kind) for name, kind in FEATURES.items()
  }
  out["inputs"].fill(pad_id)
  out["targets"].fill(pad_id)
  for number, row in enumerate(rows):
    start = 0
    for segment, draw in enumerate(row, 1):
      table = tables[task_numbers[draw]]
      example = examples[draw]
      ids = table.example(example)
      stop = start + len(ids)
      out["targets"][number, start:stop] = ids
      out["inputs"][number, start] = pad_id if bos_id is None else bos_id
      out["inputs"][number, start + 1 : stop] = ids[:-1]
      prompt = start + table.prompt_lengths[example]
      out["loss_weights"][number, prompt:stop] = 1
      out["segment_ids"][number, start:stop] = segment
      out["positions"][number, start:stop] = np.arange(len(ids))
      out["task_ids"][number, start:stop] = task_numbers[draw]
      if bos_id is None:
        out["targets"][number, start] = pad_id
        out["loss_weights"][number, start] = 0
        out["segment_ids"][number, start] = 0
        out["task_ids"][number, start] = 0
        out["positions"][number, start + 1 : stop] -= 1
      start = stop
  return out
