"""TPU generations and slices: cores, speed, memory and links between chips.

  parse_topology("v3:8x8")   64 chips, 128 cores, 16 hosts; v3-128 in the cloud

A core is one device of the compiler and runs one program. A chip of v2, v3 or
v4 has two cores, a chip of a later generation has one.

Sources: peaks, HBM sizes and bandwidths are from Google Cloud's TPU pages (one
page for each generation, "Key specifications"). The link bandwidths of v2 and
v3 are from Jouppi et al. 2020, "A domain-specific supercomputer for training
deep neural networks". Link bandwidth x links x chips is within 12 percent of
the all-reduce bandwidth that those pages give for a whole pod: 340 TB/s for v3,
1.1 PB/s for v4, 51.2 TB/s for v5e, 102.4 TB/s for v6e. All bandwidths are
peaks; programs reach less.
"""

import dataclasses
import math

from flan_tf import name_lists

# The chips of a host form a square with this side. Slices consist of whole
# hosts.
_HOST_SIDE = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuGeneration:
  """One TPU generation: published figures for a chip, properties for a core.

  Attributes:
    name: prefix of a topology, e.g. "v5e".
    accelerator_prefix: prefix of Google Cloud's accelerator types, e.g.
      "v5litepod".
    cores_per_chip: devices of the compiler on a chip.
    accelerator_units_per_chip: what a chip adds to the number in an accelerator
      type. "v3-128" counts cores, "v5litepod-16" counts chips.
    chip_tflops: peak TFLOP/s of a chip in bfloat16.
    chip_hbm_gib: HBM of a chip, GiB.
    chip_hbm_gb_per_second: peak HBM bandwidth of a chip, GB/s.
    link_gb_per_second: GB/s that a chip sends over one link.
    links_per_chip: two links for each dimension of the torus.
    max_chips: chips of the largest slice.
  """

  name: str
  accelerator_prefix: str
  cores_per_chip: int
  accelerator_units_per_chip: int
  chip_tflops: float
  chip_hbm_gib: int
  chip_hbm_gb_per_second: float
  link_gb_per_second: float
  links_per_chip: int
  max_chips: int

  @property
  def peak_flops(self) -> float:
    """Peak FLOP/s of a core in bfloat16."""
    return self.chip_tflops * 1e12 / self.cores_per_chip

  @property
  def hbm_bytes(self) -> int:
    """HBM of a core, bytes. The compiler reserves a part of it."""
    return self.chip_hbm_gib * 2**30 // self.cores_per_chip

  @property
  def hbm_bandwidth(self) -> float:
    """Peak HBM bandwidth of a core, bytes/s."""
    return self.chip_hbm_gb_per_second * 1e9 / self.cores_per_chip

  @property
  def wire_bandwidth(self) -> float:
    """Bytes/s that a core sends if the cores of its chip use all links."""
    chip = self.link_gb_per_second * 1e9 * self.links_per_chip
    return chip / self.cores_per_chip

  @property
  def torus_dimensions(self) -> int:
    """Dimensions in which chips are linked: 2 or 3."""
    return self.links_per_chip // 2


GENERATIONS = {
  generation.name: generation
  for generation in (
    TpuGeneration(
      name="v2",
      accelerator_prefix="v2",
      cores_per_chip=2,
      accelerator_units_per_chip=2,
      chip_tflops=45,
      chip_hbm_gib=16,
      chip_hbm_gb_per_second=700,
      link_gb_per_second=62,
      links_per_chip=4,
      max_chips=256,
    ),
    TpuGeneration(
      name="v3",
      accelerator_prefix="v3",
      cores_per_chip=2,
      accelerator_units_per_chip=2,
      chip_tflops=123,
      chip_hbm_gib=32,
      chip_hbm_gb_per_second=900,
      link_gb_per_second=82,
      links_per_chip=4,
      max_chips=1024,
    ),
    TpuGeneration(
      name="v4",
      accelerator_prefix="v4",
      cores_per_chip=2,
      accelerator_units_per_chip=2,
      chip_tflops=275,
      chip_hbm_gib=32,
      chip_hbm_gb_per_second=1200,
      link_gb_per_second=50,
      links_per_chip=6,
      max_chips=4096,
    ),
    TpuGeneration(
      name="v5e",
      accelerator_prefix="v5litepod",
      cores_per_chip=1,
      accelerator_units_per_chip=1,
      chip_tflops=197,
      chip_hbm_gib=16,
      chip_hbm_gb_per_second=819,
      link_gb_per_second=50,
      links_per_chip=4,
      max_chips=256,
    ),
    TpuGeneration(
      name="v5p",
      accelerator_prefix="v5p",
      # The compiler sees the two TensorCores of a chip as one device, but
      # accelerator types count both.
      cores_per_chip=1,
      accelerator_units_per_chip=2,
      chip_tflops=459,
      chip_hbm_gib=95,
      chip_hbm_gb_per_second=2765,
      link_gb_per_second=100,
      links_per_chip=6,
      max_chips=6144,
    ),
    TpuGeneration(
      name="v6e",
      accelerator_prefix="v6e",
      cores_per_chip=1,
      accelerator_units_per_chip=1,
      chip_tflops=918,
      chip_hbm_gib=32,
      chip_hbm_gb_per_second=1638,
      link_gb_per_second=100,
      links_per_chip=4,
      max_chips=256,
    ),
  )
}


@dataclasses.dataclass(frozen=True)
class TpuSlice:
  """Linked chips of one generation.

  Attributes:
    generation: the generation of all chips.
    shape: number of chips in each dimension of the torus.
  """

  generation: TpuGeneration
  shape: tuple[int, ...]

  @property
  def chips(self) -> int:
    return math.prod(self.shape)

  @property
  def cores(self) -> int:
    return self.chips * self.generation.cores_per_chip

  @property
  def hosts(self) -> int:
    return self.chips // _HOST_SIDE**2

  @property
  def accelerator_type(self) -> str:
    """Google Cloud's name for the slice, e.g. "v3-128"."""
    units = self.chips * self.generation.accelerator_units_per_chip
    return f"{self.generation.accelerator_prefix}-{units}"

  def __str__(self) -> str:
    """Returns the topology, in the form that `parse_topology` reads."""
    return f"{self.generation.name}:{'x'.join(map(str, self.shape))}"


def parse_topology(topology: str) -> TpuSlice:
  """Reads a topology such as "v3:8x8".

  Raises:
    ValueError: the generation is unknown, or has no slice of this shape.
  """
  name, colon, shape = topology.strip().partition(":")
  if not colon:
    raise ValueError(
      f"topology: {topology!r} has no shape. {_suggest_topology(name)}"
    )
  if name not in GENERATIONS:
    raise ValueError(
      "topology: "
      + name_lists.unknown_name("TPU generation", name, GENERATIONS)
    )
  generation = GENERATIONS[name]
  sides = shape.split("x")
  example = slice_with_cores(generation, 16)
  if not all(side.isdecimal() for side in sides):
    raise ValueError(
      f"topology: cannot read the shape of {topology!r}. Expected chips in each"
      f" dimension, joined by x, e.g. {example}."
    )
  if len(sides) != generation.torus_dimensions:
    raise ValueError(
      f"topology: slices of {name} have {generation.torus_dimensions}"
      f" dimensions, but {shape!r} has {len(sides)}. Expected e.g. {example}."
    )
  tpu_slice = TpuSlice(generation, tuple(map(int, sides)))
  if not tpu_slice.chips or any(s % _HOST_SIDE for s in tpu_slice.shape[:2]):
    raise ValueError(
      f"topology: {topology!r} does not consist of whole hosts. A host has 2x2"
      " chips, so the first two numbers must be even."
    )
  if tpu_slice.chips > generation.max_chips:
    raise ValueError(
      f"topology: {topology!r} has {tpu_slice.chips:,} chips, but slices of"
      f" {name} have at most {generation.max_chips:,}."
    )
  return tpu_slice


def slice_with_cores(generation: TpuGeneration, cores: int) -> TpuSlice | None:
  """Returns the most cubic slice with this number of cores.

  Args:
    generation: the generation of the chips.
    cores: number of cores; only powers of two give a slice.

  Returns:
    The slice, or None if the generation has no such slice.
  """
  chips, remainder = divmod(cores, generation.cores_per_chip)
  if remainder or chips & (chips - 1):
    return None
  if not _HOST_SIDE**2 <= chips <= generation.max_chips:
    return None
  # The first two dimensions start with a whole host. Of the smallest
  # dimensions the last one is doubled first.
  shape = [_HOST_SIDE, _HOST_SIDE, *[1] * (generation.torus_dimensions - 2)]
  while math.prod(shape) < chips:
    smallest = min(shape)
    doubled = max(i for i, side in enumerate(shape) if side == smallest)
    shape[doubled] *= 2
  return TpuSlice(generation, tuple(shape))


def _suggest_topology(name: str) -> str:
  """Suggests a topology for an accelerator type or a bare generation."""
  prefix, _, number = name.rpartition("-")
  for generation in GENERATIONS.values():
    if prefix == generation.accelerator_prefix and number.isdecimal():
      chips = int(number) // generation.accelerator_units_per_chip
      meant = slice_with_cores(generation, chips * generation.cores_per_chip)
      if meant is not None:
        return f"Did you mean {meant} ({meant.accelerator_type})?"
  return (
    "Write the generation and the chips in each dimension, e.g. v3:8x8 for 128"
    " cores of v3. Generations: " + ", ".join(GENERATIONS) + "."
  )
