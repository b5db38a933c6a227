"""A corpus as a stream of documents: of files, or of the rows of tasks.

    of_files(["books/*.txt", "gs://bucket/c4/*.json.gz"])
    of_tasks(planned)

    name                      documents
    *.jsonl, *.json           one a line: the text of a field of a JSON object
    anything else             paragraphs: a blank line ends one

`.gz` behind either is unpacked. Nothing is kept: memory does not grow with the
corpus.
"""

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from flan_tf import name_lists
from flan_tf.data import pipeline, prompts, rows
from flan_tf.task import schema

_CHUNK = 1 << 20  # bytes
# A longer paragraph is several documents, and each begins with the last words
# of the one before: no run of so many words falls between two of them.
_LONGEST = 1 << 22  # bytes
CARRIED = 32  # words
_ROWS = 256


class Document(NamedTuple):
  """A text, and where it is from, for people."""

  where: str
  text: str


def of_files(
  patterns: Sequence[str], field: str = "text"
) -> Iterator[Document]:
  """The documents of files, local or gs://.

  Args:
    patterns: of their names, with `*` and `?`.
    field: of a line of JSON, where its text is.

  Raises:
    FileNotFoundError: a pattern that no file has.
    ValueError: a line that is no JSON object with that field.
  """
  paths = []
  for pattern in patterns:
    names = sorted(tf.io.gfile.glob(pattern))
    found = [path for path in names if not tf.io.gfile.isdir(path)]
    if not found:
      raise FileNotFoundError(
        f"No file is named {pattern!r}. A corpus is files of text or JSON"
        " lines, local or gs://, named one by one or with *."
      )
    paths += [path for path in found if path not in paths]
  # A generator of its own: names are checked here and now.
  return (document for path in paths for document in _of_file(path, field))


def of_tasks(
  planned: Iterable[pipeline.PlannedTask],
) -> Iterator[Document]:
  """The training rows of tasks: the texts of each row and its answer.

  Raises:
    rows.DataCorruptionError: a file cannot be read.
  """
  for item in planned:
    train, names = item.plan.train, item.task.slots
    if not len(train):
      continue

    def text(row, task=item.task, names=names):
      slots = prompts.fill_slots(task, row)
      parts = [slots[name] for name in (*names, schema.ANSWER_SLOT)]
      joined = tf.strings.reduce_join(parts, separator="\n")
      return joined, row[rows.ROW_INDEX], slots[prompts.KEEP]

    with rows.naming_corrupt_files(item.dataset, train.split):
      read = rows.read_rows(item.dataset, train, text).batch(_ROWS).prefetch(2)
      for texts, numbers, keep in read.as_numpy_iterator():
        for number, value in zip(numbers[keep], texts[keep], strict=True):
          yield Document(
            f"{item.task.name} {train.split}[{number}]", _text(value)
          )


def _of_file(path: str, field: str) -> Iterator[Document]:
  if re.search(r"\.jsonl?(\.gz)?$", path):
    for number, line in _lines(path):
      if line.strip():
        yield Document(f"{path}:{number}", _field(path, number, line, field))
    return
  first, paragraph, size = 1, [], 0
  for number, line in _lines(path):
    if not line.strip():
      if paragraph:
        yield Document(f"{path}:{first}", _text(b"\n".join(paragraph)))
      first, paragraph, size = number + 1, [], 0
      continue
    paragraph.append(line)
    size += len(line)
    if size > _LONGEST:
      whole = b"\n".join(paragraph)
      yield Document(f"{path}:{first}", _text(whole))
      carried = b" ".join(whole.split()[-CARRIED:])
      first, paragraph, size = number, [carried], len(carried)
  if paragraph:
    yield Document(f"{path}:{first}", _text(b"\n".join(paragraph)))


def _field(path: str, number: int, line: bytes, field: str) -> str:
  try:
    value = json.loads(line)
  except ValueError as error:
    raise ValueError(f"{path}, line {number} is no JSON: {error}.") from error
  if not isinstance(value, dict):
    raise ValueError(
      f"{path}, line {number}: expected a JSON object, got"
      f" {type(value).__name__}."
    )
  if not isinstance(value.get(field), str):
    texts = [name for name, item in value.items() if isinstance(item, str)]
    raise ValueError(
      f"{path}, line {number}: {name_lists.unknown_name('text field', field, texts)}"
      " Name another one with --field."
    )
  return value[field]


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
  """(number, line) of a file, from 1 on, read in pieces of one megabyte."""
  with tf.io.gfile.GFile(path, "rb") as packed:
    file = gzip.GzipFile(fileobj=packed) if path.endswith(".gz") else packed
    number, rest = 1, b""
    while chunk := file.read(_CHUNK):
      *lines, rest = (rest + chunk).split(b"\n")
      for line in lines:
        yield number, line
        number += 1
    if rest:
      yield number, rest


def _text(value: bytes) -> str:
  return value.decode("utf-8", "replace")
