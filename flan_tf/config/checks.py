"""Checks that the configuration classes share. Each names the setting."""

from collections.abc import Iterable
from typing import Any

from flan_tf import name_lists


def one_of(key: str, value: str, known: tuple[str, ...]) -> None:
  """Raises ValueError, with a suggestion, unless `value` is in `known`."""
  if value not in known:
    raise ValueError(f"{key}: {name_lists.unknown_name('value', value, known)}")


def positive(key: str, value: int) -> None:
  """Raises ValueError unless `value` is 1 or more."""
  if value < 1:
    raise ValueError(f"{key}: expected a positive number, got {value}.")


def not_negative(key: str, value: float) -> None:
  """Raises ValueError unless `value` is 0 or more."""
  if value < 0:
    raise ValueError(f"{key}: expected 0 or more, got {value}.")


def names(key: str, value: str | Iterable[Any]) -> tuple[str, ...]:
  """Returns a list of names as a tuple of strings.

  >>> names("data.tasks", "rte, cb"), names("data.tasks", ["rte"])
  (('rte', 'cb'), ('rte',))

  Args:
    key: the setting, for error messages.
    value: comma-separated names (as flags and run.json give them), or a
      sequence of names.

  Raises:
    ValueError: `value` is neither, or a name contains a comma. run.json could
      not hold such a name.
  """
  if isinstance(value, str):
    return name_lists.split_names(value)
  if not isinstance(value, (list, tuple)) or not all(
    isinstance(name, str) for name in value
  ):
    raise ValueError(
      f"{key}: expected names, as a tuple of strings or as one string with"
      f" commas between them, got {value!r}."
    )
  for name in value:
    if "," in name or not name.strip():
      raise ValueError(
        f"{key}: expected names without commas, got {name!r}. A list is either"
        " one string with commas, or a tuple with one name in each string."
      )
  return tuple(name.strip() for name in value)
