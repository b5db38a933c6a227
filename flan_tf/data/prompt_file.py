"""Reads files of prompts and answers, written by people or by a model.

    {"prompt": "Is it so? ...", "answer": "yes", "log_prob": -0.1, ...}

There is one JSON object per line, as `launch.generate` writes them. Other keys
are ignored, except for three. "task" and "cluster" name the origin of a prompt,
so that held-out tasks cannot come back in a file. "ended": false marks an
answer that was cut at the maximum length; such lines are left out, because a
model would learn to stop there. The whole file is held in memory.
"""

import dataclasses
import hashlib
import json
from typing import NamedTuple

from flan_tf.task import schema

PROMPT, ANSWER = "prompt", "answer"


class Origin(NamedTuple):
  """The task and the cluster that a line names; "" for none."""

  task: str
  cluster: str


class OriginLines(NamedTuple):
  """The lines of one origin: the number of the first one, and their count."""

  first: int
  count: int


@dataclasses.dataclass(frozen=True)
class PromptFile:
  """The lines of a file of prompts and answers.

  Attributes:
    path: local or gs://.
    fingerprint: 8 hexadecimal digits that identify the contents.
    prompts: the prompt of each line, UTF-8.
    answers: the answer of each line, UTF-8.
    origins: {origin: its lines}.
    cut: number of lines that are left out because their answer was cut.
  """

  path: str
  fingerprint: str
  prompts: list[bytes]
  answers: list[bytes]
  origins: dict[Origin, OriginLines]
  cut: int = 0

  def __len__(self) -> int:
    return len(self.prompts)

  @property
  def columns(self) -> dict[str, list[bytes]]:
    """Prompts and answers as columns of a data set."""
    return {PROMPT: self.prompts, ANSWER: self.answers}

  @property
  def cluster(self) -> str:
    """The cluster of all lines; schema.FILES if they do not name the same."""
    clusters = {origin.cluster for origin in self.origins}
    if self._unknown_origins or len(clusters) != 1:
      return schema.FILES
    return clusters.pop()

  @property
  def notes(self) -> tuple[str, ...]:
    """Facts for users: the fingerprint, and lines that need attention."""
    notes = [f"from {self.path}, fingerprint {self.fingerprint}"]
    if self.cut:
      notes.append(
        f"{self.cut:,} lines are left out, as their answers were cut at a limit"
      )
    if self._unknown_origins:
      notes.append(
        f"{self._unknown_origins:,} of {len(self):,} lines do not name the"
        " cluster that they were made from, so held-out tasks may be among them"
      )
    return tuple(notes)

  @property
  def _unknown_origins(self) -> int:
    """Number of lines that do not name a cluster of the task table."""
    return sum(
      lines.count
      for origin, lines in self.origins.items()
      if origin.cluster not in schema.CLUSTERS
    )


class _Line(NamedTuple):
  """A line of a file."""

  prompt: bytes
  answer: bytes
  origin: Origin
  ended: bool


def read_prompt_file(path: str) -> PromptFile:
  """Reads a file of JSON lines; blank lines are ignored.

  Args:
    path: local or gs://.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line is not an object with a "prompt" and an "answer", or
      there is no line at all.
  """
  import tensorflow as tf

  if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
    raise FileNotFoundError(
      f"data.files: there is no file {path}. Expected JSON lines with"
      f' "{PROMPT}" and "{ANSWER}"; launch.generate writes such files.'
    )
  with tf.io.gfile.GFile(path, "rb") as file:
    data = file.read()
  prompts, answers, cut = [], [], 0
  origins: dict[Origin, OriginLines] = {}
  for number, text in enumerate(data.split(b"\n"), 1):
    if not text.strip():
      continue
    try:
      line = _parse(text)
    except ValueError as error:
      raise ValueError(f"{path}, line {number}: {error}") from error
    if not line.ended:
      cut += 1
      continue
    prompts.append(line.prompt)
    answers.append(line.answer)
    first, count = origins.get(line.origin, (number, 0))
    origins[line.origin] = OriginLines(first, count + 1)
  if not prompts:
    problem = "has only answers that were cut" if cut else "is empty"
    raise ValueError(
      f'{path} {problem}: expected JSON lines with "{PROMPT}" and "{ANSWER}".'
    )
  fingerprint = hashlib.sha256(data).hexdigest()[:8]
  return PromptFile(path, fingerprint, prompts, answers, origins, cut)


def check_fingerprint(file: PromptFile, expected: str) -> None:
  """Raises ValueError if the contents of a file have another fingerprint."""
  if file.fingerprint != expected:
    raise ValueError(
      f"{file.path} has the fingerprint {file.fingerprint}, not {expected}: it"
      " has changed. Restore the old contents, or name the file without"
      f" @{expected}."
    )


def _parse(text: bytes) -> _Line:
  """Parses a line; raises ValueError if it has no prompt or no answer."""
  try:
    value = json.loads(text)
  except ValueError as error:
    raise ValueError(
      f"expected a JSON object, got {text[:80]!r} ({error}). If launch.generate"
      " was interrupted, run it again: it continues the file."
    ) from error
  if not isinstance(value, dict) or not isinstance(value.get(PROMPT), str):
    raise ValueError(
      f'expected an object whose "{PROMPT}" is a text, got {text[:80]!r}.'
    )
  if not isinstance(value.get(ANSWER), str):
    raise ValueError(
      f'expected "{ANSWER}" to be a text, got {value.get(ANSWER)!r}. To'
      " generate answers for prompts, run python -m launch.generate"
      " --checkpoint=DIR --input=FILE --output=ANSWERS."
    )
  task, cluster = value.get("task"), value.get("cluster")
  return _Line(
    value[PROMPT].encode(),
    value[ANSWER].encode(),
    Origin(
      task if isinstance(task, str) else "",
      cluster if isinstance(cluster, str) else "",
    ),
    ended=value.get("ended") is not False,
  )
