"""Writes the model card of an exported model, its README.md.

The card says what the model is, how to prompt it, how and on what it was
trained, and how it scores. Everything comes from the files of the checkpoint:
run.json, data.json and evaluation results (`flan_tf.bridges.card_results`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flan_tf import name_lists
from flan_tf.bridges import card_results, model_source
from flan_tf.bridges.native import checkpoint_source
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.task import schema, wordings

FILE = "README.md"
# A run can start from the checkpoint of another run, and so on. The limit stops
# the search if checkpoints start from one another in a circle.
_MAX_RUNS = 20
# Cells of a table row, in any type.
Row = Sequence[Any]


def card_text(
  source: model_source.ModelSource,
  title: str,
  how_to_run: str,
  notes: Sequence[str],
) -> str:
  """Returns the card as Markdown.

  Args:
    source: the model that was exported.
    title: heading of the card.
    how_to_run: code or a command that prompts the model, as Markdown.
    notes: other facts that users of the model should know.
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
  """Returns a paragraph on the prompt format."""
  vocabulary = source.vocabulary
  sentences = []
  if vocabulary.has_start:
    (start,) = vocabulary.pieces([vocabulary.bos_id])
    sentences.append(
      f"A prompt starts with `{start}` (id {vocabulary.bos_id})."
    )
  is_native = isinstance(source, checkpoint_source.NativeSource)
  if not is_native or source.run.data.objective == "instructions":
    sentences.append(_separator(source))
  if is_native:
    data = source.run.data
    prompt = wordings.markers(data.markers).join("PROMPT")
    sentences += [
      f"A prompt's text is {prompt!r}.",
      f"The model was trained on prompts of up to {data.input_length} tokens"
      f" and answers of up to {data.target_length} tokens.",
    ]
  return [" ".join(sentences)]


def _separator(source: model_source.ModelSource) -> str:
  """Returns a sentence on the tokens between a prompt and its answer."""
  vocabulary = source.vocabulary
  if source.separator == "chat":
    return f"Prompt and answer have the form {str(source.chat)!r}."
  if source.separator == "flan":
    (end,) = vocabulary.pieces([vocabulary.eos_id])
    return (
      f"End-of-text, `{end}` (id {vocabulary.eos_id}), stands between a prompt"
      " and its answer, and after the answer."
    )
  between = {"newline": "A newline", "blank": "A space", "plain": "Nothing"}
  return f"{between[source.separator]} stands between a prompt and its answer."


def _training(source: checkpoint_source.NativeSource) -> list[str]:
  """Returns a table with the settings of the run that trained the weights."""
  run, data = source.run, source.data
  train, adapter = run.train, run.adapter
  start = (
    data.get("base")
    or train.init_from
    or data.get("source")
    or f"new weights, seed {run.seed}"
  )
  is_converted = bool(data.get("note"))
  rows: list[Row] = [
    ("converted from" if is_converted else "started from", start),
    ("run", run.name),
    ("steps", data.get("step", 0)),
    ("rows per step", f"{train.batch} of {run.data.length} tokens"),
    (
      "learning rate",
      f"{train.learning_rate:g}, {train.schedule}, warm-up {train.warmup}",
    ),
    ("objective", run.data.objective.replace("_", " ")),
    ("held out", name_lists.join_names(run.held_out) or "nothing"),
  ]
  if adapter.lora_rank:
    rows.append(
      (
        "trained",
        f"LoRA of rank {adapter.lora_rank}, alpha {adapter.lora_alpha:g}, on"
        f" {', '.join(adapter.lora_weights)}; merged here",
      )
    )
  if not data.get("step"):
    rows = rows[:2]  # The other settings were not used.
  return [_table(("setting", "value"), rows)]


def _data(source: checkpoint_source.NativeSource) -> list[str]:
  """Returns the training data of the weights, also that of earlier runs."""
  tasks = source.data.get("mixture", {}).get("tasks", [])
  parts = _mixture(source, tasks) if tasks else []
  names = {task["name"] for task in tasks}
  earlier = {
    name: cluster
    for name, cluster in source.data.get("seen", {}).items()
    if name not in names
  }
  if earlier:
    listed = ", ".join(
      f"{name} ({cluster})" for name, cluster in earlier.items()
    )
    parts.append(f"Training started from weights that had seen: {listed}.")
  if schema.FILES in earlier.values():
    parts.append(
      "Data of the cluster `files` was read from files; it is not known which"
      " data sets the files were made from."
    )
  parts += _conversion(source)
  return parts or ["The model saw none of the project's data sets."]


def _mixture(
  source: checkpoint_source.NativeSource, tasks: Sequence[Mapping[str, Any]]
) -> list[str]:
  """Returns the training mixture as a table; remarks on files follow."""
  data = source.run.data
  columns = ("data set", "cluster", "rows", "examples", "tokens", "rate")
  rows = [
    (
      task["name"],
      task["cluster"],
      task["train"],
      f"{task['examples']:,}",
      f"{task['tokens']:,}",
      f"{100 * task['probability']:.2f} %",
    )
    for task in tasks
  ]
  remarks = [
    f"`{task['name']}`: {'; '.join(task['notes'])}."
    for task in tasks
    if task["cluster"] == schema.FILES
  ]
  return [
    "The rate of a data set is proportional to its number of examples, of which"
    f" at most {data.mixing_cap} count. Wording of the prompts:"
    f" {data.wording.replace('_', ' ')}.",
    _table(columns, rows),
    *remarks,
  ]


def _conversion(source: checkpoint_source.NativeSource) -> list[str]:
  """Returns the origin of converted weights; empty if there are none.

  The search follows the checkpoints that training started from.
  """
  run, data = source.run, source.data
  for _ in range(_MAX_RUNS):
    if data.get("note"):
      return [
        f"The weights were converted from {data['source']}.",
        data["note"],
      ]
    start = data.get("base") or run.train.init_from
    if not start:
      return []
    try:
      bundle = Bundle.open(start)
    except ValueError:  # The checkpoint no longer exists.
      return []
    run, data = bundle.run, bundle.data
  return []


def checkpoint_card(source: checkpoint_source.NativeSource, target: str) -> str:
  """Returns the card of a checkpoint that was written to `target`."""
  command = f"python -m launch.generate --checkpoint={json.dumps(target)}"
  code = f"```\n{command} --prompt='...'\n```"
  return card_text(source, f"{source.run.name}: a checkpoint", code, [])


def _table(columns: Row, rows: Iterable[Row]) -> str:
  """Returns a Markdown table with the given column headings."""
  lines = [columns, ["---"] * len(columns), *rows]
  return "\n".join(
    "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |"
    for line in lines
  )
