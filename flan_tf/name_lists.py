"""Lists of names: reads them, and suggests the name that a user may have meant."""

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
  """Says that `name` is unknown, what was probably meant, and what exists.

  >>> unknown_name("task", "rtee", ["rte", "cb"])
  "Unknown task 'rtee'. Did you mean 'rte'? Known: cb, rte."
  """
  known = sorted(known)
  close = difflib.get_close_matches(name, known, n=1)
  meant = f" Did you mean {close[0]!r}?" if close else ""
  return f"Unknown {kind} {name!r}.{meant} Known: {', '.join(known)}."


def split_names(names: str) -> tuple[str, ...]:
  """Splits a comma-separated list: 'rte, cb' gives ('rte', 'cb')."""
  return tuple(name.strip() for name in names.split(",") if name.strip())
