"""Attention within the segments of packed rows, as training computes it."""

import dataclasses
import functools
from typing import Any

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model import attention, positions
from flan_tf.model.dims import ONE, Dims
from flan_tf.model.weights import ModelWeights


@dataclasses.dataclass(frozen=True)
class PackedTokens:
  """Packed rows, each int32 [batch, length].

  Attributes:
    inputs: the token before each target.
    segment_ids: 1, 2, ... for the examples of a row, 0 for padding.
    positions: counted from 0 in each segment.
  """

  inputs: mtf.Tensor
  segment_ids: mtf.Tensor
  positions: mtf.Tensor


class PackedAttention:
  """The attention of all layers over packed rows.

  Args:
    model: sizes and choices.
    d: the dimensions.
    weights: of the model; only the relative bias is read.
    tokens: packed rows.

  Attributes:
    positions: int32 [batch, length].
  """

  def __init__(
    self,
    model: config.ModelConfig,
    d: Dims,
    weights: ModelWeights,
    tokens: PackedTokens,
  ):
    self._model, self._dims, self.positions = model, d, tokens.positions
    self._kernel = _Kernel(model, rows_are_split=d.length_is_split)
    columns = mtf.range(tokens.inputs.mesh, d.length, tf.int32)
    self._masks = {
      window: self._mask(tokens.segment_ids, columns, window)
      for window in sorted(set(attention.windows(model)))
    }
    self._bias = None
    if weights.relative_bias is not None:
      self._bias = self._relative_bias(weights.relative_bias, columns)

  def of_layer(self, layer: int) -> "PackedLayerAttention":
    """Returns the attention of one layer."""
    window = attention.windows(self._model)[layer]
    return PackedLayerAttention(
      self._dims, self._kernel, self._masks[window], self.positions, self._bias
    )

  def _mask(
    self, segment_ids: mtf.Tensor, columns: mtf.Tensor, window: int
  ) -> mtf.Tensor:
    """Returns float32 [batch, 1, length, memory]; see attention.packed_mask."""
    d = self._dims
    return ops.local(
      lambda queries, keys, columns: attention.packed_mask(
        queries, window, columns, keys
      ),
      [segment_ids, gather_keys(d, segment_ids), columns],
      mtf.Shape([d.batch, ONE, d.length, d.memory]),
      splittable=[d.batch, d.length],
      dtype=tf.float32,
      name="mask",
    )

  def _relative_bias(
    self, table: mtf.Tensor, columns: mtf.Tensor
  ) -> mtf.Tensor:
    """Returns float32 [heads, queries, keys].

    Where rows are split over cores, these are all queries and keys of the row.
    Elsewhere they are one block's; see `positions.near_bias`.
    """
    d, length = self._dims, self._dims.length.size
    max_distance = self._model.relative_max_distance

    def for_all_keys(table, columns):
      distance = columns[:, tf.newaxis] - tf.range(length)[tf.newaxis, :]
      return positions.relative_bias(table, distance, max_distance)

    def for_a_block(table):
      return positions.near_bias(table, block, length, max_distance)

    block = attention.block_size(length)
    if d.length_is_split:
      fn, inputs = for_all_keys, [table, columns]
      queries, keys = d.length, d.memory
    else:
      fn, inputs = for_a_block, [table]
      queries = mtf.Dimension("queries", block)
      keys = mtf.Dimension("keys", min(length, block + max_distance))
    return ops.local(
      fn,
      inputs,
      mtf.Shape([d.heads, queries, keys]),
      splittable=[d.heads, d.length],
      dtype=tf.float32,
      name="relative_bias",
    )


@dataclasses.dataclass(frozen=True)
class PackedLayerAttention:
  """The attention of one layer over packed rows; keeps no keys and values.

  Attributes:
    dims: the dimensions.
    kernel: computes attention on one core; shared by all layers.
    mask: float32 [batch, 1, length, memory].
    positions: int32 [batch, length].
    bias: float32 [heads, queries, keys]; None without relative positions.
  """

  dims: Dims
  kernel: "_Kernel"
  mask: mtf.Tensor
  positions: mtf.Tensor
  bias: mtf.Tensor | None

  def __call__(
    self, q: mtf.Tensor, k: mtf.Tensor, v: mtf.Tensor
  ) -> tuple[mtf.Tensor, tuple[()]]:
    """Attends; see `decoder.LayerAttention`.

    Where the layout splits `length`, each core keeps its own queries and
    gathers the keys and values of the other cores of a row.
    """
    d = self.dims
    k, v, key_positions = (gather_keys(d, x) for x in (k, v, self.positions))
    inputs = [q, k, v, self.mask, self.positions, key_positions]
    if self.bias is not None:
      inputs.append(self.bias)
    y = ops.local(
      self.kernel,
      inputs,
      d.per_head,
      [d.batch, d.length, d.heads],
      name="attention",
      pass_barrier=True,
    )
    return y, ()


def gather_keys(d: Dims, x: mtf.Tensor) -> mtf.Tensor:
  """Gathers [batch, length, ...] to all keys of a row, [batch, memory, ...]."""
  return ops.reshard(x, d.length, d.memory)


class _Kernel:
  """Attention on one core: traced once, called by every layer.

  Args:
    model: sizes and choices.
    rows_are_split: whether a core holds only some queries of a row. It then
      does not know, before the program runs, which keys come after them.
  """

  def __init__(self, model: config.ModelConfig, rows_are_split: bool):
    self._model = model
    self._attend = (
      attention.attend if rows_are_split else attention.attend_in_blocks
    )
    self._traced = functools.cache(self._trace)

  def __call__(self, *inputs: tf.Tensor, barrier: attention.Barrier) -> Any:
    return self._traced(barrier)(*inputs)

  def _trace(self, barrier: attention.Barrier):
    model = self._model
    frequencies = positions.rotary_frequencies(model)

    @functools.partial(tf.function, autograph=False)
    def attend(q, k, v, mask, query_positions, key_positions, bias=None):
      if model.positions == "rotary":
        q = positions.rotate(q, query_positions, frequencies)
        k = positions.rotate(k, key_positions, frequencies)
      return self._attend(
        q,
        k,
        v,
        mask,
        bias,
        scale=model.query_scale,
        cap=model.attention_cap,
        barrier=barrier,
      )

    return attend
