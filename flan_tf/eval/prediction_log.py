"""Prediction logs: predictions on disk, written while they are made.

    OUTPUT/predictions/LABEL/TASK.jsonl               log of a finished task
    OUTPUT/predictions/LABEL/TASK.parts/00003.jsonl   chunk 3 of a running task

Each file is JSON lines: first the header, {"header": {...}}, then one line per
`ScoredPrediction`. The header has everything that predictions depend on: the
settings, and fingerprints of weights and requests. A stopped evaluation resumes
only with an equal header.

The requests of a task are answered in chunks of a fixed size. A chunk is first
written under a temporary name and then renamed, so that a chunk that is there
is complete. Its contents do not depend on where an evaluation was stopped.
Files are never appended to, because gs:// cannot do that.

JSON writes the shortest digits that give a float back, so no number changes.
"""

import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from flan_tf import json_lines
from flan_tf.eval.scored_prediction import ScoredPrediction

SCHEMA = 1
# The row ranges of a task, as `Request.part` names them.
TEST, DEV = "test", "dev"
_HEADER = "header"
# The header's key that may differ when an evaluation resumes: the folder of the
# weights. A fingerprint of the weights themselves is in the header, too.
_NOT_COMPARED = "checkpoint"
_MOST_CHARACTERS = 80  # of a value in an error message


class PredictionLogError(ValueError):
  """A prediction log belongs to another evaluation."""


def folder_of(output: str, label: str) -> str:
  """Returns the folder of a model's prediction logs.

  Args:
    output: output folder of the evaluation.
    label: label of the model, any text.
  """
  name = re.sub(r"[^\w.-]+", "_", label).strip("_")
  return tf.io.gfile.join(output, "predictions", name)


@dataclasses.dataclass(frozen=True)
class TaskLog:
  """The log of a finished task, read once and passed on.

  Attributes:
    header: everything that the predictions depend on, as JSON values.
    predictions: all predictions, in the order of the requests.
  """

  header: Mapping[str, Any]
  predictions: tuple[ScoredPrediction, ...]

  @functools.cached_property
  def test(self) -> dict[tuple[int, int], ScoredPrediction]:
    """Predictions on test rows by (template, row)."""
    return {
      (scored.request.template, scored.example.row_index): scored
      for scored in self.predictions
      if scored.request.part == TEST
    }


def read_log(folder: str, task: str) -> TaskLog:
  """Reads the log of a finished task.

  Args:
    folder: the folder that `folder_of` returns.
    task: name of the task.

  Raises:
    FileNotFoundError: the folder has no log of the task.
    ValueError: the file is not a prediction log.
  """
  path = _log_path(folder, task)
  if not tf.io.gfile.exists(path):
    raise FileNotFoundError(
      f"There are no predictions at {path}. `launch.evaluate` writes"
      " them there."
    )
  header, predictions = _read_file(path)
  return TaskLog(header, tuple(predictions))


class PredictionLogWriter:
  """Writes the predictions of one task, chunk by chunk, and reads them back.

  Args:
    folder: the folder that `folder_of` returns; "" writes nothing.
    task: name of the task.
    header: everything that the predictions depend on, as JSON values.
    requests: number of requests of the task.
    chunk: number of requests of a chunk; the last one may have fewer.

  Raises:
    PredictionLogError: the folder has a log of the task with another header.
  """

  def __init__(
    self,
    folder: str,
    task: str,
    header: Mapping[str, Any],
    requests: int,
    chunk: int,
  ):
    self._header = {
      "schema": SCHEMA,
      "task": task,
      **json.loads(json.dumps(dict(header))),
      "requests": requests,
      "chunk": chunk,
    }
    self._requests, self._chunk = requests, chunk
    self._folder, self._path = folder, _log_path(folder, task)
    self._parts = self._path.removesuffix(".jsonl") + ".parts"
    # Predictions of the finished log; fewer than all if it was cut short.
    self._finished: list[ScoredPrediction] = []
    if not folder:
      return
    if tf.io.gfile.exists(self._path):
      self._finished = self._read_checked(self._path)
    if self._is_finished:
      # A run may have been stopped before it removed them.
      self._remove_parts()
    else:
      tf.io.gfile.makedirs(self._parts)

  def __len__(self) -> int:
    """Returns the number of chunks."""
    return -(-self._requests // self._chunk)

  def requests_of(self, number: int) -> range:
    """Returns the numbers of the requests of a chunk."""
    begin = number * self._chunk
    return range(begin, min(begin + self._chunk, self._requests))

  def read(self, number: int) -> list[ScoredPrediction] | None:
    """Returns the predictions of a chunk, or None if it is incomplete."""
    numbers = self.requests_of(number)
    if len(self._finished) >= numbers.stop:
      return self._finished[numbers.start : numbers.stop]
    path = self._chunk_path(number)
    if not self._folder or not tf.io.gfile.exists(path):
      return None
    predictions = self._read_checked(path)
    return predictions if len(predictions) == len(numbers) else None

  def write(self, number: int, predictions: Sequence[ScoredPrediction]) -> None:
    """Writes the predictions of a chunk."""
    if self._folder:
      self._write_file(self._chunk_path(number), predictions)

  def finish(self) -> None:
    """Joins all chunks in one file and removes them.

    Raises:
      PredictionLogError: a chunk is missing.
    """
    if not self._folder or self._is_finished:
      return
    self._write_file(self._path, self._all_predictions())
    self._remove_parts()

  def _all_predictions(self) -> Iterator[ScoredPrediction]:
    for number in range(len(self)):
      predictions = self.read(number)
      if predictions is None:
        raise PredictionLogError(
          f"{self._chunk_path(number)} was written, but is missing or cut short"
          " now. Start the evaluation again: it makes only the missing"
          " predictions."
        )
      yield from predictions

  @property
  def _is_finished(self) -> bool:
    return len(self._finished) == self._requests

  def _chunk_path(self, number: int) -> str:
    return tf.io.gfile.join(self._parts, f"{number:05d}.jsonl")

  def _read_checked(self, path: str) -> list[ScoredPrediction]:
    """Returns the predictions of a file; none if its header was cut short.

    Raises:
      PredictionLogError: the file has another header.
    """
    header, predictions = _read_file(path)
    if not header:
      return []
    different = [
      f"{name} is {_shortened(self._header.get(name))} now, was"
      f" {_shortened(header.get(name))}"
      for name in sorted({*self._header, *header} - {_NOT_COMPARED})
      if self._header.get(name) != header.get(name)
    ]
    if different:
      raise PredictionLogError(
        f"{path} has the predictions of another evaluation:"
        f" {'; '.join(different)}. Choose another --output, or start over with"
        " --restart, which removes these predictions."
      )
    return predictions

  def _write_file(
    self, path: str, predictions: Iterable[ScoredPrediction]
  ) -> None:
    # The temporary name makes sure that a file at `path` is complete.
    with tf.io.gfile.GFile(f"{path}.tmp", "w") as file:
      lines = (scored.to_json() for scored in predictions)
      for value in itertools.chain([{_HEADER: self._header}], lines):
        file.write(json.dumps(value, ensure_ascii=False) + "\n")
    tf.io.gfile.rename(f"{path}.tmp", path, overwrite=True)

  def _remove_parts(self) -> None:
    if tf.io.gfile.exists(self._parts):
      tf.io.gfile.rmtree(self._parts)


def _log_path(folder: str, task: str) -> str:
  return tf.io.gfile.join(folder, f"{task}.jsonl")


def _read_file(path: str) -> tuple[dict[str, Any], list[ScoredPrediction]]:
  """Returns header and predictions; a line that was cut short is left out."""
  first, *lines = json_lines.read_jsonl(path) or [{_HEADER: {}}]
  try:
    return first[_HEADER], [ScoredPrediction.from_json(line) for line in lines]
  except (KeyError, TypeError) as error:
    raise ValueError(
      f"{path} is not a prediction log that this version of flan_tf wrote:"
      f" {error}."
    ) from error


def _shortened(value: Any) -> str:
  text = json.dumps(value, ensure_ascii=False)
  if len(text) <= _MOST_CHARACTERS:
    return text
  return text[: _MOST_CHARACTERS - 3] + "..."
