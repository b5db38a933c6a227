"""A file of prompts and answers as a task: what a tuned model said, or people.

    {"prompt": "Is it so? ...", "answer": "yes", "log_prob": -0.1, ...}

One JSON object a line, as `launch.generate` writes them. A prompt stands as it
is, within the run's markers like the prompts of all tasks; an answer, too. Of a
line's other keys three matter: "task" and "cluster" say what it was made from,
and what a run holds out may not come back in this way; an answer that was cut
at a limit, "ended": false, is left out, or its reader would learn to end there.
All of a file is held in memory.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flan_tf.task import holdout, registry, schema

_PROMPT, _ANSWER = "prompt", "answer"
# The answer as a part of a text, for language modelling.
_REPLY = "reply"
_PINNED = re.compile(r"(.+)@([0-9a-f]{8})")


@dataclasses.dataclass(frozen=True)
class PromptFile:
  """The lines of a file.

  Attributes:
    path: local or gs://.
    fingerprint: 8 hex digits that name its contents.
    prompts: of each line, UTF-8.
    answers: of each line, UTF-8.
    origins: (task, cluster) as lines name them, each "" if not -> the number of
      the first such line, and how many there are.
    cut: lines that are left out, as their answers had not ended.
  """

  path: str
  fingerprint: str
  prompts: list[bytes]
  answers: list[bytes]
  origins: dict[tuple[str, str], tuple[int, int]]
  cut: int = 0

  def __len__(self) -> int:
    return len(self.prompts)

  @property
  def columns(self) -> dict[str, list[bytes]]:
    """Its lines as columns of a data set."""
    return {_PROMPT: self.prompts, _ANSWER: self.answers}

  @property
  def cluster(self) -> str:
    """The cluster that all lines name, or schema.FILES."""
    named = {cluster for _, cluster in self.origins}
    one = not self._unnamed and len(named) == 1
    return named.pop() if one else schema.FILES

  @property
  def notes(self) -> tuple[str, ...]:
    """What a person should know."""
    found = [f"from {self.path}, fingerprint {self.fingerprint}"]
    if self.cut:
      found.append(
        f"{self.cut:,} lines are left out, as their answers were cut at a limit"
      )
    if self._unnamed:
      found.append(
        f"{self._unnamed:,} of {len(self):,} lines name no cluster that they"
        " come from, so nobody knows whether they are free of what a run holds"
        " out"
      )
    return tuple(found)

  @property
  def _unnamed(self) -> int:
    return sum(
      count
      for (_, cluster), (_, count) in self.origins.items()
      if cluster not in schema.CLUSTERS
    )


def open_tasks(
  names: Iterable[str], known: registry.TaskRegistry, held_out: str = ""
) -> tuple[tuple[schema.Task, ...], str]:
  """A task for each file of a run.

  Args:
    names: paths; "PATH@1a2b3c4d" wants contents of that fingerprint.
    known: the task table; a file may not take the name of one of its tasks.
    held_out: as `splits.expand` gives it.

  Returns:
    The tasks, and the names comma-separated, all with a fingerprint.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line that cannot be used or is held out, other contents than
      wanted, or a name that is taken; says which, and what to do.
  """
  found: dict[str, PromptFile] = {}
  taken = {task.name for task in known}
  for name in names:
    pinned = _PINNED.fullmatch(name)
    path, wanted = pinned.groups() if pinned else (name, "")
    path, task = os.path.expanduser(path), task_name(path)
    if task in taken:
      raise ValueError(
        f"data.files: {path} would be the task {task!r}, and there is a data"
        " set of that name. Rename the file."
      )
    if task in found:
      raise ValueError(
        f"data.files: {found[task].path} and {path} would both be the task"
        f" {task!r}. Rename one of them, or make one file of both."
      )
    file = found[task] = read(path)
    if wanted:
      check_fingerprint(file, wanted)
    _refuse_held_out(file, known, held_out)
  return (
    tuple(_task(name, file, known) for name, file in found.items()),
    ",".join(f"{file.path}@{file.fingerprint}" for file in found.values()),
  )


def read(path: str) -> PromptFile:
  """Reads a file of JSON lines; blank lines count as none.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line is not an object with a "prompt" and an "answer", or
      there is no line at all.
  """
  import tensorflow as tf

  if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
    raise FileNotFoundError(
      f"data.files: there is no file {path}. Expected JSON lines with"
      f' "{_PROMPT}" and "{_ANSWER}"; launch.generate writes such files.'
    )
  with tf.io.gfile.GFile(path, "rb") as file:
    data = file.read()
  prompts, answers, cut = [], [], 0
  origins: dict[tuple[str, str], tuple[int, int]] = {}
  for number, line in enumerate(data.split(b"\n"), 1):
    if not line.strip():
      continue
    try:
      prompt, answer, origin, ended = _parse(line)
    except ValueError as error:
      raise ValueError(f"{path}, line {number}: {error}") from error
    if not ended:
      cut += 1
      continue
    prompts.append(prompt)
    answers.append(answer)
    first, count = origins.get(origin, (number, 0))
    origins[origin] = (first, count + 1)
  if not prompts:
    raise ValueError(
      f"{path} {'has answers only that were cut' if cut else 'is empty'}:"
      f' expected JSON lines with "{_PROMPT}" and "{_ANSWER}".'
    )
  fingerprint = hashlib.sha256(data).hexdigest()[:8]
  return PromptFile(path, fingerprint, prompts, answers, origins, cut)


def check_fingerprint(file: PromptFile, wanted: str) -> None:
  """Raises ValueError if a file has other contents than it had."""
  if file.fingerprint != wanted:
    raise ValueError(
      f"{file.path} has the fingerprint {file.fingerprint}, not {wanted}: it"
      " was changed. Bring the old contents back, or name the file without"
      f" @{wanted}."
    )


def task_name(path: str) -> str:
  """The name of a file's task: "runs/Yes or no.jsonl" -> "yes_or_no".

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


def _parse(line: bytes) -> tuple[bytes, bytes, tuple[str, str], bool]:
  """Prompt, answer, (task, cluster), and whether the answer came to an end.

  Raises:
    ValueError: it has no prompt or no answer.
  """
  try:
    value = json.loads(line)
  except ValueError as error:
    raise ValueError(
      f"expected a JSON object, got {line[:80]!r} ({error}). Where launch."
      "generate was stopped, run it again: it goes on where it was."
    ) from error
  if not isinstance(value, dict) or not isinstance(value.get(_PROMPT), str):
    raise ValueError(
      f'expected an object with a "{_PROMPT}", a text, got {line[:80]!r}.'
    )
  if not isinstance(value.get(_ANSWER), str):
    raise ValueError(
      f'expected an "{_ANSWER}", a text, got {value.get(_ANSWER)!r}. Prompts'
      " alone are answered with python -m launch.generate --checkpoint=DIR"
      " --input=FILE --output=ANSWERS."
    )
  task, cluster = (value.get(key) for key in ("task", "cluster"))
  return (
    value[_PROMPT].encode(),
    value[_ANSWER].encode(),
    (
      task if isinstance(task, str) else "",
      cluster if isinstance(cluster, str) else "",
    ),
    value.get("ended") is not False,
  )


def _refuse_held_out(
  file: PromptFile, known: registry.TaskRegistry, held_out: str
) -> None:
  cluster_of = {task.name: task.cluster for task in known}
  for (task, cluster), (line, count) in file.origins.items():
    for where in dict.fromkeys((cluster, cluster_of.get(task, ""))):
      if holdout.forbids(held_out, task, where):
        raise ValueError(
          f"{file.path}, line {line} ({count:,} such lines) was made from"
          f" {' of '.join(filter(None, (task, where)))}, which must not train"
          f" with {held_out!r} held out. Take such lines out of the file, or"
          " hold out something else."
        )


def _task(
  name: str, file: PromptFile, known: registry.TaskRegistry
) -> schema.Task:
  """A file as a task; its last rows are held back like those of any other."""
  cluster_of = {task.name: task.cluster for task in known}
  made_from = tuple(
    (task or f"{name}: {cluster}", cluster or cluster_of.get(task, ""))
    for task, cluster in sorted(file.origins)
    if task or cluster
  )
  rows_for_dev = min(200, len(file) // 10)
  return schema.Task(
    name=name,
    dataset=name,
    cluster=file.cluster,
    kind=schema.TaskKind.GENERATION,
    source=schema.Source(
      os.path.basename(file.path),
      file.fingerprint,
      # No row is for testing: such a task is not evaluated.
      schema.Splits(dev_rows=rows_for_dev, test="train", test_rows=0),
      file=file.path,
      made_from=made_from,
    ),
    fields=_fields,
    slots=(_PROMPT, _REPLY),
    templates=(schema.Template("{prompt}"),),
    metrics=("exact_match",),
    documents=(_PROMPT, _REPLY),
    extra=True,
  )


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """A line's texts as they are: a blank at an end is a part of the answer."""
  return {
    _PROMPT: row[_PROMPT],
    _REPLY: row[_ANSWER],
    schema.ANSWER_SLOT: row[_ANSWER],
  }
