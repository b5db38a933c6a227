"""Reads files of prompts and answers, written by people or by a model.

    {"prompt": "Is it so? ...", "answer": "yes", "log_prob": -0.1, ...}

There is one JSON object per line, as `launch.generate` writes them. A byte
order mark, lines of blanks and other keys are ignored, except for three keys.
"task" and "cluster" name the origin of a prompt, in capitals or not, so that
held-out tasks cannot come back in a file. "ended": false marks an answer that
was cut at the maximum length. Such lines are left out, because a model would
learn to stop there, and so are lines whose prompt is empty; both are counted
and shown. The whole file is held in memory.
"""

import codecs
import dataclasses
import difflib
import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from flan_tf import json_lines
from flan_tf.task import schema

PROMPT, ANSWER = "prompt", "answer"
_TASK, _CLUSTER, _ENDED = "task", "cluster", "ended"


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
    empty: number of lines that are left out because their prompt is empty.
  """

  path: str
  fingerprint: str
  prompts: list[bytes]
  answers: list[bytes]
  origins: dict[Origin, OriginLines]
  cut: int = 0
  empty: int = 0

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
    if self.empty:
      notes.append(
        f"{self.empty:,} lines are left out, as their prompts are empty"
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
    ValueError: a line is not an object with a "prompt" and an "answer", another
      key of it has a wrong value, or there is no line to train on.
  """
  import tensorflow as tf

  if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
    raise FileNotFoundError(
      f"data.files: there is no file {path}. Expected JSON lines with"
      f' "{PROMPT}" and "{ANSWER}"; launch.generate writes such files.'
    )
  with tf.io.gfile.GFile(path, "rb") as file:
    data = file.read()
  prompts, answers, cut, empty = [], [], 0, 0
  origins: dict[Origin, OriginLines] = {}
  texts = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
  for number, text in enumerate(texts, 1):
    if not text.strip():
      continue
    try:
      line = _parse(text)
    except ValueError as error:
      advice = ""
      if number == len(texts):  # Only this line has no line end.
        advice = (
          " If launch.generate was interrupted, run it again: it continues the"
          " file."
        )
      raise ValueError(f"{path}, line {number}: {error}{advice}") from error
    if not line.ended:
      cut += 1
      continue
    if not line.prompt.strip():
      empty += 1
      continue
    prompts.append(line.prompt)
    answers.append(line.answer)
    first, count = origins.get(line.origin, (number, 0))
    origins[line.origin] = OriginLines(first, count + 1)
  if not prompts:
    left_out = [
      f"whose answer was cut ({cut:,})" if cut else "",
      f"whose prompt is empty ({empty:,})" if empty else "",
    ]
    problem = " or ".join(filter(None, left_out))
    problem = f"has only lines {problem}" if problem else "is empty"
    raise ValueError(
      f'{path} {problem}: expected JSON lines with "{PROMPT}" and "{ANSWER}".'
    )
  fingerprint = hashlib.sha256(data).hexdigest()[:8]
  return PromptFile(path, fingerprint, prompts, answers, origins, cut, empty)


def check_fingerprint(file: PromptFile, expected: str) -> None:
  """Raises ValueError if the contents of a file have another fingerprint."""
  if file.fingerprint != expected:
    raise ValueError(
      f"{file.path} has the fingerprint {file.fingerprint}, not {expected}: it"
      " has changed. Restore the old contents, or name the file without"
      f" @{expected}."
    )


def _parse(text: bytes) -> _Line:
  """Parses a line; raises ValueError if a value cannot be used."""
  value = json_lines.parse_object(text)
  if not isinstance(value.get(PROMPT), str):
    raise ValueError(
      f'expected an object whose "{PROMPT}" is a text, got {text[:80]!r}.'
    )
  if not isinstance(value.get(ANSWER), str):
    raise ValueError(
      f'expected "{ANSWER}" to be a text, got {value.get(ANSWER)!r}. To'
      " generate answers for prompts, run python -m launch.generate"
      " --checkpoint=DIR --input=FILE --output=ANSWERS."
    )
  origin = Origin(_text(value, _TASK), _known_cluster(_text(value, _CLUSTER)))
  for name in (PROMPT, ANSWER, _TASK, _CLUSTER):
    json_lines.check_text(f'"{name}"', value.get(name) or "")
  ended = value.get(_ENDED)
  if not isinstance(ended, bool | None):
    raise ValueError(
      f'expected "{_ENDED}" to be true or false, without quotation marks, got'
      f" {ended!r}."
    )
  return _Line(
    value[PROMPT].encode(), value[ANSWER].encode(), origin, ended is not False
  )


def _text(value: Mapping[str, Any], name: str) -> str:
  """Returns a text of a line without blanks around it; "" if it is missing."""
  text = value.get(name)
  if not isinstance(text, str | None):
    raise ValueError(f'expected "{name}" to be a text, got {text!r}.')
  return (text or "").strip()


def _known_cluster(name: str) -> str:
  """Returns the cluster of the task table that a text names: "NLI" -> "nli".

  Other texts are returned as they are.

  Raises:
    ValueError: it is nearly the name of a cluster.
  """
  plain = re.sub(r"[\s-]+", "_", name.lower())
  if plain in schema.CLUSTERS:
    return plain
  for similar in difflib.get_close_matches(plain, schema.CLUSTERS, n=1):
    raise ValueError(
      f'"{_CLUSTER}" is {name!r}. Did you mean {similar!r}? Held-out clusters'
      " are found by this name. If it is another one, choose a name that is"
      f" less similar. Clusters: {', '.join(schema.CLUSTERS)}."
    )
  return name
