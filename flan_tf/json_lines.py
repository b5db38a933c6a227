"""Reads files of JSON lines: one JSON object on each line."""

import json


def read_jsonl(path: str, complete: bool = False) -> list[dict]:
  """Reads the objects of a file of JSON lines, local or gs://.

  Args:
    path: path of the file. A missing file is read as an empty one.
    complete: if false, a last line that was cut short is ignored, because its
      writer may have been stopped. If true, it is an error.

  Raises:
    ValueError: a line is not JSON; the message gives its number.
  """
  import tensorflow as tf

  if not tf.io.gfile.exists(path):
    return []
  with tf.io.gfile.GFile(path, "r") as file:
    lines = file.read().split("\n")
  objects = []
  for number, line in enumerate(lines, start=1):
    try:
      if line:
        objects.append(json.loads(line))
    except ValueError as error:
      # Only the last line has no line end.
      if complete or number < len(lines):
        raise ValueError(f"{path}, line {number}: {error}") from error
  return objects
