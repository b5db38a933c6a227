"""Folders that models are written to: taken only if empty, never left partial.

One process at a time writes to a target; see `flan_tf.write_lock`. Targets are
local paths or gs:// paths.
"""

import contextlib
import os
import re
from collections.abc import Iterator

import tensorflow as tf

from flan_tf import write_lock
from flan_tf.bridges.model_source import SourceError

_PURPOSE = "converting a model"


def check_is_free(target: str) -> None:
  """Raises SourceError unless a folder does not exist, or is empty."""
  files = tf.io.gfile
  if files.exists(target) and (
    not files.isdir(target) or files.listdir(target)
  ):
    raise SourceError(
      f"There is something at {target} already. Name a folder that does not"
      " exist, or remove this one first."
    )


@contextlib.contextmanager
def removed_on_error(target: str) -> Iterator[None]:
  """Takes a target; removes it if the `with` block fails or is interrupted.

  Raises:
    SourceError: there is something at the target.
    LockedError: another process is writing there.
  """
  with _taken(target) as lock:
    try:
      yield
    except BaseException:  # Ctrl-C, too, must leave nothing half-written.
      lock.check()
      _remove(target)
      raise


@contextlib.contextmanager
def renamed_when_complete(target: str) -> Iterator[str]:
  """Yields a folder to write, which gets the name `target` at the end.

  If the block fails or is interrupted, the folder is removed. So are folders
  that killed processes left, since only the holder of the lock writes them.

  Raises:
    SourceError: there is something at the target.
    LockedError: another process is writing there.
  """
  partial = f"{target}.part{os.getpid()}"
  with _taken(target) as lock:
    for leftover in _partial_folders(target):
      _remove(leftover)
    try:
      yield partial
      lock.check()
      tf.io.gfile.rename(partial, target, overwrite=True)
    except BaseException:
      _remove(partial)
      raise


@contextlib.contextmanager
def _taken(target: str) -> Iterator[write_lock.WriteLock]:
  """Holds the right to write to a target that is free."""
  check_is_free(target)
  with write_lock.hold(target, _PURPOSE, beside=True) as lock:
    check_is_free(target)  # Another process may just have written it.
    yield lock


def _partial_folders(target: str) -> list[str]:
  """Returns the folders that `renamed_when_complete` made for a target."""
  parent, name = os.path.split(target.rstrip("/"))
  partial = re.compile(re.escape(name) + r"\.part\d+/?$")
  if not tf.io.gfile.isdir(parent or "."):
    return []
  return [
    os.path.join(parent, found)
    for found in tf.io.gfile.listdir(parent or ".")
    if partial.match(found)
  ]


def _remove(folder: str) -> None:
  with contextlib.suppress(tf.errors.NotFoundError):
    tf.io.gfile.rmtree(folder)
