"""The scaling table: Markdown while it is made, and for programs."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flan_tf.plan import scaling
from flan_tf.plan.scaling import Cell

_COLUMNS = (
  *("size", "cores", "slice", "mesh", "rows", "recomputes"),
  *("s a step", "+ links", "tokens/s", "GiB a core", "mfu", "hfu"),
  *("mfu + links", "links' share"),
)
# Of meshes that do not divide: so many are named with their reasons.
_NAMED = 5


def to_markdown(
  found: Iterator[Cell], told: Callable[[str], None]
) -> list[Cell]:
  """Tells a table row by row, then where each size stops; gives the cells."""
  told("| " + " | ".join(_COLUMNS) + " |")
  told("|" + " --- |" * len(_COLUMNS))
  all_cells = []
  for made in found:
    all_cells.append(made)
    told("| " + " | ".join(_texts(made)) + " |")
  told("")
  for size, of_size in _by_size(all_cells).items():
    told(f"* {size}: {scaling.stop(of_size).why}")
  told("")
  for line in _notes(all_cells):
    told(line)
  return all_cells


def to_dict(found: Sequence[Cell]) -> dict[str, Any]:
  """The same for programs."""
  return {
    "cells": [_cell_dict(made) for made in found],
    "stops": [
      dataclasses.asdict(scaling.stop(of_size))
      for of_size in _by_size(found).values()
    ],
  }


def _texts(made: Cell) -> list[str]:
  rows = f"{made.rows}" + (f" (x{made.grown})" if made.grown > 1 else "")
  start = [made.size, f"{made.cores:,}", made.topology or "–"]
  if made.best is None:
    blanks = ["–"] * (len(_COLUMNS) - len(start) - 2)
    return [*start, made.why, rows if made.rows else "–", *blanks]
  answer, estimate = made.best.answer, made.best.estimate
  run = made.best.candidate.asked.run
  train = run.train
  recomputed = train.recompute
  if train.microbatches > 1:
    recomputed += f", {train.microbatches} parts"
  return [
    *start,
    run.mesh.shape.replace(";", " "),
    rows,
    recomputed,
    f"{answer.estimated_step_seconds:.3g}",
    f"{estimate.serial_seconds:.3g}",
    f"{estimate.serial_tokens_per_second:,.0f}",
    f"{answer.hbm_bytes_per_core / 2**30:.1f}",
    f"{estimate.mfu:.2f}",
    f"{estimate.hfu:.2f}",
    f"{estimate.serial_mfu:.2f}",
    f"{estimate.collectives_share:.0%}",
  ]


def _notes(found: Sequence[Cell]) -> Iterator[str]:
  grown = [made for made in found if made.grown > 1]
  yield (
    "Estimates of the TPU compiler, not measurements. In its seconds a step"
    " collectives take no time; + links: with their bytes at the peak of all"
    " links, hidden behind nothing, as in tokens/s. mfu and hfu: shares of peak"
    " without and with what is computed again."
  )
  tried = sum(made.tried for made in found)
  untried = sum(made.untried for made in found)
  yield (
    f"{tried} programs compiled or found in the cache; {untried} more meshes"
    " and options divide, and were put behind them by an estimate by hand."
  )
  if grown:
    yield (
      f"In {len(grown)} rows no mesh divides the run's own batch, which grew"
      " (xN). What does not divide there:"
    )
  for made in grown:
    named = [f"{x.mesh} ({x.why})" for x in made.left_out[:_NAMED]]
    if more := len(made.left_out) - len(named):
      named.append(f"and {more} more")
    yield f"* {made.size} on {made.cores:,} cores: {'; '.join(named)}"


def _cell_dict(made: Cell) -> dict[str, Any]:
  out: dict[str, Any] = {
    "size": made.size,
    "cores": made.cores,
    "topology": made.topology,
    "rows": made.rows,
    "batch_grown": made.grown,
    "fits": made.best is not None,
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


def _by_size(found: Sequence[Cell]) -> dict[str, list[Cell]]:
  out: dict[str, list[Cell]] = {}
  for made in found:
    out.setdefault(made.size, []).append(made)
  return out
