"""Causal attention of one core's heads, in plain TensorFlow.

Suffixes: B batch, H heads, G heads of keys and values, L query positions,
M key positions, K d_kv.
Nothing here talks to another core: heads and batch are what may be split.
"""

import math
import typing
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from flan_tf import config

# Added where a query must not look. Finite: a padding row attends to nothing
# at all, and its softmax must still be a number.
MASKED = -1e9

# Queries that look at keys together, where rows are long.
_BLOCK = 512

Together = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]


def packed_mask(
  segment_ids_BL: tf.Tensor,
  window: int = 0,
  columns_L: tf.Tensor | None = None,
  key_segment_ids_BM: tf.Tensor | None = None,
) -> tf.Tensor:
  """0 where a query may look, MASKED elsewhere: float32 [B, 1, L, M].

  A token sees its own segment, up to itself, `window` tokens in all if that is
  not 0; padding is segment 0.

  Args:
    segment_ids_BL: of the queries.
    window: see above.
    columns_L: of the queries, where they are not those of the keys.
    key_segment_ids_BM: of the keys, where they are not those of the queries.
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
  kept: tf.Tensor | int = 0,
  window: int = 0,
) -> tf.Tensor:
  """As `packed_mask`, for rows of trees: float32 [B, 1, L, M].

  Args:
    ends_BL: the column behind the last one that sees a column; 0 for padding.
    distances_BLM: position of the query minus that of the key. Where M is more
      than L, the first M - L keys are kept ones, which stand before every row.
    kept: how many of these are real.
    window: tokens that are seen in all; 0 for all of them.
  """
  length, memory = _size(distances_BLM, 1), _size(distances_BLM, 2)
  at_L = tf.range(length)
  causal = at_L[:, tf.newaxis] >= at_L[tf.newaxis, :]
  allowed = causal & (at_L[:, tf.newaxis] < ends_BL[:, tf.newaxis, :])
  if memory > length:
    real = tf.range(memory - length) < kept
    real = tf.broadcast_to(real, [_size(ends_BL, 0), length, memory - length])
    allowed = tf.concat([real, allowed], axis=2)
  if window:
    # Columns do not tell how far back a key is, positions do.
    allowed &= distances_BLM < window
  return tf.where(allowed, 0.0, MASKED)[:, tf.newaxis]


def attend(
  q_BLHK: tf.Tensor,
  k_BMGK: tf.Tensor,
  v_BMGK: tf.Tensor,
  mask_B1LM: tf.Tensor,
  bias_HLM: tf.Tensor | None = None,
  scale: float = 0.0,
  cap: float = 0.0,
  together: Together | None = None,
) -> tf.Tensor:
  """softmax(scale q k + bias + mask) v, softmax in float32: [B, L, H, K].

  Heads come last but one, as the projections make them; the products want them
  second, and moving these small tensors is cheaper than having einsum do it.
  Query heads that share a head of keys are rows of one product [H/G L, K].

  Args:
    q_BLHK: queries.
    k_BMGK: keys.
    v_BMGK: values.
    mask_B1LM: 0 where a query may look, else MASKED.
    bias_HLM: added to the logits; may have a batch as well.
    scale: of the queries; 0 for d_kv ** -0.5.
    cap: logits x become cap tanh(x / cap); 0 for never.
    together: what `Transport.together` is on this core, where the result is
      differentiated (see `_differentiable`). Not elsewhere: of a SavedModel
      with gradients of its own, TensorFlow warns as it loads it.
  """
  q_BHLK, k_BGMK, v_BGMK = (
    tf.transpose(x, [0, 2, 1, 3]) for x in (q_BLHK, k_BMGK, v_BMGK)
  )
  out_BHLK = attend_by_head(
    q_BHLK, k_BGMK, v_BGMK, mask_B1LM, bias_HLM, scale, cap, together
  )
  return tf.transpose(out_BHLK, [0, 2, 1, 3])


def attend_to_earlier(
  q_BLHK: tf.Tensor,
  k_BLGK: tf.Tensor,
  v_BLGK: tf.Tensor,
  mask_B1LL: tf.Tensor,
  near_bias_HQN: tf.Tensor | None = None,
  scale: float = 0.0,
  cap: float = 0.0,
  together: Together | None = None,
) -> tf.Tensor:
  """As `attend`, of rows that see nothing behind a query.

  Long rows are taken in blocks of queries, and no block looks at the keys
  behind it. Nothing changes but the work, which goes towards a half of it.

  Args:
    q_BLHK: queries.
    k_BLGK: keys.
    v_BLGK: values.
    mask_B1LL: 0 where a query may look, else MASKED.
    near_bias_HQN: see `near_bias`.
    scale: of the queries; 0 for d_kv ** -0.5.
    cap: logits x become cap tanh(x / cap); 0 for never.
    together: as `attend` takes it.
  """
  length = _size(q_BLHK, 1)
  block = block_of(length)
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
    out.append(attend(q, k, v, mask, bias, scale, cap, together))
  return tf.concat(out, axis=1)


def block_of(length: int) -> int:
  """How many queries of a row `attend_to_earlier` takes together."""
  return length if length % _BLOCK else _BLOCK


def attend_by_head(
  q_BHLK: tf.Tensor,
  k_BGMK: tf.Tensor,
  v_BGMK: tf.Tensor,
  mask_B1LM: tf.Tensor,
  bias_HLM: tf.Tensor | None = None,
  scale: float = 0.0,
  cap: float = 0.0,
  together: Together | None = None,
) -> tf.Tensor:
  """As `attend`, with heads second, as they are kept: [B, H, L, K]."""
  q_BHLK *= tf.cast(scale or _size(q_BHLK, -1) ** -0.5, q_BHLK.dtype)
  batch, heads, length, width = (_size(q_BHLK, axis) for axis in range(4))
  groups, memory = _size(k_BGMK, 1), _size(k_BGMK, 2)
  rows = heads // groups * length  # All that look at one head of keys.
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
  if together is None:
    out_BHLK, *_ = _softmax_product(logits_BHLM, v_BGMK)
  else:
    out_BHLK = _differentiable(logits_BHLM, v_BGMK, together)
  if groups != heads:
    out_BHLK = tf.reshape(out_BHLK, [batch, heads, length, width])
  return out_BHLK


def _softmax_product(
  logits_BHLM: tf.Tensor, v_BHMK: tf.Tensor, together: Together = list
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """softmax(logits) v, rounded as v is; and what a gradient needs of it.

  A row is divided by its sum behind the product with v, where it is d_kv wide
  and no longer as long as there are keys.

  Returns:
    The product [B, H, L, K], exp(logits - their maximum) [B, H, L, M], rounded
    as v is, and the sums of it over M in float32 [B, H, L, 1].
  """
  top_BHL1 = tf.reduce_max(logits_BHLM, axis=-1, keepdims=True)
  powers_BHLM = tf.exp(logits_BHLM - top_BHL1)
  sums_BHL1 = tf.reduce_sum(powers_BHLM, axis=-1, keepdims=True)
  (powers_BHLM,) = together([tf.cast(powers_BHLM, v_BHMK.dtype)])
  product_BHLK = tf.cast(tf.matmul(powers_BHLM, v_BHMK), tf.float32)
  return tf.cast(product_BHLK / sums_BHL1, v_BHMK.dtype), powers_BHLM, sums_BHL1


def _differentiable(
  logits_BHLM: tf.Tensor, v_BHMK: tf.Tensor, together: Together
) -> tf.Tensor:
  """`_softmax_product` with a gradient that looks at its weights but once.

  With w the softmax, o = w v, and g the gradient that comes for o, that of the
  logits is w (g v' - sum over M of w g v'), and the sum is that of g o over K
  (Dao et al. 2022, "FlashAttention", section B.2). For w it takes what the
  product with v took: else XLA would keep both, rounded and not. For that the
  gradients of q and k are, in bfloat16 on a CPU, 0.9 instead of 0.5 percent off
  with 16 keys of random numbers, and 0.5 instead of 0.4 with 256.
  """

  @tf.custom_gradient
  def product(logits, v):
    out, powers, sums = _softmax_product(logits, v, together)

    def gradient(upstream):
      upstream = tf.cast(tf.cast(upstream, tf.float32) / sums, v.dtype)
      slopes = tf.matmul(upstream, v, transpose_b=True)
      mean = tf.cast(upstream, tf.float32) * tf.cast(out, tf.float32)
      mean = tf.reduce_sum(mean, axis=-1, keepdims=True)
      slopes = tf.cast(slopes, tf.float32) - mean
      of_logits = tf.cast(powers, tf.float32) * slopes
      return of_logits, tf.matmul(powers, upstream, transpose_a=True)

    return out, gradient

  return typing.cast(tf.Tensor, product(logits_BHLM, v_BHMK))


def frequencies(model: config.ModelConfig) -> np.ndarray:
  """Radians a position of each pair of a head, float32 [d_kv / 2].

  base^(-i / half) (Su et al. 2021, eq. 15), stretched as `rotary_scaling` says.
  """
  half = model.d_kv // 2
  plain = model.rotary_base ** (-np.arange(half) / half)
  slow = plain / model.rotary_factor
  if model.rotary_scaling == "linear":
    plain = slow
  elif model.rotary_scaling == "llama3":
    low, high = model.rotary_low_frequency, model.rotary_high_frequency
    turns = model.rotary_original_length * plain / (2 * np.pi)
    kept = np.clip((turns - low) / (high - low), 0, 1)
    plain = kept * plain + (1 - kept) * slow
  return plain.astype(np.float32)


def rotate(
  x_BLHK: tf.Tensor, positions_BL: tf.Tensor, frequencies: np.ndarray
) -> tf.Tensor:
  """Rotary positions (Su et al. 2021, eq. 34), halves rotated together."""
  angles = tf.cast(positions_BL, tf.float32)[:, :, tf.newaxis, tf.newaxis]
  angles *= tf.constant(frequencies)  # [B, L, 1, half]
  cos, sin = tf.cos(angles), tf.sin(angles)
  first, second = tf.split(tf.cast(x_BLHK, tf.float32), 2, axis=-1)
  rotated = tf.concat(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  )
  return tf.cast(rotated, x_BLHK.dtype)


def relative_bucket(
  distance: tf.Tensor, buckets: int, max_distance: int
) -> tf.Tensor:
  """Buckets of query position minus key position, for causal attention.

  Half of the buckets hold one distance each, the others logarithmically more,
  up to `max_distance` (Raffel et al. 2020, section 2.1).
  """
  distance = tf.maximum(distance, 0)
  exact = buckets // 2
  scaled = tf.math.log(tf.cast(tf.maximum(distance, 1), tf.float32) / exact)
  scaled *= (buckets - exact) / math.log(max_distance / exact)
  far = tf.minimum(exact + tf.cast(scaled, tf.int32), buckets - 1)
  return tf.where(distance < exact, distance, far)


def relative_bias(
  table_HR: tf.Tensor, distance_LM: tf.Tensor, max_distance: int
) -> tf.Tensor:
  """A learned bias for each head and bucket of distances: [H, L, M]."""
  buckets = relative_bucket(distance_LM, _size(table_HR, 1), max_distance)
  return tf.gather(tf.cast(table_HR, tf.float32), buckets, axis=1)


def relative_bias_of_rows(
  table_HR: tf.Tensor, distance_BLM: tf.Tensor, max_distance: int
) -> tf.Tensor:
  """The same where each row has distances of its own: [B, H, L, M].

  It is looked up in this order. To turn the dimensions afterwards, XLA lays out
  H as the last one in between, which a TPU pads to 128.
  """
  size = _size(table_HR, 1)
  buckets = relative_bucket(distance_BLM, size, max_distance)
  heads_H11 = tf.range(_size(table_HR, 0))[:, tf.newaxis, tf.newaxis]
  flat = tf.reshape(tf.cast(table_HR, tf.float32), [-1])
  return tf.gather(flat, heads_H11 * size + buckets[:, tf.newaxis])


def near_bias(table_HR: tf.Tensor, length: int, max_distance: int) -> tf.Tensor:
  """`relative_bias` of a block of queries and the keys up to it: [H, Q, N].

  The last Q keys are those of the queries' own positions. Keys that are farther
  than `max_distance` before all of them have one bias. Where there are such
  keys it is taken off from all, since a softmax does not change with it: there
  the bias is 0, and all blocks of a row have the same one.

  Every diagonal holds one number, so there is one to be looked up for each of
  them; their gradients are sums, not the scattering of every element.

    by distance 5 6 7, reversed, with zeros, repeated    7 6 5 . . 7 6 5 . .
    in rows of one less, for 2 queries and 3 keys        7 6 5 .
                                                         . 7 6 5
    without their first column                           6 5 .
                                                         7 6 5

  What keys behind a query get is not defined: they are never looked at.
  """
  block = block_of(length)
  keys = min(length, block + max_distance)
  by_distance_HN = relative_bias(table_HR, tf.range(keys), max_distance)
  if keys < length:
    # Not where there is nothing to leave out: a bias that is never used would
    # get rounding for a gradient.
    by_distance_HN -= tf.cast(table_HR[:, -1:], tf.float32)
  row = tf.pad(tf.reverse(by_distance_HN, [1]), [[0, 0], [0, block]])
  wide = keys + block - 1
  rows = tf.tile(row, [1, block])[:, : block * wide]
  return tf.reshape(rows, [-1, block, wide])[:, :, block - 1 :]


def tree_distances(positions_BL: tf.Tensor, kept: int = 0) -> tf.Tensor:
  """Position of the query minus that of the key: [B, L, kept + L].

  Kept keys are at the positions 0, 1, ...
  """
  keys_BM = positions_BL
  if kept:
    before = tf.range(kept)[tf.newaxis, :]
    before = tf.broadcast_to(before, [_size(positions_BL, 0), kept])
    keys_BM = tf.concat([before, positions_BL], axis=1)
  return positions_BL[:, :, tf.newaxis] - keys_BM[:, tf.newaxis, :]


def _size(x: tf.Tensor, axis: int) -> int:
  """A size that is known while tracing, as all of them are here."""
  return typing.cast(int, x.shape[axis])
