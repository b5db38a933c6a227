"""Named tensors that live on the cores, one slice in a variable per core.

There is no master copy: a slice is made, read, updated and saved where it is.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices
from flan_tf.mesh.layout import Layout

# (begin, size) of each dimension.
ShardRange = tuple[tuple[int, int], ...]
# (name, seed, whole shape, slice) -> the values of that slice.
Initializer = Callable[[str, int, mtf.Shape, ShardRange], np.ndarray]


@dataclasses.dataclass(frozen=True)
class StateSpec:
  """A tensor of the state: its named shape and how it begins."""

  shape: mtf.Shape
  initializer: Initializer


def constant(value: float) -> Initializer:
  """Every element is `value`."""

  def init(name, seed, shape, at):
    del name, seed, shape
    return np.full([size for _, size in at], value, np.float32)

  return init


def normal(stddev: float) -> Initializer:
  """Normal with mean 0, the same values however the tensor is split.

  Each index of the first dimension has a random stream of its own, from the
  tensor's name and the seed, so that a core draws the rows that it holds.
  """

  def init(name, seed, shape, at):
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    key = np.frombuffer(digest[:16], np.uint64)
    (begin, rows), *rest = at
    rest_shape = shape.to_integer_list[1:]
    cut = tuple(slice(b, b + n) for b, n in rest)
    out = np.empty([size for _, size in at], np.float32)
    for row in range(rows):
      bits = np.random.Philox(key=key, counter=[0, 0, 0, begin + row])
      values = np.random.Generator(bits).standard_normal(
        math.prod(rest_shape), np.float32
      )
      out[row] = values.reshape(rest_shape)[cut]
    return out * np.float32(stddev)

  return init


class State:
  """The slices of a set of tensors, as variables of a strategy.

  Args:
    devices: where the cores are.
    layout: how the tensors are split.
    specs: the tensors by name.
    dtype: of the variables. Values come as float32, also from a checkpoint, and
      are cast.

  Raises:
    ValueError: a dimension does not split over its axis.
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
      shape = layout.part_shape(spec.shape)
      self._variables[name] = devices.new_slice(name, shape, dtype)

  def initialize(self, seed: int) -> None:
    """Sets every slice; the same seed gives the same tensors on any mesh."""
    for name, spec in self.specs.items():
      for at, variables in self.slices(name):
        value = spec.initializer(name, seed, spec.shape, at)
        self._set(variables, value)

  def assign(self, name: str, value: np.ndarray) -> None:
    """Sets a whole tensor; every host is given the same."""
    for at, variables in self.slices(name):
      self._set(variables, value[tuple(slice(b, b + n) for b, n in at)])

  def _set(self, variables: Sequence[tf.Variable], value: np.ndarray) -> None:
    for variable in variables:
      variable.assign(np.asarray(value, self._dtype.as_numpy_dtype))

  def variable(self, name: str) -> tf.Variable:
    """Inside a program: the variable with this core's slice."""
    return self._variables[name]

  def slices(self, name: str) -> Iterator[tuple[ShardRange, list[tf.Variable]]]:
    """This host's distinct slices, each with the variables that hold it."""
    local = self.devices.strategy.experimental_local_results(
      self._variables[name]
    )
    by_slice: dict[ShardRange, list[tf.Variable]] = {}
    for core, variable in zip(self.devices.local_cores, local, strict=True):
      at = self.layout.slice_of(self.specs[name].shape, core)
      by_slice.setdefault(at, []).append(variable)
    yield from by_slice.items()

  def gather(self, name: str) -> np.ndarray:
    """The whole tensor, from this host's slices, in float32."""
    out = np.zeros(self.specs[name].shape.to_integer_list, np.float32)
    for at, variables in self.slices(name):
      out[tuple(slice(b, b + n) for b, n in at)] = variables[0].numpy()
    return out

  @property
  def parameters(self) -> int:
    """Number of elements over all tensors."""
    return sum(spec.shape.size for spec in self.specs.values())
