"""The contamination analysis as a table, and as files.

contamination.json     all numbers, and the dirty rows
contamination.md       the table, for people
contamination.jsonl    matching n-grams: look at them before you judge
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flan_tf import safe_files
from flan_tf.contamination.measure import FEW_ROWS, TaskOverlap
from flan_tf.report import cells, table_format
from flan_tf.terminal_text import visible

_FEW_ROWS_NOTE = (
  f"† fewer than {FEW_ROWS} clean or dirty rows: their scores say almost"
  " nothing."
)


def table(overlaps: Sequence[TaskOverlap]) -> table_format.Table:
  """Returns a row for each task, the dirtiest first.

  The columns are those of Table C.1 of Brown et al. (2020). `clean vs. all` is
  in percent of the score on all rows.
  """
  heads = ["task", "metric", "N", "rows", "dirty", "dirty %"]
  rows = [[*heads, "all", "clean", "dirty", "clean vs. all"]]
  for overlap in sorted(overlaps, key=_dirty_percent, reverse=True):
    rows.append(
      [
        overlap.task + ("†" if overlap.note else ""),
        overlap.metric,
        str(overlap.size),
        f"{overlap.rows:,}",
        f"{len(overlap.dirty):,}",
        cells.number(_dirty_percent(overlap)),
        cells.number(overlap.all_score),
        cells.number(overlap.clean_score),
        cells.number(overlap.dirty_score),
        _relative_cell(overlap.relative),
      ]
    )
  return rows


def notes(
  overlaps: Sequence[TaskOverlap], left_out: Mapping[str, str]
) -> list[str]:
  """Returns sentences that explain the table.

  Args:
    overlaps: the overlap of each task.
    left_out: task -> reason why it is not in the table.
  """
  lines = []
  if any(overlap.note for overlap in overlaps):
    lines.append(_FEW_ROWS_NOTE)
  short = {overlap.task: overlap.short for overlap in overlaps if overlap.short}
  if short:
    counts = ", ".join(f"{name} {count:,}" for name, count in short.items())
    lines.append(
      f"Rows of fewer than N words, searched for as a whole: {counts}."
    )
  lines += [f"Left out: {name}: {why}." for name, why in left_out.items()]
  return lines


def text(overlaps: Sequence[TaskOverlap], left_out: Mapping[str, str]) -> str:
  """Returns table and notes for a terminal."""
  return visible(
    "\n".join(
      [table_format.to_text(table(overlaps)), *notes(overlaps, left_out)]
    )
  )


def write(
  output: str,
  overlaps: Sequence[TaskOverlap],
  left_out: Mapping[str, str],
  about: Mapping[str, Any],
  matches: Iterable[Mapping[str, Any]],
) -> str:
  """Writes the three files, and returns the path of the table.

  Args:
    output: folder of the files, local or gs://.
    overlaps: the overlap of each task.
    left_out: task -> reason why it is left out.
    about: JSON values that describe evaluation, corpus and settings.
    matches: JSON values from `measure.sample_matches`.
  """
  import tensorflow as tf

  tf.io.gfile.makedirs(output)
  value = {
    **about,
    "tasks": [overlap.to_json() for overlap in overlaps],
    "left_out": dict(left_out),
  }
  lines = [json.dumps(line, ensure_ascii=False) for line in matches]
  files = {
    "contamination.json": json.dumps(value, indent=2, ensure_ascii=False),
    "contamination.jsonl": "\n".join(lines),
    "contamination.md": _markdown(overlaps, left_out, about),
  }
  for name, content in files.items():
    path = tf.io.gfile.join(output, name)
    safe_files.write_text(path, content + "\n" if content else "")
  return tf.io.gfile.join(output, "contamination.md")


def _markdown(
  overlaps: Sequence[TaskOverlap],
  left_out: Mapping[str, str],
  about: Mapping[str, Any],
) -> str:
  """Returns heading, settings, table and notes, without a last line break."""
  escape = table_format.escape_markdown
  settings = [
    f"- {escape(f'{key}: {item}')}"
    for key, item in about.items()
    if item or item == 0
  ]
  return "\n\n".join(
    [
      "# Contamination",
      "\n".join(settings),
      table_format.to_markdown(table(overlaps)),
      *map(escape, notes(overlaps, left_out)),
    ]
  )


def _dirty_percent(overlap: TaskOverlap) -> float:
  return 100 * len(overlap.dirty) / overlap.rows


def _relative_cell(relative: float | None) -> str:
  if relative is None:
    return cells.ABSENT
  # Adding 0.0 turns -0.0 into 0.0.
  return f"{round(relative, 1) + 0.0:+.1f} %"
