"""Decoding with a key/value cache, one column at a time.

Rows are padded on the left, so that all of them write the same column:

  column     0 1 2 3 | 4 5 6     memory = prompt columns + new ones
  row 0      . . 7 5 | 9 2 1     start = 2: its first column
  row 1      8 3 7 5 | 4 4 1     start = 0

`prefill` runs the prompts and begins the cache; `decode_step` runs one more
column. Both build a part of one core's program and return the hidden states
from which the next token is chosen. The loops around them are in
`flan_tf.inference.generator` and `flan_tf.bridges.saved_model.row_programs`.
"""

import dataclasses

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model import attention, positions
from flan_tf.model.decoder import Decoder
from flan_tf.model.dims import ONE, Dims
from flan_tf.model.weights import ModelWeights

# The keys and values of all layers, each of the shape `cache_shape`: keys of
# layer 0, values of layer 0, keys of layer 1, ...
Cache = list[mtf.Tensor]


def cache_shape(d: Dims) -> mtf.Shape:
  """Returns [batch, kv_heads, memory, d_kv], the order that attention reads."""
  return mtf.Shape([d.batch, d.kv_heads, d.memory, d.d_kv])


def prefill(
  decoder: Decoder,
  weights: ModelWeights,
  inputs: mtf.Tensor,
  start: mtf.Tensor,
) -> tuple[mtf.Tensor, Cache]:
  """Runs the prompts and begins the cache.

  Args:
    decoder: its `length` is the number of prompt columns, its `memory` that of
      all columns.
    weights: in the precision of the computation.
    inputs: int32 [batch, length], the token before each column's target.
    start: int32 [batch], each row's first column.

  Returns:
    The hidden states of the last column [batch, d_model], and the cache.
  """
  attend = PrefillAttention(decoder.config, decoder.dims, weights, start)
  return _run(decoder, weights, inputs, attend)


def decode_step(
  decoder: Decoder,
  weights: ModelWeights,
  inputs: mtf.Tensor,
  start: mtf.Tensor,
  column: mtf.Tensor,
  cache: Cache,
) -> tuple[mtf.Tensor, Cache]:
  """Runs one column and adds it to the cache.

  Args:
    decoder: its `length` is 1, its `memory` that of the cache.
    weights: in the precision of the computation.
    inputs: int32 [batch, 1], the tokens of the column before.
    start: int32 [batch], each row's first column.
    column: int32 [], the column to fill.
    cache: as returned before.

  Returns:
    The hidden states of the column [batch, d_model], and the cache.
  """
  attend = DecodeAttention(
    decoder.config, decoder.dims, weights, start, column, cache
  )
  return _run(decoder, weights, inputs, attend)


def reorder(d: Dims, cache: Cache, parents: mtf.Tensor, group: int) -> Cache:
  """Returns the cache with the rows of each group taken from other rows of it.

  Args:
    d: `batch` consists of groups of rows; no group may be split over cores.
    cache: as returned before.
    parents: int32 [batch], numbers of rows within the row's group.
    group: rows of a group.
  """

  def choose(x, parents):
    groups = tf.reshape(x, [-1, group, *x.shape[1:]])
    parents = tf.reshape(parents, [-1, group])
    return tf.reshape(tf.gather(groups, parents, batch_dims=1), x.shape)

  shape, split = cache_shape(d), [d.batch, d.heads]
  return [
    ops.local(choose, [x, parents], shape, split, name="reorder") for x in cache
  ]


def _run(
  decoder: Decoder,
  weights: ModelWeights,
  inputs: mtf.Tensor,
  attend: "PrefillAttention | DecodeAttention",
) -> tuple[mtf.Tensor, Cache]:
  """Runs the model; returns the last column's hidden states, and the cache."""
  d = decoder.dims
  hidden, kept = decoder(weights, inputs, attend)
  last = ops.local(
    lambda x: x[:, -1],
    [hidden],
    mtf.Shape([d.batch, d.width]),
    [d.batch],
    name="last",
  )
  return last, [x for keys_and_values in kept for x in keys_and_values]


# -- attention -----------------------------------------------------------------


class _CachedAttention:
  """The attention of all layers over rows that are padded on the left.

  Args:
    model: sizes and choices.
    d: the dimensions of the queries.
    weights: of the model; only the relative bias is read.
    start: int32 [batch], each row's first column.
    column: int32 [], the query's column; None where the queries are the first
      columns.
    memory: how many columns are looked at.

  Attributes:
    positions: int32 [batch, length], 0 for the padding on the left.
  """

  def __init__(
    self,
    model: config.ModelConfig,
    d: Dims,
    weights: ModelWeights,
    start: mtf.Tensor,
    column: mtf.Tensor | None,
    memory: int,
  ):
    self._model, self._dims, self._memory = model, d, memory
    self._keys = dataclasses.replace(d, memory=mtf.Dimension("memory", memory))
    # A core's function gets the start, and the column if there is one.
    self._places = [start] if column is None else [start, column]
    self._masks = {
      window: self._mask(window)
      for window in sorted(set(attention.windows(model)))
    }
    self._bias: list[mtf.Tensor] = []
    if weights.relative_bias is not None:
      self._bias = [self._relative_bias(weights.relative_bias)]
    self.positions = ops.local(
      self._positions_on_core,
      self._places,
      d.tokens,
      [d.batch],
      name="positions",
    )

  def _query_columns(self, column: tf.Tensor | None) -> tf.Tensor:
    """Returns the queries' columns, int32 [length]."""
    if column is None:
      return tf.constant(list(range(self._dims.length.size)))
    return tf.reshape(column, [1])

  def _positions_on_core(self, start, column=None):
    columns = self._query_columns(column)
    return tf.maximum(columns[tf.newaxis] - start[:, tf.newaxis], 0)

  def _mask(self, window: int) -> mtf.Tensor:
    """Returns float32 [batch, 1, length, memory]."""
    d = self._dims

    def on_core(start, column=None):
      queries = self._query_columns(column)
      keys = tf.range(self._memory)
      allowed = keys[tf.newaxis, :] <= queries[:, tf.newaxis]
      if window:
        allowed &= keys[tf.newaxis, :] > queries[:, tf.newaxis] - window
      real = keys[tf.newaxis, :] >= start[:, tf.newaxis]
      allowed = allowed[tf.newaxis] & real[:, tf.newaxis]
      return tf.where(allowed, 0.0, attention.MASKED)[:, tf.newaxis]

    shape = mtf.Shape([d.batch, ONE, d.length, self._keys.memory])
    return ops.local(
      on_core, self._places, shape, [d.batch], tf.float32, name="mask"
    )

  def _relative_bias(self, table: mtf.Tensor) -> mtf.Tensor:
    """Returns float32 [heads, length, memory]."""
    d = self._dims

    def on_core(table, column=None):
      columns = self._query_columns(column)
      distance = columns[:, tf.newaxis] - tf.range(self._memory)
      max_distance = self._model.relative_max_distance
      return positions.relative_bias(table, distance, max_distance)

    shape = mtf.Shape([d.heads, d.length, self._keys.memory])
    inputs = [table, *self._places[1:]]
    return ops.local(on_core, inputs, shape, [d.heads], tf.float32, name="bias")

  def rotated(self, x: mtf.Tensor) -> mtf.Tensor:
    """Rotates queries or keys by their positions, if the model does."""
    if self._model.positions != "rotary":
      return x
    frequencies = positions.rotary_frequencies(self._model)

    def on_core(x, start, column=None):
      at = self._positions_on_core(start, column)
      return positions.rotate(x, at, frequencies)

    return self._per_head(on_core, [x, *self._places], x.shape, "rotate")

  def attend(
    self, layer: int, q: mtf.Tensor, k: mtf.Tensor, v: mtf.Tensor
  ) -> mtf.Tensor:
    """Attends to cached keys and values [batch, kv_heads, memory, d_kv]."""
    mask = self._masks[attention.windows(self._model)[layer]]

    def on_core(q, k, v, mask, bias=None):
      out = attention.attend_by_head(
        _by_head(q),
        k,
        v,
        mask,
        bias,
        scale=self._model.query_scale,
        cap=self._model.attention_cap,
      )
      return _by_head(out)

    inputs = [q, k, v, mask, *self._bias]
    return self._per_head(on_core, inputs, self._dims.per_head, "attention")

  def _per_head(self, fn, inputs, shape: mtf.Shape, name: str) -> mtf.Tensor:
    d = self._dims
    return ops.local(fn, inputs, shape, [d.batch, d.heads], name=name)


class PrefillAttention(_CachedAttention):
  """The attention of prompts; the new keys and values begin the cache."""

  def __init__(
    self,
    model: config.ModelConfig,
    d: Dims,
    weights: ModelWeights,
    start: mtf.Tensor,
  ):
    # The columns after the prompts are empty: nothing looks at them.
    super().__init__(model, d, weights, start, None, memory=d.length.size)

  def of_layer(self, layer: int):
    """Returns the attention of one layer; see `decoder.LayerAttention`."""

    def call(q, k, v):
      q, k = self.rotated(q), self.rotated(k)
      (k, k_cache), (v, v_cache) = self._begin(k), self._begin(v)
      return self.attend(layer, q, k, v), (k_cache, v_cache)

    return call

  def _begin(self, x: mtf.Tensor) -> tuple[mtf.Tensor, mtf.Tensor]:
    """Returns keys or values of the prompts by head, and the same as a cache.

    The cache has room for the new columns.
    """
    new = self._dims.memory.size - self._memory

    def pad(x):
      return tf.pad(x, [[0, 0], [0, 0], [0, new], [0, 0]])

    by_head = self._per_head(_by_head, [x], cache_shape(self._keys), "heads")
    shape = cache_shape(self._dims)
    return by_head, self._per_head(pad, [by_head], shape, "begin")


class DecodeAttention(_CachedAttention):
  """The attention of one new column; its keys and values enter the cache."""

  def __init__(
    self,
    model: config.ModelConfig,
    d: Dims,
    weights: ModelWeights,
    start: mtf.Tensor,
    column: mtf.Tensor,
    cache: Cache,
  ):
    super().__init__(model, d, weights, start, column, memory=d.memory.size)
    self._column, self._cache = column, cache

  def of_layer(self, layer: int):
    """Returns the attention of one layer; see `decoder.LayerAttention`."""

    def call(q, k, v):
      q, k = self.rotated(q), self.rotated(k)
      k = self._store(k, self._cache[2 * layer])
      v = self._store(v, self._cache[2 * layer + 1])
      return self.attend(layer, q, k, v), (k, v)

    return call

  def _store(self, new: mtf.Tensor, cache: mtf.Tensor) -> mtf.Tensor:
    """Writes a column into a cache, in place if nothing else reads the old one.

    Args:
      new: [batch, 1, kv_heads, d_kv].
      cache: [batch, kv_heads, memory, d_kv].
    """

    def on_core(new, old, column):
      rows, heads = tf.range(old.shape[0]), tf.range(old.shape[1])
      at = tf.stack(tf.meshgrid(rows, heads, [column], indexing="ij"), axis=-1)
      return tf.tensor_scatter_nd_update(old, at, _by_head(new))

    inputs = [new, cache, self._column]
    return self._per_head(on_core, inputs, cache_shape(self._dims), "store")


def _by_head(x: tf.Tensor) -> tf.Tensor:
  """Swaps the second and third dimension: [batch, heads, length, d_kv]."""
  return tf.transpose(x, [0, 2, 1, 3])
