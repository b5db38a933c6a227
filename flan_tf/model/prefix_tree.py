"""Attention over rows of prefix trees: a common beginning is read once.

    5 6 7 8, 5 6 9 and 4 3     inputs     5 6 7 8 9 4 3
                               positions  0 1 2 3 2 0 1
                               ends       5 5 4 4 5 7 7

Each column is a node of a tree. It is seen by the columns after it, up to its
end: these are the nodes below it. Positions are depths in the tree.

A prefix that all rows of a call share need not be in any of them: a first call
reads it as a row of its own, and its keys and values come before every row.
"""

import dataclasses

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model import attention, positions
from flan_tf.model.dims import ONE, Dims
from flan_tf.model.weights import ModelWeights

KeysAndValues = tuple[mtf.Tensor, mtf.Tensor]


@dataclasses.dataclass(frozen=True)
class TreeTokens:
  """Rows of prefix trees; every field is int32 [batch, length].

  Attributes:
    inputs: the token of each column.
    positions: depth of each column in its tree.
    ends: the column after the last one that attends to a column; 0 for padding.
  """

  inputs: mtf.Tensor
  positions: mtf.Tensor
  ends: mtf.Tensor


@dataclasses.dataclass(frozen=True)
class SharedPrefix:
  """The keys and values of a prefix that comes before every row.

  Attributes:
    layers: of each layer, both [1, prefix, kv_heads, d_kv], on every core.
    count: int32 [], how many of the prefix columns are real; the others are
      padding on the right.
  """

  layers: list[KeysAndValues]
  count: mtf.Tensor


class PrefixTreeAttention:
  """The attention of all layers over rows of trees.

  Args:
    model: sizes and choices.
    d: the dimensions; `memory` is the prefix and `length` together.
    weights: of the model; only the relative bias is read.
    tokens: the rows.
    prefix: comes before every row, if given.

  Attributes:
    positions: int32 [batch, length].
  """

  def __init__(
    self,
    model: config.ModelConfig,
    d: Dims,
    weights: ModelWeights,
    tokens: TreeTokens,
    prefix: SharedPrefix | None = None,
  ):
    self._model, self._dims, self._prefix = model, d, prefix
    self.positions = tokens.positions
    self._prefix_length = d.memory.size - d.length.size
    self._masks = {
      window: self._mask(tokens, window)
      for window in sorted(set(attention.windows(model)))
    }
    self._bias = None
    if weights.relative_bias is not None:
      self._bias = self._relative_bias(weights.relative_bias)

  def of_layer(self, layer: int) -> "TreeLayerAttention":
    """Returns the attention of one layer."""
    window = attention.windows(self._model)[layer]
    return TreeLayerAttention(
      self._model,
      self._dims,
      self._masks[window],
      self.positions,
      self._prefix.layers[layer] if self._prefix else None,
      self._bias,
    )

  def _mask(self, tokens: TreeTokens, window: int) -> mtf.Tensor:
    """Returns float32 [batch, 1, length, memory]; see attention.tree_mask."""
    d = self._dims

    def on_core(query_positions, ends, count=0):
      distances = attention.tree_distances(query_positions, self._prefix_length)
      return attention.tree_mask(ends, distances, count, window)

    inputs = [tokens.positions, tokens.ends]
    if self._prefix is not None:
      inputs.append(self._prefix.count)
    return ops.local(
      on_core,
      inputs,
      mtf.Shape([d.batch, ONE, d.length, d.memory]),
      splittable=[d.batch],
      dtype=tf.float32,
      name="mask",
    )

  def _relative_bias(self, table: mtf.Tensor) -> mtf.Tensor:
    """Returns float32 [batch, heads, length, memory].

    Distances differ between rows, since columns are no positions here.
    """
    d, max_distance = self._dims, self._model.relative_max_distance

    def on_core(table, query_positions):
      distances = attention.tree_distances(query_positions, self._prefix_length)
      return positions.relative_bias_of_rows(table, distances, max_distance)

    return ops.local(
      on_core,
      [table, self.positions],
      mtf.Shape([d.batch, d.heads, d.length, d.memory]),
      splittable=[d.batch, d.heads],
      dtype=tf.float32,
      name="relative_bias",
    )


@dataclasses.dataclass(frozen=True)
class TreeLayerAttention:
  """The attention of one layer over rows of trees.

  Attributes:
    model: sizes and choices.
    dims: the dimensions.
    mask: float32 [batch, 1, length, memory].
    positions: int32 [batch, length].
    prefix: this layer's keys and values of the shared prefix, if there is one.
    bias: float32 [batch, heads, length, memory]; None without relative
      positions.
  """

  model: config.ModelConfig
  dims: Dims
  mask: mtf.Tensor
  positions: mtf.Tensor
  prefix: KeysAndValues | None
  bias: mtf.Tensor | None

  def __call__(
    self, q: mtf.Tensor, k: mtf.Tensor, v: mtf.Tensor
  ) -> tuple[mtf.Tensor, KeysAndValues]:
    """Attends and returns the rows' own keys and values as well."""
    d = self.dims
    q, k = self._rotated(q), self._rotated(k)
    inputs = {"q": q, "k": k, "v": v, "mask": self.mask}
    if self.prefix is not None:
      inputs["prefix_k"], inputs["prefix_v"] = self.prefix
    if self.bias is not None:
      inputs["bias"] = self.bias
    y = ops.local(
      lambda *xs: self._on_core(**dict(zip(inputs, xs, strict=True))),
      list(inputs.values()),
      d.per_head,
      [d.batch, d.heads],
      name="attention",
    )
    return y, (k, v)

  def _on_core(self, q, k, v, mask, prefix_k=None, prefix_v=None, bias=None):
    if prefix_k is not None:
      k, v = (
        tf.concat([tf.repeat(before, q.shape[0], 0), x], 1)
        for before, x in ((prefix_k, k), (prefix_v, v))
      )
    scale, cap = self.model.query_scale, self.model.attention_cap
    return attention.attend(q, k, v, mask, bias, scale, cap)

  def _rotated(self, x: mtf.Tensor) -> mtf.Tensor:
    if self.model.positions != "rotary":
      return x
    frequencies = positions.rotary_frequencies(self.model)
    return ops.local(
      lambda x, at: positions.rotate(x, at, frequencies),
      [x, self.positions],
      x.shape,
      [self.dims.batch, self.dims.heads],
      name="rotate",
    )
