"""Searches meshes and layouts for a TPU slice.

A candidate is a mesh whose axes multiply to the number of cores, a layout, and
for training also a rematerialization policy and a number of microbatches.
Candidates that do not divide the model's dimensions are dropped, with the
reason. `cost_model` sorts the others at no cost; only the first few are
compiled.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

from flan_tf import config
from flan_tf.tpu_plan import chips
from flan_tf.tpu_plan.mesh_sizes import MeshSizes
from flan_tf.tpu_plan.planner import cost_model, step_estimate
from flan_tf.tpu_plan.request import CompileReport, CompileRequest

_TWO_AXES = ("data", "model")
_THREE_AXES = ("data", "sequence", "model")
_DATA_AND_MODEL = "batch:data;heads:model;d_ff:model;vocab:model"
_SEQUENCE = "length:sequence;stream:sequence"
# The axes of the meshes to try, and the layout.
LAYOUTS = (
  (_TWO_AXES, _DATA_AND_MODEL),
  # Also splits the residual stream that layers save for the backward pass.
  (_TWO_AXES, f"{_DATA_AND_MODEL};stream:model"),
  # Also splits weights and optimizer slots over the data axis.
  (_TWO_AXES, f"{_DATA_AND_MODEL};d_model:data"),
  (_TWO_AXES, f"{_DATA_AND_MODEL};stream:model;d_model:data"),
  # Also splits each row into shards, which exchange keys and values.
  (_THREE_AXES, f"{_DATA_AND_MODEL};{_SEQUENCE}"),
  (_THREE_AXES, f"{_DATA_AND_MODEL};{_SEQUENCE};d_model:data"),
)

# After a candidate was refused, those that need more than this share of its
# HBM, by the cost model, are not compiled.
_HBM_SHARE_AFTER_REFUSAL = 0.95

# Makes the report of a request.
Compiler = Callable[[CompileRequest], CompileReport]
# Returns the report of a request if there is one already, else None.
ReportLookup = Callable[[CompileRequest], CompileReport | None]


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A request, and the estimate of the cost model."""

  request: CompileRequest
  cost: cost_model.CostEstimate


@dataclasses.dataclass(frozen=True)
class IndivisibleMesh:
  """A mesh and layout that do not divide the run, and the reason in words."""

  mesh: str
  layout: str
  reason: str


@dataclasses.dataclass(frozen=True)
class CandidateResult:
  """A candidate with a report and what follows from it.

  A search has the compiler's report. A cell of the scaling table may have the
  cost model's; see `scaling.ScalingCell.compiled`.
  """

  candidate: Candidate
  report: CompileReport
  estimate: step_estimate.StepEstimate


@dataclasses.dataclass(frozen=True)
class SearchResult:
  """The results of a search.

  Attributes:
    compiled: candidates that fit, the fastest first (serial seconds), then
      those that do not fit.
    not_compiled: the other candidates, the most promising first.
    indivisible: meshes that do not divide.
  """

  compiled: list[CandidateResult]
  not_compiled: list[Candidate]
  indivisible: list[IndivisibleMesh]

  @property
  def best(self) -> CandidateResult | None:
    """The fastest candidate that fits, if any."""
    return next((r for r in self.compiled if r.report.fits), None)


def search_meshes(
  request: CompileRequest,
  compiler: Compiler,
  max_compiled: int = 8,
  steps: int = 0,
  max_fitting: int = 0,
) -> SearchResult:
  """Compiles the most promising candidates.

  After the compiler has refused a candidate, those that need about as much HBM
  by the cost model are not compiled.

  Args:
    request: gives run and slice; mesh, layout, rematerialization policy and
      microbatches are those to search for.
    compiler: makes a report, or returns it from a cache.
    max_compiled: number of candidates to compile at most.
    steps: training steps of the run, for the days in the estimates.
    max_fitting: stop after this many candidates that fit; 0 for no limit.
  """
  candidates, indivisible = enumerate_candidates(request)
  compiled: list[CandidateResult] = []
  not_compiled = []
  hbm_bound = math.inf  # Bytes by the cost model; more is likely refused.
  fitting = 0
  for candidate in candidates:
    is_done = len(compiled) == max_compiled
    is_done |= bool(max_fitting) and fitting == max_fitting
    if is_done or candidate.cost.hbm_bytes >= hbm_bound:
      not_compiled.append(candidate)
      continue
    report = compiler(candidate.request)
    estimate = step_estimate.estimate_step(candidate.request, report, steps)
    compiled.append(CandidateResult(candidate, report, estimate))
    if report.fits:
      fitting += 1
    else:
      hbm_bound = candidate.cost.hbm_bytes * _HBM_SHARE_AFTER_REFUSAL
  compiled.sort(key=_sort_key)
  return SearchResult(compiled, not_compiled, indivisible)


def enumerate_candidates(
  request: CompileRequest,
) -> tuple[list[Candidate], list[IndivisibleMesh]]:
  """Returns all candidates for a run and its slice.

  Returns:
    The candidates, the most promising first, and the meshes that do not divide
    with any number of microbatches.
  """
  candidates: dict[str, Candidate] = {}
  indivisible: dict[str, IndivisibleMesh] = {}
  for mesh, layout in _meshes(request):
    for option in _with_training_options(request, mesh, layout):
      # Two layouts are equal if they differ only in axes of one core.
      key = str(MeshSizes(option.run.mesh))
      if reason := indivisible_reason(option):
        indivisible.setdefault(key, IndivisibleMesh(mesh, layout, reason))
      else:
        candidate = Candidate(option, cost_model.estimate_cost(option))
        candidates.setdefault(f"{key} {option.run.train}", candidate)
  found = sorted(candidates.values(), key=lambda c: c.cost.sort_key)
  for candidate in found:
    # The mesh divides with another number of microbatches.
    indivisible.pop(str(MeshSizes(candidate.request.run.mesh)), None)
  # Of several layouts with the same reason, keep the first.
  by_reason = {(m.mesh, m.reason): m for m in reversed(indivisible.values())}
  return found, list(reversed(by_reason.values()))


def indivisible_reason(request: CompileRequest) -> str:
  """Returns the dimension that the mesh does not divide; "" if it divides all.

  An example is "heads 20 over model:8".
  """
  mesh = MeshSizes(request.run.mesh)
  cores = chips.parse_topology(request.topology).cores
  if mesh.cores != cores:
    return f"{mesh.cores} cores, the slice has {cores}"
  for dimension, size in cost_model.splittable_sizes(request).items():
    if size % mesh.shards(dimension):
      axis = mesh.axis_of(dimension)
      return f"{dimension} {size:,} over {axis}:{mesh.shards(dimension)}"
  return ""


def check_divides(request: CompileRequest) -> None:
  """Checks that the mesh of a request divides all dimensions.

  Raises:
    ValueError: it does not; the message names meshes that do.
  """
  reason = indivisible_reason(request)
  if not reason:
    return
  mesh = request.run.mesh
  candidates, _ = enumerate_candidates(request)
  shapes = dict.fromkeys(c.request.run.mesh.shape for c in candidates)
  usable = ", ".join(f"'{shape}'" for shape in list(shapes)[:5]) or "none"
  rows_flag = "" if request.program == "train" else " or --rows"
  raise ValueError(
    f"{request.program}: mesh.shape {mesh.shape!r} with mesh.layout"
    f" {mesh.layout!r} does not divide on {request.topology}: {reason}. Meshes"
    f" that divide, the most promising first: {usable}. Set"
    f" --config.mesh.shape{rows_flag}, or use --search."
  )


def factorizations(number: int, factors: int) -> Iterator[tuple[int, ...]]:
  """Yields all ordered products of a number of factors that give `number`."""
  if factors == 1:
    yield (number,)
    return
  for first in range(1, number + 1):
    if number % first == 0:
      for others in factorizations(number // first, factors - 1):
        yield (first, *others)


def config_flags(request: CompileRequest) -> str:
  """Returns the --config flags that give a run the settings of a request."""
  mesh, train = request.run.mesh, request.run.train
  flags = [
    f"--config.mesh.shape='{mesh.shape}'",
    f"--config.mesh.layout='{mesh.layout}'",
  ]
  if request.program == "train":
    flags += [
      f"--config.train.recompute={train.recompute}",
      f"--config.train.microbatches={train.microbatches}",
    ]
  return " ".join(flags)


def _meshes(request: CompileRequest) -> Iterator[tuple[str, str]]:
  """Yields mesh and layout, as text, for all ways to use the slice's cores."""
  cores = chips.parse_topology(request.topology).cores
  for axes, layout in LAYOUTS:
    if "stream:" in layout and request.program != "train":
      continue  # Only training splits the residual stream.
    for sizes in factorizations(cores, len(axes)):
      pairs = zip(axes, sizes, strict=True)
      mesh = ";".join(f"{axis}:{size}" for axis, size in pairs if size > 1)
      yield mesh, layout


def _with_training_options(
  request: CompileRequest, mesh: str, layout: str
) -> Iterator[CompileRequest]:
  """Yields the request with a mesh and all options of training."""
  run = config.replace(request.run, "mesh", shape=mesh, layout=layout)
  if request.program != "train":
    yield dataclasses.replace(request, run=run)
    return
  batch = run.train.batch
  for recompute in config.RECOMPUTE_POLICIES:
    for microbatches in (n for n in range(1, batch + 1) if batch % n == 0):
      # Rematerialization saves more HBM for less time than microbatches do, so
      # microbatches are tried only together with it.
      if microbatches > 1 and recompute == "nothing":
        continue
      changed = config.replace(
        run, "train", recompute=recompute, microbatches=microbatches
      )
      yield dataclasses.replace(request, run=changed)


def _sort_key(result: CandidateResult) -> tuple[bool, float]:
  # Without the time of collectives, a layout would seem the better the more it
  # communicates.
  seconds = result.estimate.serial_seconds
  return (not result.report.fits, seconds if result.report.fits else math.inf)
