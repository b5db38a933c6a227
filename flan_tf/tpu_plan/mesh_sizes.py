"""The mesh and the layout of a run as plain numbers, without TensorFlow."""

import math

from flan_tf import config


class MeshSizes:
  """Sizes of the mesh axes, and the axis over which each dimension is split.

  Attributes:
    axes: axis name -> number of cores along the axis.
  """

  def __init__(self, mesh: config.MeshConfig):
    """Reads the mesh of a run.

    Raises:
      ValueError: the shape or the layout is not written as expected.
    """
    axes = _pairs("mesh.shape", mesh.shape, "data:2;model:4")
    for name, size in axes.items():
      if not (size.isdecimal() and len(size) < 8 and int(size)):
        raise ValueError(f"mesh.shape: {name}:{size} is no number of cores.")
    self.axes = {name: int(size) for name, size in axes.items()}
    self._rules = _pairs("mesh.layout", mesh.layout, "batch:data;heads:model")

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


def _pairs(setting: str, text: str, example: str) -> dict[str, str]:
  """Reads "name:value;name:value".

  Args:
    setting: the setting that has the text, for an error message.
    text: the text.
    example: a text that could be read, for an error message.
  """
  pairs = {}
  for part in filter(None, text.split(";")):
    name, colon, value = (word.strip() for word in part.partition(":"))
    if not (name and colon and value) or ":" in value:
      raise ValueError(
        f"{setting}: cannot read {part!r}; write e.g. {example!r}."
      )
    pairs[name] = value
  return pairs
