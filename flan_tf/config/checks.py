"""Checks that the configuration classes share. Each names the setting."""

from collections.abc import Iterable
from typing import Any

from flan_tf import name_lists

LARGEST_INT32 = 2**31 - 1
LARGEST_INT64 = 2**63 - 1
LARGEST_FLOAT32 = 3.4e38
SMALLEST_FLOAT32 = 1.2e-38
IN_INT32 = "TensorFlow counts in 32 bits"
ROW_IN_MEMORY = "a row is held in memory as a whole"
# Tokens of the longest rows. A row is one array, and attention compares all of
# its tokens with one another.
LONGEST_ROW = 1 << 20
# Tokens of the largest batches, more than any published training had. Each host
# makes whole batches, with 24 bytes for each token.
LARGEST_BATCH = 1 << 27


def one_of(key: str, value: str, known: tuple[str, ...]) -> None:
  """Raises ValueError, with a suggestion, unless `value` is in `known`."""
  if value not in known:
    raise ValueError(f"{key}: {name_lists.unknown_name('value', value, known)}")


def finite(key: str, value: float, hint: str = "") -> None:
  """Raises ValueError if `value` is NaN, or infinite in float32.

  Args:
    key: the setting, for error messages.
    value: its value.
    hint: what would work; the last sentence of the message.
  """
  if not abs(value) <= LARGEST_FLOAT32:
    raise ValueError(
      f"{key}: expected a number that float32 can hold (at most"
      f" {LARGEST_FLOAT32:g}), got {value}. {hint}".rstrip()
    )


def positive(
  key: str, value: int, most: int = LARGEST_INT32, reason: str = IN_INT32
) -> None:
  """Checks a whole number that counts something.

  Args:
    key: the setting, for error messages.
    value: its value.
    most: the largest value that makes sense.
    reason: what the limit comes from; ends the error message.

  Raises:
    ValueError: `value` is less than 1, or more than `most`.
  """
  if value < 1:
    raise ValueError(f"{key}: expected a positive number, got {value}.")
  at_most(key, value, most, reason)


def not_negative(
  key: str, value: int, most: int = LARGEST_INT32, reason: str = IN_INT32
) -> None:
  """Like `positive`, for a number that may be 0."""
  at_least(key, value, 0)
  at_most(key, value, most, reason)


def at_least(key: str, value: float, least: float, hint: str = "") -> None:
  """Raises ValueError unless `value` is finite and `least` or more.

  Args:
    key: the setting, for error messages.
    value: its value.
    least: the smallest value that makes sense.
    hint: what would work; the last sentence of the message.
  """
  finite(key, value, hint)
  if value < least:
    raise ValueError(
      f"{key}: expected {least} or more, got {value}. {hint}".rstrip()
    )


def at_most(key: str, value: float, most: float, reason: str) -> None:
  """Raises ValueError unless `value` is `most` or less.

  Args:
    key: the setting, for error messages.
    value: its value.
    most: the largest value that makes sense.
    reason: what the limit comes from; ends the error message.
  """
  if not value <= most:
    raise ValueError(
      f"{key}: expected {most:,} or less, got {value}: {reason}."
    )


def above_zero(key: str, value: float) -> None:
  """Raises ValueError unless `value` is finite and above 0, in float32 too."""
  finite(key, value)
  if value < SMALLEST_FLOAT32:
    raise ValueError(
      f"{key}: expected a number above 0 ({SMALLEST_FLOAT32:g} or more), got"
      f" {value}."
    )


def batch_size(key: str, rows: int, length_key: str, length: int) -> None:
  """Checks the size of a batch, whose rows are in memory at the same time.

  Args:
    key: the setting of the rows, for error messages.
    rows: number of rows, positive.
    length_key: the setting of the length.
    length: tokens of a row, positive.

  Raises:
    ValueError: the batch has more tokens than `LARGEST_BATCH`.
  """
  if rows * length > LARGEST_BATCH:
    raise ValueError(
      f"{key}: {rows:,} rows of {length:,} tokens ({length_key}) are"
      f" {rows * length:,} tokens; expected {LARGEST_BATCH:,} or fewer, here"
      f" {max(LARGEST_BATCH // length, 1):,} rows, since a host holds a whole"
      " batch in memory."
    )


def seed(key: str, value: int) -> None:
  """Raises ValueError unless `value` is a whole number of 64 bits."""
  if not -LARGEST_INT64 <= value <= LARGEST_INT64:
    raise ValueError(f"{key}: expected a number of 64 bits, got {value}.")


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
