"""Ends a binary at a signal: with a sentence and a status, no traceback.

Files are written under temporary names and renamed, so that a stop at any
moment leaves whole files.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

# Exit statuses: EX_TEMPFAIL, for schedulers; and that of programs that Ctrl-C
# ends, which nobody wants to be started again.
TRY_AGAIN, INTERRUPTED = os.EX_TEMPFAIL, 130
_STATUS = {
  signal.SIGINT: INTERRUPTED,
  signal.SIGTERM: TRY_AGAIN,
  signal.SIGHUP: TRY_AGAIN,
}
# Seconds until a process ends whose main thread never returns to Python, such
# as one that waits for a lost host.
GRACE = 10.0


def status_after(signal_name: str) -> int:
  """Returns the exit status of a program that a signal stopped.

  Args:
    signal_name: name of the signal, such as "SIGTERM".
  """
  return _STATUS[signal.Signals[signal_name]]


class Stopped(KeyboardInterrupt):
  """A signal has asked this process to stop.

  It is raised between two steps of the Python code of the main thread, as
  Python does for Ctrl-C.

  Attributes:
    status: the exit status, see `launch.failures`.
  """

  def __init__(self, number: int):
    received = signal.Signals(number)
    self.status = _STATUS[received]
    name = "Ctrl-C" if received == signal.SIGINT else received.name
    super().__init__(f"Stopped by {name}.")


@contextlib.contextmanager
def raised_by_signals() -> Iterator[None]:
  """Raises `Stopped` in a `with` block at SIGINT, SIGTERM or SIGHUP.

  A signal that was ignored before, as SIGHUP is under nohup, stays ignored. A
  second signal ends the process at once. If the main thread is in a call of
  another library that does not return, the process ends after `GRACE` seconds.
  """
  if threading.current_thread() is not threading.main_thread():
    yield  # Python allows handlers in the main thread only.
    return
  before = {}
  for number in _STATUS:
    if signal.getsignal(number) not in (signal.SIG_IGN, None):
      before[number] = signal.signal(number, _raise)
  try:
    with _ended_after_grace():
      yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _raise(number: int, frame: object) -> NoReturn:
  del frame
  signal.signal(number, signal.SIG_DFL)
  raise Stopped(number)


@contextlib.contextmanager
def _ended_after_grace() -> Iterator[None]:
  """Ends the process if a signal's handler does not run in time."""
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  # Python writes the number of each signal there, also while the main thread is
  # elsewhere.
  before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  thread = threading.Thread(target=_watch, args=(reader,), daemon=True)
  thread.start()
  try:
    yield
  finally:
    signal.set_wakeup_fd(before)
    os.close(writer)


def _watch(reader: int) -> None:
  """Reads numbers of signals until the other end is closed."""
  with open(reader, "rb", buffering=0) as numbers:
    while number := numbers.read(1):
      if number[0] in _STATUS:
        threading.Thread(
          target=_end_unless_handled, args=number, daemon=True
        ).start()


def _end_unless_handled(number: int) -> None:
  time.sleep(GRACE)
  # The handler was not called yet, and no other one has taken its place.
  if signal.getsignal(number) is _raise:
    stop = Stopped(number)
    print(stop, file=sys.stderr, flush=True)
    os._exit(stop.status)
