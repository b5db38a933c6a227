"""Streams the documents of a corpus: of files, or of the rows of tasks.

    read_files(["books/*.txt", "gs://bucket/c4/*.json.gz"])
    read_training_rows(opened_tasks)

    file                documents
    *.jsonl, *.json     one per line: the text of a field of a JSON object
    any other           paragraphs: a blank line ends a document

A file whose name ends with `.gz` is decompressed. Documents are not kept:
memory does not grow with the corpus.
"""

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from flan_tf import name_lists
from flan_tf.data import opened_tasks, prompts, rows
from flan_tf.task import schema

_CHUNK = 1 << 20  # Bytes read at a time.
_BATCH = 256  # Rows read at a time.
# Bytes of a paragraph. A longer one becomes several documents. Each of them
# starts with the last words of the one before, so that no n-gram of up to so
# many words is lost at the border.
_LONGEST_PARAGRAPH = 1 << 22
REPEATED_WORDS = 32


class Document(NamedTuple):
  """A text, and a description of its origin for people."""

  where: str
  text: str


def read_files(
  patterns: Sequence[str], field: str = "text"
) -> Iterator[Document]:
  """Yields the documents of files, local or gs://.

  Args:
    patterns: names of files, with the wildcards `*` and `?`.
    field: for JSON lines: the key of the text.

  Raises:
    FileNotFoundError: no file matches a pattern.
    ValueError: a line is not a JSON object with that field.
  """
  paths = []
  for pattern in patterns:
    matches = sorted(tf.io.gfile.glob(pattern))
    matches = [path for path in matches if not tf.io.gfile.isdir(path)]
    if not matches:
      raise FileNotFoundError(
        f"No file matches {pattern!r}. A corpus consists of files of text or"
        " JSON lines, local or gs://, given by name or with the wildcards * and"
        " ?."
      )
    paths += [path for path in matches if path not in paths]
  # The generator is a value, not this function, so that names are checked now.
  return (document for path in paths for document in _read_file(path, field))


def read_training_rows(
  opened: Iterable[opened_tasks.OpenedTask],
) -> Iterator[Document]:
  """Yields one document per training row: the slots and the answer.

  Raises:
    rows.DataCorruptionError: a file cannot be read.
  """
  for item in opened:
    train, names = item.ranges.train, item.task.slots
    if not len(train):
      continue

    def join_slots(row, task=item.task, names=names):
      slots = prompts.fill_slots(task, row)
      texts = [slots[name] for name in (*names, schema.ANSWER_SLOT)]
      joined = tf.strings.reduce_join(texts, separator="\n")
      return joined, row[rows.ROW_INDEX], slots[prompts.KEEP]

    read = rows.read_rows(item.dataset, train, join_slots)
    with rows.naming_corrupt_files(item.dataset, train.split):
      for texts, row_indices, keep in (
        read.batch(_BATCH).prefetch(2).as_numpy_iterator()
      ):
        for row_index, text in zip(row_indices[keep], texts[keep], strict=True):
          where = f"{item.task.name} {train.split}[{row_index}]"
          yield Document(where, _decode(text))


def _read_file(path: str, field: str) -> Iterator[Document]:
  if re.search(r"\.jsonl?(\.gz)?$", path):
    return _read_json_lines(path, field)
  return _read_paragraphs(path)


def _read_json_lines(path: str, field: str) -> Iterator[Document]:
  for number, line in _lines(path):
    if line.strip():
      text = _field_text(path, number, line, field)
      yield Document(f"{path}:{number}", text)


def _read_paragraphs(path: str) -> Iterator[Document]:
  first, paragraph, size = 1, [], 0  # `first` is the number of its first line.
  for number, line in _lines(path):
    if not line.strip():
      if paragraph:
        yield Document(f"{path}:{first}", _decode(b"\n".join(paragraph)))
      first, paragraph, size = number + 1, [], 0
      continue
    paragraph.append(line)
    size += len(line)
    if size > _LONGEST_PARAGRAPH:
      text = b"\n".join(paragraph)
      yield Document(f"{path}:{first}", _decode(text))
      repeated = b" ".join(text.split()[-REPEATED_WORDS:])
      first, paragraph, size = number, [repeated], len(repeated)
  if paragraph:
    yield Document(f"{path}:{first}", _decode(b"\n".join(paragraph)))


def _field_text(path: str, number: int, line: bytes, field: str) -> str:
  where = f"{path}, line {number}"
  try:
    value = json.loads(line)
  except ValueError as error:
    raise ValueError(f"{where} is not JSON: {error}.") from error
  if not isinstance(value, dict):
    raise ValueError(
      f"{where}: expected a JSON object, got {type(value).__name__}."
    )
  if not isinstance(value.get(field), str):
    texts = [name for name, item in value.items() if isinstance(item, str)]
    problem = name_lists.unknown_name("text field", field, texts)
    raise ValueError(f"{where}: {problem} Name another field with --field.")
  return value[field]


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
  """Yields (number from 1 on, line) of a file, read in chunks."""
  with tf.io.gfile.GFile(path, "rb") as raw:
    file = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
    number, rest = 1, b""
    while chunk := file.read(_CHUNK):
      *lines, rest = (rest + chunk).split(b"\n")
      for line in lines:
        yield number, line
        number += 1
    if rest:
      yield number, rest


def _decode(value: bytes) -> str:
  return value.decode("utf-8", "replace")
