"""Changes which mesh axis a dimension of a tensor is split over."""

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.op import CoreOp


def reshard(
  x: mtf.Tensor, before: mtf.Dimension, after: mtf.Dimension
) -> mtf.Tensor:
  """Renames a dimension and splits it as the layout says for the new name.

    before     after      communication
    split      not split  all-gather
    not split  split      none, each core keeps its shard; but if x is still to
                          be summed over that mesh axis: reduce-scatter
    alike                 none, and a pending sum stays pending

  The gradient is resharded in the opposite direction.

  Args:
    x: any tensor with the dimension `before`.
    before: the dimension to rename.
    after: its new name, with the same size. `before` and `after` must not be
      split over two different mesh axes.
  """
  if before == after:
    return x
  return _ReshardOp(x, before, after).outputs[0]


class _ReshardOp(CoreOp):
  def __init__(self, x, before, after):
    super().__init__([x], name="reshard")
    if before.size != after.size:
      raise ValueError(
        f"Dimension {before} cannot be resharded as {after}: the sizes differ."
      )
    self._before, self._after = before, after
    dims = [after if dim == before else dim for dim in x.shape]
    self._outputs = [mtf.Tensor(self, mtf.Shape(dims), x.dtype)]

  def gradient(self, grad_ys):
    return [reshard(grad_ys[0], self._after, self._before)]

  def lower(self, lowering):
    impl = lowering.mesh_impl(self)
    x, output = lowering.tensors[self.inputs[0]], self.outputs[0]
    at = self.inputs[0].shape.dims.index(self._before)
    before, after = (
      impl.tensor_layout(t).tensor_axis_to_mesh_axis[at]
      for t in (self.inputs[0], output)
    )
    pending_sum_axes: list[int] = []
    if isinstance(x, mtf.LazyAllreduceSum):
      x, pending_sum_axes = x.laid_out_input, list(x.mesh_axes)
    if before == after:
      pass
    elif after is None:
      x = impl.allconcat(x, before, at)
    elif before is not None:
      raise ValueError(
        f"Dimension {self._before.name!r} is split over mesh axis"
        f" {impl.shape[before].name!r}, and {self._after.name!r} over"
        f" {impl.shape[after].name!r}: take one of them out of mesh.layout."
      )
    elif after in pending_sum_axes:
      pending_sum_axes.remove(after)
      x = impl.reducescatter(x, after, at)
    else:
      x = impl.allsplit(x, after, at)
    if pending_sum_axes:
      x = mtf.LazyAllreduceSum(impl, x, pending_sum_axes)
    lowering.set_tensor_lowering(output, x)
