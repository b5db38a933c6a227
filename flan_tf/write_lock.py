"""Lets one process at a time write to a folder or to a file.

The process that writes leaves a small file, which it rewrites every few
seconds:

    WORKDIR/WRITER.json               for a folder
    answers.jsonl.writer.json         for a file, or a folder that must be empty

The file works on every file system that all hosts can see, gs:// included. It
says which process writes (host, process, when the process started) and counts
its heartbeats. Another process that wants to write looks at the file:

* The process is on this host and has ended: the new one takes over at once.
* The process is on this host and alive: `LockedError`, at once.
* The process is on another host, or this host was started again since: the new
  process waits until it sees the count grow (then `LockedError`), or for
  PATIENCE seconds (then it takes over). The clocks of the two hosts are not
  compared.

A window remains. On a local file system, two processes that start at the same
moment cannot both create the file. Where a dead process's file is taken over,
and on object stores, both could write it; so each reads it again after
SETTLE seconds, and the one whose text has been replaced gives up. A process
that sleeps for longer than PATIENCE and wakes up again notices with its next
heartbeat, or at its next `WriteLock.check`, that the lock is another's.
"""

import contextlib
import errno
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from flan_tf import safe_files

NAME = "WRITER.json"
_SUFFIX = ".writer.json"
# Seconds between two heartbeats.
BEAT = 10.0
# Seconds without a heartbeat after which a process on another host is dead.
PATIENCE = 120.0
# Seconds after which a lock that was taken over is read again.
SETTLE = 0.2

_log = logging.getLogger(__name__)


class LockedError(RuntimeError):
  """Another process is writing to the same place."""


class LockLostError(RuntimeError):
  """Another process has taken over the place that this one was writing to."""


class WriteLock:
  """The right to write to a place, held by this process.

  Args:
    path: path of the lock's file.
    place: the folder or file that the lock protects, for messages.
    purpose: what this process does there, for messages: "training".
  """

  def __init__(self, path: str, place: str, purpose: str):
    self._path, self._place = path, place
    self._owner = {**_this_process(), "purpose": purpose}
    self._owner["token"] = uuid.uuid4().hex
    self._beats = 0
    self._is_lost = False
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._beat, daemon=True)

  def acquire(self) -> None:
    """Takes the lock; waits if a process of another host may be dead.

    Raises:
      LockedError: another process holds it.
    """
    if not self._create():
      self._check_is_free(_read(self._path))
      self._write()
      time.sleep(SETTLE)
      other = _read(self._path)
      if other.get("token") != self._owner["token"]:
        raise _locked_error(self._place, other)
    self._thread.start()

  def check(self) -> None:
    """Checks that this process still holds the lock.

    To be called before something is replaced or removed.

    Raises:
      LockLostError: another process has taken over.
    """
    if self._is_lost or not self._is_ours():
      self._is_lost = True
      raise LockLostError(
        f"Another process has taken over {self._place}, because this one gave"
        f" no sign of life for {PATIENCE:.0f} seconds. This process stops and"
        " changes nothing there any more."
      )

  def release(self) -> None:
    """Gives the lock back, unless another process has taken it."""
    self._ended.set()
    if self._thread.is_alive():
      self._thread.join()
    if not self._is_lost and self._is_ours():
      _remove(self._path)

  def _create(self) -> bool:
    """Creates the lock's file; returns False if there is one already."""
    if not safe_files.is_local(self._path):
      if _read(self._path):
        return False
      self._write()
      time.sleep(SETTLE)
      return self._is_ours()
    # A link appears with its whole content, and only one process can make it.
    own = f"{self._path}.{self._owner['token']}"
    safe_files.write_bytes(own, self._content())
    try:
      os.link(own, self._path)
    except FileExistsError:
      return False
    except OSError:  # A file system without links, such as that of a bucket.
      if os.path.exists(self._path):
        return False
      self._write()
    finally:
      os.remove(own)
    return True

  def _check_is_free(self, other: dict[str, Any]) -> None:
    """Raises LockedError if a process that is alive holds the lock."""
    if not other or _is_dead_here(other):
      return
    if _is_here(other):
      raise _locked_error(self._place, other)
    _log.warning(
      "%s: process %s on host %s was writing here. Waiting up to %.0f seconds"
      " for a sign of life from it.",
      self._place,
      other.get("process"),
      other.get("host"),
      PATIENCE,
    )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
      time.sleep(min(1.0, PATIENCE / 10))
      now = _read(self._path)
      if not now:
        return
      if now != other:
        raise _locked_error(self._place, now)

  def _beat(self) -> None:
    """Rewrites the file until the lock is released or lost."""
    while not self._ended.wait(BEAT):
      try:
        if not self._is_ours():
          self._is_lost = True
          return
        self._beats += 1
        self._write()
      except Exception as error:  # A full disk must not end the work.
        _log.debug("No heartbeat in %s: %s", self._path, error)

  def _is_ours(self) -> bool:
    other = _read(self._path)
    # A missing file belongs to nobody: the folder was removed or cleaned.
    return not other or other.get("token") == self._owner["token"]

  def _write(self) -> None:
    safe_files.write_bytes(self._path, self._content())

  def _content(self) -> bytes:
    time_now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    value = {**self._owner, "time": time_now, "beats": self._beats}
    return (json.dumps(value, indent=2) + "\n").encode()


@contextlib.contextmanager
def hold(
  place: str, purpose: str, *, beside: bool = False
) -> Iterator[WriteLock]:
  """Holds the right to write to a place while a `with` block runs.

  Args:
    place: a folder, which is made if it does not exist, or a file.
    purpose: what this process does there, for messages: "training".
    beside: whether the lock's file lies beside the place and not in it: for a
      file, and for a folder that must be empty.

  Yields:
    The lock; `WriteLock.check` tells whether it is still held.

  Raises:
    LockedError: another process writes to the same place.
    OSError: the file of the lock cannot be written there.
  """
  import tensorflow as tf

  place = place.rstrip("/")
  path = place + _SUFFIX if beside else tf.io.gfile.join(place, NAME)
  folder = os.path.dirname(path)
  if not beside and tf.io.gfile.exists(place) and not tf.io.gfile.isdir(place):
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), place)
  is_new = bool(folder) and not tf.io.gfile.exists(folder)
  if is_new:
    tf.io.gfile.makedirs(folder)
  lock = WriteLock(path, place, purpose)
  lock.acquire()
  try:
    yield lock
  finally:
    lock.release()
    if is_new and safe_files.is_local(folder):
      with contextlib.suppress(OSError):
        os.rmdir(folder)  # If nothing was written.


def _this_process() -> dict[str, Any]:
  """Describes this process well enough to find out later if it has ended."""
  return {
    "host": socket.gethostname(),
    "boot": _first_line("/proc/sys/kernel/random/boot_id"),
    "namespace": _link("/proc/self/ns/pid"),
    "process": os.getpid(),
    "began": _start_time(os.getpid()),
  }


def _is_here(other: dict[str, Any]) -> bool:
  """Returns whether a process ran where this one can see it."""
  own = _this_process()
  return all(
    other.get(key) == own[key] for key in ("host", "boot", "namespace")
  )


def _is_dead_here(other: dict[str, Any]) -> bool:
  """Returns whether a process surely has ended."""
  if not _is_here(other):
    return False
  process = other.get("process")
  if not isinstance(process, int):
    return True
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return True
  except PermissionError:
    return False  # It is another user's.
  # Another process may have got the number of one that has ended.
  return other.get("began") != _start_time(process)


def _start_time(process: int) -> str:
  """Returns when a process started, in ticks since the boot; "" if unknown."""
  try:
    with open(f"/proc/{process}/stat", encoding="utf-8") as file:
      after_name = file.read().rpartition(")")[2].split()
  except OSError:
    return ""
  # A process that has ended but was not waited for has the state Z.
  return "" if after_name[0] == "Z" else after_name[19]


def _first_line(path: str) -> str:
  try:
    with open(path, encoding="utf-8") as file:
      return file.readline().strip()
  except OSError:
    return ""


def _link(path: str) -> str:
  try:
    return os.readlink(path)
  except OSError:
    return ""


def _read(path: str) -> dict[str, Any]:
  """Returns what the file of a lock says; empty if it is missing or torn."""
  import tensorflow as tf

  try:
    with tf.io.gfile.GFile(path, "r") as file:
      value = json.loads(file.read())
  except (tf.errors.OpError, OSError, ValueError):
    return {}
  return value if isinstance(value, dict) else {}


def _remove(path: str) -> None:
  import tensorflow as tf

  with contextlib.suppress(tf.errors.OpError, OSError):
    tf.io.gfile.remove(path)


def _locked_error(place: str, other: dict[str, Any]) -> LockedError:
  return LockedError(
    f"Process {other.get('process')} on host {other.get('host')} is writing to"
    f" {place} ({other.get('purpose')}, last sign of life at"
    f" {other.get('time')}). Wait until it ends, or choose another place."
  )
