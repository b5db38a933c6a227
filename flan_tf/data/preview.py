"""One row of a task as the model sees it: text, and tokens."""

from typing import Any

import numpy as np

from flan_tf.data import (
  example_table,
  few_shot,
  pipeline,
  prompt_format,
  requests,
)
from flan_tf.task import schema, wordings
from flan_tf.vocab.vocabulary import Vocabulary

PARTS = ("test", "dev", "train")


def show(
  item: pipeline.PlannedTask,
  task: schema.Task,
  vocabulary: Vocabulary,
  limits: prompt_format.Limits,
  *,
  template: int = 0,
  row: int = 0,
  part: str = "test",
  shots: int = 0,
  markers: wordings.Markers = wordings.MARKERS["plain"],
  seed: int = 0,
) -> dict[str, Any]:
  """Renders one row in one wording.

  Args:
    item: where the rows are.
    task: that task, or a rewording of it.
    vocabulary: what tokenizes.
    limits: lengths and separator.
    template: which template; those that turn the task around, too.
    row: which row of the part, from 0.
    part: "test", "dev" or "train".
    shots: exemplars before it.
    markers: what stands around prompts and answers.
    seed: of the exemplars.

  Returns:
    `task`, `template`, `row` (e.g. "validation[7]"), `shots` (how many fitted)
    of `shots_asked`, `prompt`, `target`, `options`, `references`,
    `prompt_tokens` and `target_tokens` (ids), `prompt_pieces` and
    `target_pieces`, `trimmed`.

  Raises:
    ValueError: no such template or row, or a row that has no public answer.
  """
  if not 0 <= template < len(task.templates):
    raise ValueError(
      f"Task {task.name!r} has templates 0 to {len(task.templates) - 1}, not"
      f" {template}."
    )
  rows = getattr(item.plan, part)
  if not 0 <= row < len(rows):
    raise ValueError(
      f"Task {task.name!r}: {part} has {len(rows)} rows here ({rows}), so there"
      f" is no row {row}."
    )
  number = rows.start + row
  found = requests.read_evaluation_rows(
    task, item.dataset, rows, only=np.array([number])
  )
  if not found.rows:
    why = "its answer is hidden" if found.hidden else "the task leaves it out"
    raise ValueError(
      f"Task {task.name!r}: {rows.split}[{number}] cannot be shown, {why}. Try"
      " another --row."
    )
  (query,) = found.rows
  ((prompt, target),) = requests.render_rows(task, [query], template)
  forward = template in task.forward_templates
  asked = requests.Request(
    number,
    prompt,
    query.options if forward else (),
    query.answer_index,
    query.references,
  )
  pool: tuple[requests.EvaluationRow, ...] = ()
  if shots:
    pool = few_shot.read_pool(task, item.dataset, item.plan.train, seed)
  same_split = rows.split == item.plan.train.split
  (full,) = few_shot.with_exemplars(
    task,
    [asked],
    template,
    pool,
    shots,
    markers,
    vocabulary,
    limits,
    seed,
    same_split,
  )
  return {
    "task": task.name,
    "template": template,
    "row": f"{rows.split}[{number}]",
    "shots": full.exemplars,
    "shots_asked": shots,
    "prompt": full.prompt,
    "target": target,
    "options": list(asked.options),
    "references": list(asked.references),
    **_tokens(full.prompt, target, vocabulary, limits),
  }


def text(shown: dict[str, Any]) -> str:
  """What `show` found, for a terminal."""
  shots = f" / {shown['shots']} shots" if shown["shots"] else ""
  lines = [
    f"=== {shown['task']} / template {shown['template']}{shots} /"
    f" {shown['row']} ===",
    shown["prompt"],
    f">>> {shown['target']}",
  ]
  for part in ("prompt", "target"):
    pieces = shown[f"{part}_pieces"]
    lines += [
      "",
      f"{part}: {len(pieces)} tokens",
      " ".join(map(_visible, pieces)),
    ]
  if shown["shots"] < shown["shots_asked"]:
    lines.append(
      f"{shown['shots']} of {shown['shots_asked']} exemplars: there are no more"
      " training rows here, or they do not fit."
    )
  if shown["trimmed"]:
    lines.append("The prompt or the target was too long, and was cut.")
  return "\n".join(lines)


def _tokens(prompt, target, vocabulary, limits) -> dict[str, Any]:
  wrapper = limits.wrapper(vocabulary)
  ((asked, answers),) = wrapper.encode_options([prompt], [[target]])
  pair = asked, *answers
  lengths = np.array([[len(ids)] for ids in pair])  # [2, 1]
  starts = np.stack([np.zeros_like(lengths[0]), lengths[0]])
  counts = example_table.Counts()
  joined = example_table.join(
    np.concatenate(pair), starts, lengths, wrapper, limits, counts
  )
  if not joined.fit.all():  # limits.overflow is "skip"
    raise ValueError(
      f"The prompt has {len(pair[0])} tokens and the target {len(pair[1])}: too"
      f" long for {limits.input_length} and {limits.target_length}, and such"
      " examples are skipped."
    )
  split = int(joined.prompt_lengths[0])
  parts = {"prompt": joined.ids[:split], "target": joined.ids[split:]}
  return {
    **{f"{name}_tokens": ids.tolist() for name, ids in parts.items()},
    **{f"{name}_pieces": vocabulary.pieces(ids) for name, ids in parts.items()},
    "trimmed": bool(counts.trimmed_inputs or counts.trimmed_targets),
  }


def _visible(piece: str) -> str:
  return piece.replace("\n", "\u21b5")
