"""Processes of random command lines: started, watched, and judged."""

import dataclasses
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

from tests.helpers.fuzz_commands import Command

SECONDS, MEGABYTES = 60.0, 2000
_STATUSES = (0, 1, 75, 130)
_BUG = "This is a bug of flan_tf."


@dataclasses.dataclass(frozen=True)
class Run:
  """A command line that was run.

  Attributes:
    seed: gives the command line.
    command: the command line, as one types it.
    status: the exit status; negative for the signal that ended it.
    seconds: duration.
    megabytes: the largest memory.
    problem: what went wrong: "", "slow", "memory", "status", "traceback", or
      "bug" for a traceback that says that it is one.
    output: the end of what it printed.
  """

  seed: str
  command: str
  status: int
  seconds: float
  megabytes: int
  problem: str
  output: str


class Started:
  """A command that runs in a process of its own."""

  def __init__(
    self, seed: str, command: Command, work: Callable[[Command, str], None]
  ):
    self._seed, self._command = seed, command
    self._folder = tempfile.mkdtemp(prefix="fuzz-")
    self._output = os.path.join(self._folder, "output")
    self._begin, self._megabytes, self._problem = time.monotonic(), 0, ""
    self._pid = fork(lambda: work(command, self._folder), self._output)

  def poll(self) -> Run | None:
    """Returns the run if it has ended; ends it if it goes wrong."""
    self._check_limits()
    pid, state = os.waitpid(self._pid, os.WNOHANG)
    if not pid:
      return None
    # Also what it has started.
    _kill_group(self._pid)
    status = os.waitstatus_to_exitcode(state)
    text = pathlib.Path(self._output).read_text(errors="replace")
    # Python's own function is recursive, and commands make very deep folders.
    subprocess.run(["rm", "-rf", self._folder], check=False)
    words = ["python", "-m", f"launch.{self._command.binary}"]
    return Run(
      self._seed,
      shlex.join([*words, *self._command.arguments]),
      status,
      round(time.monotonic() - self._begin, 1),
      self._megabytes,
      self._problem or judge(status, text),
      text[-3000:],
    )

  def _check_limits(self) -> None:
    self._megabytes = max(self._megabytes, _megabytes(self._pid))
    if self._megabytes > MEGABYTES:
      self._problem = "memory"
    elif time.monotonic() - self._begin > SECONDS:
      self._problem = "slow"
    if self._problem:
      _kill_group(self._pid)


def judge(status: int, text: str) -> str:
  """Returns what went wrong with a command that has ended; see `Run`."""
  if "Traceback (most recent call last)" in text:
    return "bug" if _BUG in text else "traceback"
  return "" if status in _STATUSES else "status"


def fork(work: Callable[[], None], output: str) -> int:
  """Calls a function in a new process whose output goes to a file.

  The process ends as Python would end.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  pid = os.fork()
  if pid:
    return pid
  status: object = 1
  try:
    os.setsid()
    with open(os.devnull) as nothing, open(output, "w") as file:
      os.dup2(nothing.fileno(), 0)
      os.dup2(file.fileno(), 1)
      os.dup2(file.fileno(), 2)
    encoding = {"encoding": "utf-8", "errors": "backslashreplace"}
    sys.stdin = open(0)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = open(2, "w", **encoding, closefd=False)
    work()
    status = 0
  except SystemExit as stop:
    status = stop.code or 0
    if not isinstance(status, int):
      print(status, file=sys.stderr)
      status = 1
  except BaseException:
    traceback.print_exc()
  finally:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def call_in_fork(work: Callable[[], None], purpose: str) -> None:
  """Calls a function in a new process; raises RuntimeError if it fails."""
  with tempfile.NamedTemporaryFile() as output:
    _, state = os.waitpid(fork(work, output.name), 0)
    if state:
      text = pathlib.Path(output.name).read_text(errors="replace")
      raise RuntimeError(f"{purpose}: {text}")


def _megabytes(pid: int) -> int:
  """Returns the memory of a process; 0 if it has ended."""
  try:
    with open(f"/proc/{pid}/statm", encoding="utf-8") as file:
      pages = int(file.read().split()[1])
  except (OSError, IndexError):
    return 0
  return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000


def _kill_group(pid: int) -> None:
  try:
    os.killpg(pid, signal.SIGKILL)
  except (ProcessLookupError, PermissionError):
    pass
