"""Reads files of JSON lines: one JSON object on each line.

Files may begin with a byte order mark, and lines of blanks are ignored. Every
message names the file and the line.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

# Programs that read a value of more levels again would need deeper stacks.
_MAX_LEVELS = 100
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHOWN = 80  # characters of a line in a message
_TYPE_NAMES = {
  dict: "an object",
  list: "a list",
  tuple: "a list",
  str: "a text",
  bool: "true or false",
  int: "a whole number",
  float: "a number",
  type(None): "null",
}

# Key of an object -> type of its value, or several types.
Types = Mapping[str, Any]
_NO_TYPES: Types = {}


class NumberedObject(NamedTuple):
  """The object of one line, and the number of the line, from 1."""

  number: int
  value: dict[str, Any]


def read_jsonl(
  path: str,
  complete: bool = False,
  types: Types = _NO_TYPES,
) -> list[dict[str, Any]]:
  """Reads the objects of a file of JSON lines, local or gs://.

  Args:
    path: path of the file. A missing file is read as an empty one.
    complete: if false, a last line that was cut short is ignored, because its
      writer may have been stopped. If true, it is an error.
    types: keys that each object must have -> type of their values, as in
      {"step": int}.

  Raises:
    ValueError: a line is not a JSON object in UTF-8, or has not these keys; the
      message gives its number.
  """
  return [line.value for line in read_numbered(path, complete, types)]


def read_numbered(
  path: str,
  complete: bool = False,
  types: Types = _NO_TYPES,
) -> list[NumberedObject]:
  """Reads the objects of a file with their line numbers; see `read_jsonl`."""
  import tensorflow as tf

  if not tf.io.gfile.exists(path):
    return []
  with tf.io.gfile.GFile(path, "rb") as file:
    lines = file.read().removeprefix(_BYTE_ORDER_MARK).split(b"\n")
  objects = []
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    try:
      value = parse_object(line)
      check_types(value, types)
    except ValueError as error:
      # Only the last line has no line end.
      if complete or number < len(lines):
        raise ValueError(f"{path}, line {number}: {error}") from error
      continue
    objects.append(NumberedObject(number, value))
  return objects


def parse_object(text: bytes) -> dict[str, Any]:
  """Parses a JSON object in UTF-8: a line, or a whole file.

  Raises:
    ValueError: it is not UTF-8, not JSON, not an object, or nested in more than
      100 levels.
  """
  try:
    value = json.loads(_decode(text))
    too_deep = _exceeds_levels(value)
  except RecursionError:
    too_deep = True
  except json.JSONDecodeError as error:
    raise ValueError(
      f"expected a JSON object, got {_shown(text)} ({error})."
    ) from error
  if too_deep:
    raise ValueError(
      f"expected JSON of at most {_MAX_LEVELS} levels of brackets, got more:"
      f" {_shown(text)}."
    )
  if not isinstance(value, dict):
    raise ValueError(f"expected a JSON object, got {_shown(text)}.")
  return value


def check_types(value: Any, types: Types) -> None:
  """Checks that an object has some keys, and that their values have types.

  Args:
    value: a JSON value. An object may have other keys, too.
    types: the keys that it must have.

  Raises:
    ValueError: it is no object, a key is missing, or its value has another
      type.
  """
  if not isinstance(value, Mapping):
    raise ValueError(f"expected an object, got {value!r:.{_SHOWN}}.")
  for key, expected in types.items():
    some = expected if isinstance(expected, tuple) else (expected,)
    names = " or ".join(dict.fromkeys(_TYPE_NAMES[one] for one in some))
    if key not in value:
      raise ValueError(f"key {key!r} is missing; expected {names}.")
    if not isinstance(value[key], some):
      raise ValueError(
        f"key {key!r} is {value[key]!r:.{_SHOWN}}; expected {names}."
      )


def check_text(name: str, text: str) -> None:
  r"""Checks that a text can be encoded as UTF-8.

  JSON can spell half of a character, as "\ud83d"; a command line can have bytes
  that are not UTF-8. A vocabulary can read neither.

  Args:
    name: what the text is, for the message.
    text: the text.

  Raises:
    ValueError: it cannot be encoded.
  """
  try:
    text.encode("utf-8")
  except UnicodeEncodeError as error:
    code = ord(text[error.start])
    # Python's way to keep a byte that is not UTF-8.
    is_byte = 0xDC80 <= code <= 0xDCFF
    found = f"\\x{code - 0xDC00:02x}" if is_byte else f"\\u{code:04x}"
    raise ValueError(
      f"{name} is not text in UTF-8: character {error.start + 1} is"
      f" {'the byte' if is_byte else 'half a character,'} {found}. Remove or"
      " replace it."
    ) from error


def _decode(text: bytes) -> str:
  try:
    return text.decode("utf-8")
  except UnicodeDecodeError as error:
    raise ValueError(
      f"expected UTF-8, but byte {error.start + 1} is"
      f" \\x{text[error.start]:02x}. Save the file as UTF-8."
    ) from error


def _exceeds_levels(value: Any) -> bool:
  """Returns whether a value has more levels of objects and lists than allowed.

  It needs no recursion.
  """
  level = [value]
  for _ in range(_MAX_LEVELS + 1):
    inner: list[Any] = []
    for item in level:
      if isinstance(item, dict):
        inner += item.values()
      elif isinstance(item, list):
        inner += item
    if not inner:
      return False
    level = inner
  return True


def _shown(text: bytes) -> str:
  """Returns the beginning of a text, as a literal that has no controls."""
  shown = text[: 4 * _SHOWN].decode("utf-8", "replace")
  cut = len(shown) > _SHOWN or len(text) > 4 * _SHOWN
  return f"{shown[:_SHOWN]!r}{' ...' if cut else ''}"
