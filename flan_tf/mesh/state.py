"""Named tensors that live on the cores, as one variable with a shard per core.

There is no master copy: a shard is initialized, read, updated and saved on its
own core.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices
from flan_tf.mesh.layout import Layout, ShardRange, numpy_index

# (name, seed, global shape, range of a shard) -> float32 values of that shard.
Initializer = Callable[[str, int, mtf.Shape, ShardRange], np.ndarray]


@dataclasses.dataclass(frozen=True)
class StateSpec:
  """A tensor of a state: its global shape and its initial values."""

  shape: mtf.Shape
  initializer: Initializer


def constant(value: float) -> Initializer:
  """Returns an initializer that sets every element to `value`."""

  def initialize(name, seed, shape, at):
    del name, seed, shape
    return np.full([size for _, size in at], value, np.float32)

  return initialize


def normal(stddev: float) -> Initializer:
  """Returns an initializer of normal values with mean 0.

  The values do not depend on how the tensor is split. Each index of the first
  dimension has a random stream of its own, which depends on the tensor's name
  and the seed, so that a core only draws the rows that it holds.
  """

  def initialize(name, seed, shape, at):
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    key = np.frombuffer(digest[:16], np.uint64)
    (begin, rows), *row_range = at
    row_shape = shape.to_integer_list[1:]
    in_row = numpy_index(row_range)
    values = np.empty([size for _, size in at], np.float32)
    for row in range(rows):
      bits = np.random.Philox(key=key, counter=[0, 0, 0, begin + row])
      row_values = np.random.Generator(bits).standard_normal(
        math.prod(row_shape), np.float32
      )
      values[row] = row_values.reshape(row_shape)[in_row]
    return values * np.float32(stddev)

  return initialize


class State:
  """A set of named tensors, each as one variable with a shard on every core.

  Args:
    devices: the devices of the cores.
    layout: how the tensors are split.
    specs: the tensors by name.
    dtype: type of the variables. Values are given as float32, also those from
      checkpoints, and are cast to it.

  Raises:
    ValueError: the size of a dimension is not a multiple of its mesh axis.
  """

  def __init__(
    self,
    devices: Devices,
    layout: Layout,
    specs: Mapping[str, StateSpec],
    dtype: tf.DType = tf.float32,
  ):
    for spec in specs.values():
      layout.check(spec.shape)
    self.devices, self.layout, self.specs = devices, layout, dict(specs)
    self._dtype = dtype
    self._variables = {}
    for name, spec in specs.items():
      shape = layout.shard_shape(spec.shape)
      self._variables[name] = devices.new_shard(name, shape, dtype)

  def initialize(self, seed: int) -> None:
    """Sets initial values; a seed gives the same tensors on any mesh."""
    for name, spec in self.specs.items():
      for at, variables in self.shards(name):
        value = spec.initializer(name, seed, spec.shape, at)
        self._set_all(variables, value)

  def assign(self, name: str, value: np.ndarray) -> None:
    """Sets a tensor to global values, which must be the same on every host."""
    for at, variables in self.shards(name):
      self._set_all(variables, value[numpy_index(at)])

  def _set_all(
    self, variables: Sequence[tf.Variable], value: np.ndarray
  ) -> None:
    for variable in variables:
      variable.assign(np.asarray(value, self._dtype.as_numpy_dtype))

  def variable(self, name: str) -> tf.Variable:
    """Returns the variable of a tensor; in a program it is the core's shard."""
    return self._variables[name]

  def shards(self, name: str) -> Iterator[tuple[ShardRange, list[tf.Variable]]]:
    """Yields the distinct shards on this host, with the variables of each."""
    local = self.devices.strategy.experimental_local_results(
      self._variables[name]
    )
    by_range: dict[ShardRange, list[tf.Variable]] = {}
    for core, variable in zip(self.devices.local_cores, local, strict=True):
      at = self.layout.shard_range(self.specs[name].shape, core)
      by_range.setdefault(at, []).append(variable)
    yield from by_range.items()

  def gather(self, name: str) -> np.ndarray:
    """Returns a whole tensor in float32, from the shards of this host."""
    whole = np.zeros(self.specs[name].shape.to_integer_list, np.float32)
    for at, variables in self.shards(name):
      whole[numpy_index(at)] = variables[0].numpy()
    return whole

  @property
  def parameters(self) -> int:
    """Number of elements of all tensors together."""
    return sum(spec.shape.size for spec in self.specs.values())
