"""Position information for attention, on one core, in plain TensorFlow.

Rotary positions turn queries and keys; T5's relative positions add a learned
bias to the logits. Suffixes of names: B batch, L query positions, M key
positions, H heads, K d_kv, R buckets, Q queries of a block, N keys of a block.
"""

import math
import typing

import numpy as np
import tensorflow as tf

from flan_tf import config


def rotary_frequencies(model: config.ModelConfig) -> np.ndarray:
  """Returns the radians per position of each pair of a head.

  The frequencies are base^(-i / half) (Su et al. 2021, eq. 15), scaled as
  `rotary_scaling` says.

  Returns:
    float32 [d_kv / 2].
  """
  half = model.d_kv // 2
  frequencies = model.rotary_base ** (-np.arange(half) / half)
  slowed = frequencies / model.rotary_factor
  if model.rotary_scaling == "linear":
    frequencies = slowed
  elif model.rotary_scaling == "llama3":
    low, high = model.rotary_low_frequency, model.rotary_high_frequency
    turns = model.rotary_original_length * frequencies / (2 * np.pi)
    share = np.clip((turns - low) / (high - low), 0, 1)
    frequencies = share * frequencies + (1 - share) * slowed
  return frequencies.astype(np.float32)


def rotate(
  x_BLHK: tf.Tensor, positions_BL: tf.Tensor, frequencies: np.ndarray
) -> tf.Tensor:
  """Applies rotary positions (Su et al. 2021, eq. 34), in float32.

  Element i of the first half of a head is paired with element i of the second
  half.
  """
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
  """Returns the bucket of each distance (Raffel et al. 2020, section 2.1).

  Half of the buckets hold one distance each; the others hold logarithmically
  more, up to `max_distance`.

  Args:
    distance: int32, query position minus key position; negative ones count as
      0, since attention is causal.
    buckets: their number.
    max_distance: this and larger distances share the last bucket.
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
  """Looks up the bias of each head and distance: float32 [H, L, M]."""
  buckets = relative_bucket(distance_LM, _size(table_HR, 1), max_distance)
  return tf.gather(tf.cast(table_HR, tf.float32), buckets, axis=1)


def relative_bias_of_rows(
  table_HR: tf.Tensor, distance_BLM: tf.Tensor, max_distance: int
) -> tf.Tensor:
  """Looks up biases where each row has its own distances: [B, H, L, M].

  The lookup gives this order of dimensions directly. If they were transposed
  afterwards, XLA would make H the last dimension in between, which a TPU pads
  to 128.
  """
  size = _size(table_HR, 1)
  buckets = relative_bucket(distance_BLM, size, max_distance)
  heads_H11 = tf.range(_size(table_HR, 0))[:, tf.newaxis, tf.newaxis]
  flat = tf.reshape(tf.cast(table_HR, tf.float32), [-1])
  return tf.gather(flat, heads_H11 * size + buckets[:, tf.newaxis])


def near_bias(
  table_HR: tf.Tensor, block: int, length: int, max_distance: int
) -> tf.Tensor:
  """Returns the bias of a block of queries for the keys up to it: [H, Q, N].

  The last Q keys are at the positions of the queries. Keys more than
  `max_distance` before all queries share one bias. Where there are such keys,
  that bias is subtracted from all biases, which does not change the softmax:
  far keys then have the bias 0, and all blocks of a row share the result.

  Every diagonal of the result holds one number. The table is therefore read
  once per diagonal, and gradients are sums over diagonals instead of a scatter
  of every element:

    biases by distance, reversed, with zeros, repeated   7 6 5 . . 7 6 5 . .
    cut into rows shorter by one: 2 queries, 3 keys      7 6 5 .
                                                         . 7 6 5
    without the first column                             6 5 .
                                                         7 6 5

  The biases of keys after a query are undefined; they are never read.

  Args:
    table_HR: the biases of the buckets.
    block: number of queries.
    length: number of positions of a row.
    max_distance: as in `relative_bucket`.
  """
  keys = min(length, block + max_distance)
  by_distance_HN = relative_bias(table_HR, tf.range(keys), max_distance)
  if keys < length:
    # Only here: elsewhere the last bucket may be unused, and subtracting it
    # would give it a gradient of rounding errors.
    by_distance_HN -= tf.cast(table_HR[:, -1:], tf.float32)
  row = tf.pad(tf.reverse(by_distance_HN, [1]), [[0, 0], [0, block]])
  wide = keys + block - 1
  rows = tf.tile(row, [1, block])[:, : block * wide]
  return tf.reshape(rows, [-1, block, wide])[:, :, block - 1 :]


def _size(x: tf.Tensor, axis: int) -> int:
  """Returns a size that is known while tracing, as all sizes here are."""
  return typing.cast(int, x.shape[axis])
