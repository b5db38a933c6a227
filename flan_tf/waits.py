"""Lines in the log while something is waited for, and waits that end.

A network that does not answer is tried again by most libraries, for minutes and
without a word. These functions say what is waited for.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

_Value = TypeVar("_Value")

# Seconds between two lines: in the first minute, and after it.
EVERY = 10.0
LATER = 60.0
_FIRST_LINES = 6

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def announced(
  describe: str | Callable[[], str], later: float = LATER
) -> Iterator[None]:
  """Logs a line at intervals for as long as a `with` block runs.

  The line has the text and the time since the block began: "Looking for the TPU
  'a' (20 s)". There is no line if the block ends within `EVERY` seconds.

  Args:
    describe: the text, or a function that returns it.
    later: seconds between two lines after the first minute.
  """
  start = time.monotonic()
  ended = threading.Event()

  def log_lines() -> None:
    lines = 0
    while not ended.wait(EVERY if lines < _FIRST_LINES else later):
      lines += 1
      text = describe if isinstance(describe, str) else describe()
      _log.info("%s (%.0f s)", text, time.monotonic() - start)

  thread = threading.Thread(target=log_lines, daemon=True)
  thread.start()
  try:
    yield
  finally:
    ended.set()
    thread.join()


def call_within(
  seconds: float, work: Callable[[], _Value], description: str
) -> _Value:
  """Calls a function that may never return; gives up after some time.

  The function runs in a thread, which is left alone if it does not end in time.
  A line is logged every `EVERY` seconds.

  Args:
    seconds: the limit.
    work: the function.
    description: what is waited for, for the lines: "Waiting for gs://bucket".

  Returns:
    What the function returns.

  Raises:
    TimeoutError: the function did not return in time. All errors of the
      function are raised, too.
  """
  results: list[_Value] = []
  errors: list[BaseException] = []

  def run() -> None:
    try:
      results.append(work())
    except BaseException as error:
      errors.append(error)

  thread = threading.Thread(target=run, daemon=True)
  with announced(description, later=EVERY):
    thread.start()
    thread.join(seconds)
  if errors:
    raise errors[0]
  if not results:
    raise TimeoutError(
      f"{description}: no answer within {seconds:.0f} seconds."
    )
  return results[0]
