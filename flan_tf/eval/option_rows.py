"""Prompts with their options behind them, as rows that a model scores.

The options of a prompt are branches of one tree, so that the prompt is read
once. Trees are packed into rows, and rows into calls of few different shapes,
as each shape is a program of its own:

    prompt 5 6 7, options 8 9 and 3, start 0     inputs      0 5 6 7 8 7
                                                 segment_ids 1 1 1 1 1 1
                                                 positions   0 1 2 3 4 3
                                                 branches    0 0 0 1 1 2
    only these columns go through the            columns           3 4 5
    output layer                                 targets           8 9 3

A trunk's last token is the input of the first target of each branch.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan_tf.data import packing

# Rows of fewer tokens are not worth a program of their own.
_SHORTEST_ROW = 128


@dataclasses.dataclass(frozen=True)
class Tree:
  """A prompt with some of its options behind it, as one segment of a row.

  Attributes:
    prompt: its number.
    first: number of the first of these options.
    trunk: int32 [n], the inputs before the first target, one at least.
    branches: the options, int32 [m] each.
  """

  prompt: int
  first: int
  trunk: np.ndarray
  branches: list[np.ndarray]

  def __len__(self) -> int:
    return len(self.trunk) - 1 + self.scored

  @property
  def scored(self) -> int:
    """Tokens of the options."""
    return sum(map(len, self.branches))


class Shape(NamedTuple):
  """Sizes of a call: rows, tokens in a row, and those of them scored."""

  rows: int
  length: int
  scored: int


class Place(NamedTuple):
  """Option `option` of `prompt` is scored at [row, begin:end]."""

  prompt: int
  option: int
  row: int
  begin: int
  end: int


@dataclasses.dataclass(frozen=True)
class Call:
  """Rows that are scored at once.

  Attributes:
    shape: see Shape.
    trees: those of each row; the last rows may be empty.
  """

  shape: Shape
  trees: list[list[Tree]]

  def fill(self) -> tuple[list[np.ndarray], list[Place]]:
    """The arrays of the drawing above, and where each option's scores are.

    Returns:
      (inputs, segment_ids, positions, branches, each int32 [rows, length],
      columns and targets, int32 [rows, scored]), and the places.
    """
    rows, length, scored = self.shape
    tokens = np.zeros([4, rows, length], np.int32)
    inputs, segment_ids, positions, branches = tokens
    columns, targets = np.zeros([2, rows, scored], np.int32)
    places = []
    for row, trees in enumerate(self.trees):
      begin = done = 0
      for segment, tree in enumerate(trees, start=1):
        *trunk, last = tree.trunk
        end = begin + len(trunk)
        inputs[row, begin:end] = trunk
        positions[row, begin:end] = np.arange(len(trunk))
        segment_ids[row, begin : begin + len(tree)] = segment
        for branch, ids in enumerate(tree.branches):
          begin, end = end, end + len(ids)
          inputs[row, begin:end] = [last, *ids[:-1]]
          positions[row, begin:end] = len(trunk) + np.arange(len(ids))
          branches[row, begin:end] = branch + 1
          now = done + len(ids)
          columns[row, done:now] = np.arange(begin, end)
          targets[row, done:now] = ids
          option = tree.first + branch
          places.append(Place(tree.prompt, option, row, done, now))
          done = now
        begin = end
    return [*tokens, columns, targets], places


def plan(
  trunks: Sequence[np.ndarray],
  options: Sequence[Sequence[np.ndarray]],
  row_length: int,
  batch: int,
  unit: int = 1,
) -> Iterator[Call]:
  """Calls that score all options.

  Args:
    trunks: the inputs before the first target of each prompt's options.
    options: the options of each prompt.
    row_length: the longest row.
    batch: rows of that length in a call; of shorter ones there are more.
    unit: the number of rows in a call is a multiple of it.

  Raises:
    ValueError: a prompt with an option is longer than a row, or empty.
  """
  trees = [
    tree
    for prompt, (trunk, of_prompt) in enumerate(
      zip(trunks, options, strict=True)
    )
    for tree in _split(prompt, trunk, of_prompt, row_length)
  ]
  for length, group in _by_length(trees, row_length, batch * row_length):
    packed = packing.plan_rows(np.array([len(tree) for tree in group]), length)
    at_once = min(
      batch * (row_length // length), unit * _power(-(-len(packed) // unit))
    )
    rows = [[group[i] for i in row] for row in packed]
    most = max(sum(tree.scored for tree in row) for row in rows)
    # An eighth, a half, or all of a row.
    scored = next(
      n for n in (length // 8, length // 2, length) if n >= max(most, 1)
    )
    for start in range(0, len(rows), at_once):
      shape = Shape(at_once, length, scored)
      yield Call(shape, rows[start : start + at_once])


def _split(
  prompt: int,
  trunk: np.ndarray,
  options: Sequence[np.ndarray],
  row_length: int,
) -> Iterator[Tree]:
  """As few trees as hold all options, none longer than a row if it can be."""
  first = 0
  while first < len(options):
    tree = Tree(prompt, first, trunk, [options[first]])
    for option in options[first + 1 :]:
      if len(tree) + len(option) > row_length:
        break
      tree.branches.append(option)
    yield tree
    first += len(tree.branches)


def _by_length(
  trees: Sequence[Tree], row_length: int, tokens: int
) -> Iterator[tuple[int, list[Tree]]]:
  """Trees by the length of their rows: two of a kind fit into the shortest.

  Attention takes time with the square of a row. Fewer trees than fill half a
  call go with longer ones.
  """
  groups: dict[int, list[Tree]] = {}
  for tree in trees:
    length = max(_power(2 * len(tree)), _SHORTEST_ROW)
    groups.setdefault(min(length, row_length), []).append(tree)
  waiting: list[Tree] = []
  for length in sorted(groups):
    waiting += groups[length]
    last = length == max(groups)
    if last or 2 * sum(map(len, waiting)) >= tokens:
      yield length, waiting
      waiting = []


def _power(number: int) -> int:
  """The smallest power of two that is not smaller."""
  return 1 << max(number - 1, 0).bit_length()
