"""The shape of the mesh, and which dimension is split over which of its axes.

  shape  "data:2;model:4"              eight cores, two axes
  rules  "batch:data;heads:model;..."  dimension:axis

A rule whose axis the mesh lacks, or whose axis has size one, splits nothing,
so that one set of rules serves a laptop and a pod. A dimension or an axis that
nobody knows is an error: Mesh-TF would read it as "not split".
"""

import dataclasses

from flan_tf import name_lists
from flan_tf.mesh.compat import mtf

AXES = ("data", "sequence", "model")


@dataclasses.dataclass(frozen=True)
class Layout:
  """A mesh shape and its rules, both checked.

  Attributes:
    shape: the axes, each with its number of cores.
    rules: those rules that split something.
  """

  shape: mtf.Shape
  rules: mtf.LayoutRules

  @property
  def cores(self) -> int:
    return self.shape.size

  @property
  def is_split(self) -> bool:
    return self.cores > 1

  def axis_of(self, dimension: str) -> int | None:
    """The index of the mesh axis that splits a dimension, if any."""
    for name, axis in self._pairs():
      if name == dimension:
        return [d.name for d in self.shape].index(axis)
    return None

  def parts(self, dimension: str) -> int:
    """Into how many parts a dimension is split."""
    axis = self.axis_of(dimension)
    return 1 if axis is None else self.shape[axis].size

  def part(self, dimension: str, core: int) -> int:
    """Which of these parts a core holds."""
    axis = self.axis_of(dimension)
    if axis is None:
      return 0
    return mtf.pnum_to_processor_coordinates(self.shape, core)[axis]

  def slice_of(
    self, shape: mtf.Shape, core: int
  ) -> tuple[tuple[int, int], ...]:
    """(begin, size) of a core's slice, one pair for each dimension."""
    out = []
    for dim in shape:
      size = dim.size // self.parts(dim.name)
      out.append((self.part(dim.name, core) * size, size))
    return tuple(out)

  def part_shape(self, shape: mtf.Shape) -> list[int]:
    """Sizes of a core's slice."""
    return [size for _, size in self.slice_of(shape, 0)]

  def check(self, shape: mtf.Shape) -> None:
    """Raises ValueError if a tensor of this shape cannot be split so."""
    names: dict[int, str] = {}  # The dimension that each axis splits.
    for dim in shape:
      index = self.axis_of(dim.name)
      if index is None:
        continue
      axis, other = self.shape[index].name, names.setdefault(index, dim.name)
      if other != dim.name:
        raise ValueError(
          f"Dimensions {other!r} and {dim.name!r} of one tensor are both split"
          f" over mesh axis {axis!r}. Take one of '{other}:{axis}',"
          f" '{dim.name}:{axis}' out of mesh.layout."
        )
      parts = self.parts(dim.name)
      if dim.size % parts:
        fit = [n for n in range(1, parts + 1) if dim.size % n == 0]
        raise ValueError(
          f"Dimension {dim.name!r} has size {dim.size}, which does not split"
          f" over mesh axis {axis!r} of size {parts}. Sizes of {axis!r} that"
          f" fit: {fit}. Set mesh.shape (--mesh), or take"
          f" '{dim.name}:{axis}' out of mesh.layout (--layout)."
        )

  def __str__(self) -> str:
    axes = ";".join(f"{d.name}:{d.size}" for d in self.shape)
    return f"{axes or 'one core'} [{', '.join(map(':'.join, self._pairs()))}]"

  def _pairs(self) -> list[tuple[str, str]]:
    return sorted(self.rules._pairs)  # pylint: disable=protected-access


def parse_layout(shape: str, rules: str, dimensions: tuple[str, ...]) -> Layout:
  """Reads a mesh shape and layout rules.

  Args:
    shape: e.g. "data:2;model:4"; empty for one core.
    rules: e.g. "batch:data;heads:model".
    dimensions: every dimension name that a rule may use.

  Raises:
    ValueError: a part that cannot be read, or an unknown name.
  """
  axes = []
  for axis, size in _pairs(shape, "mesh.shape", "data:2;model:4"):
    if axis not in AXES:
      raise ValueError(
        "mesh.shape: " + name_lists.unknown_name("axis", axis, AXES)
      )
    if not size.isdigit() or int(size) < 1:
      raise ValueError(f"mesh.shape: {axis}:{size} is not a number of cores.")
    axes.append(mtf.Dimension(axis, int(size)))
  sizes = {axis.name: axis.size for axis in axes}
  split = []
  for name, axis in _pairs(rules, "mesh.layout", "batch:data;heads:model"):
    if name not in dimensions:
      raise ValueError(
        "mesh.layout: " + name_lists.unknown_name("dimension", name, dimensions)
      )
    if axis not in AXES:
      raise ValueError(
        "mesh.layout: " + name_lists.unknown_name("axis", axis, AXES)
      )
    if sizes.get(axis, 1) > 1:
      split.append((name, axis))
  return Layout(mtf.Shape(axes), mtf.LayoutRules(split))


def _pairs(text: str, what: str, example: str) -> list[tuple[str, str]]:
  pairs = []
  for part in filter(None, (p.strip() for p in text.split(";"))):
    left, colon, right = part.partition(":")
    if not (left and colon and right):
      raise ValueError(f"{what}: cannot read {part!r}; write e.g. {example!r}.")
    pairs.append((left.strip(), right.strip()))
  if len(dict(pairs)) != len(pairs):
    raise ValueError(f"{what}: a name is given twice in {text!r}.")
  return pairs
