"""Shows one data-set row of a task as a model reads it: text and tokens."""

import dataclasses
from typing import Any

import numpy as np

from flan_tf.data import (
  encoded_examples,
  few_shot,
  opened_tasks,
  requests,
  row_ranges,
)
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.task import schema, wordings

PARTS = ("test", "dev", "train")


def preview_row(
  item: opened_tasks.OpenedTask,
  task: schema.Task,
  prompt_format: PromptFormat,
  *,
  template: int = 0,
  row: int = 0,
  part: str = "test",
  shots: int = 0,
  markers: wordings.Markers = wordings.MARKERS["plain"],
  seed: int = 0,
) -> dict[str, Any]:
  """Renders and encodes one data-set row.

  Args:
    item: the task with its opened data set.
    task: the same task, or a rewording of it.
    prompt_format: how texts become token ids.
    template: index of the template; inverse templates are allowed.
    row: position of the row in its part, from 0.
    part: one of PARTS.
    shots: number of exemplars before the prompt.
    markers: texts around prompts and answers.
    seed: of the draw of exemplars.

  Returns:
    `task`, `template`, `row` (e.g. "validation[7]"), `shots` (exemplars that
    fit) of `shots_asked`, `prompt`, `target`, `options`, `references`,
    `prompt_tokens` and `target_tokens` (ids), `prompt_pieces` and
    `target_pieces`, `trimmed`.

  Raises:
    ValueError: there is no such template or row, or the row has no public
      answer.
  """
  if not 0 <= template < len(task.templates):
    raise ValueError(
      f"Task {task.name!r} has templates 0 to {len(task.templates) - 1}, not"
      f" {template}."
    )
  row_range: row_ranges.RowRange = getattr(item.ranges, part)
  example = _read_example(item, task, part, row)
  ((prompt, target),) = requests.render_prompts_and_targets(
    task, [example], template
  )
  if template not in task.forward_templates:
    example = dataclasses.replace(example, options=())
  pool: tuple[requests.Example, ...] = ()
  if shots:
    pool = few_shot.read_exemplar_pool(
      task, item.dataset, item.ranges.train, seed
    )
  (request,) = few_shot.add_exemplars(
    [requests.Request(example, prompt, template)],
    task,
    template,
    pool,
    prompt_format,
    shots=shots,
    markers=markers,
    seed=seed,
    same_split=row_range.split == item.ranges.train.split,
  )
  return {
    "task": task.name,
    "template": template,
    "row": f"{row_range.split}[{example.row_index}]",
    "shots": request.exemplars,
    "shots_asked": shots,
    "prompt": request.prompt,
    "target": target,
    "options": list(example.options),
    "references": list(example.references),
    **_tokens(request.prompt, target, prompt_format),
  }


def format_preview(preview: dict[str, Any]) -> str:
  """Formats the result of `preview_row` for a terminal."""
  shots = f" / {preview['shots']} shots" if preview["shots"] else ""
  lines = [
    f"=== {preview['task']} / template {preview['template']}{shots} /"
    f" {preview['row']} ===",
    preview["prompt"],
    f">>> {preview['target']}",
  ]
  for name in ("prompt", "target"):
    pieces = preview[f"{name}_pieces"]
    lines += [
      "",
      f"{name}: {len(pieces)} tokens",
      " ".join(piece.replace("\n", "\u21b5") for piece in pieces),
    ]
  if preview["shots"] < preview["shots_asked"]:
    lines.append(
      f"{preview['shots']} of {preview['shots_asked']} exemplars: there are no"
      " more training rows here, or they do not fit."
    )
  if preview["trimmed"]:
    lines.append("The prompt or the target was too long, and was cut.")
  return "\n".join(lines)


def _read_example(
  item: opened_tasks.OpenedTask, task: schema.Task, part: str, row: int
) -> requests.Example:
  """Reads a row by its position in a part.

  Raises:
    ValueError: there is no such row, or it has no public answer.
  """
  row_range: row_ranges.RowRange = getattr(item.ranges, part)
  if not 0 <= row < len(row_range):
    raise ValueError(
      f"Task {task.name!r}: {part} has {len(row_range)} rows here"
      f" ({row_range}), so there is no row {row}."
    )
  row_index = row_range.start + row
  read = requests.read_evaluation_rows(
    task, item.dataset, row_range, row_indices=np.array([row_index])
  )
  if not read.rows:
    why = "its answer is hidden" if read.hidden else "the task leaves it out"
    raise ValueError(
      f"Task {task.name!r}: {row_range.split}[{row_index}] cannot be shown,"
      f" because {why}. Try another --row."
    )
  return read.rows[0]


def _tokens(
  prompt: str, target: str, prompt_format: PromptFormat
) -> dict[str, Any]:
  """Encodes prompt and target as a training example."""
  tokenizer = prompt_format.tokenizer
  ((prompt_ids, (target_ids,)),) = tokenizer.encode_options(
    [prompt], [[target]]
  )
  lengths = np.array([[len(prompt_ids)], [len(target_ids)]])
  encoded = encoded_examples.join_examples(
    np.concatenate([prompt_ids, target_ids]),
    starts=np.array([[0], [len(prompt_ids)]]),
    lengths=lengths,
    prompt_format=prompt_format,
  )
  if encoded.too_long:  # The overflow is "skip".
    raise ValueError(
      f"The prompt has {len(prompt_ids)} tokens and the target"
      f" {len(target_ids)}. That is too long for data.input_length ="
      f" {prompt_format.input_length} and data.target_length ="
      f' {prompt_format.target_length}, and data.overflow = "skip" leaves out'
      " such examples."
    )
  split = int(encoded.prompt_lengths[0])
  ids = {"prompt": encoded.ids[:split], "target": encoded.ids[split:]}
  pieces = prompt_format.vocabulary.pieces
  return {
    **{f"{name}_tokens": part.tolist() for name, part in ids.items()},
    **{f"{name}_pieces": pieces(part) for name, part in ids.items()},
    "trimmed": bool(encoded.trimmed_inputs or encoded.trimmed_targets),
  }
