"""Plans training of several model sizes on slices with many numbers of cores.

A cell is one model size on one slice. Its batch is that of the run if a layout
divides, even one that splits rows. Where none does, the batch is doubled until
one divides, and the cell says so. Of the meshes that divide, the most promising
ones are compiled until one fits; the cell counts the others. If none fits, the
cell says why.

Compiling all cells takes hours. Without compiling, a cell has a report from the
cache or else an estimate of the cost model, and says which.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from flan_tf import config
from flan_tf.tpu_plan import chips
from flan_tf.tpu_plan.planner import cost_model, search, step_estimate
from flan_tf.tpu_plan.request import (
  CompileReport,
  CompileRequest,
  make_request,
)

CORES = tuple(2**power for power in range(3, 12))
# With a batch that grew by more, it is another training run.
_MAX_BATCH_GROWTH = 1024
# A report from the cache is used if its serial seconds are at most this many
# times those of the best candidate by the cost model.
_SLOWDOWN_TOLERANCE = 1.15


@dataclasses.dataclass(frozen=True)
class ScalingCell:
  """One model size on one slice.

  Attributes:
    size: name of the model size.
    cores: number of cores.
    topology: the slice; "" if the generation has no slice with `cores` cores.
    rows: rows in a batch.
    batch_growth: `rows` / rows in the run's own batch.
    best: the best candidate that fits; None if none does.
    compiled: True if `best` has the compiler's report, False if it has the cost
      model's.
    compiled_candidates: number of candidates with a report of the compiler.
    other_candidates: number of the other candidates.
    indivisible: meshes that do not divide with the run's own batch.
    reason: the reason why `best` is None, in words.
    min_hbm_bytes: if no candidate fits by the cost model, the HBM bytes that a
      core needs at least; else 0.
  """

  size: str
  cores: int
  topology: str = ""
  rows: int = 0
  batch_growth: int = 1
  best: search.CandidateResult | None = None
  compiled: bool = False
  compiled_candidates: int = 0
  other_candidates: int = 0
  indivisible: tuple[search.IndivisibleMesh, ...] = ()
  reason: str = ""
  min_hbm_bytes: float = 0.0


def plan_cells(
  runs: Mapping[str, config.RunConfig],
  generation: chips.TpuGeneration,
  compiler: search.Compiler,
  cores: Sequence[int] = CORES,
  max_compiled: int = 3,
  lookup: search.ReportLookup | None = None,
) -> Iterator[ScalingCell]:
  """Yields the cells of all sizes and numbers of cores, size by size.

  Args:
    runs: the training run of each size, by name.
    generation: the generation of the chips.
    compiler: see `plan_cell`.
    cores: numbers of cores.
    max_compiled: see `plan_cell`.
    lookup: see `plan_cell`.
  """
  for size, run in runs.items():
    for number in cores:
      yield plan_cell(
        size, run, generation, number, compiler, max_compiled, lookup
      )


def plan_cell(
  size: str,
  run: config.RunConfig,
  generation: chips.TpuGeneration,
  cores: int,
  compiler: search.Compiler,
  max_compiled: int = 3,
  lookup: search.ReportLookup | None = None,
) -> ScalingCell:
  """Finds the best mesh and training options for a run on a slice.

  Args:
    size: name of the model size.
    run: the run; mesh, layout, rematerialization policy and microbatches are
      those to find.
    generation: the generation of the chips.
    cores: number of cores.
    compiler: makes a report, or returns it from a cache.
    max_compiled: number of candidates to compile at most.
    lookup: if given, nothing is compiled: the cell has a report that `lookup`
      returns, or else an estimate of the cost model.
  """
  tpu_slice = chips.slice_with_cores(generation, cores)
  if tpu_slice is None:
    return ScalingCell(
      size, cores, reason=f"{generation.name} has no such slice"
    )
  request = make_request(run, str(tpu_slice))
  candidates, indivisible = search.enumerate_candidates(request)
  growth = 1
  while not candidates and growth < _MAX_BATCH_GROWTH:
    growth *= 2
    larger = config.replace(run, "train", batch=run.train.batch * growth)
    request = make_request(larger, str(tpu_slice))
    candidates, _ = search.enumerate_candidates(request)
  cell = ScalingCell(
    size,
    cores,
    topology=str(tpu_slice),
    rows=request.run.train.batch,
    batch_growth=growth,
    indivisible=tuple(indivisible),
  )
  if not candidates:
    return dataclasses.replace(cell, reason="no mesh divides")
  if not candidates[0].cost.fits:
    return _with_too_little_hbm(cell, candidates)
  steps = run.train.steps
  if lookup is None:
    return _from_search(cell, request, compiler, max_compiled, steps)
  try:
    known = _compiler_that_looks_up(lookup)
    return _from_search(cell, request, known, max_compiled, steps)
  except _UnknownReportError:
    return _without_compiling(cell, candidates, lookup, steps)


def _from_search(
  cell: ScalingCell,
  request: CompileRequest,
  compiler: search.Compiler,
  max_compiled: int,
  steps: int,
) -> ScalingCell:
  """Returns the cell with the first candidate that fits in a search."""
  result = search.search_meshes(
    request, compiler, max_compiled, steps, max_fitting=1
  )
  reason = ""
  if result.best is None:
    reason = f"does not fit: {len(result.compiled)} meshes were compiled"
  return dataclasses.replace(
    cell,
    best=result.best,
    compiled=True,
    compiled_candidates=len(result.compiled),
    other_candidates=len(result.not_compiled),
    reason=reason,
  )


class _UnknownReportError(Exception):
  """A search needs a report that does not exist yet."""


def _compiler_that_looks_up(lookup: search.ReportLookup) -> search.Compiler:
  """Returns a compiler that raises _UnknownReportError for unknown reports."""

  def look_up_or_raise(request: CompileRequest) -> CompileReport:
    report = lookup(request)
    if report is None:
      raise _UnknownReportError
    return report

  return look_up_or_raise


def _without_compiling(
  cell: ScalingCell,
  candidates: Sequence[search.Candidate],
  lookup: search.ReportLookup,
  steps: int,
) -> ScalingCell:
  """Returns the cell with the best known report, or with an estimate."""
  compiled, estimated = [], []
  refused = 0
  for candidate in candidates:
    report = lookup(candidate.request)
    if report is not None and not report.fits:
      refused += 1
      continue
    results = estimated if report is None else compiled
    report = report or cost_model.estimate_report(candidate.request)
    if report.fits:
      estimate = step_estimate.estimate_step(candidate.request, report, steps)
      results.append(search.CandidateResult(candidate, report, estimate))
  known = len(compiled) + refused
  cell = dataclasses.replace(
    cell,
    compiled_candidates=known,
    other_candidates=len(candidates) - known,
  )
  best_compiled = min(compiled, key=_serial_seconds, default=None)
  best_estimated = min(estimated, key=_serial_seconds, default=None)
  if best_compiled and (
    best_estimated is None
    or _serial_seconds(best_compiled)
    <= _serial_seconds(best_estimated) * _SLOWDOWN_TOLERANCE
  ):
    return dataclasses.replace(cell, best=best_compiled, compiled=True)
  if best_estimated:
    return dataclasses.replace(cell, best=best_estimated)
  return _with_too_little_hbm(cell, candidates)


def _serial_seconds(result: search.CandidateResult) -> float:
  return result.estimate.serial_seconds


def _with_too_little_hbm(
  cell: ScalingCell, candidates: Sequence[search.Candidate]
) -> ScalingCell:
  """Returns the cell of a slice on which no candidate fits."""
  min_bytes = min(candidate.cost.hbm_bytes for candidate in candidates)
  return dataclasses.replace(
    cell,
    other_candidates=len(candidates) - cell.compiled_candidates,
    reason=(
      f"does not fit: {min_bytes / 2**30:.1f} GiB per core by the cost model"
    ),
    min_hbm_bytes=min_bytes,
  )
