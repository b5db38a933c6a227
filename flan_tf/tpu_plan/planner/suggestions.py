"""Suggests a mesh or a larger slice for a program that does not fit."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from flan_tf.tpu_plan import chips
from flan_tf.tpu_plan.planner import search, step_estimate
from flan_tf.tpu_plan.request import CompileRequest

MAX_COMPILED = 2
# Share of a core's HBM that a suggestion may need by the cost model. The rest
# is room for its error.
_SAFE_HBM_SHARE = 0.95
# Slices with up to 2^4 times the cores are tried.
_DOUBLINGS = 4


@dataclasses.dataclass(frozen=True)
class Suggestion:
  """Settings that fit in place of a request that does not, if any were found.

  Attributes:
    request: the request that does not fit.
    best: a candidate that fits; None if none was found.
    compiled: number of candidates that were compiled.
  """

  request: CompileRequest
  best: search.CandidateResult | None
  compiled: int

  def to_dict(self) -> dict[str, Any]:
    """Returns the suggestion as JSON values."""
    values = {
      "program": self.request.program,
      "found": self.best is not None,
      "tried": self.compiled,
    }
    if self.best is None:
      return values
    fitting = self.best.candidate.request
    return values | {
      "topology": fitting.topology,
      "flags": search.config_flags(fitting),
      "hbm_bytes_per_core": self.best.report.hbm_bytes_per_core,
      "estimated_step_seconds": self.best.report.estimated_step_seconds,
    }

  def to_text(self) -> str:
    """Returns the suggestion for a terminal."""
    if self.best is None:
      return (
        f"{self.request.program}: {self.compiled} other settings were compiled,"
        " and none fits. --search compiles more."
      )
    fitting, report = self.best.candidate.request, self.best.report
    return (
      f"{self.request.program}: this would fit"
      f" ({report.hbm_bytes_per_core / 2**30:.2f} GiB per core,"
      f" {report.estimated_step_seconds:.3g} s):\n"
      f"  --topology={fitting.topology} {search.config_flags(fitting)}"
    )


def suggest_fitting(
  request: CompileRequest, compiler: search.Compiler, steps: int = 0
) -> Suggestion:
  """Compiles the most promising candidates until one fits.

  Args:
    request: a request that does not fit.
    compiler: makes a report; called at most MAX_COMPILED times.
    steps: training steps of the run, for the days in the estimates.
  """
  compiled = 0
  for candidate in _promising_candidates(request):
    if compiled == MAX_COMPILED:
      break
    report = compiler(candidate.request)
    compiled += 1
    if report.fits:
      estimate = step_estimate.estimate_step(candidate.request, report, steps)
      best = search.CandidateResult(candidate, report, estimate)
      return Suggestion(request, best, compiled)
  return Suggestion(request, None, compiled)


def _promising_candidates(
  request: CompileRequest,
) -> Iterator[search.Candidate]:
  """Yields the best candidate for the slice, then for each larger slice."""
  for tpu_slice in _slices_from(request.topology):
    on_slice = dataclasses.replace(request, topology=str(tpu_slice))
    candidates, _ = search.enumerate_candidates(on_slice)
    for candidate in candidates:
      cost = candidate.cost
      is_safe = cost.hbm_bytes <= _SAFE_HBM_SHARE * cost.hbm_limit_bytes
      if is_safe and candidate.request != request:
        yield candidate
        break


def _slices_from(topology: str) -> Iterator[chips.TpuSlice]:
  """Yields the slice, then slices with two, four, ... times its cores."""
  first = chips.parse_topology(topology)
  yield first
  for doubling in range(1, _DOUBLINGS + 1):
    larger = chips.slice_with_cores(first.generation, first.cores << doubling)
    if larger is not None:
      yield larger
