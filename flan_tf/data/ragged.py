"""Sequences of different lengths, stored one after another in a flat array."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Slices(NamedTuple):
  """One slice of a flat array per example.

  Attributes:
    starts: int [examples], the first position of each slice.
    lengths: int [examples], the number of elements of each slice.
  """

  starts: np.ndarray
  lengths: np.ndarray


def concatenate_parts(
  flat: np.ndarray, parts: Sequence[Slices | np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Builds examples, each the concatenation of the same kinds of parts.

      flat   10 11 12 13 14 15
      parts  [Slices(starts=[0, 3], lengths=[2, 1]), [99]]
      gives  10 11 99 13 99, with the lengths 3 2

  Args:
    flat: int32, the array that slices are taken from.
    parts: in the order in which they follow one another in an example: slices
      of `flat`, or ids that are the same in every example.
    count: the number of examples.

  Returns:
    (int32 ids of all examples, one example after another; int64 [examples],
    the length of each example).
  """
  sizes = [
    part.lengths if isinstance(part, Slices) else np.full(count, len(part))
    for part in parts
  ]
  lengths = np.stack(sizes).astype(np.int64).sum(axis=0)
  out = np.empty(np.sum(lengths), np.int32)
  at = np.cumsum(lengths) - lengths  # where the next part of an example goes
  for part, size in zip(parts, sizes, strict=True):
    if isinstance(part, Slices):
      out[_positions(at, size)] = flat[_positions(part.starts, size)]
    else:
      out[at[:, np.newaxis] + np.arange(len(part))] = part
    at = at + size
  return out, lengths


def split_ragged(ragged: tf.RaggedTensor) -> Iterator[np.ndarray]:
  """Yields each sequence of a ragged tensor [n, None] as an array."""
  values, splits = ragged.values.numpy(), ragged.row_splits.numpy()
  for start, stop in zip(splits[:-1], splits[1:], strict=True):
    yield values[start:stop]


def _positions(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Lists the positions of slices: starts 3 9, lengths 2 3 give 3 4 9 10 11."""
  stops = np.cumsum(lengths)
  return np.arange(np.sum(lengths)) + np.repeat(
    starts - stops + lengths, lengths
  )
