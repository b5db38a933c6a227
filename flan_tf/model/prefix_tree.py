"""Rows of token trees: what several texts begin with is read once.

    5 6 7 8, 5 6 9 and 4 3     inputs     5 6 7 8 9 4 3
                               positions  0 1 2 3 2 0 1
                               ends       5 5 4 4 5 7 7

A column is seen by the columns behind it, up to its end: a node of a tree by
all that is below it. Positions are depths. What all rows of a call begin with
need not be in them: `states` reads it, and its keys and values stand before
every row.
"""

from typing import NamedTuple

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model import attention, decoder
from flan_tf.model.dims import Dims

# Keys and values of all layers, each [whole, kept, kv_heads, d_kv]: k of layer
# 0, v of layer 0, k of layer 1, ... `whole` is 1 and never split.
States = list[mtf.Tensor]


class TreeTokens(NamedTuple):
  """Rows of trees, each int32 [batch, length]; padding has the end 0."""

  inputs: mtf.Tensor
  positions: mtf.Tensor
  ends: mtf.Tensor


class SharedPrefix(NamedTuple):
  """What stands before every row.

  Attributes:
    states: see States.
    count: int32 [], how many of the kept columns are real.
  """

  states: States
  count: mtf.Tensor


def hidden_states(
  model: config.ModelConfig,
  d: Dims,
  weights: decoder.Weights,
  tokens: TreeTokens,
  before: SharedPrefix | None = None,
) -> mtf.Tensor:
  """The last layer's normalized output, [batch, length, d_model].

  Args:
    model: sizes and choices.
    d: the dimensions; `memory` is `length` and what is kept before it.
    weights: by name, in the precision of the computation.
    tokens: the rows.
    before: what stands before them.
  """
  x, _ = _layers(model, d, weights, tokens, before)
  return decoder.norm(model, d, x, weights, "final_norm")


def states(
  model: config.ModelConfig,
  d: Dims,
  weights: decoder.Weights,
  tokens: TreeTokens,
) -> States:
  """The keys and values of one row, for `SharedPrefix`; `batch` is never split."""
  _, found = _layers(model, d, weights, tokens, None)
  return found


def _layers(
  model, d: Dims, weights, tokens: TreeTokens, before: SharedPrefix | None
):
  """The residual stream behind all layers, and each layer's own k and v."""
  kept = d.memory.size - d.length.size
  count = [] if before is None else [before.count]
  one = mtf.Dimension("one", 1)

  def mask(window: int) -> mtf.Tensor:
    def on_core(positions, ends, *count):
      distances = attention.tree_distances(positions, kept)
      real = count[0] if count else 0
      return attention.tree_mask(ends, distances, real, window)

    return ops.local(
      on_core,
      [tokens.positions, tokens.ends, *count],
      mtf.Shape([d.batch, one, d.length, d.memory]),
      splittable=[d.batch],
      dtype=tf.float32,
      name="mask",
    )

  windows = decoder.windows(model)
  masks = {window: mask(window) for window in sorted(set(windows))}
  bias = []
  if model.positions == "t5":
    bias = [_relative_bias(model, d, weights, tokens)]
  rates = attention.frequencies(model)
  own: States = []

  def rotated(x: mtf.Tensor) -> mtf.Tensor:
    if model.positions != "rotary":
      return x
    return ops.local(
      lambda x, positions: attention.rotate(x, positions, rates),
      [x, tokens.positions],
      x.shape,
      [d.batch, d.heads],
      name="rotate",
    )

  def on_core(q, k, v, mask, *rest):
    rest = list(rest)
    if before is not None:
      k, v = (
        tf.concat([tf.repeat(rest.pop(0), q.shape[0], 0), x], 1) for x in (k, v)
      )
    bias = rest.pop() if rest else None
    return attention.attend(
      q, k, v, mask, bias, model.query_scale, model.attention_cap
    )

  x = decoder.embed(model, d, weights, tokens.inputs, tokens.positions)
  for index, window in enumerate(windows):

    def attend(q, k, v, index=index, window=window):
      q, k = rotated(q), rotated(k)
      own.extend([k, v])
      earlier = before.states[2 * index : 2 * index + 2] if before else []
      return ops.local(
        on_core,
        [q, k, v, masks[window], *earlier, *bias],
        d.per_head,
        [d.batch, d.heads],
        name="attention",
      )

    w = {
      name: weights[f"layer_{index:03d}/{name}"]
      for name in decoder.names_in_a_layer(weights)
    }
    x = decoder.block(model, d, w, x, attend)
  return x, own


def _relative_bias(model, d: Dims, weights, tokens: TreeTokens) -> mtf.Tensor:
  """[batch, heads, length, memory]: columns do not tell distances here."""

  def on_core(table, positions):
    kept = d.memory.size - d.length.size
    distances = attention.tree_distances(positions, kept)
    limit = model.relative_max_distance
    return attention.relative_bias_of_rows(table, distances, limit)

  return ops.local(
    on_core,
    [weights["relative_bias"], tokens.positions],
    mtf.Shape([d.batch, d.heads, d.length, d.memory]),
    splittable=[d.batch, d.heads],
    dtype=tf.float32,
    name="relative_bias",
  )
