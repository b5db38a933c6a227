"""TPU generations and slices: how many cores, how fast, how they are joined.

  parse("v3:8x8")   64 chips, 128 cores, 16 hosts; Google Cloud calls it v3-128

A core is what the compiler calls a device: one program. Generations v2, v3 and
v4 have two of them on a chip, later ones one.

Peaks, memories and links are those of Google Cloud's TPU pages (one a
generation, "Key specifications"), links of v2 and v3 those of Jouppi et al.
2020, "A domain-specific supercomputer for training deep neural networks".
Links times chips give the all-reduce bandwidths of a pod that the pages name
(340 TB/s for v3, 1.1 PB/s for v4, 51.2 TB/s for v5e, 102.4 TB/s for v6e)
within 12 percent. The pages' bandwidths are peaks: what a program reaches is
less.
"""

import dataclasses
import math

from flan_tf import name_lists

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class TpuGeneration:
  """One kind of chip.

  Attributes:
    name: as a topology spells it.
    sold_as: as Google Cloud's accelerator types spell it.
    cores_per_chip: devices of the compiler.
    sold_cores: what the number of an accelerator type counts on a chip.
    peak_flops: FLOP/s of a core in bfloat16.
    hbm_bytes: of a core. The compiler keeps some of it for itself.
    hbm_bandwidth: bytes/s of a core.
    link_bandwidth: bytes/s that a chip sends over one of its links.
    links: of a chip; two for each dimension of its torus.
    most_chips: of a slice.
  """

  name: str
  sold_as: str
  cores_per_chip: int
  sold_cores: int
  peak_flops: float
  hbm_bytes: int
  hbm_bandwidth: float
  link_bandwidth: float
  links: int
  most_chips: int

  @property
  def dimensions(self) -> int:
    """Of the torus."""
    return self.links // 2

  @property
  def wire_bandwidth(self) -> float:
    """Bytes/s that a core sends if the cores of a chip use all its links."""
    return self.link_bandwidth * self.links / self.cores_per_chip


def _generation(name, sold_as, cores, sold, tflops, gib, gbps, link, links, n):
  """From figures of a chip: TFLOP/s, GiB, GB/s, and GB/s of a link."""
  return TpuGeneration(
    name=name,
    sold_as=sold_as,
    cores_per_chip=cores,
    sold_cores=sold,
    peak_flops=tflops * 1e12 / cores,
    hbm_bytes=gib * _GIB // cores,
    hbm_bandwidth=gbps * 1e9 / cores,
    link_bandwidth=link * 1e9,
    links=links,
    most_chips=n,
  )


GENERATIONS = {
  made.name: made
  for made in (
    _generation("v2", "v2", 2, 2, 45, 16, 700, 62, 4, 256),
    _generation("v3", "v3", 2, 2, 123, 32, 900, 82, 4, 1024),
    _generation("v4", "v4", 2, 2, 275, 32, 1200, 50, 6, 4096),
    _generation("v5e", "v5litepod", 1, 1, 197, 16, 819, 50, 4, 256),
    # Its two TensorCores are one device; accelerator types count both.
    _generation("v5p", "v5p", 1, 2, 459, 95, 2765, 100, 6, 6144),
    _generation("v6e", "v6e", 1, 1, 918, 32, 1638, 100, 4, 256),
  )
}
# Chips of a host are a square of so many; the compiler wants whole hosts.
_HOST_SIDE = 2


@dataclasses.dataclass(frozen=True)
class TpuSlice:
  """Chips that are joined.

  Attributes:
    generation: what they are.
    shape: chips in each dimension.
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
    """What Google Cloud calls it, e.g. "v3-128"."""
    sold = self.chips * self.generation.sold_cores
    return f"{self.generation.sold_as}-{sold}"

  @property
  def peak_flops(self) -> float:
    """Of all cores, in FLOP/s."""
    return self.cores * self.generation.peak_flops

  def __str__(self) -> str:
    """The topology, as `parse_topology` reads it."""
    return f"{self.generation.name}:{'x'.join(map(str, self.shape))}"


def parse_topology(topology: str) -> TpuSlice:
  """Reads "v3:8x8".

  Raises:
    ValueError: an unknown generation, or a shape that no slice of it has.
  """
  name, colon, shape = topology.strip().partition(":")
  if not colon:
    raise ValueError(f"topology: {topology!r} has no shape. {_meant(name)}")
  if name not in GENERATIONS:
    raise ValueError(
      "topology: "
      + name_lists.unknown_name("TPU generation", name, GENERATIONS)
    )
  generation = GENERATIONS[name]
  sides = shape.split("x")
  example = with_cores(generation, 16)
  if not all(side.isdecimal() for side in sides):
    raise ValueError(f"topology: cannot read {topology!r}; write {example}.")
  if len(sides) != generation.dimensions:
    raise ValueError(
      f"topology: chips of {name} are joined in {generation.dimensions}"
      f" dimensions, but {shape!r} has {len(sides)}; write e.g. {example}."
    )
  made = TpuSlice(generation, tuple(map(int, sides)))
  if not made.chips or any(side % _HOST_SIDE for side in made.shape[:2]):
    raise ValueError(
      f"topology: {topology!r} is not whole hosts, which have 2x2 chips each:"
      " the first two numbers must be even."
    )
  if made.chips > generation.most_chips:
    raise ValueError(
      f"topology: {topology!r} has {made.chips:,} chips; slices of {name} have"
      f" {generation.most_chips:,} at most."
    )
  return made


def with_cores(generation: TpuGeneration, cores: int) -> TpuSlice | None:
  """The most cubic slice with so many cores, a power of two; None if none."""
  chips, rest = divmod(cores, generation.cores_per_chip)
  if rest or chips & (chips - 1):
    return None
  if not _HOST_SIDE**2 <= chips <= generation.most_chips:
    return None
  # Hosts are whole in the first two dimensions; the last ones grow first.
  shape = [_HOST_SIDE, _HOST_SIDE, *[1] * (generation.dimensions - 2)]
  while math.prod(shape) < chips:
    smallest = min(shape)
    grown = max(i for i, side in enumerate(shape) if side == smallest)
    shape[grown] *= 2
  return TpuSlice(generation, tuple(shape))


def _meant(name: str) -> str:
  """For one who wrote an accelerator type, or only a generation."""
  kind, _, number = name.rpartition("-")
  for generation in GENERATIONS.values():
    if kind == generation.sold_as and number.isdecimal():
      chips = int(number) // generation.sold_cores
      made = with_cores(generation, chips * generation.cores_per_chip)
      if made is not None:
        return f"Did you mean {made} ({made.accelerator_type})?"
  return (
    "Write the generation and the chips in each dimension, e.g."
    " v3:8x8 for 128 cores of v3. Generations: " + ", ".join(GENERATIONS) + "."
  )
