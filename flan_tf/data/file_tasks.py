"""Makes a training task of each file of prompts and answers.

Prompts and answers are used as they are written; only the run's markers are put
around them, as around the prompts of all tasks.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flan_tf import name_lists
from flan_tf.data import prompt_file
from flan_tf.data.prompt_file import ANSWER, PROMPT, PromptFile
from flan_tf.task import holdout, registry, schema

# The slot with the answer as running text, for language modeling.
_REPLY = "reply"
_PATH_WITH_FINGERPRINT = re.compile(r"(.+)@([0-9a-f]{8})")
_MOST_DEV_ROWS = 200


def open_file_tasks(
  names: Iterable[str],
  known: registry.TaskRegistry,
  held_out: tuple[str, ...] = (),
) -> tuple[tuple[schema.Task, ...], tuple[str, ...]]:
  """Reads the files of a run, and makes a task of each.

  Args:
    names: paths. "PATH@1a2b3c4d" demands contents with that fingerprint.
    known: the task table; a file may not have the name of one of its tasks.
    held_out: names as `holdout.expand` returns them.

  Returns:
    The tasks, and for each its PATH@FINGERPRINT.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line cannot be used or is held out, the contents have another
      fingerprint, or a name is taken.
  """
  files: dict[str, PromptFile] = {}
  taken = {task.name for task in known}
  for name in names:
    match = _PATH_WITH_FINGERPRINT.fullmatch(name)
    path, fingerprint = match.groups() if match else (name, "")
    path, task = os.path.expanduser(path), task_name(path)
    if task in taken:
      raise ValueError(
        f"data.files: {path} would be the task {task!r}, and there is a data"
        " set of that name. Rename the file."
      )
    if task in files:
      raise ValueError(
        f"data.files: {files[task].path} and {path} would both be the task"
        f" {task!r}. Rename one of them, or make one file of both."
      )
    file = _with_known_tasks(prompt_file.read_prompt_file(path), known)
    files[task] = file
    if fingerprint:
      prompt_file.check_fingerprint(file, fingerprint)
    _refuse_held_out(file, known, held_out)
  return (
    tuple(_task(name, file, known) for name, file in files.items()),
    tuple(f"{file.path}@{file.fingerprint}" for file in files.values()),
  )


def task_name(path: str) -> str:
  """Returns the name of a file's task: "runs/Yes or no.jsonl" -> "yes_or_no".

  Raises:
    ValueError: the file's name has no letter and no digit.
  """
  stem = os.path.splitext(os.path.basename(path))[0]
  name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
  if not name:
    raise ValueError(
      f"data.files: {path!r} names no task: expected a file name with letters"
      " from a to z, or digits. Rename the file."
    )
  return name


def _with_known_tasks(
  file: PromptFile, known: registry.TaskRegistry
) -> PromptFile:
  """Gives lines of "RTE" the origin "rte", if the task table has that task."""
  names = {task.name.lower(): task.name for task in known}
  origins: dict[prompt_file.Origin, prompt_file.OriginLines] = {}
  for (task, cluster), lines in file.origins.items():
    origin = prompt_file.Origin(names.get(task.lower(), task), cluster)
    first, count = origins.get(origin, (lines.first, 0))
    origins[origin] = prompt_file.OriginLines(
      min(first, lines.first), count + lines.count
    )
  return dataclasses.replace(file, origins=origins)


def _refuse_held_out(
  file: PromptFile, known: registry.TaskRegistry, held_out: tuple[str, ...]
) -> None:
  """Raises ValueError if a line was made from a held-out task or cluster."""
  cluster_of = {task.name: task.cluster for task in known}
  for (task, cluster), lines in file.origins.items():
    for candidate in dict.fromkeys((cluster, cluster_of.get(task, ""))):
      if holdout.forbids(held_out, task, candidate):
        origin = " of ".join(filter(None, (task, candidate)))
        raise ValueError(
          f"{file.path}, line {lines.first} ({lines.count:,} such lines) was"
          f" made from {origin}, which must not train with"
          f" {name_lists.join_names(held_out)!r} held out. Take such lines out"
          " of the file, or hold out something else."
        )


def _task(
  name: str, file: PromptFile, known: registry.TaskRegistry
) -> schema.Task:
  """Makes a task of a file; its last rows are dev rows, none are test rows."""
  cluster_of = {task.name: task.cluster for task in known}
  made_from = tuple(
    (task or f"{name}: {cluster}", cluster or cluster_of.get(task, ""))
    for task, cluster in sorted(file.origins)
    if task or cluster
  )
  return schema.Task(
    name=name,
    dataset=name,
    cluster=file.cluster,
    kind=schema.TaskKind.GENERATION,
    source=schema.Source(
      os.path.basename(file.path),
      file.fingerprint,
      # No test rows, because such a task is not evaluated.
      schema.Splits(
        dev_rows=min(_MOST_DEV_ROWS, len(file) // 10),
        test="train",
        test_rows=0,
      ),
      file=file.path,
      made_from=made_from,
    ),
    fields=_fields,
    slots=(PROMPT, _REPLY),
    templates=(schema.Template("{prompt}"),),
    metrics=("exact_match",),
    documents=(PROMPT, _REPLY),
    extra=True,
  )


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the texts of a line unchanged; spaces at their ends are kept."""
  return {
    PROMPT: row[PROMPT],
    _REPLY: row[ANSWER],
    schema.ANSWER_SLOT: row[ANSWER],
  }
