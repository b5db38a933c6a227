"""What our Mesh-TF operations have in common."""

import tensorflow as tf

from flan_tf.mesh.compat import mtf


class CoreOp(mtf.Operation):
  """A Mesh-TF operation whose code sees one core's slices."""

  def _slices(self, lowering, tensors) -> list[tf.Tensor]:
    return [lowering.tensors[t].to_laid_out_tensor().one_slice for t in tensors]

  def _axes(self, lowering, *shapes: mtf.Shape) -> set[int]:
    """The mesh axes over which any of the shapes is split."""
    impl = lowering.mesh_impl(self)
    layouts = [impl.tensor_layout(s).tensor_axis_to_mesh_axis for s in shapes]
    return {axis for layout in layouts for axis in layout if axis is not None}

  def _set(self, lowering, output, value: tf.Tensor, sum_over=()) -> None:
    """Sets an output; it is summed over mesh axes once somebody reads it."""
    impl = lowering.mesh_impl(self)
    value = impl.LaidOutTensor([value])
    if sum_over:
      value = mtf.LazyAllreduceSum(impl, value, sorted(sum_over))
    lowering.set_tensor_lowering(output, value)

  def _allreduce(self, lowering, value, axes, reduction) -> tf.Tensor:
    impl = lowering.mesh_impl(self)
    value = impl.LaidOutTensor([value])
    return impl.allreduce(value, sorted(axes), reduction).one_slice
