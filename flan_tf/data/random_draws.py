"""Random numbers as pure functions of a seed, names and numbers.

The same arguments give the same numbers in every process, on every host, in any
order of calls and after every resume.
"""

import hashlib
from typing import Any

import numpy as np
import tensorflow as tf

# (shift, factor) of the rounds of a multiply-xorshift hash. The factors are the
# constants of SplitMix64 and of the finalizer of MurmurHash3.
_ROUNDS = (
  (0, 0x9E3779B97F4A7C15),
  (0, 0xBF58476D1CE4E5B9),
  (0, 0x94D049BB133111EB),
)


def hash_name(name: str) -> int:
  """Returns 64 bits of SHA-256: unlike hash(), the same in every process."""
  return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def random_generator(seed: int, *purpose: str | int) -> np.random.Generator:
  """Returns random numbers that depend on a seed and on their purpose.

  Args:
    seed: of the run.
    *purpose: words and numbers; another purpose gives independent numbers.
  """
  key = hash_name("/".join(map(str, (seed, *purpose))))
  return np.random.Generator(np.random.PCG64(key))


def draw_index(seed: int, task_name: str, row_index: Any, count: int) -> Any:
  """Draws an index for each data-set row, e.g. the index of its template.

  A tensor of row numbers gives a tensor; anything else gives a NumPy array
  with the same values.

  Args:
    seed: of the run.
    task_name: name of the task; another name gives independent indices.
    row_index: int of any shape, the row's number in its split.
    count: number of things to draw from, 1 or more.

  Returns:
    int64 of the shape of `row_index`, in [0, count).
  """
  if count < 1:
    raise ValueError(
      f"Task {task_name!r}: cannot draw one of {count} templates; expected 1 or"
      " more."
    )
  key = hash_name(f"{seed}/{task_name}")
  if tf.is_tensor(row_index):
    x = tf.bitwise.bitwise_xor(tf.cast(row_index, tf.uint64), _u64(key))
    for shift, factor in _ROUNDS:
      x = tf.bitwise.right_shift(x, _u64(shift))
      x = x * _u64(factor)
      x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u64(32)))
    high_bits = tf.cast(tf.bitwise.right_shift(x, _u64(33)), tf.int64)
    return high_bits % count
  with np.errstate(over="ignore"):  # The multiplication wraps around.
    x = np.asarray(row_index).astype(np.uint64) ^ np.uint64(key)
    for shift, factor in _ROUNDS:
      x = (x >> np.uint64(shift)) * np.uint64(factor)
      x = x ^ (x >> np.uint64(32))
  return (x >> np.uint64(33)).astype(np.int64) % count


def _u64(value: int) -> tf.Tensor:
  return tf.constant(np.uint64(value))
