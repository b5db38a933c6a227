"""Prompts with their options behind them, as rows of trees that a model scores.

Texts are sorted, so that those that begin alike stand together; a tree holds
neighbours, and reads what they share once: the options of a prompt, the
questions about a passage, the queries behind the same exemplars. Trees are
packed into rows, and rows into calls of few different shapes, as each shape is
a program of its own:

    prompt 5 6 7, options 8 9 and 3, start 0     inputs     0 5 6 7 8
                                                 positions  0 1 2 3 4
                                                 ends       5 5 5 5 5
    only these columns go through the            columns    3 3 4
    output layer                                 targets    3 8 9

(`flan_tf.model.prefix_tree` says what ends are.) The last token of an option is the
input of nothing. What so many texts begin with that they do not fit into one
row is read once, and kept before all of the rows (`TreeBatch.before`).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan_tf.data import packing, prompt_format

# Of rows; the longest is the caller's.
_LENGTHS = (128, 256, 512, 1024)
# Texts that begin with fewer tokens in common are not worth one tree.
_LEAST_SHARED = 16
# Trees are not longer than that, but for those that share a quarter of it.
_TREE = 512
# What is shared by more texts than fit into a row is kept from so many tokens
# on; below, it is read again in each tree.
_LEAST_KEPT = 64
# Kept tokens are padded to a multiple of it.
_KEPT_MULTIPLE = 256


@dataclasses.dataclass(frozen=True)
class TreeText:
  """An option behind its prompt.

  Attributes:
    prompt: its number.
    option: its number.
    inputs: int32 [n], one at least: the prompt, and the option but its last
      token.
    targets: int32 [m], the option; its tokens come behind the last m inputs.
  """

  prompt: int
  option: int
  inputs: np.ndarray
  targets: np.ndarray

  @property
  def shareable(self) -> int:
    """Inputs before the first that a target comes behind."""
    return len(self.inputs) - len(self.targets)


@dataclasses.dataclass(frozen=True)
class PrefixTree:
  """Neighbours among the sorted texts, as columns of a row.

  Attributes:
    texts: at least one.
    depth: their first inputs that are kept before the row.
    size: columns.
  """

  texts: Sequence[TreeText]
  depth: int
  size: int

  @property
  def scored(self) -> int:
    """Tokens of the options."""
    return sum(len(text.targets) for text in self.texts)


class TreeBatchShape(NamedTuple):
  """Sizes of a call: rows, tokens in a row, tokens scored and tokens kept."""

  rows: int
  length: int
  scored: int
  kept: int = 0


class OptionPlace(NamedTuple):
  """Option `option` of `prompt` is scored at [row, begin:end]."""

  prompt: int
  option: int
  row: int
  begin: int
  end: int


@dataclasses.dataclass(frozen=True)
class TreeBatch:
  """Rows that are scored at once.

  Attributes:
    shape: see Shape.
    trees: those of each row; the last rows may be empty.
    before: int32 [n], what is kept before every row; n <= `shape.kept`.
  """

  shape: TreeBatchShape
  trees: Sequence[Sequence[PrefixTree]]
  before: np.ndarray

  def fill(self) -> tuple[list[np.ndarray], list[OptionPlace]]:
    """The arrays of the drawing above, and where each option's scores are.

    Returns:
      (inputs, positions, ends, each int32 [rows, length], columns and targets,
      int32 [rows, scored]), and the places.
    """
    rows, length, scored, _ = self.shape
    tokens = np.zeros([3, rows, length], np.int32)
    columns, targets = np.zeros([2, rows, scored], np.int32)
    places = []
    for row, trees in enumerate(self.trees):
      begin = done = 0
      for tree in trees:
        for text, path in _grow(tree, begin, *tokens[:, row]):
          now = done + len(text.targets)
          columns[row, done:now] = path[-len(text.targets) :]
          targets[row, done:now] = text.targets
          places.append(OptionPlace(text.prompt, text.option, row, done, now))
          done = now
        begin += tree.size
    return [*tokens, columns, targets], places


def _grow(tree: PrefixTree, begin: int, inputs, positions, ends):
  """Writes a tree's columns; yields each text and the columns of its inputs."""
  end, path = begin, np.zeros(0, np.int64)
  read = np.zeros(0, np.int32)
  for text in tree.texts:
    ids = text.inputs[tree.depth :]
    common = prompt_format.in_common(read, ids)
    # What only the texts before had ends here.
    ends[path[common:]] = end
    new = np.arange(end, end + len(ids) - common)
    inputs[new] = ids[common:]
    positions[new] = tree.depth + np.arange(common, len(ids))
    path, read, end = np.append(path[:common], new), ids, end + len(new)
    yield text, path
  ends[path] = end


def pack_trees(
  trunks: Sequence[np.ndarray],
  options: Sequence[Sequence[np.ndarray]],
  row_length: int,
  batch: int,
  unit: int = 1,
) -> Iterator[TreeBatch]:
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
  texts = [
    TreeText(prompt, option, np.concatenate([trunk, ids[:-1]]), ids)
    for prompt, (trunk, of_prompt) in enumerate(
      zip(trunks, options, strict=True)
    )
    for option, ids in enumerate(of_prompt)
  ]
  for text in texts:
    if not len(text.targets) or len(text.inputs) > row_length:
      raise ValueError(
        f"Option {text.option} of prompt {text.prompt}: {len(text.inputs)}"
        f" tokens, {len(text.targets)} of them to score, do not fit into rows"
        f" of {row_length}; expected one or more to score, and no more than a"
        " row holds."
      )
  apart: list[PrefixTree] = []
  for kept, trees in _Planner(texts, row_length).groups():
    if len(kept):
      yield from _calls(trees, row_length, batch, unit, kept)
    else:
      apart += trees
  yield from _calls(apart, row_length, batch, unit, np.zeros(0, np.int32))


class _Planner:
  """Splits sorted texts into trees that fit into rows."""

  def __init__(self, texts: Sequence[TreeText], row_length: int):
    # Big-endian bytes sort as the ids do.
    keys = [text.inputs.astype(">u4").tobytes() for text in texts]
    order = sorted(range(len(texts)), key=lambda i: (keys[i], i))
    self._texts = [texts[i] for i in order]
    self._row_length = row_length
    pairs = zip(self._texts, self._texts[1:], strict=False)
    # Inputs that a text has in common with the one before it.
    self._common = np.array(
      [
        0,
        *(
          prompt_format.in_common(one.inputs, two.inputs) for one, two in pairs
        ),
      ]
    )
    sizes = np.array([len(text.inputs) for text in self._texts], np.int64)
    self._sizes = sizes
    self._new = np.append(0, np.cumsum(sizes - self._common[: len(sizes)]))

  def groups(self) -> Iterator[tuple[np.ndarray, list[PrefixTree]]]:
    """(what is kept before all rows, the trees behind it)."""
    if self._texts:
      yield from self._groups(0, len(self._texts))

  def _groups(
    self, begin, end
  ) -> Iterator[tuple[np.ndarray, list[PrefixTree]]]:
    shared = self._shared(begin, end)
    if self._size(begin, end) <= self._row_length:
      yield np.zeros(0, np.int32), list(self._trees(begin, end, 0))
    elif shared >= _LEAST_KEPT:
      kept = self._texts[begin].inputs[:shared]
      yield kept, list(self._trees(begin, end, shared))
    elif shared >= _LEAST_SHARED:
      yield np.zeros(0, np.int32), list(self._trees(begin, end, 0))
    else:
      for low, high in self._children(begin, end):
        yield from self._groups(low, high)

  def _trees(self, begin: int, end: int, depth: int) -> Iterator[PrefixTree]:
    """Trees that hold the texts behind `depth` kept inputs.

    Texts with little in common have trees of their own: those fill rows better.
    """
    if begin + 1 == end:
      yield self._tree(begin, end, depth)
      return
    shared = int(self._common[begin + 1 : end].min()) - depth
    smallest = int(self._sizes[begin:end].min()) - depth
    if shared < min(_LEAST_SHARED, smallest / 2):
      for low, high in self._children(begin, end):
        yield from self._trees(low, high, depth)
      return
    limit = min(max(_TREE, 4 * shared), self._row_length)
    first = last = begin
    for low, high in self._children(begin, end):
      if self._size(first, high, depth) <= limit:
        last = high
        continue
      if last > first:
        yield self._tree(first, last, depth)
      first, last = low, high
      if self._size(low, high, depth) > limit:
        yield from self._trees(low, high, depth)
        first = high
    if last > first:
      yield self._tree(first, last, depth)

  def _children(self, begin: int, end: int) -> list[tuple[int, int]]:
    """Stretches of texts that have more in common than all of these have."""
    common = self._common[begin + 1 : end]
    least = common.min(initial=self._row_length)
    bounds = [begin, *(begin + 1 + np.flatnonzero(common == least)), end]
    return list(zip(map(int, bounds), map(int, bounds[1:]), strict=False))

  def _shared(self, begin: int, end: int) -> int:
    """Inputs that all have in common, before any of their targets."""
    common = self._common[begin + 1 : end].min(initial=self._row_length)
    before = min(text.shareable for text in self._texts[begin:end])
    return min(int(common), before)

  def _size(self, begin: int, end: int, depth: int = 0) -> int:
    """Columns of a tree of these texts."""
    new = self._new[end] - self._new[begin + 1]
    return int(self._sizes[begin] - depth + new)

  def _tree(self, begin: int, end: int, depth: int = 0) -> PrefixTree:
    return PrefixTree(
      self._texts[begin:end], depth, self._size(begin, end, depth)
    )


def _calls(
  trees: Sequence[PrefixTree],
  row_length: int,
  batch: int,
  unit: int,
  before: np.ndarray,
) -> Iterator[TreeBatch]:
  """Trees in rows, rows in calls."""
  kept = -(-len(before) // _KEPT_MULTIPLE) * _KEPT_MULTIPLE
  for length, rows in _rows(trees, row_length, batch * row_length // 4, kept):
    most = batch * (row_length // length)
    # The last call is some eighths of the others, as many as hold it, or less.
    part = -(-most // 8 // unit) * unit or unit
    scored = max(sum(tree.scored for tree in row) for row in rows)
    scored = max(length // 16, _power(scored))
    for start in range(0, len(rows), most):
      some = rows[start : start + most]
      part = min(part, unit * _power(-(-len(some) // unit)))
      size = min(-(-len(some) // part) * part, most)
      yield TreeBatch(TreeBatchShape(size, length, scored, kept), some, before)


def _rows(
  trees: Sequence[PrefixTree], row_length: int, enough: int, kept: int
) -> Iterator[tuple[int, list[list[PrefixTree]]]]:
  """Lengths of rows, and trees in rows of each.

  Long rows are filled better, and cost more attention: a row holds three trees
  of a kind or more, if any can. Trees of fewer tokens than `enough` go with
  longer ones; the last ones into the rows that take least.
  """
  lengths = [n for n in _LENGTHS if n < row_length] + [row_length]
  fitting: dict[int, list[PrefixTree]] = {}
  for tree in trees:
    length = next((n for n in lengths if n >= 3 * tree.size), row_length)
    fitting.setdefault(length, []).append(tree)
  waiting: list[PrefixTree] = []
  for length in sorted(fitting):
    waiting += fitting[length]
    if length != max(fitting) and sum(t.size for t in waiting) >= enough:
      yield length, _pack(waiting, length)
      waiting = []
  if waiting:
    longest = max(tree.size for tree in waiting)
    packed = {n: _pack(waiting, n) for n in lengths if n >= longest}
    best = min(packed, key=lambda n: len(packed[n]) * _cost(n, kept))
    yield best, packed[best]


def _pack(trees: Sequence[PrefixTree], length: int) -> list[list[PrefixTree]]:
  rows = packing.plan_rows(np.array([tree.size for tree in trees]), length)
  return [[trees[i] for i in row] for row in rows]


def _cost(length: int, kept: int) -> float:
  """What a row takes, in tokens that attend to nothing.

  Attention to n keys takes n / (6 d_model) of a token's products with weights
  (4 n d_model of 24 d_model^2); this is a model some 500 wide.
  """
  return length * (1 + (length + kept) / 3000)


def _power(number: int) -> int:
  """The smallest power of two that is not smaller."""
  return 1 << max(number - 1, 0).bit_length()
