"""The scaling table as Markdown, printed row by row, and as JSON values."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flan_tf.tpu_plan.mesh_sizes import MeshSizes
from flan_tf.tpu_plan.planner import ranking, scaling_limit
from flan_tf.tpu_plan.planner.scaling import ScalingCell

# Columns and their widths, in characters. The widths are fixed because a row is
# printed before the next one is known.
_COLUMNS = {
  "size": 4,
  "cores": 5,
  "data/seq/model": 15,
  "rows": 8,
  "remat": 7,
  "ms": 7,
  "serial": 7,
  "GiB": 6,
  "mfu": 4,
  "comm": 4,
}
_TEXT_COLUMNS = ("size", "data/seq/model", "remat")  # The others are numbers.
_MESH_AXES = ("data", "sequence", "model")
# Width of the lines below the table, in characters.
_WIDTH = 96
# Meshes that do not divide, listed with their reasons for each size.
_LISTED = 3


def to_markdown(
  cells: Iterator[ScalingCell], print_line: Callable[[str], None]
) -> list[ScalingCell]:
  """Prints the table row by row, then where each size stops scaling.

  Args:
    cells: the cells; each row is printed as soon as its cell is made.
    print_line: prints one line of text, or several that belong together.

  Returns:
    All cells.
  """
  print_line(_row(list(_COLUMNS)))
  rule = [
    "-" * (width - 1) + ("-" if name in _TEXT_COLUMNS else ":")
    for name, width in _COLUMNS.items()
  ]
  print_line(_row(rule))
  made = []
  for cell in cells:
    made.append(cell)
    print_line(_row(_cell_texts(cell)))
  print_line("")
  for size, size_cells in _by_size(made).items():
    limit = scaling_limit.find_limit(size_cells)
    print_line(_wrap(f"* {size}: {limit.explanation}"))
  print_line("")
  for note in _notes(made):
    print_line(_wrap(note))
  return made


def to_dict(cells: Sequence[ScalingCell]) -> dict[str, Any]:
  """Returns all cells, and where each size stops scaling, as JSON values."""
  limits = map(scaling_limit.find_limit, _by_size(cells).values())
  return {
    "cells": [_cell_dict(cell) for cell in cells],
    "stops": [
      {
        "size": limit.size,
        "cores": limit.cores,
        "why": limit.explanation,
        "cause": limit.cause,
      }
      for limit in limits
    ],
  }


def _row(texts: Sequence[str]) -> str:
  padded = [
    text.ljust(width) if name in _TEXT_COLUMNS else text.rjust(width)
    for text, (name, width) in zip(texts, _COLUMNS.items(), strict=True)
  ]
  return f"| {' | '.join(padded)} |"


def _wrap(text: str) -> str:
  return textwrap.fill(
    text,
    _WIDTH,
    subsequent_indent="  " if text.startswith("*") else "",
    break_on_hyphens=False,
  )


def _cell_texts(cell: ScalingCell) -> list[str]:
  """Returns the texts of a row, one for each column."""
  rows = f"{cell.rows}"
  if cell.batch_growth > 1:
    rows += f" x{cell.batch_growth}"
  if cell.best is None:
    gib = "–"
    if cell.min_hbm_bytes:
      gib = f"~{cell.min_hbm_bytes / 2**30:.1f}"
    reason = cell.reason.partition(":")[0]
    rows = rows if cell.rows else "–"
    texts = [cell.size, f"{cell.cores:,}", reason, rows]
    return [*texts, "–", "–", "–", gib, "–", "–"]
  report, estimate = cell.best.report, cell.best.estimate
  run = cell.best.candidate.request.run
  axes = MeshSizes(run.mesh).axes
  mesh = "/".join(f"{axes.get(axis, 1)}" for axis in _MESH_AXES)
  remat = run.train.recompute
  if run.train.microbatches > 1:
    remat += f"/{run.train.microbatches}"
  numbers = [
    scaling_limit.milliseconds(report.estimated_step_seconds),
    scaling_limit.milliseconds(estimate.serial_seconds),
    f"{report.hbm_bytes_per_core / 2**30:.1f}",
    f"{estimate.mfu:.0%}",
    f"{estimate.collectives_share:.0%}",
  ]
  mark = "" if cell.compiled else "~"
  texts = [cell.size, f"{cell.cores:,}", mesh, rows, remat]
  return [*texts, *(f"{mark}{number}" for number in numbers)]


def _notes(cells: Sequence[ScalingCell]) -> Iterator[str]:
  """Yields the paragraphs below the table."""
  yield (
    "Estimates, not measurements. data/seq/model: cores along the mesh axes for"
    " the batch, for the positions of a row, and for heads, MLP and vocabulary."
    " remat: what the backward pass computes again; /N: in N microbatches. ms:"
    " milliseconds of a step in which collectives take no time. serial:"
    " milliseconds of a step in which collectives overlap with nothing and use"
    " all links at their peak. comm: share of the collectives in serial. GiB:"
    " HBM of a core. mfu: model FLOPs utilization for ms."
  )
  yield _origin_note(cells)
  compiled = sum(cell.compiled_candidates for cell in cells)
  others = sum(cell.other_candidates for cell in cells)
  yield (
    f"{compiled} programs compiled, now or earlier; {others} more meshes and"
    " options divide, and were ranked by the cost model."
  )
  yield from _batch_growth_notes(cells)


def _origin_note(cells: Sequence[ScalingCell]) -> str:
  """Returns how many rows are from the compiler and from the cost model."""
  compiled = sum(cell.compiled for cell in cells if cell.best)
  estimated = sum(not cell.compiled for cell in cells if cell.best)
  text = (
    f"Rows from the TPU compiler: {compiled}. Rows from the cost model, marked"
    f" ~: {estimated}."
  )
  if estimated:
    text += (
      " For training steps on v3 and v4, the cost model was within 10 percent"
      " of the compiler's seconds and within 30 percent of its HBM, so a row"
      " that nearly fills the HBM may not fit. With split rows, seconds were up"
      " to 46 percent too low, and HBM up to 50 percent off. --compile asks the"
      " compiler."
    )
  return text


def _batch_growth_notes(cells: Sequence[ScalingCell]) -> Iterator[str]:
  """Yields the slices on which no mesh divides the run's own batch."""
  grown = [cell for cell in cells if cell.batch_growth > 1]
  if grown:
    yield (
      f"In {len(grown)} table rows no mesh divides the run's own batch, so the"
      " batch grew (xN). For each size, the first such slice and meshes that do"
      " not divide there (--json has all):"
    )
  for size_cells in _by_size(grown).values():
    cell = size_cells[0]
    meshes = [f"{m.mesh} ({m.reason})" for m in cell.indivisible[:_LISTED]]
    if more := len(cell.indivisible) - len(meshes):
      meshes.append(f"and {more} more")
    yield f"* {cell.size} on {cell.cores:,} cores: {'; '.join(meshes)}"


def _cell_dict(cell: ScalingCell) -> dict[str, Any]:
  values: dict[str, Any] = {
    "size": cell.size,
    "cores": cell.cores,
    "topology": cell.topology,
    "rows": cell.rows,
    "batch_grown": cell.batch_growth,
    "fits": cell.best is not None,
    "compiled": cell.compiled,
    "why": cell.reason,
    "tried": cell.compiled_candidates,
    "untried": cell.other_candidates,
    "left_out": ranking.indivisible_dicts(cell.indivisible),
  }
  if cell.best is None:
    return values
  report, estimate = cell.best.report, cell.best.estimate
  run = cell.best.candidate.request.run
  return values | {
    "mesh": run.mesh.shape,
    "layout": run.mesh.layout,
    "recompute": run.train.recompute,
    "microbatches": run.train.microbatches,
    "hbm_bytes_per_core": report.hbm_bytes_per_core,
    "hbm_limit_bytes": report.hbm_limit_bytes,
    "estimated_step_seconds": report.estimated_step_seconds,
    "serial_step_seconds": estimate.serial_seconds,
    "serial_tokens_per_second": estimate.serial_tokens_per_second,
    "serial_mfu": estimate.serial_mfu,
    "estimated_mfu": estimate.mfu,
    "estimated_hfu": estimate.hfu,
    "collectives_share": estimate.collectives_share,
    "seconds_at_peak": scaling_limit.seconds_by_part(cell),
  }


def _by_size(cells: Sequence[ScalingCell]) -> dict[str, list[ScalingCell]]:
  groups: dict[str, list[ScalingCell]] = {}
  for cell in cells:
    groups.setdefault(cell.size, []).append(cell)
  return groups
