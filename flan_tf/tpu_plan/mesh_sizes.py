"""The mesh and the layout of a run as plain numbers, without TensorFlow."""

import math

from flan_tf import config


class MeshSizes:
  """Sizes of the mesh axes, and the axis over which each dimension is split.

  Attributes:
    axes: axis name -> number of cores along the axis.
  """

  def __init__(self, mesh: config.MeshConfig):
    axes = [axis.split(":") for axis in mesh.shape.split(";") if axis]
    self.axes = {name.strip(): int(size) for name, size in axes}
    rules = [rule.split(":") for rule in mesh.layout.split(";") if rule]
    self._rules = {name.strip(): axis.strip() for name, axis in rules}

  @property
  def cores(self) -> int:
    return math.prod(self.axes.values())

  def __str__(self) -> str:
    """Returns the axes and those layout rules that split a dimension."""
    rules = {
      name: axis
      for name, axis in sorted(self._rules.items())
      if self.axes.get(axis, 1) > 1
    }
    return f"{self.axes} {rules}"

  def axis_of(self, dimension: str) -> str:
    """Returns the axis that splits a dimension, "" if none does."""
    return self._rules.get(dimension, "")

  def shards(self, *dimensions: str) -> int:
    """Returns the number of shards of a tensor with these dimensions."""
    axes = {self.axis_of(name) for name in dimensions}
    return math.prod(self.axes.get(axis, 1) for axis in axes)
