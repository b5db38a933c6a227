"""Causal attention of one core's heads, in plain TensorFlow.

Suffixes of names: B batch, H heads, G heads of keys and values, L query
positions, M key positions, K d_kv. No function here communicates with another
core: only heads and batch may be split over cores.
"""

import typing
from collections.abc import Callable, Sequence

import tensorflow as tf

from flan_tf import config

# Added to the logits of keys that a query must not attend to. Finite, because
# a padding row attends to nothing and its softmax must still be a number.
MASKED = -1e9

# Number of queries of a block, where rows are long.
_BLOCK = 512

Barrier = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]


def windows(model: config.ModelConfig) -> list[int]:
  """Returns the window of each layer in tokens; 0 without a limit."""
  return [
    0 if index % model.window_every else model.window
    for index in range(model.layers)
  ]


# -- masks ---------------------------------------------------------------------


def packed_mask(
  segment_ids_BL: tf.Tensor,
  window: int = 0,
  columns_L: tf.Tensor | None = None,
  key_segment_ids_BM: tf.Tensor | None = None,
) -> tf.Tensor:
  """Returns the mask of packed rows: 0 or MASKED, float32 [B, 1, L, M].

  A token attends to its own segment, up to itself. Padding is segment 0.

  Args:
    segment_ids_BL: of the queries.
    window: number of tokens attended to, the query's own included; 0 for all.
    columns_L: of the queries; by default those of the keys.
    key_segment_ids_BM: of the keys; by default those of the queries.
  """
  keys_BM = segment_ids_BL if key_segment_ids_BM is None else key_segment_ids_BM
  memory = tf.range(_size(keys_BM, 1))
  rows_L: tf.Tensor = memory if columns_L is None else columns_L
  same = tf.equal(segment_ids_BL[:, :, tf.newaxis], keys_BM[:, tf.newaxis])
  distance_LM = rows_L[:, tf.newaxis] - memory[tf.newaxis, :]
  allowed = tf.logical_and(same, distance_LM >= 0)
  if window:
    allowed &= distance_LM < window
  return tf.where(allowed, 0.0, MASKED)[:, tf.newaxis]


def tree_mask(
  ends_BL: tf.Tensor,
  distances_BLM: tf.Tensor,
  prefix_count: tf.Tensor | int = 0,
  window: int = 0,
) -> tf.Tensor:
  """Returns the mask of rows of prefix trees: 0 or MASKED, [B, 1, L, M].

  Args:
    ends_BL: the column after the last one that attends to a column; 0 for
      padding.
    distances_BLM: position of the query minus that of the key. Where M is more
      than L, the first M - L keys are those of a shared prefix.
    prefix_count: how many columns of the prefix are real.
    window: number of tokens attended to; 0 for all.
  """
  length, memory = _size(distances_BLM, 1), _size(distances_BLM, 2)
  at_L = tf.range(length)
  causal = at_L[:, tf.newaxis] >= at_L[tf.newaxis, :]
  allowed = causal & (at_L[:, tf.newaxis] < ends_BL[:, tf.newaxis, :])
  if memory > length:
    real = tf.range(memory - length) < prefix_count
    real = tf.broadcast_to(real, [_size(ends_BL, 0), length, memory - length])
    allowed = tf.concat([real, allowed], axis=2)
  if window:
    # Columns do not tell how far back a key is, positions do.
    allowed &= distances_BLM < window
  return tf.where(allowed, 0.0, MASKED)[:, tf.newaxis]


def tree_distances(
  positions_BL: tf.Tensor, prefix_length: int = 0
) -> tf.Tensor:
  """Returns the position of each query minus that of each key: [B, L, M].

  Args:
    positions_BL: int32.
    prefix_length: columns of a shared prefix, at positions 0, 1, ...; they come
      before the row's own keys, so that M is prefix_length + L.
  """
  keys_BM = positions_BL
  if prefix_length:
    before = tf.range(prefix_length)[tf.newaxis, :]
    before = tf.broadcast_to(before, [_size(positions_BL, 0), prefix_length])
    keys_BM = tf.concat([before, positions_BL], axis=1)
  return positions_BL[:, :, tf.newaxis] - keys_BM[:, tf.newaxis, :]


# -- attention -----------------------------------------------------------------


def attend(
  q_BLHK: tf.Tensor,
  k_BMGK: tf.Tensor,
  v_BMGK: tf.Tensor,
  mask_B1LM: tf.Tensor,
  bias_HLM: tf.Tensor | None = None,
  scale: float = 0.0,
  cap: float = 0.0,
  barrier: Barrier | None = None,
) -> tf.Tensor:
  """Returns softmax(scale q k + bias + mask) v: [B, L, H, K].

  The softmax is computed in float32. Heads come last but one, as the
  projections give them; the products want them second, and transposing these
  small tensors is cheaper than having einsum do it. Query heads that share a
  head of keys are rows of one product [H/G L, K].

  Args:
    q_BLHK: queries.
    k_BMGK: keys.
    v_BMGK: values.
    mask_B1LM: 0 where a query may look, else MASKED.
    bias_HLM: added to the logits; may have a batch dimension as well.
    scale: of the queries; 0 for d_kv ** -0.5.
    cap: logits x become cap tanh(x / cap); 0 leaves them.
    barrier: `Transport.optimization_barrier` of this core, where the result is
      differentiated; see `_differentiable`. None elsewhere: TensorFlow warns
      when it loads a SavedModel that has custom gradients.
  """
  q_BHLK, k_BGMK, v_BGMK = (
    tf.transpose(x, [0, 2, 1, 3]) for x in (q_BLHK, k_BMGK, v_BMGK)
  )
  out_BHLK = attend_by_head(
    q_BHLK, k_BGMK, v_BGMK, mask_B1LM, bias_HLM, scale, cap, barrier
  )
  return tf.transpose(out_BHLK, [0, 2, 1, 3])


def attend_in_blocks(
  q_BLHK: tf.Tensor,
  k_BLGK: tf.Tensor,
  v_BLGK: tf.Tensor,
  mask_B1LL: tf.Tensor,
  near_bias_HQN: tf.Tensor | None = None,
  scale: float = 0.0,
  cap: float = 0.0,
  barrier: Barrier | None = None,
) -> tf.Tensor:
  """Attends in rows in which no query attends to a later column.

  Long rows are computed in blocks of queries, and no block reads the keys
  after it. The result is that of `attend`; the work goes towards a half.

  Args:
    q_BLHK: queries.
    k_BLGK: keys.
    v_BLGK: values.
    mask_B1LL: 0 where a query may look, else MASKED.
    near_bias_HQN: see `positions.near_bias`.
    scale: as in `attend`.
    cap: as in `attend`.
    barrier: as in `attend`.
  """
  length = _size(q_BLHK, 1)
  block = block_size(length)
  out = []
  for end in range(block, length + 1, block):
    rows = slice(end - block, end)
    mask = mask_B1LL[:, :, rows, :end]
    bias = None
    if near_bias_HQN is not None:
      bias = near_bias_HQN[:, :, -end:]
      far = end - _size(bias, 2)
      bias = tf.pad(bias, [[0, 0], [0, 0], [far, 0]])
    q, k, v = q_BLHK[:, rows], k_BLGK[:, :end], v_BLGK[:, :end]
    out.append(attend(q, k, v, mask, bias, scale, cap, barrier))
  return tf.concat(out, axis=1)


def block_size(length: int) -> int:
  """Returns the number of queries of a block in `attend_in_blocks`."""
  return length if length % _BLOCK else _BLOCK


def attend_by_head(
  q_BHLK: tf.Tensor,
  k_BGMK: tf.Tensor,
  v_BGMK: tf.Tensor,
  mask_B1LM: tf.Tensor,
  bias_HLM: tf.Tensor | None = None,
  scale: float = 0.0,
  cap: float = 0.0,
  barrier: Barrier | None = None,
) -> tf.Tensor:
  """Returns what `attend` returns, with heads second: [B, H, L, K]."""
  q_BHLK *= tf.cast(scale or _size(q_BHLK, -1) ** -0.5, q_BHLK.dtype)
  batch, heads, length, width = (_size(q_BHLK, axis) for axis in range(4))
  groups, memory = _size(k_BGMK, 1), _size(k_BGMK, 2)
  rows = heads // groups * length  # All that attend to one head of keys.
  if groups != heads:
    q_BHLK = tf.reshape(q_BHLK, [batch, groups, rows, width])
  logits_BHLM = tf.matmul(q_BHLK, k_BGMK, transpose_b=True)
  logits_BHLM = tf.cast(logits_BHLM, tf.float32)
  if cap:
    logits_BHLM = cap * tf.tanh(logits_BHLM / cap)
  if groups != heads:
    logits_BHLM = tf.reshape(logits_BHLM, [batch, heads, length, memory])
  if bias_HLM is not None:
    logits_BHLM += bias_HLM
  logits_BHLM += mask_B1LM
  if groups != heads:
    logits_BHLM = tf.reshape(logits_BHLM, [batch, groups, rows, memory])
  if barrier is None:
    out_BHLK, *_ = _softmax_product(logits_BHLM, v_BGMK)
  else:
    out_BHLK = _differentiable(logits_BHLM, v_BGMK, barrier)
  if groups != heads:
    out_BHLK = tf.reshape(out_BHLK, [batch, heads, length, width])
  return out_BHLK


def _softmax_product(
  logits_BHLM: tf.Tensor, v_BHMK: tf.Tensor, barrier: Barrier = list
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Returns softmax(logits) v in the precision of v, and its intermediates.

  The division by the sum of a row comes after the product with v, where a row
  has d_kv elements instead of one per key.

  Returns:
    The product [B, H, L, K]; exp(logits - their maximum) in the precision of v
    [B, H, L, M]; and its sums over M, float32 [B, H, L, 1].
  """
  top_BHL1 = tf.reduce_max(logits_BHLM, axis=-1, keepdims=True)
  powers_BHLM = tf.exp(logits_BHLM - top_BHL1)
  sums_BHL1 = tf.reduce_sum(powers_BHLM, axis=-1, keepdims=True)
  (powers_BHLM,) = barrier([tf.cast(powers_BHLM, v_BHMK.dtype)])
  product_BHLK = tf.cast(tf.matmul(powers_BHLM, v_BHMK), tf.float32)
  return tf.cast(product_BHLK / sums_BHL1, v_BHMK.dtype), powers_BHLM, sums_BHL1


def _differentiable(
  logits_BHLM: tf.Tensor, v_BHMK: tf.Tensor, barrier: Barrier
) -> tf.Tensor:
  """Returns `_softmax_product` with a gradient that keeps the weights once.

  Let w be the softmax, o = w v, and g the gradient of o. The gradient of the
  logits is w (g v' - sum over M of w g v'), and that sum is the sum of g o over
  K (Dao et al. 2022, "FlashAttention", section B.2). As w the gradient takes
  the rounded powers that the product with v took; otherwise XLA would keep the
  powers twice, rounded and not rounded. In bfloat16 on a CPU, the gradients of
  q and k are therefore 0.9 instead of 0.5 percent off with 16 keys of random
  numbers, and 0.5 instead of 0.4 percent with 256 keys.
  """

  @tf.custom_gradient
  def product(logits, v):
    out, powers, sums = _softmax_product(logits, v, barrier)

    def gradient(upstream):
      upstream = tf.cast(tf.cast(upstream, tf.float32) / sums, v.dtype)
      slopes = tf.matmul(upstream, v, transpose_b=True)
      mean = tf.cast(upstream, tf.float32) * tf.cast(out, tf.float32)
      mean = tf.reduce_sum(mean, axis=-1, keepdims=True)
      slopes = tf.cast(slopes, tf.float32) - mean
      logits_gradient = tf.cast(powers, tf.float32) * slopes
      return logits_gradient, tf.matmul(powers, upstream, transpose_a=True)

    return out, gradient

  return typing.cast(tf.Tensor, product(logits_BHLM, v_BHMK))


def _size(x: tf.Tensor, axis: int) -> int:
  """Returns a size that is known while tracing, as all sizes here are."""
  return typing.cast(int, x.shape[axis])
