"""Concatenates tensors along a dimension that may be split, and splits them."""

from collections.abc import Sequence

import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.ops.local_op import local


def concatenate(xs: Sequence[mtf.Tensor], at: int) -> mtf.Tensor:
  """Concatenates tensors along their dimension number `at`.

  Each core concatenates its own shards, without communication. If the dimension
  is split over n cores, the result is therefore interleaved: the first n-th of
  every tensor, then the second n-th of every tensor, and so on. `split` undoes
  this order.

  Args:
    xs: tensors of equal shapes, apart from the size of dimension `at`, whose
      name must be the same in all of them.
    at: index of the dimension.
  """
  dims = xs[0].shape.dims
  total_size = sum(x.shape.dims[at].size for x in xs)
  dims[at] = mtf.Dimension(dims[at].name, total_size)
  return local(
    lambda *shards: tf.concat(shards, at),
    xs,
    mtf.Shape(dims),
    dims,
    name="concatenate",
  )


def split(x: mtf.Tensor, at: int, sizes: Sequence[int]) -> list[mtf.Tensor]:
  """Splits the result of `concatenate` into tensors of these global sizes."""
  dims, total_size, begin, results = x.shape.dims, sum(sizes), 0, []
  for size in sizes:
    dims[at] = mtf.Dimension(dims[at].name, size)

    def shard_of_result(x, begin=begin, size=size):
      shard_size = x.shape[at]
      first = begin * shard_size // total_size
      end = (begin + size) * shard_size // total_size
      return x[(slice(None),) * at + (slice(first, end),)]

    results.append(
      local(shard_of_result, [x], mtf.Shape(dims), dims, name="split")
    )
    begin += size
  return results
