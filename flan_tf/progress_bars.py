"""Decides whether long work draws progress bars.

The binaries do so on a terminal. Functions that are called from Python print
nothing, unless the program calls `enable_progress_bars` first.
"""

import sys

_enabled = False


def enable_progress_bars() -> None:
  """Lets this process draw progress bars, if its output is a terminal."""
  global _enabled
  _enabled = True


def shows_progress_bars() -> bool:
  """Returns whether progress bars are to be drawn on standard output."""
  return _enabled and sys.stdout.isatty()
