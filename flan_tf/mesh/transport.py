"""Collectives between cores.

There are three, each within groups of cores:

  allreduce      every core gets the sum, or the maximum, over its group
  allgather      every core gets the shards of its group, concatenated
  reducescatter  every core gets its shard of the sum over its group

On TPUs they are XLA's; see flan_tf.mesh.tpu_transport. On CPUs and GPUs all of
them are made of TensorFlow's all-reduce, which needs for each call

* an ordering token of the core; without it the step hangs;
* a group key that no other set of devices in the process uses, and an instance
  key that no other collective uses; otherwise all later collectives fail.
"""

import typing
from collections.abc import Callable, Hashable, Sequence

import tensorflow as tf

from flan_tf.mesh.collective_trace import (
  ADD,
  FIRST_KEY,
  CollectiveCall,
  CollectiveTrace,
  Groups,
)

# (number of cores of the mesh, group of cores) -> the group's key.
_group_keys: dict[tuple[int, tuple[int, ...]], int] = {}


class Transport:
  """The collectives of one core, and what depends on them.

  `groups` are always all groups of cores that communicate; the order of cores
  within a group matters. A subclass must have `allreduce`; the other
  collectives can be made of it.
  """

  def allreduce(self, x: tf.Tensor, groups: Groups, kind: str) -> tf.Tensor:
    """Returns the sum (ADD) or the maximum (MAX) of x over the core's group."""
    raise NotImplementedError(
      f"{type(self).__name__} cannot exchange tensors: {kind} over {groups}."
    )

  def allgather(self, x: tf.Tensor, groups: Groups, axis: int) -> tf.Tensor:
    """Concatenates the x of all cores of the group along a tensor axis."""
    index, number = self._index_in_group(groups)
    shape = [1] * len(x.shape)
    shape.insert(axis, number)
    is_own = tf.reshape(tf.range(number) == index, shape)
    # Each core adds its own shard, at its place, to zeros.
    x = tf.where(is_own, tf.expand_dims(x, axis), tf.zeros([], x.dtype))
    return _merge_axes(self.allreduce(x, groups, ADD), axis)

  def reducescatter(self, x: tf.Tensor, groups: Groups, axis: int) -> tf.Tensor:
    """Returns the core's shard, along a tensor axis, of the sum of x."""
    index, number = self._index_in_group(groups)
    return tf.split(self.allreduce(x, groups, ADD), number, axis)[index]

  def wait_for(self, xs: Sequence[tf.Tensor], other: tf.Tensor) -> list:
    """Returns xs unchanged, but available only once `other` is computed."""
    with tf.control_dependencies([other]):
      return [tf.identity(x) for x in xs]

  def optimization_barrier(self, xs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns xs unchanged; XLA makes none available before all are computed.

    Without XLA this has no effect.
    """
    return list(xs)

  def call_function(
    self, key: Hashable, fn: Callable, xs: Sequence[tf.Tensor]
  ) -> list[tf.Tensor]:
    """Returns fn(*xs), a list of tensors.

    Args:
      key: calls with equal keys and with inputs of equal shapes and types may
        share one trace of `fn`.
      fn: a function that uses no tensors but its arguments.
      xs: the arguments.
    """
    del key
    return fn(*xs)

  def _index_in_group(self, groups: Groups) -> tuple[int, int]:
    """Returns the index of the core in its group, and the group's size."""
    raise NotImplementedError


def static_shape(x: tf.Tensor) -> list[int]:
  """Returns the shape; all sizes are known while a program is traced."""
  return typing.cast(list[int], x.shape.as_list())


def _merge_axes(x: tf.Tensor, axis: int) -> tf.Tensor:
  """Reshapes [..., a, b, ...] to [..., a * b, ...], where a is at `axis`."""
  shape = static_shape(x)
  shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
  return tf.reshape(x, shape)


class SingleCoreTransport(Transport):
  """Transport of a single core, which never exchanges anything."""


class CollectiveTransport(Transport):
  """Transport for CPUs and GPUs: TensorFlow's collective operations.

  Args:
    core: number of the core.
    cores: number of cores of the mesh.
    token: handle of the core's ordering token.
    trace: records the collectives.
  """

  def __init__(
    self, core: int, cores: int, token: tf.Tensor, trace: CollectiveTrace
  ):
    self._core, self._cores = core, cores
    self._token, self._trace = token, trace

  def allreduce(self, x: tf.Tensor, groups: Groups, kind: str) -> tf.Tensor:
    call = CollectiveCall(kind, groups, tuple(static_shape(x)), x.dtype.name)
    instance = self._trace.add(self._core, call)
    group = next(g for g in groups if self._core in g)
    # Every process registers all groups in the same order, so that the hosts
    # of a cluster agree on the keys.
    keys = {g: _group_key(self._cores, g) for g in groups}
    return tf.raw_ops.CollectiveReduceV2(
      input=x,
      group_size=len(group),
      group_key=keys[group],
      instance_key=instance,
      ordering_token=[self._token],
      merge_op=kind,
      final_op="Id",
    )

  def _index_in_group(self, groups: Groups) -> tuple[int, int]:
    group = next(g for g in groups if self._core in g)
    return group.index(self._core), len(group)


def _group_key(cores: int, group: tuple[int, ...]) -> int:
  """Returns the key of a group of cores in a mesh of that many cores."""
  key = (cores, group)
  return _group_keys.setdefault(key, FIRST_KEY + len(_group_keys))
