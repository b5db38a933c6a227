"""Meshes and layouts for a slice: all that divide, the likeliest first.

A candidate is a mesh (an axis for each of a layout's, their product the number
of cores), the layout, and two options of training: whether layers are computed
again, and in how many microbatches a step is taken. What does not divide is
left out with the reason. The rest is put in order by `roofline`, an estimate
by hand that costs nothing, and only the first few are compiled.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

from flan_tf import config
from flan_tf.tpu_plan import chips, mesh_sizes, request
from flan_tf.tpu_plan.planner import cost_model, flop_counts

# Rows over one axis, heads, MLP and vocabulary over the other.
_BOTH = "batch:data;heads:model;d_ff:model;vocab:model"
_THREE = ("data", "sequence", "model")
_ROWS = "length:sequence;stream:sequence"
# What is tried: the axes of a mesh, and which dimension goes over which.
LAYOUTS = (
  (("data", "model"), _BOTH),
  # What layers keep for the backward pass is split, too.
  (("data", "model"), f"{_BOTH};stream:model"),
  # Weights and statistics are split over the groups of rows, too.
  (("data", "model"), f"{_BOTH};d_model:data"),
  (("data", "model"), f"{_BOTH};stream:model;d_model:data"),
  # Rows are split, too: into parts that look at one another's keys.
  (_THREE, f"{_BOTH};{_ROWS}"),
  (_THREE, f"{_BOTH};{_ROWS};d_model:data"),
)

# After a refusal: what a next one may need of it by hand.
_LESS = 0.95

Compile = Callable[[request.CompileRequest], request.CompileReport]
# Gives an answer that is there already; None if none is.
Known = Callable[[request.CompileRequest], request.CompileReport | None]


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A request, and what the estimate by hand says of it."""

  asked: request.CompileRequest
  by_hand: cost_model.CostEstimate


@dataclasses.dataclass(frozen=True)
class LeftOut:
  """A mesh that cannot be, and why."""

  mesh: str
  layout: str
  why: str


@dataclasses.dataclass(frozen=True)
class Tried:
  """A candidate, and an answer: the compiler's, unless its owner says other."""

  candidate: Candidate
  answer: request.CompileReport
  estimate: flop_counts.StepEstimate


@dataclasses.dataclass(frozen=True)
class Found:
  """What a search found.

  Attributes:
    tried: those that fit by serial seconds, then those that do not.
    untried: candidates that were not compiled, in order.
    left_out: meshes that do not divide.
  """

  tried: list[Tried]
  untried: list[Candidate]
  left_out: list[LeftOut]

  @property
  def best(self) -> Tried | None:
    """The fastest one that fits."""
    return next((t for t in self.tried if t.answer.fits), None)


def search(
  asked: request.CompileRequest,
  compiled: Compile,
  limit: int = 8,
  steps: int = 0,
  enough: int = 0,
) -> Found:
  """Compiles the likeliest candidates.

  Where one is refused, those that need about as much memory by hand are not
  tried either.

  Args:
    asked: its mesh and options of training are what is looked for.
    compiled: asks the compiler, or the cache.
    limit: how many candidates are compiled at most.
    steps: of training, for the days.
    enough: stop after so many that fit; 0 for never.
  """
  candidates, left_out = enumerate_all(asked)
  tried = []
  untried = []
  most = math.inf  # Bytes by hand: what needs as much was refused.
  fitting = 0
  for candidate in candidates:
    stop = len(tried) == limit or (enough and fitting == enough)
    if stop or candidate.by_hand.hbm_bytes >= most:
      untried.append(candidate)
      continue
    answer = compiled(candidate.asked)
    estimate = flop_counts.estimate(candidate.asked, answer, steps)
    tried.append(Tried(candidate, answer, estimate))
    fitting += answer.fits
    if not answer.fits:
      most = candidate.by_hand.hbm_bytes * _LESS
  tried.sort(key=_by_worth)
  return Found(tried, untried, left_out)


def enumerate_all(
  asked: request.CompileRequest,
) -> tuple[list[Candidate], list[LeftOut]]:
  """All candidates, the likeliest first, and what does not divide."""
  cores = chips.parse_topology(asked.topology).cores
  found: dict[str, Candidate] = {}
  left_out: dict[str, LeftOut] = {}
  for axes, layout in LAYOUTS:
    if "stream:" in layout and asked.program != "train":
      continue  # Only training splits it.
    for sizes in factors(cores, len(axes)):
      pairs = zip(axes, sizes, strict=True)
      mesh = ";".join(f"{axis}:{size}" for axis, size in pairs if size > 1)
      for candidate in _with_options(asked, mesh, layout):
        # Layouts are the same where the axes they differ in are one.
        key = str(mesh_sizes.MeshSizes(candidate.run.mesh))
        if why := why_not(candidate):
          left_out.setdefault(key, LeftOut(mesh, layout, why))
        else:
          by_hand = cost_model.by_hand(candidate)
          key = f"{key} {candidate.run.train}"
          found.setdefault(key, Candidate(candidate, by_hand))
  candidates = sorted(found.values(), key=lambda c: c.by_hand.worth)
  for candidate in candidates:
    # It divides at least in fewer microbatches.
    left_out.pop(str(mesh_sizes.MeshSizes(candidate.asked.run.mesh)), None)
  reasons = {(out.mesh, out.why): out for out in reversed(left_out.values())}
  return candidates, list(reversed(reasons.values()))


def why_not(asked: request.CompileRequest) -> str:
  """Which dimension does not divide, e.g. "heads 20 over model:8"; else ""."""
  mesh = mesh_sizes.MeshSizes(asked.run.mesh)
  cores = chips.parse_topology(asked.topology).cores
  if mesh.cores != cores:
    return f"{mesh.cores} cores, the slice has {cores}"
  for dimension, size in cost_model.sizes(asked).items():
    if size % mesh.parts(dimension):
      axis = mesh.axis_of(dimension)
      return f"{dimension} {size:,} over {axis}:{mesh.parts(dimension)}"
  return ""


def factors(number: int, count: int) -> Iterator[tuple[int, ...]]:
  """All ordered ways to write a number as a product of so many."""
  if count == 1:
    yield (number,)
    return
  for first in range(1, number + 1):
    if number % first == 0:
      for rest in factors(number // first, count - 1):
        yield (first, *rest)


def flags(candidate: request.CompileRequest) -> str:
  """What to write behind a command to get a candidate's settings."""
  mesh, train = candidate.run.mesh, candidate.run.train
  parts = [
    f"--config.mesh.shape='{mesh.shape}'",
    f"--config.mesh.layout='{mesh.layout}'",
  ]
  if candidate.program == "train":
    parts += [
      f"--config.train.recompute={train.recompute}",
      f"--config.train.microbatches={train.microbatches}",
    ]
  return " ".join(parts)


def _with_options(
  asked: request.CompileRequest, mesh: str, layout: str
) -> Iterator[request.CompileRequest]:
  run = config.replace(asked.run, "mesh", shape=mesh, layout=layout)
  if asked.program != "train":
    yield dataclasses.replace(asked, run=run)
    return
  batch = run.train.batch
  for recompute in config.RECOMPUTED:
    for parts in (n for n in range(1, batch + 1) if batch % n == 0):
      # More would be taken one after another than it could save.
      if parts > 1 and recompute == "nothing":
        continue
      changed = config.replace(
        run, "train", recompute=recompute, microbatches=parts
      )
      yield dataclasses.replace(asked, run=changed)


def _by_worth(tried: Tried) -> tuple[bool, float]:
  # With the collectives, or a layout would seem the better the more it sends.
  seconds = tried.estimate.serial_seconds
  return (not tried.answer.fits, seconds if tried.answer.fits else math.inf)
