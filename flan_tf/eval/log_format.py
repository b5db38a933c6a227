"""The bytes of a prediction log: header, predictions, and their checksums.

    {"header": {"schema": 2, ...}, "sha256": "HEADER"}
    {"part": "test", "template": 0, "row": 0, ...}
    ...                                             64 predictions of chunk 0
    {"chunk": {"number": 0, "predictions": 64, "sha256": "CHUNK"}}
    {"part": "test", "template": 0, "row": 64, ...}
    ...

HEADER is the SHA-256 of the header's JSON text, the value of "header". CHUNK is
that of all bytes of the header's line and of the chunk's predictions, with
their line ends. So each chunk can be checked alone, and a chunk of another
evaluation does not pass for one of this.

The line of a checksum is not parsed: it must be equal, to the byte, to the line
that is computed from what stands before it. A bit that is flipped anywhere in
the file is therefore noticed.

Schema 1 had no checksums: its predictions are counted only.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from flan_tf import json_lines, safe_files
from flan_tf.eval.scored_prediction import ScoredPrediction

SCHEMA = 2
WITHOUT_CHECKSUMS = 1  # the schema before
_HEADER, _SHA256 = "header", "sha256"
_CHUNK_LINE = re.compile(rb'\{"chunk": \{"number": ([0-9]{1,9}),')


class LogFormatError(ValueError):
  """A file is no prediction log that this version can read."""


@dataclasses.dataclass(frozen=True)
class Layout:
  """The chunks of a task.

  Attributes:
    requests: number of requests.
    chunk: number of requests of a chunk; the last one may have fewer.
  """

  requests: int
  chunk: int

  def __len__(self) -> int:
    """Returns the number of chunks."""
    return -(-self.requests // self.chunk)

  def requests_of(self, number: int) -> range:
    """Returns the numbers of the requests of a chunk."""
    begin = number * self.chunk
    return range(begin, min(begin + self.chunk, self.requests))

  def describe(self, number: int) -> str:
    """Returns a chunk's number and requests for a message."""
    numbers = self.requests_of(number)
    return f"chunk {number} (requests {numbers.start} to {numbers.stop - 1})"


@dataclasses.dataclass(frozen=True)
class ParsedLog:
  """A prediction log as it was found.

  Attributes:
    header: the header; None if it is damaged.
    layout: the chunks that the header announces.
    chunks: number -> predictions, for all chunks that are whole.
    missing: the numbers of all other chunks.
    is_intact: True if the file has all chunks and nothing else.
  """

  header: Mapping[str, Any] | None
  layout: Layout
  chunks: Mapping[int, Sequence[ScoredPrediction]]
  missing: tuple[int, ...]
  is_intact: bool

  @property
  def damage(self) -> str:
    """The damage of a file that is not intact, in words for a message."""
    if self.missing:
      first, *others = self.missing
      which = "the first is " if others else "it is "
      return (
        f"{len(self.missing)} of {len(self.layout)} chunks cannot be trusted,"
        f" {which}{self.layout.describe(first)}"
      )
    if self.header is None:
      return "its first line, the header, is damaged"
    return "it has lines that belong to no chunk"


def render(
  header: Mapping[str, Any],
  chunks: Mapping[int, Sequence[ScoredPrediction]],
) -> bytes:
  """Returns the content of a file with these chunks.

  Args:
    header: everything that the predictions depend on, as JSON values.
    chunks: number -> predictions.
  """
  first = _header_line(header)
  lines = [first]
  for number, predictions in chunks.items():
    body = [_dump(scored.to_json()) for scored in predictions]
    lines += [*body, _checksum_line(first, number, body)]
  return b"".join(line + b"\n" for line in lines)


def parse(
  content: bytes,
  expected_header: Mapping[str, Any] | None = None,
  number: int | None = None,
) -> ParsedLog:
  """Reads what is whole in a file.

  Args:
    content: the file's bytes.
    expected_header: the header that the file should have. If the file's own is
      damaged, its chunks are checked with this one.
    number: the number of the only chunk that the file should have; None for all
      chunks of the task.

  Raises:
    LogFormatError: the file is damaged and there is no expected header; or it
      is whole, but another version of flan_tf wrote it.
  """
  lines = content.removesuffix(b"\n").split(b"\n")
  header = _read_header(lines[0])
  known = header if header is not None else expected_header
  if known is None:
    raise LogFormatError(
      "its first line, the header, is damaged, or it is no prediction log"
    )
  layout = _read_layout(known)
  wanted = range(len(layout)) if number is None else range(number, number + 1)
  if known["schema"] == WITHOUT_CHECKSUMS:
    bodies = _unchecked_bodies(lines, layout, wanted)
    expected_lines = 1 + sum(map(len, bodies.values()))
  else:
    first = lines[0] if header is not None else _header_line(known)
    bodies = _checked_bodies(first, lines, layout, wanted)
    expected_lines = 1 + sum(len(body) + 1 for body in bodies.values())
  missing = tuple(one for one in wanted if one not in bodies)
  return ParsedLog(
    header,
    layout,
    {one: _predictions(body) for one, body in bodies.items()},
    missing,
    is_intact=header is not None
    and not missing
    and len(lines) == expected_lines,
  )


def _dump(value: Any) -> bytes:
  # The shortest digits that give a float back, so no number changes.
  return json.dumps(value, ensure_ascii=False).encode("utf-8")


def _header_line(header: Mapping[str, Any]) -> bytes:
  digest = safe_files.sha256(_dump(dict(header)))
  return _dump({_HEADER: dict(header), _SHA256: digest})


def _checksum_line(first: bytes, number: int, body: Sequence[bytes]) -> bytes:
  digest = safe_files.sha256(b"".join(line + b"\n" for line in (first, *body)))
  chunk = {"number": number, "predictions": len(body), _SHA256: digest}
  return _dump({"chunk": chunk})


def _read_header(line: bytes) -> dict[str, Any] | None:
  """Returns the header of a line; None if it is damaged.

  Raises:
    LogFormatError: the header is whole, but of a later schema.
  """
  try:
    value = json_lines.parse_object(line)
    header = value.get(_HEADER)
    if not isinstance(header, dict):
      return None
    if value.keys() == {_HEADER} and header.get("schema") == WITHOUT_CHECKSUMS:
      return header
    if line != _header_line(header):
      return None
  except ValueError:  # It cannot be decoded, or not be encoded again.
    return None
  if header.get("schema") != SCHEMA:
    raise LogFormatError(
      f"it has schema {header.get('schema')}, and this version of flan_tf reads"
      f" 1 to {SCHEMA}; use the version that wrote it, or a later one"
    )
  return header


def _read_layout(header: Mapping[str, Any]) -> Layout:
  requests, chunk = header.get("requests"), header.get("chunk")
  if (
    not isinstance(requests, int)
    or not isinstance(chunk, int)
    or requests < 0
    or chunk < 1
  ):
    raise LogFormatError(
      f'its header has "requests" {requests!r} and "chunk" {chunk!r}; expected'
      " numbers of requests"
    )
  return Layout(requests, chunk)


def _checked_bodies(
  first: bytes, lines: Sequence[bytes], layout: Layout, wanted: range
) -> dict[int, Sequence[bytes]]:
  """Returns chunk -> the lines of its predictions, for all that are whole.

  A chunk is looked for before its checksum, wherever that is, because a lost
  line must not hide the chunks after it.
  """
  bodies: dict[int, Sequence[bytes]] = {}
  for index, line in enumerate(lines):
    found = _CHUNK_LINE.match(line)
    number = int(found[1]) if found else -1
    if number in wanted:
      size = len(layout.requests_of(number))
      body = lines[max(index - size, 1) : index]
      if line == _checksum_line(first, number, body) and len(body) == size:
        bodies[number] = body
  return bodies


def _unchecked_bodies(
  lines: Sequence[bytes], layout: Layout, wanted: range
) -> dict[int, Sequence[bytes]]:
  """Does the same for schema 1, up to the first line that cannot be read."""
  readable = 1
  while readable < len(lines) and _is_object(lines[readable]):
    readable += 1
  bodies, begin = {}, 1
  for number in wanted:
    end = begin + len(layout.requests_of(number))
    if end > readable:
      break
    bodies[number] = lines[begin:end]
    begin = end
  return bodies


def _is_object(line: bytes) -> bool:
  try:
    json_lines.parse_object(line)
  except ValueError:
    return False
  return True


def _predictions(body: Sequence[bytes]) -> tuple[ScoredPrediction, ...]:
  try:
    return tuple(
      ScoredPrediction.from_json(json_lines.parse_object(line)) for line in body
    )
  except ValueError as error:
    raise LogFormatError(
      f"a line of it is not a prediction that this version of flan_tf wrote:"
      f" {error}"
    ) from error
