"""Folders that are filled and then renamed, and what killed processes leave.

A process holds a lock on a file in its unfinished folder. The lock ends with
the process, however it ends, so that a later process can tell a folder that is
being filled from one that was left behind.
"""

import contextlib
import fcntl
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from absl import logging

_PREFIX = ".incomplete-"
_LOCK = "lock"
# Seconds in which a new folder may not have its lock yet.
_SECONDS_TO_LOCK = 60.0
# Seconds after which a folder is left behind if a lock cannot tell: it has
# none, or the file system knows no locks.
_SECONDS_TO_FILL = 24 * 3_600.0


@contextlib.contextmanager
def unfinished_folder(parent: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a new folder below `parent`; removes what is left in it at the end.

  Args:
    parent: a local folder.
  """
  folder = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
  try:
    with open(folder / _LOCK, "wb") as lock:
      with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX)
      yield folder
  finally:
    shutil.rmtree(folder, ignore_errors=True)


def remove_left_behind(parent: pathlib.Path) -> None:
  """Removes the unfinished folders below `parent` whose process has ended.

  A folder that cannot be removed stays.
  """
  for folder in parent.glob(f"{_PREFIX}*"):
    with contextlib.suppress(OSError):
      if _is_left_behind(folder):
        logging.info("%s was left behind; it is removed.", folder)
        shutil.rmtree(folder, ignore_errors=True)


def _is_left_behind(folder: pathlib.Path) -> bool:
  age = time.time() - folder.stat().st_mtime
  if age < _SECONDS_TO_LOCK:
    return False
  try:
    with open(folder / _LOCK, "r+b") as lock:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False  # Its process lives.
  except OSError:
    return age > _SECONDS_TO_FILL
  return True
