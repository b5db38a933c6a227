"""The mesh of a run as plain numbers, without TensorFlow."""

import math

from flan_tf import config


class MeshSizes:
  """The sizes of a mesh's axes, and which dimension is split over which."""

  def __init__(self, mesh: config.MeshConfig):
    pairs = [part.split(":") for part in mesh.shape.split(";") if part]
    self.axes = {axis.strip(): int(size) for axis, size in pairs}
    rules = [part.split(":") for part in mesh.layout.split(";") if part]
    self._rules = {name.strip(): axis.strip() for name, axis in rules}

  @property
  def cores(self) -> int:
    return math.prod(self.axes.values())

  def __str__(self) -> str:
    """The axes, and the rules that split something."""
    rules = {
      name: axis
      for name, axis in sorted(self._rules.items())
      if self.axes.get(axis, 1) > 1
    }
    return f"{self.axes} {rules}"

  def axis_of(self, dimension: str) -> str:
    return self._rules.get(dimension, "")

  def parts(self, *dimensions: str) -> int:
    """Into how many parts a tensor of these dimensions is split."""
    axes = {self.axis_of(name) for name in dimensions}
    return math.prod(self.axes.get(axis, 1) for axis in axes)
