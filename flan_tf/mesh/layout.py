"""The shape of the mesh, and the dimensions that are split over its axes.

  shape  "data:2;model:4"              eight cores, two axes
  rules  "batch:data;heads:model;..."  dimension:axis

A rule splits nothing if the mesh lacks its axis or the axis has size one, so
that one set of rules serves a laptop and a pod. Mesh-TF would also ignore rules
with misspelled names; here an unknown dimension or axis is an error.
"""

import dataclasses
from collections.abc import Iterable

from flan_tf import name_lists
from flan_tf.mesh.compat import mtf

AXES = ("data", "sequence", "model")
# More cores than any slice has.
_LONGEST_AXIS = 1 << 20

# (begin, size) of a shard along each dimension of a tensor.
ShardRange = tuple[tuple[int, int], ...]


def numpy_index(at: Iterable[tuple[int, int]]) -> tuple[slice, ...]:
  """Returns the NumPy index of a shard in its whole tensor."""
  return tuple(slice(begin, begin + size) for begin, size in at)


@dataclasses.dataclass(frozen=True)
class Layout:
  """A mesh shape and its rules, both checked.

  Attributes:
    shape: the axes, each with its number of cores.
    rules: the rules that split something.
  """

  shape: mtf.Shape
  rules: mtf.LayoutRules

  @property
  def cores(self) -> int:
    """Number of cores of the mesh."""
    return self.shape.size

  @property
  def is_split(self) -> bool:
    """True if the mesh has more than one core."""
    return self.cores > 1

  def axis_of(self, dimension: str) -> int | None:
    """Returns the index of the mesh axis that splits a dimension, if any."""
    for name, axis in self._pairs():
      if name == dimension:
        return [d.name for d in self.shape].index(axis)
    return None

  def num_shards(self, dimension: str) -> int:
    """Returns the number of shards into which a dimension is split."""
    axis = self.axis_of(dimension)
    return 1 if axis is None else self.shape[axis].size

  def shard_index(self, dimension: str, core: int) -> int:
    """Returns the index of a core's shard along a dimension."""
    axis = self.axis_of(dimension)
    if axis is None:
      return 0
    return mtf.pnum_to_processor_coordinates(self.shape, core)[axis]

  def shard_range(self, shape: mtf.Shape, core: int) -> ShardRange:
    """Returns (begin, size) of a core's shard along each dimension."""
    ranges = []
    for dim in shape:
      size = dim.size // self.num_shards(dim.name)
      ranges.append((self.shard_index(dim.name, core) * size, size))
    return tuple(ranges)

  def shard_shape(self, shape: mtf.Shape) -> list[int]:
    """Returns the sizes of a core's shard, which are the same on all cores."""
    return [size for _, size in self.shard_range(shape, 0)]

  def check(self, shape: mtf.Shape) -> None:
    """Checks that a tensor of a global shape can be split.

    Raises:
      ValueError: two of its dimensions are split over the same mesh axis, or a
        size is not a multiple of its mesh axis.
    """
    split_by: dict[int, str] = {}  # Mesh axis -> the dimension that it splits.
    for dim in shape:
      index = self.axis_of(dim.name)
      if index is None:
        continue
      axis = self.shape[index].name
      other = split_by.setdefault(index, dim.name)
      if other != dim.name:
        raise ValueError(
          f"Dimensions {other!r} and {dim.name!r} of one tensor are both split"
          f" over mesh axis {axis!r}. Take one of '{other}:{axis}',"
          f" '{dim.name}:{axis}' out of mesh.layout."
        )
      number = self.num_shards(dim.name)
      if dim.size % number:
        sizes = range(1, min(number, dim.size) + 1)
        fit = [n for n in sizes if dim.size % n == 0]
        raise ValueError(
          f"Dimension {dim.name!r} has size {dim.size}, which does not split"
          f" over mesh axis {axis!r} of size {number}. Sizes of {axis!r} that"
          f" fit: {fit}. Set mesh.shape (--mesh), or take"
          f" '{dim.name}:{axis}' out of mesh.layout (--layout)."
        )

  def __str__(self) -> str:
    axes = ";".join(f"{d.name}:{d.size}" for d in self.shape)
    return f"{axes or 'one core'} [{', '.join(map(':'.join, self._pairs()))}]"

  def _pairs(self) -> list[tuple[str, str]]:
    """Returns the rules as sorted pairs (dimension, axis)."""
    return sorted(self.rules._pairs)  # pylint: disable=protected-access


def parse_layout(shape: str, rules: str, dimensions: tuple[str, ...]) -> Layout:
  """Reads a mesh shape and layout rules.

  Args:
    shape: e.g. "data:2;model:4"; empty for one core.
    rules: e.g. "batch:data;heads:model".
    dimensions: names of all dimensions that a rule may use.

  Raises:
    ValueError: an entry that cannot be read, or an unknown name.
  """
  axes = []
  for axis, size in _read_pairs(shape, "mesh.shape", "data:2;model:4"):
    if axis not in AXES:
      raise ValueError(
        "mesh.shape: " + name_lists.unknown_name("axis", axis, AXES)
      )
    is_short = len(size) <= len(str(_LONGEST_AXIS))  # Else int() may refuse it.
    if not (size.isdecimal() and is_short and 1 <= int(size) <= _LONGEST_AXIS):
      raise ValueError(
        f"mesh.shape: {axis}:{size} is not a number of cores, 1 to"
        f" {_LONGEST_AXIS:,}."
      )
    axes.append(mtf.Dimension(axis, int(size)))
  sizes = {axis.name: axis.size for axis in axes}
  effective_rules = []
  for name, axis in _read_pairs(rules, "mesh.layout", "batch:data;heads:model"):
    if name not in dimensions:
      raise ValueError(
        "mesh.layout: " + name_lists.unknown_name("dimension", name, dimensions)
      )
    if axis not in AXES:
      raise ValueError(
        "mesh.layout: " + name_lists.unknown_name("axis", axis, AXES)
      )
    if sizes.get(axis, 1) > 1:
      effective_rules.append((name, axis))
  return Layout(mtf.Shape(axes), mtf.LayoutRules(effective_rules))


def _read_pairs(text: str, setting: str, example: str) -> list[tuple[str, str]]:
  """Reads "a:b;c:d" as pairs.

  Args:
    text: the value of a setting.
    setting: its name, for error messages.
    example: a valid value, for error messages.
  """
  pairs = []
  for entry in filter(None, (p.strip() for p in text.split(";"))):
    left, colon, right = entry.partition(":")
    if not (left and colon and right):
      raise ValueError(
        f"{setting}: cannot read {entry!r}; write e.g. {example!r}."
      )
    pairs.append((left.strip(), right.strip()))
  if len(dict(pairs)) != len(pairs):
    raise ValueError(f"{setting}: a name is given twice in {text!r}.")
  return pairs
