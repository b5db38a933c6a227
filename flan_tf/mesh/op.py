"""Base class of our Mesh-TF operations."""

from collections.abc import Collection, Iterable

import tensorflow as tf

from flan_tf.mesh.compat import mtf


class CoreOp(mtf.Operation):
  """A Mesh-TF operation that is written for the shards of one core."""

  def _shards(self, lowering, tensors: Iterable[mtf.Tensor]) -> list[tf.Tensor]:
    """Returns this core's shards of tensors that have been lowered."""
    return [lowering.tensors[t].to_laid_out_tensor().one_slice for t in tensors]

  def _mesh_axes(self, lowering, *shapes: mtf.Shape) -> set[int]:
    """Returns the mesh axes over which any of the shapes is split."""
    impl = lowering.mesh_impl(self)
    layouts = [impl.tensor_layout(s).tensor_axis_to_mesh_axis for s in shapes]
    return {axis for layout in layouts for axis in layout if axis is not None}

  def _set_output(
    self,
    lowering,
    output: mtf.Tensor,
    value: tf.Tensor,
    sum_over: Collection[int] = (),
  ) -> None:
    """Sets this core's shard of an output.

    Args:
      lowering: the lowering of this core.
      output: one of `self.outputs`.
      value: the shard.
      sum_over: mesh axes over which the shards must still be summed. The
        all-reduce happens when the output is first read.
    """
    impl = lowering.mesh_impl(self)
    value = impl.LaidOutTensor([value])
    if sum_over:
      value = mtf.LazyAllreduceSum(impl, value, sorted(sum_over))
    lowering.set_tensor_lowering(output, value)

  def _allreduce(
    self, lowering, value: tf.Tensor, axes: Collection[int], reduction: str
  ) -> tf.Tensor:
    """Reduces a value over mesh axes by "SUM", "MAX" or "MIN"."""
    impl = lowering.mesh_impl(self)
    value = impl.LaidOutTensor([value])
    return impl.allreduce(value, sorted(axes), reduction).one_slice
