"""The contamination analysis as a table, and as files.

contamination.json     all numbers, and the dirty rows
contamination.md       the table, for people
contamination.jsonl    n-grams that collide: look at them before you judge
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flan_tf.contamination import analysis
from flan_tf.report import cells, tables

_SMALL_NOTE = (
  f"† fewer than {analysis.SMALL} clean or dirty rows: their scores say"
  " next to nothing."
)


def table(found: Sequence[analysis.TaskOverlap]) -> tables.Table:
  """A row a task, the dirtiest first, as in Table C.1 of Brown et al. (2020).

  `clean vs. all` is in percent of the score on all rows.
  """
  heads = ["task", "metric", "N", "rows", "dirty", "dirty %"]
  rows = [[*heads, "all", "clean", "dirty", "clean vs. all"]]
  for item in sorted(found, key=_dirtiest):
    relative = item.relative
    rows.append(
      [
        item.task + ("†" if item.note else ""),
        item.metric,
        str(item.size),
        f"{item.rows:,}",
        f"{len(item.dirty):,}",
        cells.number(100 * len(item.dirty) / item.rows),
        cells.number(item.all_score),
        cells.number(item.clean_score),
        cells.number(item.dirty_score),
        cells.ABSENT
        if relative is None
        else f"{round(relative, 1) + 0.0:+.1f} %",
      ]
    )
  return rows


def notes(
  found: Sequence[analysis.TaskOverlap], left_out: Mapping[str, str]
) -> list[str]:
  """What a reader of the table must know."""
  lines = [_SMALL_NOTE] if any(item.note for item in found) else []
  short = {item.task: item.short for item in found if item.short}
  if short:
    counted = ", ".join(f"{name} {count:,}" for name, count in short.items())
    lines.append(
      f"Rows of fewer than N words, looked for as a whole: {counted}."
    )
  lines += [f"Left out: {name}: {why}." for name, why in left_out.items()]
  return lines


def text(
  found: Sequence[analysis.TaskOverlap], left_out: Mapping[str, str]
) -> str:
  """The table for a terminal."""
  return "\n".join([tables.to_text(table(found)), *notes(found, left_out)])


def write(
  output: str,
  found: Sequence[analysis.TaskOverlap],
  left_out: Mapping[str, str],
  about: Mapping[str, Any],
  examples: Iterable[Mapping[str, Any]],
) -> str:
  """Writes the three files into a folder; returns the path of the table.

  Args:
    output: the folder, local or gs://.
    found: the verdicts.
    left_out: task -> why it has none.
    about: what was compared with what, and how; JSON values.
    examples: see `contamination.examples`.
  """
  import tensorflow as tf

  tf.io.gfile.makedirs(output)
  value = {
    **about,
    "tasks": [item.to_json() for item in found],
    "left_out": dict(left_out),
  }
  lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in examples]
  said = [f"{key}: {item}" for key, item in about.items() if item or item == 0]
  page = "\n\n".join(
    [
      "# Contamination",
      "\n".join(f"- {tables.escape(line)}" for line in said),
      tables.to_markdown(table(found)),
      *map(tables.escape, notes(found, left_out)),
    ]
  )
  files = {
    "contamination.json": json.dumps(value, indent=2, ensure_ascii=False),
    "contamination.jsonl": "".join(lines).removesuffix("\n"),
    "contamination.md": page,
  }
  for name, content in files.items():
    path = tf.io.gfile.join(output, name)
    with tf.io.gfile.GFile(path, "w") as file:
      file.write(content + "\n" if content else "")
  return tf.io.gfile.join(output, "contamination.md")


def _dirtiest(item: analysis.TaskOverlap) -> float:
  return -len(item.dirty) / item.rows
