"""Mesh-TF's SIMD implementation for one core, with our collectives."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from flan_tf.mesh.collective_trace import ADD, MAX, Groups
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.layout import Layout
from flan_tf.mesh.transport import Transport

_SimdMeshImpl = mtf.simd_mesh_impl.SimdMeshImpl


class CoreMeshImpl(_SimdMeshImpl):
  """One core of a mesh while its part of a program is being traced.

  Mesh-TF's own class sends float32 all-to-alls as bfloat16, implements gathers
  as sums of masked tensors, and casts integers to float. This class sends all
  tensors in their own types.

  Args:
    layout: the mesh, and how tensors are split over it.
    core: number of the core; a tensor if one graph serves all cores.
    transport: the collectives of this core.

  Attributes:
    layout: as given.
    transport: as given.
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
    """Returns the number of this core's shard among a shape's distinct shards.

    Overrides a method of Mesh-TF.
    """
    number = tf.zeros([], tf.int32)
    for axis in self.tensor_layout(tensor_shape).tensor_axis_to_mesh_axis:
      if axis is not None:
        coordinate = self.laid_out_pcoord(axis).one_slice
        number = number * self.shape[axis].size + coordinate
    return self.LaidOutTensor([number])

  def lowering(self, mesh: mtf.Mesh) -> mtf.Lowering:
    """Lowers the mesh's graph to TensorFlow operations of this core."""
    # A Lowering logs that there are no Mesh-TF variables: we use none.
    level = tf.compat.v1.logging.get_verbosity()
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.WARN)
    try:
      return mtf.Lowering(mesh.graph, {mesh: self}, autostack=False)
    finally:
      tf.compat.v1.logging.set_verbosity(level)

  def call_function(
    self, fn: Callable, xs: Sequence[tf.Tensor]
  ) -> list[tf.Tensor]:
    """Calls fn(core, *xs), which may be traced once for several calls.

    Args:
      fn: takes a `CoreMeshImpl` and tensors, returns a list of tensors.
      xs: the tensors; see `Transport.call_function`.
    """

    def with_core_number(number, *xs):
      return fn(CoreMeshImpl(self.layout, number, self.transport), *xs)

    inputs = [self.pnum_tensor, *xs]
    return self.transport.call_function(fn, with_core_number, inputs)

  def allreduce(self, x, mesh_axes, reduction_fn_string):
    """Reduces over mesh axes by "SUM", "MAX" or "MIN"; overrides Mesh-TF's."""
    x = x.to_laid_out_tensor()
    # Nothing is exchanged along an axis of size one.
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
      raise ValueError(
        f"Unknown reduction {reduction_fn_string!r}. Known: 'MAX', 'MIN',"
        " 'SUM'."
      )
    return self.LaidOutTensor([value])

  def allconcat(self, x, mesh_axis, concat_axis, stack=False):
    """Concatenates the shards along a mesh axis; overrides Mesh-TF's."""
    value = x.to_laid_out_tensor().one_slice
    if stack:
      value = tf.expand_dims(value, concat_axis)
    groups = self._groups([mesh_axis])
    value = self.transport.allgather(value, groups, concat_axis)
    return self.LaidOutTensor([value])

  def reducescatter(self, x, mesh_axis: int, split_axis: int):
    """Sums over a mesh axis; each core keeps one shard along `split_axis`."""
    value = x.to_laid_out_tensor().one_slice
    groups = self._groups([mesh_axis])
    value = self.transport.reducescatter(value, groups, split_axis)
    return self.LaidOutTensor([value])

  def alltoall(self, x, mesh_axis, split_axis, concat_axis):
    """Gathers along one tensor axis and splits another; overrides Mesh-TF's."""
    number = self.shape[mesh_axis].size
    coordinate = self.laid_out_pcoord(mesh_axis).one_slice
    gathered = self.allconcat(x, mesh_axis, concat_axis).one_slice
    shards = tf.split(gathered, number, split_axis)
    return self.LaidOutTensor([tf.gather(tf.stack(shards), coordinate)])

  def _groups(self, axes: list[int]) -> Groups:
    """Returns groups of cores whose coordinates differ only in these axes."""
    key = tuple(axes)
    if key not in self._known_groups:
      groups = mtf.processor_groups(self.shape, axes)
      self._known_groups[key] = tuple(map(tuple, groups))
    return self._known_groups[key]
