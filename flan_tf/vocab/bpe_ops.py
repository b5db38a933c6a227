"""TensorFlow operations of byte-pair encoding: words become piece ids.

Words that are one piece are looked up. All other words of a batch are merged
together, as one flat array without padding: each step applies the best merge of
every word. The best merge is the first one in the list of merges; among equal
pairs of a word, it is the leftmost.

With the merges "l o" and "lo w", the bytes of the words low and sol:

    ids   l o w  s o l        lo w  s o l        low  s o l
    rows  0 0 0  1 1 1   ->    0 0  1 1 1   ->     0  1 1 1
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

_Ragged: Any = tf.RaggedTensor  # Its methods have no type hints.


class BytePairMerger(tf.Module):
  """Tokenizes words with the lookup tables of a byte-pair vocabulary."""

  def __init__(
    self,
    whole_words: Mapping[bytes, int],
    byte_ids: Sequence[int],
    merges: Sequence[tuple[int, int, int]],
    piece_bytes: Sequence[bytes],
  ):
    """Builds the lookup tables.

    Args:
      whole_words: words that are one piece, and the id of that piece.
      byte_ids: the id of each byte [256]; -1 for a byte without a piece.
      merges: (left id, right id, id of the merged piece), the first merge
        first.
      piece_bytes: the bytes of each id's piece.
    """
    super().__init__()
    size = len(piece_bytes)
    # A table needs at least one entry. No word is empty, and no pair has the
    # key -1.
    self._whole_words = _table({b"": -1, **whole_words}, tf.string)
    ranks = {
      left * size + right: rank for rank, (left, right, _) in enumerate(merges)
    }
    self._ranks = _table({-1: -1, **ranks}, tf.int64)
    merged_ids = [merged for _, _, merged in merges] or [0]
    self._merged_ids = tf.constant(merged_ids, tf.int32)
    self._byte_ids = tf.constant(byte_ids, tf.int32)
    self._piece_bytes = tf.constant(piece_bytes, tf.string)
    self._size = size

  def tokenize_words(self, words: Any) -> Any:
    """Tokenizes words: strings [n] -> ragged int32 [n, None]."""
    ids = self._whole_words.lookup(words)
    is_whole = ids >= 0
    # Each different other word is merged once.
    others, other_index = tf.unique(tf.boolean_mask(words, ~is_whole))
    pieces = tf.concat(
      [
        _Ragged.from_uniform_row_length(tf.boolean_mask(ids, is_whole), 1),
        self._merge(others),
      ],
      axis=0,
    )
    # Row of `pieces` for each word: the whole words come first.
    whole_count = tf.reduce_sum(tf.cast(is_whole, tf.int32))
    positions = tf.dynamic_partition(
      tf.range(tf.size(words)), tf.cast(~is_whole, tf.int32), 2
    )
    rows = tf.dynamic_stitch(
      positions, [tf.range(whole_count), whole_count + other_index]
    )
    return tf.gather(pieces, rows)

  def join_bytes(self, ids: Any) -> Any:
    """Joins the bytes of each row: ragged int32 [n, None] -> strings [n]."""
    pieces = tf.gather(self._piece_bytes, ids.values)
    return tf.strings.unsorted_segment_join(
      pieces, ids.value_rowids(), ids.nrows()
    )

  def _merge(self, words: Any) -> Any:
    """Merges the bytes of words: strings [n] -> ragged int32 [n, None]."""
    letters = tf.strings.bytes_split(words)
    codes = tf.reshape(tf.io.decode_raw(letters.values, tf.uint8), [-1])
    ids = tf.gather(self._byte_ids, tf.cast(codes, tf.int32))
    # A byte without a piece is left out, as `tokenizers` does.
    has_piece = ids >= 0
    ids = tf.boolean_mask(ids, has_piece)
    rows = tf.boolean_mask(letters.value_rowids(), has_piece)
    n = tf.shape(words, tf.int64)[0]

    def continues(_ids, _rows, is_done):
      return ~is_done

    def step(ids, rows, _is_done):
      return self._merge_best_pairs(ids, rows, n)

    ids, rows, _ = tf.while_loop(
      continues,
      step,
      [ids, rows, tf.size(ids) < 2],
      shape_invariants=[
        tf.TensorShape([None]),
        tf.TensorShape([None]),
        tf.TensorShape([]),
      ],
    )
    return _Ragged.from_value_rowids(ids, rows, n, validate=False)

  def _merge_best_pairs(self, ids: Any, rows: Any, n: Any) -> tuple:
    """Merges the best pair of each word.

    Args:
      ids: the pieces of all words, one word after the other [m], m >= 2.
      rows: the word of each piece [m].
      n: number of words.

    Returns:
      (ids, rows, whether no word had a pair to merge).
    """
    # The rank of each pair of neighbors; -1 if it is not in the list.
    pairs = tf.cast(ids[:-1], tf.int64) * self._size
    ranks = self._ranks.lookup(pairs + tf.cast(ids[1:], tf.int64))
    is_mergeable = (ranks >= 0) & (rows[:-1] == rows[1:])
    # One number orders pairs by rank, then by position.
    total = tf.size(ids, tf.int64)
    order = tf.where(
      is_mergeable,
      tf.cast(ranks, tf.int64) * total + tf.range(total - 1),
      tf.int64.max,
    )
    best = tf.math.unsorted_segment_min(order, rows[:-1], n)
    is_best = is_mergeable & (order == tf.gather(best, rows[:-1]))
    merged = tf.where(
      is_best, tf.gather(self._merged_ids, tf.maximum(ranks, 0)), ids[:-1]
    )
    # The right half of a merged pair goes.
    is_kept = tf.concat([[True], ~is_best], axis=0)
    return (
      tf.boolean_mask(tf.concat([merged, ids[-1:]], axis=0), is_kept),
      tf.boolean_mask(rows, is_kept),
      ~tf.reduce_any(is_best),
    )


def _table(values: Mapping[Any, int], key_type: tf.DType) -> Any:
  """Builds a lookup table that gives -1 for unknown keys."""
  keys = tf.constant(list(values), key_type)
  numbers = tf.constant(list(values.values()), tf.int32)
  initializer = tf.lookup.KeyValueTensorInitializer(keys, numbers)
  return tf.lookup.StaticHashTable(initializer, -1)
