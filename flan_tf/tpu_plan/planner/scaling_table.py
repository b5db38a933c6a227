"""The scaling table: Markdown while it is made, and for programs."""

import dataclasses
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flan_tf.tpu_plan import mesh_sizes
from flan_tf.tpu_plan.planner import scaling
from flan_tf.tpu_plan.planner.scaling import ScalingCell

# Columns and their widths: rows come one by one, and should stand in line.
_COLUMNS = {
  **{"size": 4, "cores": 5, "data/seq/model": 15, "rows": 8, "again": 7},
  **{"ms": 7, "+ links": 7, "GiB": 6, "mfu": 4, "wire": 4},
}
_TEXTS = ("size", "data/seq/model", "again")  # The others are numbers.
_AXES = ("data", "sequence", "model")
# Of lines below the table.
_WIDTH = 96
# Of meshes that do not divide: so many are named with their reasons.
_NAMED = 3


def to_markdown(
  found: Iterator[ScalingCell], told: Callable[[str], None]
) -> list[ScalingCell]:
  """Tells a table row by row, then where each size stops; gives the cells."""
  told(_row(list(_COLUMNS)))
  rules = [
    "-" * (width - 1) + ("-" if name in _TEXTS else ":")
    for name, width in _COLUMNS.items()
  ]
  told(_row(rules))
  all_cells = []
  for made in found:
    all_cells.append(made)
    told(_row(_texts(made)))
  told("")
  for size, of_size in _by_size(all_cells).items():
    told(_below(f"* {size}: {scaling.stop(of_size).why}"))
  told("")
  for line in _notes(all_cells):
    told(_below(line))
  return all_cells


def to_dict(found: Sequence[ScalingCell]) -> dict[str, Any]:
  """The same for programs."""
  return {
    "cells": [_cell_dict(made) for made in found],
    "stops": [
      dataclasses.asdict(scaling.stop(of_size))
      for of_size in _by_size(found).values()
    ],
  }


def _row(texts: Sequence[str]) -> str:
  padded = [
    text.ljust(width) if name in _TEXTS else text.rjust(width)
    for text, (name, width) in zip(texts, _COLUMNS.items(), strict=True)
  ]
  return f"| {' | '.join(padded)} |"


def _below(text: str) -> str:
  return textwrap.fill(
    text,
    _WIDTH,
    subsequent_indent="  " if text.startswith("*") else "",
    break_on_hyphens=False,
  )


def _texts(made: ScalingCell) -> list[str]:
  rows = f"{made.rows}" + (f" x{made.grown}" if made.grown > 1 else "")
  start = [made.size, f"{made.cores:,}"]
  if made.best is None:
    need = f"~{made.need_bytes / 2**30:.1f}" if made.need_bytes else "–"
    why = made.why.partition(":")[0]
    rows = rows if made.rows else "–"
    return [*start, why, rows, "–", "–", "–", need, "–", "–"]
  answer, estimate = made.best.answer, made.best.estimate
  run = made.best.candidate.asked.run
  again = run.train.recompute
  if run.train.microbatches > 1:
    again += f"/{run.train.microbatches}"
  numbers = [
    scaling.milliseconds(answer.estimated_step_seconds),
    scaling.milliseconds(estimate.serial_seconds),
    f"{answer.hbm_bytes_per_core / 2**30:.1f}",
    f"{estimate.mfu:.0%}",
    f"{estimate.collectives_share:.0%}",
  ]
  mark = "" if made.compiled else "~"
  axes = mesh_sizes.MeshSizes(run.mesh).axes
  mesh = "/".join(f"{axes.get(axis, 1)}" for axis in _AXES)
  return [*start, mesh, rows, again, *(f"{mark}{x}" for x in numbers)]


def _notes(found: Sequence[ScalingCell]) -> Iterator[str]:
  yield (
    "Estimates, not measurements. data/seq/model: cores for rows, for parts of"
    " rows, for heads, MLP and vocabulary. ms: of a step, collectives taking no"
    " time; + links: with their bytes at the peak of all links, hidden behind"
    " nothing, and wire: their share of that. GiB: of a core's memory. mfu:"
    " share of peak, collectives and what is computed again not counted. again:"
    " what the backward pass computes again, /N in N microbatches."
  )
  compiled = sum(made.compiled for made in found if made.best)
  by_hand = sum(not made.compiled for made in found if made.best)
  yield f"The TPU compiler's: {compiled} rows. ~ by hand: {by_hand} rows." + (
    " By hand was within 10 percent of the compiler's seconds for steps of v3"
    " and v4, and within 30 of its memory: what nearly fills a core may not"
    " fit. Where rows are cut it was as much as 46 percent below, and 50 off."
    " --compile asks the compiler."
    if by_hand
    else ""
  )
  tried = sum(made.tried for made in found)
  untried = sum(made.untried for made in found)
  yield (
    f"{tried} programs compiled or found in the cache; {untried} more meshes"
    " and options divide, and were put in order by the estimate by hand."
  )
  grown = [made for made in found if made.grown > 1]
  if grown:
    yield (
      f"In {len(grown)} rows no mesh divides the run's own batch, which grew"
      " (xN). What does not divide where that begins (--json has the others):"
    )
  for of_size in _by_size(grown).values():
    made = of_size[0]
    named = [f"{x.mesh} ({x.why})" for x in made.left_out[:_NAMED]]
    if more := len(made.left_out) - len(named):
      named.append(f"and {more} more")
    yield f"* {made.size} on {made.cores:,} cores: {'; '.join(named)}"


def _cell_dict(made: ScalingCell) -> dict[str, Any]:
  out: dict[str, Any] = {
    "size": made.size,
    "cores": made.cores,
    "topology": made.topology,
    "rows": made.rows,
    "batch_grown": made.grown,
    "fits": made.best is not None,
    "compiled": made.compiled,
    "why": made.why,
    "tried": made.tried,
    "untried": made.untried,
    "left_out": [dataclasses.asdict(x) for x in made.left_out],
  }
  if made.best is None:
    return out
  answer, estimate = made.best.answer, made.best.estimate
  run = made.best.candidate.asked.run
  return out | {
    "mesh": run.mesh.shape,
    "layout": run.mesh.layout,
    "recompute": run.train.recompute,
    "microbatches": run.train.microbatches,
    "hbm_bytes_per_core": answer.hbm_bytes_per_core,
    "hbm_limit_bytes": answer.hbm_limit_bytes,
    "estimated_step_seconds": answer.estimated_step_seconds,
    "serial_step_seconds": estimate.serial_seconds,
    "serial_tokens_per_second": estimate.serial_tokens_per_second,
    "serial_mfu": estimate.serial_mfu,
    "estimated_mfu": estimate.mfu,
    "estimated_hfu": estimate.hfu,
    "collectives_share": estimate.collectives_share,
    "seconds_at_peak": scaling.parts(made),
  }


def _by_size(found: Sequence[ScalingCell]) -> dict[str, list[ScalingCell]]:
  out: dict[str, list[ScalingCell]] = {}
  for made in found:
    out.setdefault(made.size, []).append(made)
  return out
