"""Chooses prefix trees for texts, and packs trees into rows and batches.

Texts are sorted, so that texts that begin alike stand next to each other. A
tree is a range of sorted texts. Rows have one of few lengths, and batches have
one of few shapes, because each shape is a program of its own.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from flan_tf.data import packing
from flan_tf.data.prompt_tokenizer import common_prefix_length
from flan_tf.inference.prefix_trees import (
  PrefixTree,
  TreeBatch,
  TreeBatchShape,
  TreeText,
)

# Lengths of rows; the caller's row length is the longest one.
_LENGTHS = (128, 256, 512, 1024)
# Texts with a shorter common beginning do not share a tree.
_LEAST_SHARED = 16
# Trees are not longer, unless their texts share a quarter of this or more.
_TREE = 512
# A beginning of this length or more, shared by more texts than fit into a row,
# becomes a prefix of all rows. A shorter one is read again in each tree.
_LEAST_PREFIX = 64
# A prefix is padded to a multiple of this.
_PREFIX_MULTIPLE = 256


def pack_trees(
  contexts: Sequence[np.ndarray],
  options: Sequence[Sequence[np.ndarray]],
  row_length: int,
  batch: int,
  row_multiple: int = 1,
) -> Iterator[TreeBatch]:
  """Yields batches that score all options.

  Args:
    contexts: the inputs before the first token of each prompt's options.
    options: the token ids of each prompt's options.
    row_length: length of the longest rows.
    batch: number of rows of that length in a batch; of shorter rows there are
      more.
    row_multiple: the number of rows in a batch is a multiple of this.

  Raises:
    ValueError: an option is empty, or does not fit into a row with its prompt.
  """
  texts = [
    TreeText(prompt, option, np.concatenate([context, ids[:-1]]), ids)
    for prompt, (context, choices) in enumerate(
      zip(contexts, options, strict=True)
    )
    for option, ids in enumerate(choices)
  ]
  for text in texts:
    _check(text, row_length)
  no_prefix = np.zeros(0, np.int32)
  without_prefix: list[PrefixTree] = []
  for prefix, trees in _TreeChooser(texts, row_length).groups():
    if len(prefix):
      yield from _batches(trees, row_length, batch, row_multiple, prefix)
    else:
      without_prefix += trees
  yield from _batches(
    without_prefix, row_length, batch, row_multiple, no_prefix
  )


def _check(text: TreeText, row_length: int) -> None:
  if not len(text.targets) or len(text.inputs) > row_length:
    raise ValueError(
      f"Option {text.option} of prompt {text.prompt}: {len(text.inputs)}"
      f" tokens, {len(text.targets)} of them to score, do not fit into rows"
      f" of {row_length}; expected one or more to score, and no more than a"
      " row holds."
    )


class _TreeChooser:
  """Splits sorted texts into trees that fit into rows.

  Methods take ranges [begin, end) of the sorted texts.
  """

  def __init__(self, texts: Sequence[TreeText], row_length: int):
    # Big-endian bytes have the order of the ids.
    keys = [text.inputs.astype(">u4").tobytes() for text in texts]
    order = sorted(range(len(texts)), key=lambda i: (keys[i], i))
    self._texts = [texts[i] for i in order]
    self._row_length = row_length
    # The number of inputs that a text has in common with the one before it.
    common = [0]
    for one, two in zip(self._texts, self._texts[1:], strict=False):
      common.append(common_prefix_length(one.inputs, two.inputs))
    self._common = np.array(common)
    sizes = np.array([len(text.inputs) for text in self._texts], np.int64)
    self._sizes = sizes
    new_columns = sizes - self._common[: len(sizes)]
    self._total_new = np.append(0, np.cumsum(new_columns))

  def groups(self) -> Iterator[tuple[np.ndarray, list[PrefixTree]]]:
    """Yields (the prefix of all rows, the trees after it)."""
    if self._texts:
      yield from self._groups(0, len(self._texts))

  def _groups(
    self, begin: int, end: int
  ) -> Iterator[tuple[np.ndarray, list[PrefixTree]]]:
    shared = self._shared(begin, end)
    fits = self._size(begin, end) <= self._row_length
    if not fits and shared >= _LEAST_PREFIX:
      prefix = self._texts[begin].inputs[:shared]
      yield prefix, list(self._trees(begin, end, shared))
    elif fits or shared >= _LEAST_SHARED:
      yield np.zeros(0, np.int32), list(self._trees(begin, end, 0))
    else:
      for low, high in self._subranges(begin, end):
        yield from self._groups(low, high)

  def _trees(self, begin: int, end: int, depth: int) -> Iterator[PrefixTree]:
    """Yields trees of the texts without their first `depth` inputs.

    Texts that have little in common get trees of their own, since these fill
    rows better.
    """
    if begin + 1 == end:
      yield self._tree(begin, end, depth)
      return
    shared = int(self._common[begin + 1 : end].min()) - depth
    smallest = int(self._sizes[begin:end].min()) - depth
    if shared < min(_LEAST_SHARED, smallest / 2):
      for low, high in self._subranges(begin, end):
        yield from self._trees(low, high, depth)
      return
    limit = min(max(_TREE, 4 * shared), self._row_length)
    first = last = begin
    for low, high in self._subranges(begin, end):
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

  def _subranges(self, begin: int, end: int) -> list[tuple[int, int]]:
    """Splits a range where neighbours have the least in common."""
    common = self._common[begin + 1 : end]
    least = common.min(initial=self._row_length)
    bounds = [begin, *(begin + 1 + np.flatnonzero(common == least)), end]
    return list(zip(map(int, bounds), map(int, bounds[1:]), strict=False))

  def _shared(self, begin: int, end: int) -> int:
    """Returns how many inputs all texts share before any of their targets."""
    common = self._common[begin + 1 : end].min(initial=self._row_length)
    unscored = min(text.unscored for text in self._texts[begin:end])
    return min(int(common), unscored)

  def _size(self, begin: int, end: int, depth: int = 0) -> int:
    """Returns the number of columns of a tree of these texts."""
    new = self._total_new[end] - self._total_new[begin + 1]
    return int(self._sizes[begin] - depth + new)

  def _tree(self, begin: int, end: int, depth: int = 0) -> PrefixTree:
    size = self._size(begin, end, depth)
    return PrefixTree(self._texts[begin:end], depth, size)


def _batches(
  trees: Sequence[PrefixTree],
  row_length: int,
  batch: int,
  row_multiple: int,
  prefix: np.ndarray,
) -> Iterator[TreeBatch]:
  """Packs trees into rows, and rows into batches of few shapes."""
  padded = -(-len(prefix) // _PREFIX_MULTIPLE) * _PREFIX_MULTIPLE
  enough = batch * row_length // 4
  for length, rows in _rows(trees, row_length, enough, padded):
    most = batch * (row_length // length)
    # The last batch has as many eighths of the rows of the others as it needs,
    # or fewer rows if it is small.
    part = -(-most // 8 // row_multiple) * row_multiple or row_multiple
    scored = max(sum(tree.scored for tree in row) for row in rows)
    scored = max(length // 16, _power_of_two(scored))
    for start in range(0, len(rows), most):
      chosen = rows[start : start + most]
      multiples = -(-len(chosen) // row_multiple)
      part = min(part, row_multiple * _power_of_two(multiples))
      size = min(-(-len(chosen) // part) * part, most)
      shape = TreeBatchShape(size, length, scored, padded)
      yield TreeBatch(shape, chosen, prefix)


def _rows(
  trees: Sequence[PrefixTree], row_length: int, enough: int, prefix: int
) -> Iterator[tuple[int, list[list[PrefixTree]]]]:
  """Yields lengths of rows, with the trees in each row of that length.

  Long rows are filled better, but cost more attention. A row holds three trees
  of like size or more, if it can. If the trees for one length have fewer than
  `enough` tokens, they go into longer rows; the last trees go into the rows
  that cost least.
  """
  lengths = [n for n in _LENGTHS if n < row_length] + [row_length]
  by_length: dict[int, list[PrefixTree]] = {}
  for tree in trees:
    length = next((n for n in lengths if n >= 3 * tree.size), row_length)
    by_length.setdefault(length, []).append(tree)
  waiting: list[PrefixTree] = []
  for length in sorted(by_length):
    waiting += by_length[length]
    is_last = length == max(by_length)
    if not is_last and sum(tree.size for tree in waiting) >= enough:
      yield length, _pack(waiting, length)
      waiting = []
  if waiting:
    longest = max(tree.size for tree in waiting)
    packed = {n: _pack(waiting, n) for n in lengths if n >= longest}
    best = min(packed, key=lambda n: len(packed[n]) * _cost(n, prefix))
    yield best, packed[best]


def _pack(trees: Sequence[PrefixTree], length: int) -> list[list[PrefixTree]]:
  """Packs trees into as few rows as best-fit packing needs."""
  sizes = np.array([tree.size for tree in trees])
  rows = packing.choose_packed_rows(sizes, length)
  return [[trees[i] for i in row] for row in rows]


def _cost(length: int, prefix: int) -> float:
  """Returns the cost of a row, in tokens that attend to nothing.

  Attention to n keys costs n / (6 d_model) of a token's products with weights
  (4 n d_model of 24 d_model^2). The constant is that of d_model = 500.
  """
  return length * (1 + (length + prefix) / 3000)


def _power_of_two(number: int) -> int:
  """Returns the smallest power of two that is not smaller than a number."""
  return 1 << max(number - 1, 0).bit_length()
