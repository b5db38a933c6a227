"""Lists of names: reads and writes them, and suggests a similar known name."""

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
  """Returns an error message for an unknown name, with the most similar one.

  >>> unknown_name("task", "rtee", ["rte", "cb"])
  "Unknown task 'rtee'. Did you mean 'rte'? Known: cb, rte."
  """
  known = sorted(known)
  close = difflib.get_close_matches(name, known, n=1)
  suggestion = f" Did you mean {close[0]!r}?" if close else ""
  return f"Unknown {kind} {name!r}.{suggestion} Known: {', '.join(known)}."


def split_names(text: str) -> tuple[str, ...]:
  """Splits a comma-separated list: 'rte, cb' gives ('rte', 'cb')."""
  return tuple(name.strip() for name in text.split(",") if name.strip())


def join_names(names: Iterable[str]) -> str:
  """Writes names as a comma-separated list: ('rte', 'cb') gives 'rte,cb'."""
  return ",".join(names)
