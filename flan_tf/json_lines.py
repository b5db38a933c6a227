"""Reads files of JSON lines: one JSON object per line."""

import json


def read_jsonl(path: str, whole: bool = False) -> list[dict]:
  """The objects of a file of JSON lines.

  Args:
    path: of the file; one that is not there has no lines.
    whole: whether a last line that was cut short is an error, and not dropped.

  Raises:
    ValueError: a line is no JSON.
  """
  import tensorflow as tf

  if not tf.io.gfile.exists(path):
    return []
  with tf.io.gfile.GFile(path, "r") as file:
    lines = file.read().split("\n")
  found = []
  for number, line in enumerate(lines, start=1):
    try:
      if line:
        found.append(json.loads(line))
    except ValueError as error:
      # A line with an end, so somebody wrote it so.
      if whole or number < len(lines):
        raise ValueError(f"{path}, line {number}: {error}") from error
  return found
