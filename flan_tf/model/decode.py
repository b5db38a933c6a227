"""Greedy decoding with a key/value cache, one column at a time.

Rows are padded on the left, so that all of them write the same column:

  column     0 1 2 3 | 4 5 6     memory = prompt columns + new ones
  row 0      . . 7 5 | 9 2 1     start = 2: its first column
  row 1      8 3 7 5 | 4 4 1     start = 0

`prefill` runs the prompts and fills the cache; `extend` runs one column. Both
build part of one core's program; `flan_tf.eval.model` has the loop.
"""

import functools

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model import attention, transformer
from flan_tf.model.dims import Dims

# The keys and values of all layers, each [batch, memory, kv_heads, d_kv]:
# k of layer 0, v of layer 0, k of layer 1, ...
Cache = list[mtf.Tensor]


def prefill(
  model: config.ModelConfig,
  d: Dims,
  weights: transformer.Weights,
  inputs: mtf.Tensor,
  start: mtf.Tensor,
) -> tuple[mtf.Tensor, Cache]:
  """Runs the prompts; returns the first new tokens and the cache.

  Args:
    model: sizes and choices.
    d: `length` is the number of prompt columns, `memory` that of all.
    weights: in the precision of the computation.
    inputs: int32 [batch, length], the token before each column's target.
    start: int32 [batch], each row's first column.

  Returns:
    int32 [batch], and the cache.
  """
  columns = range(d.length.size)
  return _run(model, d, weights, inputs, start, list(columns), None, None)


def extend(
  model: config.ModelConfig,
  d: Dims,
  weights: transformer.Weights,
  inputs: mtf.Tensor,
  start: mtf.Tensor,
  column: mtf.Tensor,
  cache: Cache,
) -> tuple[mtf.Tensor, Cache]:
  """Runs one column; returns the next tokens and the longer cache.

  Args:
    model: sizes and choices.
    d: `length` is 1.
    weights: in the precision of the computation.
    inputs: int32 [batch, 1], the tokens of the column before.
    start: int32 [batch], each row's first column.
    column: int32 scalar, the column to fill.
    cache: as returned before.

  Returns:
    int32 [batch], and the cache.
  """
  return _run(model, d, weights, inputs, start, None, column, cache)


def _run(model, d, weights, inputs, start, columns, column, cache):
  """Both of the above; `columns` are static, `column` is not."""
  context = [start] if column is None else [start, column]

  def query_columns(column=()):
    """int32 [length]."""
    return tf.constant(columns) if columns else tf.reshape(column, [1])

  def mask(window, start, *column):
    """float32 [batch, 1, length, memory]."""
    at_L = query_columns(*column)
    memory_M = tf.range(d.memory.size)
    allowed = memory_M[tf.newaxis, :] <= at_L[:, tf.newaxis]
    if window:
      allowed &= memory_M[tf.newaxis, :] > at_L[:, tf.newaxis] - window
    real = memory_M[tf.newaxis, :] >= start[:, tf.newaxis]
    allowed = allowed[tf.newaxis] & real[:, tf.newaxis]
    return tf.where(allowed, 0.0, attention.MASKED)[:, tf.newaxis]

  mask_shape = mtf.Shape([d.batch, mtf.Dimension("one", 1), d.length, d.memory])
  masks = {
    window: ops.local(
      functools.partial(mask, window),
      context,
      mask_shape,
      [d.batch],
      tf.float32,
      name="mask",
    )
    for window in sorted(set(transformer.windows(model)))
  }
  bias = []
  if model.positions == "t5":

    def relative_bias(table, *column):
      distance = query_columns(*column)[:, tf.newaxis] - tf.range(d.memory.size)
      return attention.relative_bias(
        table, distance, model.relative_max_distance
      )

    shape = mtf.Shape([d.heads, d.length, d.memory])
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

  def store(new, *old_and_column):
    """Writes new columns into the cache, or begins one."""
    if not old_and_column:
      more = d.memory.size - d.length.size
      return tf.pad(new, [[0, 0], [0, more], [0, 0], [0, 0]])
    old, column = old_and_column
    here = tf.range(d.memory.size)[:, tf.newaxis, tf.newaxis] == column
    return tf.where(here, new, old)

  def attend_on_core(q, k, v, mask, bias=None):
    return attention.attend(
      q, k, v, mask, bias, model.query_scale, model.attention_cap
    )

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
      old = [] if cache is None else [cache[len(new_cache)], column]
      both = ops.local(store, [new, *old], d.cache, heads, name="store")
      new_cache.append(both)
      stored.append(both)
    return ops.local(
      attend_on_core,
      [q, *stored, masked, *bias],
      d.per_head,
      heads,
      name="attention",
    )

  at = ops.local(positions, context, d.tokens, [d.batch], name="positions")
  x = transformer.embed(model, d, weights, inputs, at)
  for index, window in enumerate(transformer.windows(model)):
    w = {
      name: weights[f"layer_{index:03d}/{name}"]
      for name in transformer.names_in_a_layer(weights)
    }
    x = transformer.block(
      model, d, w, x, functools.partial(attend, masks[window])
    )
  x = transformer.norm(model, d, x, weights, "final_norm")
  last = ops.local(
    lambda x: x[:, -1],
    [x],
    mtf.Shape([d.batch, d.d_model]),
    [d.batch],
    name="last",
  )
  table, head = transformer.output_table(weights), transformer.head_of(model)
  return ops.greedy(last, table, d.vocab, head), new_cache
