"""The results of a search as text and as JSON values."""

from collections.abc import Iterator, Sequence
from typing import Any

from flan_tf.tpu_plan.planner import search, summary

# Number of candidates that were not compiled, and of meshes that do not
# divide, that the text lists.
_LISTED = 10
_GIB = 2**30


def to_text(result: search.SearchResult) -> str:
  """Returns the candidates, the fastest first, and those not compiled."""
  return "\n".join(_lines(result))


def to_dict(result: search.SearchResult) -> dict[str, Any]:
  """Returns everything that a search found, as JSON values."""
  best = result.best
  return {
    "tried": [_compiled_dict(compiled) for compiled in result.compiled],
    "best": _compiled_dict(best) if best else None,
    "untried": [
      _settings(candidate)
      | {
        "by_hand_seconds": candidate.cost.seconds,
        "by_hand_hbm_bytes": candidate.cost.hbm_bytes,
      }
      for candidate in result.not_compiled
    ],
    "left_out": indivisible_dicts(result.indivisible),
    "note": summary.COMPILE_NOTE,
  }


def indivisible_dicts(
  meshes: Sequence[search.IndivisibleMesh],
) -> list[dict[str, str]]:
  """Returns meshes that do not divide, as JSON values."""
  return [
    {"mesh": mesh.mesh, "layout": mesh.layout, "why": mesh.reason}
    for mesh in meshes
  ]


def _lines(result: search.SearchResult) -> Iterator[str]:
  yield (
    f"{len(result.compiled)} compiled, the most promising by the cost model;"
    f" {len(result.not_compiled)} more divide; {len(result.indivisible)} do"
    " not."
  )
  yield (
    f"  {'s':>8}  {'serial s':>8}  {'GiB':>6}  {'MFU':>5}  {'HFU':>5}"
    f"  {'serial MFU':>10}"
  )
  for compiled in result.compiled:
    yield _compiled_line(compiled)
  if result.not_compiled:
    yield "\nNot compiled (raise --search_limit); s and GiB by the cost model:"
  for candidate in result.not_compiled[:_LISTED]:
    gib = candidate.cost.hbm_bytes / _GIB
    yield f"  {candidate.cost.seconds:8.3f}  {gib:6.2f}  {_describe(candidate)}"
  yield from _and_more(len(result.not_compiled))
  if result.indivisible:
    yield "\nDo not divide:"
  for mesh in result.indivisible[:_LISTED]:
    yield f"  {mesh.mesh}: {mesh.reason}"
  yield from _and_more(len(result.indivisible))
  yield ""
  if result.best:
    yield f"Best: {search.config_flags(result.best.candidate.request)}"
  else:
    yield (
      "None of the compiled candidates fits. Try a larger slice, or a larger"
      " --search_limit."
    )
  yield summary.COMPILE_NOTE


def _compiled_line(compiled: search.CandidateResult) -> str:
  report, estimate = compiled.report, compiled.estimate
  description = _describe(compiled.candidate)
  if not report.fits:
    message = report.refused.strip().partition("\n")[0]
    return f"  does not fit: {description}\n    {message}"
  return (
    f"  {report.estimated_step_seconds:8.3f}  {estimate.serial_seconds:8.3f}"
    f"  {report.hbm_bytes_per_core / _GIB:6.2f}  {estimate.mfu:5.3f}"
    f"  {estimate.hfu:5.3f}  {estimate.serial_mfu:10.3f}  {description}"
  )


def _and_more(number: int) -> Iterator[str]:
  if number > _LISTED:
    yield f"  and {number - _LISTED} more"


def _describe(candidate: search.Candidate) -> str:
  """Returns mesh, layout and training options on one line."""
  run = candidate.request.run
  parts = [f"{run.mesh.shape or 'one core'} [{run.mesh.layout}]"]
  if candidate.request.program == "train":
    parts.append(f"recomputes {run.train.recompute}")
    if run.train.microbatches > 1:
      parts.append(f"{run.train.microbatches} microbatches")
  return ", ".join(parts)


def _compiled_dict(compiled: search.CandidateResult) -> dict[str, Any]:
  report, estimate = compiled.report, compiled.estimate
  return _settings(compiled.candidate) | {
    "fits": report.fits,
    "refused": report.refused,
    "hbm_bytes_per_core": report.hbm_bytes_per_core,
    "hbm_limit_bytes": report.hbm_limit_bytes,
    "estimated_step_seconds": report.estimated_step_seconds,
    "estimated_hfu": estimate.hfu,
    "estimated_mfu": estimate.mfu,
    "serial_step_seconds": estimate.serial_seconds,
    "serial_mfu": estimate.serial_mfu,
    "collectives_share": estimate.collectives_share,
  }


def _settings(candidate: search.Candidate) -> dict[str, Any]:
  run = candidate.request.run
  return {
    "mesh": run.mesh.shape,
    "layout": run.mesh.layout,
    "recompute": run.train.recompute,
    "microbatches": run.train.microbatches,
    "flags": search.config_flags(candidate.request),
  }
