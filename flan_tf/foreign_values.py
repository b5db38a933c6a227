"""Values from files of other people, checked one by one when they are read.

A value in such a file can have any type and any size. Each getter of
`ForeignValues` says what it expects, and raises an error that names the file,
the key and the value if something else is there:

  runs/x/config.json: 'hidden_size' is '16'; expected a whole number from 1 to
  16777216.

A file is also limited as a whole, before it takes much memory.
"""

import json
import math
import os
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

# Bytes of a JSON file. The largest tokenizer.json in use have 40 MB.
_LARGEST_FILE = 256 << 20
_LARGEST_NUMBER = 1 << 53
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
# The default of a value that must be there.
_REQUIRED: Any = object()

# An error class whose constructor takes the message.
Error = Callable[[str], ValueError]


class ForeignValues:
  """Named values of a file from elsewhere. Null counts as absent.

  A getter without a default raises the error if its value is absent.

  Attributes:
    origin: the file, and the key of the values in it, for messages.

  Args:
    origin: see above.
    values: the values; anything but a mapping raises the error.
    error: the class of all errors that are raised.
    prefix: precedes each name in `values`, e.g. "llama.".
  """

  def __init__(
    self, origin: str, values: Any, error: Error = ValueError, prefix: str = ""
  ):
    self.origin = origin
    self.error = error
    self._prefix = prefix
    if not isinstance(values, Mapping):
      raise error(
        f"{origin} holds {_shown(values)}; expected names with values"
        ' ({"name": value, ...}).'
      )
    self._values = values

  def names(self) -> list[str]:
    """Returns the names of all values."""
    return list(self._values)

  def get(self, name: str, default: Any = None) -> Any:
    """Returns a value of any type, or the default if it is absent."""
    value = self._values.get(self._prefix + name)
    return default if value is None else value

  def text(self, name: str, default: Any = _REQUIRED) -> Any:
    """Returns a text."""
    return self._checked(name, default, _is_text, "a text")

  def flag(self, name: str, default: Any = _REQUIRED) -> Any:
    """Returns true or false."""
    return self._checked(name, default, _is_flag, "true or false")

  def integer(
    self,
    name: str,
    default: Any = _REQUIRED,
    low: int = 0,
    high: int = _LARGEST_NUMBER,
  ) -> Any:
    """Returns a whole number from `low` to `high`."""
    fits, expected = _integers(low, high)
    return self._checked(name, default, fits, expected)

  def number(
    self,
    name: str,
    default: Any = _REQUIRED,
    low: float = -math.inf,
    high: float = math.inf,
  ) -> Any:
    """Returns a finite number from `low` to `high` as a float."""
    fits, expected = _numbers(low, high)
    value = self._checked(name, default, fits, expected)
    return value if value is None else float(value)

  def texts(self, name: str, default: Any = _REQUIRED) -> Any:
    """Returns a list of texts."""
    return self._list(name, default, _is_text, "a text")

  def integers(
    self,
    name: str,
    default: Any = _REQUIRED,
    low: int = 0,
    high: int = _LARGEST_NUMBER,
  ) -> Any:
    """Returns a list of whole numbers from `low` to `high`."""
    return self._list(name, default, *_integers(low, high))

  def numbers(self, name: str, default: Any = _REQUIRED) -> Any:
    """Returns a list of finite numbers."""
    return self._list(name, default, *_numbers(-math.inf, math.inf))

  def items(self, name: str, default: Any = _REQUIRED) -> Any:
    """Returns a list of anything."""
    return self._checked(name, default, _is_list, "a list")

  def section(self, name: str) -> "ForeignValues":
    """Returns values in a value; none if it is absent."""
    return self._child(name, self.get(name, {}))

  def updated(self, other: "ForeignValues") -> "ForeignValues":
    """Returns these values, with those of `other` added or in their place."""
    return ForeignValues(
      self.origin, {**self._values, **other._values}, self.error
    )

  def sections(self, name: str) -> list["ForeignValues"]:
    """Returns the members of a list, each with values; none if absent."""
    members = self.items(name, [])
    return [
      self._child(f"{name}[{index}]", member)
      for index, member in enumerate(members)
    ]

  def all_sections(self) -> "dict[str, ForeignValues]":
    """Returns all values, which must have values in them, by name."""
    return {name: self.section(name) for name in self._values}

  def all_integers(self, low: int, high: int) -> dict[str, int]:
    """Returns all values, which must be whole numbers from `low` to `high`."""
    fits, expected = _integers(low, high)
    for name, value in self._values.items():
      if not fits(value):
        self._raise(name, value, expected)
    return dict(self._values)

  def file_names(self, name: str, ending: str) -> list[str]:
    """Returns names of files in the folder of this file.

    The value is one name or a list. A path is refused, so that no file can
    name another folder. A link of that name is followed wherever it leads:
    whoever has the folder made it, as Hugging Face's cache does.

    Args:
      name: name of the value.
      ending: the ending that each name must have, such as ".h5".
    """
    value = self.get(name)
    files = value if isinstance(value, list) else [value]
    for file in files:
      if not (_is_text(file) and is_file_name(file)):
        self._raise(name, file, "the name of a file in the same folder")
      if not file.endswith(ending):
        self._raise(name, file, f"the name of a file that ends in {ending}")
    return files

  def _child(self, name: str, value: Any) -> "ForeignValues":
    return ForeignValues(f"{self.origin}: {name}", value, self.error)

  def _checked(
    self, name: str, default: Any, fits: Callable[[Any], bool], expected: str
  ) -> Any:
    value = self.get(name)
    if value is None:
      if default is _REQUIRED:
        raise self.error(f"{self.origin} has no {self._prefix + name!r}.")
      return default
    if not fits(value):
      self._raise(name, value, expected)
    return value

  def _list(
    self, name: str, default: Any, fits: Callable[[Any], bool], expected: str
  ) -> Any:
    values = self.items(name, default)
    if values is not default:
      for index, value in enumerate(values):
        if not fits(value):
          self._raise(f"{name}[{index}]", value, expected)
    return values

  def _raise(self, name: str, value: Any, expected: str) -> None:
    raise self.error(
      f"{self.origin}: {self._prefix + name!r} is {_shown(value)}; expected"
      f" {expected}."
    )


def read_json(
  path: str, error: Error = ValueError, if_missing: str = ""
) -> ForeignValues:
  """Reads a JSON file that holds named values.

  Args:
    path: local path of the file.
    error: the class of all errors that are raised.
    if_missing: a sentence for the message if there is no such file.

  Raises:
    ValueError: there is no such file, or its content is not JSON, too large or
      too deeply nested, or holds no named values. It is of the class `error`.
  """
  try:
    if os.path.getsize(path) > _LARGEST_FILE:
      raise error(
        f"{path} has {os.path.getsize(path):,} bytes; expected"
        f" {_LARGEST_FILE:,} or fewer."
      )
    with open(path, "rb") as file:
      content = file.read(_LARGEST_FILE + 1)
  except FileNotFoundError as cause:
    raise error(f"There is no file {path}. {if_missing}".strip()) from cause
  except OSError as cause:
    raise error(f"{path} cannot be read: {cause}.") from cause
  return ForeignValues(path, _parsed(path, content, error), error)


def read_json_if_present(path: str, error: Error = ValueError) -> ForeignValues:
  """Reads a JSON file as `read_json` does; a missing file has no values."""
  if not os.path.exists(path):
    return ForeignValues(path, {}, error)
  return read_json(path, error)


def _parsed(path: str, content: bytes, error: Error) -> Any:
  try:
    value = json.loads(content)
    if _HALF_CHARACTER.search(content):
      # Raises an error for one half of a character of two halves.
      json.dumps(value, ensure_ascii=False).encode()
  except RecursionError as cause:
    raise error(f"{path} is nested too deeply to be read.") from cause
  except UnicodeEncodeError as cause:
    raise error(
      f"{path} holds half a character, such as \\ud83d without the half after"
      " it. It is damaged."
    ) from cause
  except ValueError as cause:
    raise error(f"{path} cannot be read: it is no JSON ({cause}).") from cause
  return value


def is_file_name(text: str) -> bool:
  """Returns whether a text is the name of a file, and no path to one."""
  return bool(text) and text not in (".", "..") and not set(text) & set("/\\\0")


def _integers(low: int, high: int) -> tuple[Callable[[Any], bool], str]:
  def fits(value: Any) -> bool:
    return type(value) is int and low <= value <= high

  return fits, f"a whole number from {low} to {high}"


def _numbers(low: float, high: float) -> tuple[Callable[[Any], bool], str]:
  def fits(value: Any) -> bool:
    # Python compares a whole number of any size with a float.
    is_number = type(value) in (int, float) and abs(value) < 1e300
    return is_number and low <= value <= high

  expected = "a number"
  expected += f" from {low:g}" if low > -math.inf else ""
  expected += f" to {high:g}" if high < math.inf else ""
  return fits, expected


def _is_text(value: Any) -> bool:
  return isinstance(value, str)


def _is_flag(value: Any) -> bool:
  return isinstance(value, bool)


def _is_list(value: Any) -> bool:
  return isinstance(value, list)


def _shown(value: Any) -> str:
  """Returns a short form of a value of any size."""
  return reprlib.repr(value)
