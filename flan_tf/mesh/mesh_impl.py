"""What one core does: Mesh-TF's SIMD implementation over our transport."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.layout import Layout
from flan_tf.mesh.transport import ADD, MAX, Groups, Transport

_SimdMeshImpl = mtf.simd_mesh_impl.SimdMeshImpl


class CoreMeshImpl(_SimdMeshImpl):
  """One core of a mesh, while its part of a program is being traced.

  Mesh-TF's own class sends float32 all-to-alls as bfloat16, gathers by adding
  up what it multiplied by zeros and ones, and casts integers to float. Here all
  that is sent is sent as it is.

  Attributes:
    transport: how the core reaches the others.
  """

  def __init__(
    self,
    layout: Layout,
    core: int | tf.Tensor,
    transport: Transport,
  ):
    super().__init__(layout.shape, layout.rules)
    self.layout = layout
    self._core = core
    self.transport = transport
    self._known_groups: dict[tuple[int, ...], Groups] = {}

  @property
  def pnum_tensor(self) -> tf.Tensor:
    return tf.convert_to_tensor(self._core, tf.int32)

  def laid_out_slice_num(self, tensor_shape):
    """Which of a shape's distinct slices this core holds; see the parent."""
    number = tf.zeros([], tf.int32)
    for axis in self.tensor_layout(tensor_shape).tensor_axis_to_mesh_axis:
      if axis is not None:
        place = self.laid_out_pcoord(axis).one_slice
        number = number * self.shape[axis].size + place
    return self.LaidOutTensor([number])

  def lowering(self, mesh: mtf.Mesh) -> mtf.Lowering:
    """Turns the mesh's graph into this core's TensorFlow operations."""
    # A Lowering would look for Mesh-TF variables to stack: we have none.
    level = tf.compat.v1.logging.get_verbosity()
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.WARN)
    try:
      return mtf.Lowering(mesh.graph, {mesh: self}, autostack=False)
    finally:
      tf.compat.v1.logging.set_verbosity(level)

  def call(self, fn: Callable, xs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """fn(core, *xs), with a core like this one; see `Transport.call`."""

    def of_number(number, *xs):
      return fn(CoreMeshImpl(self.layout, number, self.transport), *xs)

    return self.transport.call(fn, of_number, [self.pnum_tensor, *xs])

  def allreduce(self, x, mesh_axes, reduction_fn_string):
    """Reduces ("SUM", "MAX" or "MIN") over mesh axes; see the parent."""
    x = x.to_laid_out_tensor()
    # An axis of one core has nothing to exchange.
    axes = [axis for axis in mesh_axes if self.shape[axis].size > 1]
    if not axes:
      return x
    groups = self._groups(axes)
    value = x.one_slice
    if reduction_fn_string == "SUM":
      value = self.transport.allreduce(value, groups, ADD)
    elif reduction_fn_string == "MAX":
      value = self.transport.allreduce(value, groups, MAX)
    elif reduction_fn_string == "MIN":
      value = -self.transport.allreduce(-value, groups, MAX)
    else:
      raise ValueError(f"No all-reduce for {reduction_fn_string!r}.")
    return self.LaidOutTensor([value])

  def allconcat(self, x, mesh_axis, concat_axis, stack=False):
    """All parts along a mesh axis, one behind the other; see the parent."""
    value = x.to_laid_out_tensor().one_slice
    if stack:
      value = tf.expand_dims(value, concat_axis)
    groups = self._groups([mesh_axis])
    value = self.transport.allgather(value, groups, concat_axis)
    return self.LaidOutTensor([value])

  def reducescatter(self, x, mesh_axis: int, split_axis: int):
    """The sum over a mesh axis, of which each core keeps its part."""
    value = x.to_laid_out_tensor().one_slice
    groups = self._groups([mesh_axis])
    value = self.transport.reducescatter(value, groups, split_axis)
    return self.LaidOutTensor([value])

  def alltoall(self, x, mesh_axis, split_axis, concat_axis):
    """All-gather along one axis, then keep this core's part of the other."""
    parts = self.shape[mesh_axis].size
    place = self.laid_out_pcoord(mesh_axis).one_slice
    whole = self.allconcat(x, mesh_axis, concat_axis).one_slice
    split = tf.split(whole, parts, split_axis)
    return self.LaidOutTensor([tf.gather(tf.stack(split), place)])

  def _groups(self, axes: list[int]) -> Groups:
    """The cores that differ in these mesh axes only, in their order."""
    key = tuple(axes)
    if key not in self._known_groups:
      found = mtf.processor_groups(self.shape, axes)
      self._known_groups[key] = tuple(map(tuple, found))
    return self._known_groups[key]
