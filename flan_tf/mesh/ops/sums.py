"""Sums of many tensors with few all-reduces."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.op import CoreOp


def reduce_sums(
  tensors: Sequence[mtf.Tensor],
  shapes: Sequence[mtf.Shape],
  fn: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> list[mtf.Tensor]:
  """Sums each tensor over the dimensions that its result shape lacks.

  All values to be summed over the same mesh axes share one all-reduce, so that
  a model of any depth needs at most one for each set of mesh axes.

  Args:
    tensors: any number of tensors.
    shapes: shape of each result: the dimensions that are kept, in their order.
    fn: applied to the elements, in float32, before they are summed.

  Returns:
    One float32 tensor for each input.
  """
  return list(_ReduceSumsOp(list(tensors), list(shapes), fn).outputs)


class _ReduceSumsOp(CoreOp):
  def __init__(self, tensors, shapes, fn):
    super().__init__(tensors, name="sums")
    self._fn = fn
    self._outputs = [
      mtf.Tensor(self, mtf.Shape(shape), tf.float32, index=i)
      for i, shape in enumerate(shapes)
    ]

  @property
  def has_gradient(self):
    return False

  def lower(self, lowering):
    # The same tensor may be summed over its rows and over its columns.
    transformed: dict[mtf.Tensor, tf.Tensor] = {}
    by_axes: dict[tuple[int, ...], list] = {}
    shards = self._shards(lowering, self.inputs)
    for x, value, output in zip(self.inputs, shards, self.outputs, strict=True):
      value = tf.cast(value, tf.float32)
      reduced = [
        i for i, dim in enumerate(x.shape) if dim not in output.shape.dims
      ]
      reduced_shape = mtf.Shape([x.shape.dims[i] for i in reduced])
      axes = self._mesh_axes(lowering, reduced_shape)
      if self._fn is tf.square and not output.shape.dims:
        local_sum = 2 * tf.nn.l2_loss(value)  # One pass over the memory.
      else:
        if x not in transformed:
          transformed[x] = self._fn(value)
        local_sum = transformed[x]
        if reduced:
          local_sum = tf.reduce_sum(local_sum, reduced)
      by_axes.setdefault(tuple(sorted(axes)), []).append((output, local_sum))
    for axes, pairs in sorted(by_axes.items()):
      outputs, local_sums = zip(*pairs, strict=True)
      totals = self._allreduce_together(lowering, local_sums, axes)
      for output, total in zip(outputs, totals, strict=True):
        self._set_output(lowering, output, total)

  def _allreduce_together(
    self, lowering, values: Sequence[tf.Tensor], axes: tuple[int, ...]
  ) -> Sequence[tf.Tensor]:
    """Sums all values over mesh axes with one all-reduce."""
    if not axes:
      return values
    flat = tf.concat([tf.reshape(value, [-1]) for value in values], 0)
    flat = self._allreduce(lowering, flat, axes, "SUM")
    shapes = [value.shape for value in values]
    pieces = tf.split(flat, [shape.num_elements() for shape in shapes])
    return [
      tf.reshape(piece, shape)
      for piece, shape in zip(pieces, shapes, strict=True)
    ]
