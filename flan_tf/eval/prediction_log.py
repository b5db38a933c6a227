"""Predictions kept on disk while they are made: a stopped evaluation goes on.

    OUTPUT/predictions/<label>/<task>.jsonl           of a task that is done
    OUTPUT/predictions/<label>/<task>.parts/00003.jsonl   chunk 3, while it runs

Each file begins with its header, {"header": {...}}; a line of it is a `PredictionLine`.
A task's requests are answered in chunks of a fixed number. A chunk is written
whole, under another name first, and never changes: what a chunk holds does not
depend on when a run was stopped. Whoever goes on must ask for the same: another
header is refused. Local or gs://, where files cannot be appended to.

A number keeps its value: JSON has the shortest digits that give it back.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flan_tf import json_lines

SCHEMA = 1
TEST, DEV = "test", "dev"
_HEADER = "header"
# Says where the weights came from; weights that moved are the same.
_FOR_PEOPLE = "checkpoint"


class PredictionLogError(ValueError):
  """A file of predictions is that of another evaluation."""


@dataclasses.dataclass(frozen=True)
class PredictionLine:
  """One answered request.

  Attributes:
    part: `test` or `dev`.
    template: its index among the task's templates.
    row: its number in the split.
    prompt: as it was asked, exemplars and markers in it.
    exemplars: how many stand before the query.
    trimmed: whether the prompt was too long and lost a part.
    answer: the option that was chosen, or the continuation.
    references: all right answers.
    group: rows of one group are judged together; "" if each is alone.
    right: of a classification whether the answer is a right one; of a
      generation whether it equals one after the metric's own normalization,
      None where the metric has none.
    score: this example's value of the headline metric, 0 to 100; of a metric
      that has values of whole sets alone what the header's "line_score" says.
    options: of a classification; the four below, too.
    answer_index: the right option; -1 for a generation.
    choice: the option that was chosen; None for a generation.
    scores: log-probability of each option.
    values: what the options were ranked by.
  """

  part: str
  template: int
  row: int
  prompt: str
  exemplars: int
  trimmed: bool
  answer: str
  references: tuple[str, ...]
  group: str
  right: bool | None
  score: float
  options: tuple[str, ...] = ()
  answer_index: int = -1
  choice: int | None = None
  scores: tuple[float, ...] = ()
  values: tuple[float, ...] = ()

  def to_json(self) -> dict[str, Any]:
    """Without what only a classification has, for a generation."""
    value = dataclasses.asdict(self)
    if self.choice is None:
      for name in ("options", "answer_index", "choice", "scores", "values"):
        del value[name]
    return value

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> "PredictionLine":
    given: dict[str, Any] = {
      name: tuple(item) if isinstance(item, list) else item
      for name, item in value.items()
    }
    return cls(**given)


def folder_of(output: str, label: str) -> str:
  """The folder of a model's predictions; a label may be any text."""
  import tensorflow as tf

  name = re.sub(r"[^\w.-]+", "_", label).strip("_")
  return tf.io.gfile.join(output, "predictions", name)


def read(output: str, label: str, task: str) -> list[PredictionLine]:
  """The predictions of a task that is done, in an evaluation's folder.

  Raises:
    FileNotFoundError: there are none.
    ValueError: the file is not one of predictions.
  """
  return read_task(folder_of(output, label), task)


def read_task(folder: str, task: str) -> list[PredictionLine]:
  """As `read`, in the folder that `folder_of` gives."""
  import tensorflow as tf

  path = _path(folder, task)
  if not tf.io.gfile.exists(path):
    raise FileNotFoundError(
      f"There are no predictions at {path}. `launch.evaluate` keeps them."
    )
  return _read(path)[1]


def read_header(folder: str, task: str) -> dict[str, Any]:
  """The header of a task that is done: what it was asked, and how."""
  import tensorflow as tf

  with tf.io.gfile.GFile(_path(folder, task)) as file:
    return json.loads(file.readline())[_HEADER]


class PredictionLog:
  """The chunks of one task's predictions.

  Args:
    folder: as `folder_of` gives it; empty to keep nothing.
    task: its name.
    header: JSON values that say what is asked; equal for going on.
    requests: how many the task has.
    chunk: requests of a chunk; the last one may have fewer.

  Raises:
    JournalError: predictions of another header are there.
  """

  def __init__(
    self,
    folder: str,
    task: str,
    header: Mapping[str, Any],
    requests: int,
    chunk: int,
  ):
    import tensorflow as tf

    self._files = tf.io.gfile
    self._header = {
      "schema": SCHEMA,
      "task": task,
      **json.loads(json.dumps(dict(header))),
      "requests": requests,
      "chunk": chunk,
    }
    self._requests, self._chunk = requests, chunk
    self._folder, self._path = folder, _path(folder, task)
    self._parts = self._path.removesuffix(".jsonl") + ".parts"
    self._done: list[PredictionLine] = []
    if not folder:
      return
    if self._files.exists(self._path):
      self._done = self._checked(self._path)
    if self._is_done:
      self._remove_parts()  # A run may have been stopped before it did.
    else:
      self._files.makedirs(self._parts)

  def __len__(self) -> int:
    """How many chunks there are."""
    return -(-self._requests // self._chunk)

  def requests_of(self, number: int) -> range:
    """The requests of a chunk."""
    begin = number * self._chunk
    return range(begin, min(begin + self._chunk, self._requests))

  def read(self, number: int) -> list[PredictionLine] | None:
    """The lines of a chunk; None if it was never written, or not to its end."""
    wanted = self.requests_of(number)
    if len(self._done) >= wanted.stop:
      return self._done[wanted.start : wanted.stop]
    path = self._part(number)
    if not self._folder or not self._files.exists(path):
      return None
    lines = self._checked(path)
    return lines if len(lines) == len(wanted) else None

  def write(self, number: int, lines: Sequence[PredictionLine]) -> None:
    """Keeps the lines of a chunk."""
    if self._folder:
      self._write(self._part(number), lines)

  def finish(self) -> None:
    """Makes one file of all chunks, each of which must be there."""
    if not self._folder or self._is_done:
      return
    self._write(self._path, self._all())
    self._remove_parts()

  def _all(self) -> Iterator[PredictionLine]:
    for number in range(len(self)):
      lines = self.read(number)
      if lines is None:
        raise PredictionLogError(
          f"{self._part(number)} is not there, or not whole, though it was"
          " written. Start the evaluation again: it asks what is missing."
        )
      yield from lines

  @property
  def _is_done(self) -> bool:
    return len(self._done) == self._requests

  def _part(self, number: int) -> str:
    return self._files.join(self._parts, f"{number:05d}.jsonl")

  def _checked(self, path: str) -> list[PredictionLine]:
    """The lines of a file that has our header; none if it was cut short."""
    header, lines = _read(path)
    if not header:  # Not even that is whole.
      return []
    different = [
      f"{name} is {_short(self._header.get(name))} now, was"
      f" {_short(header.get(name))}"
      for name in sorted({*self._header, *header} - {_FOR_PEOPLE})
      if self._header.get(name) != header.get(name)
    ]
    if different:
      raise PredictionLogError(
        f"{path} has the predictions of another evaluation:"
        f" {'; '.join(different)}. Choose another --output, or begin anew with"
        " --restart, which removes them."
      )
    return lines

  def _write(self, path: str, lines: Iterable[PredictionLine]) -> None:
    # Under another name first: a file that is there is whole.
    with self._files.GFile(f"{path}.tmp", "w") as file:
      header = {_HEADER: self._header}
      for value in itertools.chain([header], (x.to_json() for x in lines)):
        file.write(json.dumps(value, ensure_ascii=False) + "\n")
    self._files.rename(f"{path}.tmp", path, overwrite=True)

  def _remove_parts(self) -> None:
    if self._files.exists(self._parts):
      self._files.rmtree(self._parts)


def _path(folder: str, task: str) -> str:
  import tensorflow as tf

  return tf.io.gfile.join(folder, f"{task}.jsonl")


def _read(path: str) -> tuple[dict[str, Any], list[PredictionLine]]:
  """Header and lines; of a file that was cut short, what is whole of it."""
  first, *lines = json_lines.read_jsonl(path) or [{_HEADER: {}}]
  try:
    return first[_HEADER], [PredictionLine.from_json(line) for line in lines]
  except (KeyError, TypeError) as error:
    raise ValueError(
      f"{path} is not a file of predictions that this version wrote: {error}."
    ) from error


def _short(value: Any) -> str:
  text = json.dumps(value, ensure_ascii=False)
  return text if len(text) <= 80 else text[:77] + "..."
