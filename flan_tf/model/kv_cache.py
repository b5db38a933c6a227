"""Decoding with a key/value cache, one column at a time.

Rows are padded on the left, so that all of them write the same column:

  column     0 1 2 3 | 4 5 6     memory = prompt columns + new ones
  row 0      . . 7 5 | 9 2 1     start = 2: its first column
  row 1      8 3 7 5 | 4 4 1     start = 0

`prefill` runs the prompts and begins the cache; `extend` runs one column. Both
build part of one core's program and return what `choose` makes tokens of; the
loops are in `flan_tf.inference.generator` and `flan_tf.bridges.saved_model.row_programs`.
"""

import dataclasses
import functools

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model import attention, decoder
from flan_tf.model.dims import Dims

# The keys and values of all layers, each as `cache_shape` says: k of layer 0, v
# of layer 0, k of layer 1, ...
Cache = list[mtf.Tensor]


def cache_shape(d: Dims) -> mtf.Shape:
  """[batch, kv_heads, memory, d_kv], as attention reads it."""
  return mtf.Shape([d.batch, d.kv_heads, d.memory, d.d_kv])


def prefill(
  model: config.ModelConfig,
  d: Dims,
  weights: decoder.Weights,
  inputs: mtf.Tensor,
  start: mtf.Tensor,
) -> tuple[mtf.Tensor, Cache]:
  """Runs the prompts; returns their last hidden states and the cache.

  Args:
    model: sizes and choices.
    d: `length` is the number of prompt columns, `memory` that of all.
    weights: in the precision of the computation.
    inputs: int32 [batch, length], the token before each column's target.
    start: int32 [batch], each row's first column.

  Returns:
    [batch, d_model], and the cache.
  """
  columns = range(d.length.size)
  return _run(model, d, weights, inputs, start, list(columns), None, None)


def extend(
  model: config.ModelConfig,
  d: Dims,
  weights: decoder.Weights,
  inputs: mtf.Tensor,
  start: mtf.Tensor,
  column: mtf.Tensor,
  cache: Cache,
) -> tuple[mtf.Tensor, Cache]:
  """Runs one column; returns its hidden states and the longer cache.

  Args:
    model: sizes and choices.
    d: `length` is 1.
    weights: in the precision of the computation.
    inputs: int32 [batch, 1], the tokens of the column before.
    start: int32 [batch], each row's first column.
    column: int32 scalar, the column to fill.
    cache: as returned before.

  Returns:
    [batch, d_model], and the cache.
  """
  return _run(model, d, weights, inputs, start, None, column, cache)


def reorder(d: Dims, cache: Cache, parents: mtf.Tensor, group: int) -> Cache:
  """The cache of other rows: in each group of rows, those that parents name.

  Args:
    d: `batch` is groups of rows; no group may be split.
    cache: as returned before.
    parents: int32 [batch], places in the row's group.
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


def _run(model, d, weights, inputs, start, columns, column, cache):
  """Both of the above; `columns` are static, `column` is not."""
  # While the prompts are run there is nothing behind them to look at.
  seen = d.length.size if columns else d.memory.size
  keys = dataclasses.replace(d, memory=mtf.Dimension("memory", seen))
  context = [start] if column is None else [start, column]

  def query_columns(column=()):
    """int32 [length]."""
    return tf.constant(columns) if columns else tf.reshape(column, [1])

  def mask(window, start, *column):
    """float32 [batch, 1, length, memory]."""
    at_L = query_columns(*column)
    memory_M = tf.range(seen)
    allowed = memory_M[tf.newaxis, :] <= at_L[:, tf.newaxis]
    if window:
      allowed &= memory_M[tf.newaxis, :] > at_L[:, tf.newaxis] - window
    real = memory_M[tf.newaxis, :] >= start[:, tf.newaxis]
    allowed = allowed[tf.newaxis] & real[:, tf.newaxis]
    return tf.where(allowed, 0.0, attention.MASKED)[:, tf.newaxis]

  mask_shape = mtf.Shape(
    [d.batch, mtf.Dimension("one", 1), d.length, keys.memory]
  )
  masks = {
    window: ops.local(
      functools.partial(mask, window),
      context,
      mask_shape,
      [d.batch],
      tf.float32,
      name="mask",
    )
    for window in sorted(set(decoder.windows(model)))
  }
  bias = []
  if model.positions == "t5":

    def relative_bias(table, *column):
      distance = query_columns(*column)[:, tf.newaxis] - tf.range(seen)
      return attention.relative_bias(
        table, distance, model.relative_max_distance
      )

    shape = mtf.Shape([d.heads, d.length, keys.memory])
    table = [weights["relative_bias"], *context[1:]]
    bias = [
      ops.local(relative_bias, table, shape, [d.heads], tf.float32, name="bias")
    ]

  rates = attention.frequencies(model)

  def positions(start, *column):
    """int32 [batch, length]; 0 for the padding on the left."""
    found = query_columns(*column)[tf.newaxis] - start[:, tf.newaxis]
    return tf.maximum(found, 0)

  def rotate(x, *context):
    return attention.rotate(x, positions(*context), rates)

  def by_head(x):
    return tf.transpose(x, [0, 2, 1, 3])

  def begin(x):
    """A cache with room for the new columns."""
    return tf.pad(x, [[0, 0], [0, 0], [0, d.memory.size - seen], [0, 0]])

  def store(new, old, column):
    """Writes a new column, in place where nothing else reads the old cache."""
    places = tf.range(old.shape[0]), tf.range(old.shape[1]), [column]
    at = tf.stack(tf.meshgrid(*places, indexing="ij"), axis=-1)
    return tf.tensor_scatter_nd_update(old, at, by_head(new))

  def attend_on_core(q, k, v, mask, bias=None):
    out = attention.attend_by_head(
      *(by_head(q), k, v, mask, bias),
      scale=model.query_scale,
      cap=model.attention_cap,
    )
    return by_head(out)

  heads = [d.batch, d.heads]
  new_cache: Cache = []

  def attend(masked, q, k, v):
    if model.positions == "rotary":
      q, k = (
        ops.local(rotate, [x, *context], x.shape, heads, name="rotate")
        for x in (q, k)
      )
    stored = []
    for new in (k, v):
      if cache is None:
        both = ops.local(by_head, [new], cache_shape(keys), heads, name="heads")
        kept = ops.local(begin, [both], cache_shape(d), heads, name="begin")
      else:
        inputs = [new, cache[len(new_cache)], column]
        both = ops.local(store, inputs, cache_shape(d), heads, name="store")
        kept = both
      new_cache.append(kept)
      stored.append(both)
    return ops.local(
      attend_on_core,
      [q, *stored, masked, *bias],
      d.per_head,
      heads,
      name="attention",
    )

  at = ops.local(positions, context, d.tokens, [d.batch], name="positions")
  x = decoder.embed(model, d, weights, inputs, at)
  for index, window in enumerate(decoder.windows(model)):
    w = {
      name: weights[f"layer_{index:03d}/{name}"]
      for name in decoder.names_in_a_layer(weights)
    }
    x = decoder.block(model, d, w, x, functools.partial(attend, masks[window]))
  x = decoder.norm(model, d, x, weights, "final_norm")
  last = ops.local(
    lambda x: x[:, -1],
    [x],
    mtf.Shape([d.batch, d.width]),
    [d.batch],
    name="last",
  )
  return last, new_cache
