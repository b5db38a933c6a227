"""The README.md beside a model that goes out: what it is, and how to ask it.

Everything in it comes from the files of the checkpoint: run.json, data.json,
and evaluation/results.json where there is one.
"""

import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from flan_tf import wordings
from flan_tf.bridges import native_source
from flan_tf.bridges import source as source_lib
from flan_tf.eval import results

FILE = "README.md"
# A row of a table.
Row = Sequence[Any]


def text(
  source: source_lib.Source, title: str, how_to_run: str, notes: Sequence[str]
) -> str:
  """The card, in Markdown.

  Args:
    source: what was written.
    title: its first line.
    how_to_run: code, or a command, that asks the model; a section of its own.
    notes: what else its users should know.
  """
  parts = [f"# {title}", source.describe()]
  parts += ["\n".join(f"* {note}" for note in notes)] if notes else []
  parts += ["## Use", *_prompting(source), how_to_run]
  if isinstance(source, native_source.NativeSource):
    parts += ["## Training", *_training(source)]
    parts += ["## Data", *_data(source), "## Results", *_results(source)]
  return "\n\n".join(parts) + "\n"


def _prompting(source: source_lib.Source) -> list[str]:
  """What stands around a prompt."""
  vocabulary = source.vocabulary
  lines = []
  if vocabulary.has_start:
    (start,) = vocabulary.pieces([vocabulary.bos_id])
    lines.append(f"A prompt starts with `{start}` (id {vocabulary.bos_id}).")
  if not isinstance(source, native_source.NativeSource):
    return [" ".join(lines)] if lines else []
  data = source.run.data
  (end,) = vocabulary.pieces([vocabulary.eos_id])
  if data.objective == "instructions":
    if data.separator == "flan":
      lines.append(
        f"End-of-text, `{end}` (id {vocabulary.eos_id}), stands between a"
        " prompt and its answer, and after the answer."
      )
    else:
      lines.append("Nothing stands between a prompt and its answer.")
  around = wordings.markers(data.markers)
  lines.append(f"A prompt's text is {around.join('PROMPT')!r}.")
  lines.append(
    f"It was trained on prompts of up to {data.input_length} tokens and answers"
    f" of up to {data.target_length}."
  )
  return [" ".join(lines)]


def _training(source: native_source.NativeSource) -> list[str]:
  run, data = source.run, source.data
  train, adapter = run.train, run.adapter
  started = train.init_from or data.get("source") or ""
  started = data.get("base") or started or f"new weights, seed {run.seed}"
  rows: list[Row] = [
    ("started from", started),
    ("run", run.name),
    ("steps", data.get("step", 0)),
    ("rows in a step", f"{train.batch} of {run.data.length} tokens"),
    (
      "learning rate",
      f"{train.learning_rate:g}, {train.schedule}, warm-up {train.warmup}",
    ),
    ("objective", run.data.objective.replace("_", " ")),
    ("held out", run.held_out or "nothing"),
  ]
  if adapter.lora_rank:
    rows.append(
      (
        "trained",
        f"LoRA of rank {adapter.lora_rank}, alpha {adapter.lora_alpha:g}, on"
        f" {adapter.lora_weights.replace(',', ', ')}; merged here",
      )
    )
  if not data.get("step"):
    rows = [row for row in rows if row[0] in ("started from", "run")]
  return [_table(("setting", "value"), rows)]


def _data(source: native_source.NativeSource) -> list[str]:
  """The mixture that its run read, and what earlier runs had seen."""
  found = source.data.get("mixture", {}).get("tasks", [])
  parts = []
  if found:
    parts.append(
      "Data sets are mixed by their numbers of examples, with a cap of"
      f" {source.run.data.mixing_cap} (wording:"
      f" {source.run.data.wording.replace('_', ' ')})."
    )
    parts.append(
      _table(
        ("data set", "cluster", "rows", "examples", "tokens", "rate"),
        [
          (
            task["name"],
            task["cluster"],
            task["train"],
            f"{task['examples']:,}",
            f"{task['tokens']:,}",
            f"{100 * task['probability']:.2f} %",
          )
          for task in found
        ],
      )
    )
  names = {task["name"] for task in found}
  before = {
    name: cluster
    for name, cluster in source.data.get("seen", {}).items()
    if name not in names
  }
  if before:
    parts.append(
      "Seen before, by what it started from: "
      + ", ".join(f"{name} ({cluster})" for name, cluster in before.items())
      + "."
    )
  if source.data.get("note"):
    parts.append(source.data["note"])
  return parts or ["It saw none of the project's data sets."]


def _results(source: native_source.NativeSource) -> list[str]:
  found = _read_results(source)
  if found is None:
    return ["Not evaluated."]
  held_out = f", {found.held_out} held out" if found.held_out else ""
  settings = ", ".join(
    f"{name} {value}"
    for name, value in found.settings.items()
    if not isinstance(value, (dict, list)) and value is not None
  )
  rows = [
    (
      task.task,
      task.cluster,
      task.metric,
      _number(task.mean),
      _number(task.std),
      _number(task.best_dev_test),
      "" if task.majority is None else _number(task.majority),
      task.examples,
    )
    for task in found.tasks
  ]
  header = (
    *("task", "cluster", "metric", "mean", "std"),
    *("best dev template", "majority", "rows"),
  )
  return [
    f"Mean and standard deviation over templates{held_out}. Settings:"
    f" {settings or 'as published'}.",
    _table(header, rows),
  ]


def _read_results(
  source: native_source.NativeSource,
) -> results.EvaluationResults | None:
  """The evaluation of this very checkpoint."""
  for folder in (source.path, source.asked):
    path = os.path.join(folder, "evaluation", "results.json")
    if not tf.io.gfile.exists(path):
      continue
    try:
      found = results.EvaluationResults.read(path)
    except ValueError as error:  # Of another version: no reason not to export.
      logging.warning("%s", error)
      continue
    # Of a workdir, it may be that of an earlier step.
    if os.path.basename(found.checkpoint) == os.path.basename(source.path):
      return found
  return None


def of_checkpoint(source: native_source.NativeSource, target: str) -> str:
  """The card of a checkpoint that is written at `target`."""
  command = f"python -m launch.generate --checkpoint={json.dumps(target)}"
  code = f"```\n{command} --prompt='...'\n```"
  return text(source, f"{source.run.name}: a checkpoint", code, [])


def _table(header: Row, rows: Iterable[Row]) -> str:
  lines = [header, ["---"] * len(header), *rows]
  return "\n".join(
    "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |"
    for line in lines
  )


def _number(value: float) -> str:
  return "" if math.isnan(value) else f"{value:.1f}"
