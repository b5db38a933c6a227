"""Byte pairs in the graph: words become pieces.

Words that are one piece are looked up. All other words of a batch are merged
together, as one flat array in which nothing is padded: the step that merges the
best pair of one word does so for every word. The best pair is the one that
comes first in the list of merges, and of several equal ones the leftmost.

With the merges "l o" and "lo w", the bytes of the words low and sol:

    ids   l o w  s o l        lo w  s o l        low  s o l
    rows  0 0 0  1 1 1   ->    0 0  1 1 1   ->     0  1 1 1
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

_Ragged: Any = tf.RaggedTensor  # Its methods have no type hints.


class Merger(tf.Module):
  """The tables of a byte-pair vocabulary, and what merges with them."""

  def __init__(
    self,
    words: Mapping[bytes, int],
    of_byte: Sequence[int],
    merges: Sequence[tuple[int, int, int]],
    spelt: Sequence[bytes],
  ):
    """Makes the tables.

    Args:
      words: the words that are one piece -> its id.
      of_byte: the id of each byte, -1 for a byte without a piece.
      merges: two ids and the id of both together; the first is done first.
      spelt: the bytes that each id stands for.
    """
    super().__init__()
    size = len(spelt)
    # A table needs an entry; no word is empty, and no pair is -1.
    self._words = _table({b"": -1, **words}, tf.string)
    pairs = {a * size + b: rank for rank, (a, b, _) in enumerate(merges)}
    self._ranks = _table({-1: -1, **pairs}, tf.int64)
    self._merged = tf.constant([ab for _, _, ab in merges] or [0], tf.int32)
    self._of_byte = tf.constant(of_byte, tf.int32)
    self._spelt = tf.constant(spelt, tf.string)
    self._size = size

  def tokenize_words(self, words: Any) -> Any:
    """The pieces of each word: strings [n] -> ragged int32 [n, None]."""
    ids = self._words.lookup(words)
    known = ids >= 0
    # Each other word once, behind those that are known.
    others, index = tf.unique(tf.boolean_mask(words, ~known))
    pieces = tf.concat(
      [
        _Ragged.from_uniform_row_length(tf.boolean_mask(ids, known), 1),
        self._merge(others),
      ],
      axis=0,
    )
    count = tf.reduce_sum(tf.cast(known, tf.int32))
    places = tf.dynamic_partition(
      tf.range(tf.size(words)), tf.cast(~known, tf.int32), 2
    )
    order = tf.dynamic_stitch(places, [tf.range(count), count + index])
    return tf.gather(pieces, order)

  def spell(self, ids: Any) -> Any:
    """The bytes of each row: ragged int32 [n, None] -> strings [n]."""
    pieces = tf.gather(self._spelt, ids.values)
    return tf.strings.unsorted_segment_join(
      pieces, ids.value_rowids(), ids.nrows()
    )

  def _merge(self, words: Any) -> Any:
    """Merges the bytes of each word, whether or not it is a piece."""
    letters = tf.strings.bytes_split(words)
    codes = tf.reshape(tf.io.decode_raw(letters.values, tf.uint8), [-1])
    ids = tf.gather(self._of_byte, tf.cast(codes, tf.int32))
    here = ids >= 0  # a byte without a piece is left out, as `tokenizers` does
    ids = tf.boolean_mask(ids, here)
    rows = tf.boolean_mask(letters.value_rowids(), here)
    n = tf.shape(words, tf.int64)[0]
    never = tf.int64.max

    def more(_ids, _rows, ended):
      return ~ended

    def step(ids, rows, _ended):
      # Of each neighbouring pair: its rank, or -1.
      pairs = tf.cast(ids[:-1], tf.int64) * self._size
      ranks = self._ranks.lookup(pairs + tf.cast(ids[1:], tf.int64))
      mergeable = (ranks >= 0) & (rows[:-1] == rows[1:])
      # One number to order by: rank first, then place.
      total = tf.size(ids, tf.int64)
      place = tf.range(total - 1)
      order = tf.where(
        mergeable, tf.cast(ranks, tf.int64) * total + place, never
      )
      best = tf.math.unsorted_segment_min(order, rows[:-1], n)
      chosen = mergeable & (order == tf.gather(best, rows[:-1]))
      new = tf.where(
        chosen, tf.gather(self._merged, tf.maximum(ranks, 0)), ids[:-1]
      )
      kept = tf.concat([[True], ~chosen], axis=0)
      return (
        tf.boolean_mask(tf.concat([new, ids[-1:]], axis=0), kept),
        tf.boolean_mask(rows, kept),
        ~tf.reduce_any(chosen),
      )

    ids, rows, _ = tf.while_loop(
      more,
      step,
      [ids, rows, tf.size(ids) < 2],
      shape_invariants=[
        tf.TensorShape([None]),
        tf.TensorShape([None]),
        tf.TensorShape([]),
      ],
    )
    return _Ragged.from_value_rowids(ids, rows, n, validate=False)


def _table(values: Mapping[Any, int], key_type: tf.DType) -> Any:
  """A lookup table; -1 for a key that it does not have."""
  keys = tf.constant(list(values), key_type)
  numbers = tf.constant(list(values.values()), tf.int32)
  initializer = tf.lookup.KeyValueTensorInitializer(keys, numbers)
  return tf.lookup.StaticHashTable(initializer, -1)
