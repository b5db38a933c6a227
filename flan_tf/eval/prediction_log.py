"""Prediction logs: predictions on disk, written while they are made.

    OUTPUT/predictions/LABEL/TASK.jsonl               log of a finished task
    OUTPUT/predictions/LABEL/TASK.parts/00003.jsonl   chunk 3 of a running task

Each file is JSON lines: first the header, then one line per `ScoredPrediction`,
and after the predictions of each chunk a line with their checksum; `log_format`
describes them. The header has everything that predictions depend on: the
settings, and fingerprints of weights and requests. A stopped evaluation resumes
only with an equal header.

The requests of a task are answered in chunks of a fixed size. The contents of a
chunk do not depend on where an evaluation was stopped. Files are never appended
to, because gs:// cannot do that.

A chunk that was edited or cut is asked again when the evaluation resumes, and a
warning names its file. A report cannot ask, so `read_log` refuses such a log.
"""

import dataclasses
import functools
import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from flan_tf import safe_files
from flan_tf.eval import log_format
from flan_tf.eval.scored_prediction import ScoredPrediction

_log = logging.getLogger(__name__)
# The row ranges of a task.
TEST, DEV = "test", "dev"
# The header's keys that may differ when an evaluation resumes: the schema of
# the file, and the folder of the weights. A fingerprint of the weights
# themselves is in the header, too.
_NOT_COMPARED = {"checkpoint", "schema"}
_MOST_CHARACTERS = 80  # of a value in an error message


class PredictionLogError(ValueError):
  """A prediction log is damaged, or belongs to another evaluation."""


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
    PredictionLogError: the file is not a prediction log, or it was edited or
      cut after it was written.
  """
  path = _log_path(folder, task)
  if not tf.io.gfile.exists(path):
    raise FileNotFoundError(
      f"There are no predictions at {path}; `launch.evaluate` writes"
      " them there."
    )
  found = _parse_file(path)
  if found.header is None or not found.is_intact:
    raise PredictionLogError(
      f"{path} was edited or cut after it was written: {found.damage}. To"
      " make these predictions again, run the evaluation that wrote the file"
      " with the same --output; whole chunks are kept."
    )
  predictions = [
    scored
    for number in range(len(found.layout))
    for scored in found.chunks[number]
  ]
  keys = {
    (scored.request.part, scored.request.template, scored.example.row_index)
    for scored in predictions
  }
  if len(keys) < len(predictions):
    raise PredictionLogError(
      f"{path} was edited: two of its lines answer the same row in the same"
      " template. Evaluate again into another folder."
    )
  return TaskLog(found.header, tuple(predictions))


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
      "schema": log_format.SCHEMA,
      "task": task,
      **json.loads(json.dumps(dict(header))),
      "requests": requests,
      "chunk": chunk,
    }
    self._layout = log_format.Layout(requests, chunk)
    self._folder, self._path = folder, _log_path(folder, task)
    self._parts = self._path.removesuffix(".jsonl") + ".parts"
    # Whole chunks of the finished log; fewer than all if it is damaged.
    self._finished: Mapping[int, Sequence[ScoredPrediction]] = {}
    self._is_finished = False
    if not folder:
      return
    if tf.io.gfile.exists(self._path):
      found = self._read_checked(self._path)
      self._finished, self._is_finished = found.chunks, found.is_intact
    if self._is_finished:
      # A run may have been stopped before it removed them.
      self._clean_up()
    else:
      tf.io.gfile.makedirs(self._parts)

  def __len__(self) -> int:
    """Returns the number of chunks."""
    return len(self._layout)

  def requests_of(self, number: int) -> range:
    """Returns the numbers of the requests of a chunk."""
    return self._layout.requests_of(number)

  def read(self, number: int) -> list[ScoredPrediction] | None:
    """Returns the predictions of a chunk; None if it is missing or damaged."""
    if number in self._finished:
      return list(self._finished[number])
    path = self._chunk_path(number)
    if not self._folder or not tf.io.gfile.exists(path):
      return None
    predictions = self._read_checked(path, number).chunks.get(number)
    return None if predictions is None else list(predictions)

  def write(self, number: int, predictions: Sequence[ScoredPrediction]) -> None:
    """Writes the predictions of a chunk."""
    if self._folder:
      content = log_format.render(self._header, {number: predictions})
      safe_files.write_bytes(self._chunk_path(number), content)

  def finish(self) -> None:
    """Joins all chunks in one file and removes them.

    Raises:
      PredictionLogError: a chunk is missing.
    """
    if not self._folder or self._is_finished:
      return
    chunks = {number: self._read_again(number) for number in range(len(self))}
    safe_files.write_bytes(self._path, log_format.render(self._header, chunks))
    self._clean_up()

  def _read_again(self, number: int) -> list[ScoredPrediction]:
    predictions = self.read(number)
    if predictions is None:
      raise PredictionLogError(
        f"{self._chunk_path(number)} was written, but is missing or damaged"
        " now. Start the evaluation again: it makes only the missing"
        " predictions."
      )
    return predictions

  def _chunk_path(self, number: int) -> str:
    return tf.io.gfile.join(self._parts, f"{number:05d}.jsonl")

  def _read_checked(
    self, path: str, number: int | None = None
  ) -> log_format.ParsedLog:
    """Returns what is whole in a file, and warns of the rest.

    Raises:
      PredictionLogError: the file has another header.
    """
    found = _parse_file(path, self._header, number)
    if found.header is not None:
      self._check_header(path, found.header)
      if found.header["schema"] == log_format.WITHOUT_CHECKSUMS:
        _note_without_checksums(self._folder)
    if not found.is_intact:
      _log.warning(
        "%s was edited or cut after it was written: %s. %s",
        path,
        found.damage,
        "The model is asked again for these predictions."
        if found.missing
        else "All predictions are whole, and are kept.",
      )
    return found

  def _check_header(self, path: str, header: Mapping[str, Any]) -> None:
    different = [
      f"{name} is {_shortened(self._header.get(name))} now, was"
      f" {_shortened(header.get(name))}"
      for name in sorted({*self._header, *header} - _NOT_COMPARED)
      if self._header.get(name) != header.get(name)
    ]
    if different:
      raise PredictionLogError(
        f"{path} has the predictions of another evaluation:"
        f" {'; '.join(different)}. Choose another --output, or start over with"
        " --restart, which removes these predictions."
      )

  def _clean_up(self) -> None:
    """Removes the chunks, and what a stopped run began to write."""
    if tf.io.gfile.exists(self._parts):
      tf.io.gfile.rmtree(self._parts)
    safe_files.remove_leftovers(self._path)


def _log_path(folder: str, task: str) -> str:
  return tf.io.gfile.join(folder, f"{task}.jsonl")


def _parse_file(
  path: str,
  expected_header: Mapping[str, Any] | None = None,
  number: int | None = None,
) -> log_format.ParsedLog:
  with tf.io.gfile.GFile(path, "rb") as file:
    content = file.read()
  try:
    return log_format.parse(content, expected_header, number)
  except log_format.LogFormatError as error:
    raise PredictionLogError(
      f"{path} is not a prediction log that can be read: {error}."
    ) from error


@functools.cache  # Once for each folder.
def _note_without_checksums(folder: str) -> None:
  _log.warning(
    "The predictions in %s were written by an earlier version, without"
    " checksums: if they were edited since, nobody can tell. --restart makes"
    " them anew.",
    folder,
  )


def _shortened(value: Any) -> str:
  text = json.dumps(value, ensure_ascii=False)
  is_short = len(text) <= _MOST_CHARACTERS
  return text if is_short else text[: _MOST_CHARACTERS - 3] + "..."
