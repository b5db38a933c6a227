"""What a search found, for people and for programs."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from flan_tf.tpu_plan.planner import search, summary

# Of what was not compiled or does not divide: so many are named.
_NAMED = 10


def to_text(found: search.Found) -> str:
  """Those that fit by time, then the others, then what was not tried."""
  return "\n".join(_lines(found))


def to_dict(found: search.Found) -> dict[str, Any]:
  best = found.best
  return {
    "tried": [_tried_dict(tried) for tried in found.tried],
    "best": _tried_dict(best) if best else None,
    "untried": [
      _settings(candidate)
      | {
        "by_hand_seconds": candidate.by_hand.seconds,
        "by_hand_hbm_bytes": candidate.by_hand.hbm_bytes,
      }
      for candidate in found.untried
    ],
    "left_out": [dataclasses.asdict(out) for out in found.left_out],
    "note": summary.NOTE,
  }


def _lines(found: search.Found) -> Iterator[str]:
  yield (
    f"{len(found.tried)} compiled, the likeliest by hand;"
    f" {len(found.untried)} more divide; {len(found.left_out)} do not."
  )
  yield (
    f"  {'s':>8}  {'+ links':>8}  {'GiB':>6}  {'mfu':>5}  {'hfu':>5}"
    f"  {'+ links':>7}"
  )
  for tried in found.tried:
    answer, estimate = tried.answer, tried.estimate
    about = _about(tried.candidate)
    used = answer.hbm_bytes_per_core / 2**30
    if answer.fits:
      yield (
        f"  {answer.estimated_step_seconds:8.3f}"
        f"  {estimate.serial_seconds:8.3f}  {used:6.2f}"
        f"  {estimate.mfu:5.3f}  {estimate.hfu:5.3f}"
        f"  {estimate.serial_mfu:7.3f}  {about}"
      )
    else:
      first = answer.refused.strip().partition("\n")[0]
      yield f"  does not fit: {about}\n    {first}"
  if found.untried:
    yield "\nNot compiled (--search_limit); by hand:"
  for candidate in found.untried[:_NAMED]:
    by_hand = candidate.by_hand
    used = by_hand.hbm_bytes / 2**30
    yield f"  {by_hand.seconds:8.3f}  {used:6.2f}  {_about(candidate)}"
  yield from _more(len(found.untried))
  if found.left_out:
    yield "\nDo not divide:"
  for out in found.left_out[:_NAMED]:
    yield f"  {out.mesh}: {out.why}"
  yield from _more(len(found.left_out))
  yield ""
  if found.best:
    yield f"Best: {search.flags(found.best.candidate.asked)}"
  else:
    yield "None that was compiled fits. A larger slice, or --search_limit."
  yield summary.NOTE


def _more(number: int) -> Iterator[str]:
  if number > _NAMED:
    yield f"  and {number - _NAMED} more"


def _about(candidate: search.Candidate) -> str:
  run = candidate.asked.run
  parts = [f"{run.mesh.shape or 'one core'} [{run.mesh.layout}]"]
  if candidate.asked.program == "train":
    parts.append(f"recomputes {run.train.recompute}")
    if run.train.microbatches > 1:
      parts.append(f"{run.train.microbatches} microbatches")
  return ", ".join(parts)


def _tried_dict(tried: search.Tried) -> dict[str, Any]:
  answer, estimate = tried.answer, tried.estimate
  return _settings(tried.candidate) | {
    "fits": answer.fits,
    "refused": answer.refused,
    "hbm_bytes_per_core": answer.hbm_bytes_per_core,
    "hbm_limit_bytes": answer.hbm_limit_bytes,
    "estimated_step_seconds": answer.estimated_step_seconds,
    "estimated_hfu": estimate.hfu,
    "estimated_mfu": estimate.mfu,
    "serial_step_seconds": estimate.serial_seconds,
    "serial_mfu": estimate.serial_mfu,
    "collectives_share": estimate.collectives_share,
  }


def _settings(candidate: search.Candidate) -> dict[str, Any]:
  run = candidate.asked.run
  return {
    "mesh": run.mesh.shape,
    "layout": run.mesh.layout,
    "recompute": run.train.recompute,
    "microbatches": run.train.microbatches,
    "flags": search.flags(candidate.asked),
  }
