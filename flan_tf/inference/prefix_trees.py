"""Options after their prompts, as rows of prefix trees that a model scores.

A tree holds texts that begin alike, and the model reads their common beginning
once: the options of a prompt, the questions about a passage, or the queries
after the same exemplars. `tree_packing` chooses the trees and packs them into
rows, and rows into batches.

    prompt 5 6 7, options 8 9 and 3, start 0     inputs     0 5 6 7 8
                                                 positions  0 1 2 3 4
                                                 ends       5 5 5 5 5
    only these columns go through the            columns    3 3 4
    output layer                                 targets    3 8 9

See `flan_tf.model.prefix_tree` for the meaning of ends. The last token of an
option is not an input. A beginning of so many texts that they do not fit into
one row is read once and comes before all rows (`TreeBatch.prefix`).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan_tf.data.prompt_tokenizer import common_prefix_length


@dataclasses.dataclass(frozen=True)
class TreeText:
  """One option after its prompt.

  Attributes:
    prompt: number of the prompt.
    option: number of the option.
    inputs: int32 [n], n > 0: the prompt, and the option without its last token.
    targets: int32 [m], the option; its tokens follow the last m inputs.
  """

  prompt: int
  option: int
  inputs: np.ndarray
  targets: np.ndarray

  @property
  def unscored(self) -> int:
    """Number of inputs before the first one that a target follows."""
    return len(self.inputs) - len(self.targets)


@dataclasses.dataclass(frozen=True)
class PrefixTree:
  """Texts that stand next to each other when sorted, as columns of a row.

  Attributes:
    texts: at least one.
    depth: number of their first inputs that are in the shared prefix.
    size: number of columns.
  """

  texts: Sequence[TreeText]
  depth: int
  size: int

  @property
  def scored(self) -> int:
    """Number of tokens of the options."""
    return sum(len(text.targets) for text in self.texts)


class TreeBatchShape(NamedTuple):
  """The sizes of a batch; each shape is a program of its own.

  Attributes:
    rows: number of rows.
    length: columns of a row.
    scored: tokens of a row that are scored, at most.
    prefix: columns of the shared prefix, 0 without one.
  """

  rows: int
  length: int
  scored: int
  prefix: int = 0


class OptionPlace(NamedTuple):
  """The place of an option's scores: [row, begin:end]."""

  prompt: int
  option: int
  row: int
  begin: int
  end: int


@dataclasses.dataclass(frozen=True)
class TreeBatch:
  """Rows that are scored at once.

  Attributes:
    shape: the sizes.
    trees: the trees of each row; the last rows of a batch may be missing.
    prefix: int32 [n], the shared prefix of all rows; n <= `shape.prefix`.
  """

  shape: TreeBatchShape
  trees: Sequence[Sequence[PrefixTree]]
  prefix: np.ndarray

  def fill(self) -> tuple[list[np.ndarray], list[OptionPlace]]:
    """Returns the arrays that the docstring of the module draws.

    Returns:
      Inputs, positions and ends, each int32 [rows, length], then columns and
      targets, each int32 [rows, scored]; and the places of the options.
    """
    rows, length, scored, _ = self.shape
    tokens = np.zeros([3, rows, length], np.int32)
    columns, targets = np.zeros([2, rows, scored], np.int32)
    places = []
    for row, trees in enumerate(self.trees):
      begin = filled = 0
      for tree in trees:
        for text, path in _write_tree(tree, begin, *tokens[:, row]):
          end = filled + len(text.targets)
          columns[row, filled:end] = path[-len(text.targets) :]
          targets[row, filled:end] = text.targets
          places.append(OptionPlace(text.prompt, text.option, row, filled, end))
          filled = end
        begin += tree.size
    return [*tokens, columns, targets], places


def _write_tree(
  tree: PrefixTree,
  begin: int,
  inputs: np.ndarray,
  positions: np.ndarray,
  ends: np.ndarray,
) -> Iterator[tuple[TreeText, np.ndarray]]:
  """Writes a tree's columns into a row.

  Args:
    tree: the tree.
    begin: its first column.
    inputs: int32 [length], the row's; written to.
    positions: int32 [length], the row's; written to.
    ends: int32 [length], the row's; written to.

  Yields:
    Each text, and the columns of its inputs.
  """
  end, path = begin, np.zeros(0, np.int64)
  previous = np.zeros(0, np.int32)
  for text in tree.texts:
    ids = text.inputs[tree.depth :]
    common = common_prefix_length(previous, ids)
    # The columns that only earlier texts have end here.
    ends[path[common:]] = end
    new = np.arange(end, end + len(ids) - common)
    inputs[new] = ids[common:]
    positions[new] = tree.depth + np.arange(common, len(ids))
    path, previous = np.append(path[:common], new), ids
    end += len(new)
    yield text, path
  ends[path] = end
