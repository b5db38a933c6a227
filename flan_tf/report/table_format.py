"""Writes tables of texts as Markdown and for the terminal."""

import re
import textwrap

from flan_tf.report import cells

# Rows of texts; the first row has the column headings.
Table = list[list[str]]

_GAP = "  "  # between the columns of a table for a terminal
# A narrower first column would break most names more than once.
_MIN_NAME_WIDTH = 20


def to_markdown(table: Table) -> str:
  """Returns a GitHub-flavored Markdown table; numbers are right-aligned.

  Spaces inside numbers are non-breaking: a wide table scrolls instead.
  """
  is_numeric = numeric_columns(table)
  headings, *body = [
    [
      _without_breaks(escape_markdown(cell))
      if numeric
      else escape_markdown(cell)
      for cell, numeric in zip(row, is_numeric, strict=True)
    ]
    for row in table
  ]
  marks = ["---:" if numeric else "---" for numeric in is_numeric]
  lines = (headings, marks, *body)
  return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_text(table: Table, max_width: int | None = None) -> str:
  """Returns a table with aligned columns, for a terminal.

  Args:
    table: the table.
    max_width: width of the terminal in characters. In a wider table, headings
      and the names in the first column are wrapped.
  """
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  if max_width is not None and _total_width(widths) > max_width:
    widths = _narrow_widths(table, max_width)
  is_numeric = numeric_columns(table)
  headings, *body = table
  wrapped = [
    _wrap(heading, width)
    for heading, width in zip(headings, widths, strict=True)
  ]
  height = max(map(len, wrapped))
  # The last lines of all headings are side by side.
  columns = [[""] * (height - len(cell)) + cell for cell in wrapped]
  lines = [
    _align(list(row), widths, is_numeric) for row in zip(*columns, strict=True)
  ]
  lines.append(_GAP.join("-" * width for width in widths))
  for name, *values in body:
    first, *rest = _wrap(name, widths[0], indent="  ")
    lines.append(_align([first, *values], widths, is_numeric))
    lines.extend(rest)
  return "\n".join(lines)


def _total_width(widths: list[int]) -> int:
  return sum(widths) + len(_GAP) * (len(widths) - 1)


def _narrow_widths(table: Table, max_width: int) -> list[int]:
  """Returns column widths for a table that is wider than the terminal.

  The table can still be wider than `max_width`: only headings and names wrap.
  """
  headings, *body = table
  widths = []
  for column in zip(headings, *body, strict=True):
    words = column[0].split() or [""]
    widths.append(max(map(len, [*words, *column[1:]])))
  names = max(len(name) for name, *_ in table)
  room = max_width - _total_width(widths) + widths[0]
  return [min(names, max(room, _MIN_NAME_WIDTH)), *widths[1:]]


def _align(row: list[str], widths: list[int], is_numeric: list[bool]) -> str:
  return _GAP.join(
    cell.rjust(width) if numeric else cell.ljust(width)
    for cell, width, numeric in zip(row, widths, is_numeric, strict=True)
  ).rstrip()


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
  """Breaks a text after spaces and underscores into lines; at least one."""
  if len(text) <= width:
    return [text]
  # textwrap breaks lines after hyphens, but not after underscores.
  lines = textwrap.wrap(
    text.replace("-", "\0").replace("_", "-"), width, subsequent_indent=indent
  )
  return [line.replace("-", "_").replace("\0", "-") for line in lines]


def escape_markdown(text: str) -> str:
  """Returns a text on one line, with the marks of Markdown escaped.

  Underscores within words are not escaped: they are no markup, and names stay
  readable.
  """
  text = " ".join(text.split())
  return re.sub(r"([\\|`*<>]|\b_|_\b|\](?=\())", r"\\\1", text)


def _without_breaks(cell: str) -> str:
  return re.sub(r" (?=[(±→\d–+-]|to )", "\N{NO-BREAK SPACE}", cell)


def numeric_columns(table: Table) -> list[bool]:
  """Returns for each column whether it holds numbers, and should align right.

  Every cell must begin with a number or stand for a missing one, and at least
  one must begin with a number.
  """
  columns = list(zip(*table[1:], strict=True)) or [()] * len(table[0])
  return [_is_numeric(column) for column in columns]


def _is_numeric(column: tuple[str, ...]) -> bool:
  number = re.compile(r"[+-]?\d")
  missing = (cells.ABSENT, cells.UNDEFINED)
  return any(number.match(cell) for cell in column) and all(
    number.match(cell) or cell.startswith(missing) for cell in column
  )
