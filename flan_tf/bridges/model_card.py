"""The README.md beside a model that goes out: what it is, and how to ask it.

Everything in it comes from the files of the checkpoint: run.json, data.json,
and the results of an evaluation (`flan_tf.bridges.card_results`).
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from flan_tf.bridges import card_results, model_source
from flan_tf.bridges.native import checkpoint_source
from flan_tf.checkpoints import store
from flan_tf.task import schema, wordings
from flan_tf.training import session

FILE = "README.md"
_LONGEST_LINE = 20  # runs, one starting from another; against a circle
# A row of a table.
Row = Sequence[Any]


def text(
  source: model_source.ModelSource,
  title: str,
  how_to_run: str,
  notes: Sequence[str],
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
  if isinstance(source, checkpoint_source.NativeSource):
    parts += ["## Training", *_training(source)]
    parts += ["## Data", *_data(source)]
    parts += ["## Results", *card_results.section(source)]
  return "\n\n".join(parts) + "\n"


def _prompting(source: model_source.ModelSource) -> list[str]:
  """What stands around a prompt."""
  vocabulary = source.vocabulary
  lines = []
  if vocabulary.has_start:
    (start,) = vocabulary.pieces([vocabulary.bos_id])
    lines.append(f"A prompt starts with `{start}` (id {vocabulary.bos_id}).")
  native = isinstance(source, checkpoint_source.NativeSource)
  if not native or source.run.data.objective == "instructions":
    lines.append(_separator(source))
  if not native:
    return [" ".join(lines)]
  data = source.run.data
  around = wordings.markers(data.markers)
  lines.append(f"A prompt's text is {around.join('PROMPT')!r}.")
  lines.append(
    f"It was trained on prompts of up to {data.input_length} tokens and answers"
    f" of up to {data.target_length}."
  )
  return [" ".join(lines)]


def _separator(source: model_source.ModelSource) -> str:
  vocabulary = source.vocabulary
  if source.separator == "chat":
    return f"Prompt and answer stand in {str(source.chat)!r}."
  if source.separator == "flan":
    (end,) = vocabulary.pieces([vocabulary.eos_id])
    return (
      f"End-of-text, `{end}` (id {vocabulary.eos_id}), stands between a prompt"
      " and its answer, and after the answer."
    )
  between = {"newline": "A new line", "blank": "A blank", "plain": "Nothing"}
  return f"{between[source.separator]} stands between a prompt and its answer."


def _training(source: checkpoint_source.NativeSource) -> list[str]:
  run, data = source.run, source.data
  train, adapter = run.train, run.adapter
  started = train.init_from or data.get("source") or ""
  started = data.get("base") or started or f"new weights, seed {run.seed}"
  converted = bool(data.get("note"))
  rows: list[Row] = [
    ("converted from" if converted else "started from", started),
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
    rows = rows[:2]
  return [_table(("setting", "value"), rows)]


def _data(source: checkpoint_source.NativeSource) -> list[str]:
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
  parts += [
    f"`{task['name']}` was read {'; '.join(task['notes'])}."
    for task in found
    if task["cluster"] == schema.FILES
  ]
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
  if schema.FILES in before.values():
    parts.append(
      "What is of `files` came from files; nobody knows what those were made"
      " from."
    )
  converted = _converted(source)
  return [*parts, *converted] or ["It saw none of the project's data sets."]


def _converted(source: checkpoint_source.NativeSource) -> list[str]:
  """What the weights were before the first run here, if they were converted."""
  run, data = source.run, source.data
  for _ in range(_LONGEST_LINE):
    if data.get("note"):
      return [
        f"The weights were converted from {data['source']}.",
        data["note"],
      ]
    before = data.get("base") or run.train.init_from
    if not before:
      return []
    try:
      path = store.find(before)
      run = session.saved_config(path)
      data = json.loads(store.read_file(path, session.DATA_FILE))
    except ValueError:  # It is not there any more.
      return []
  return []


def of_checkpoint(source: checkpoint_source.NativeSource, target: str) -> str:
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
