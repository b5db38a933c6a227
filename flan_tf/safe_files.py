"""Writes files so that a stop at any moment leaves the old content or the new.

All functions take local paths and gs:// paths.
"""

import contextlib
import hashlib
import os
import re
from typing import Any

_TEMPORARY = ".tmp"
_CHUNK = 1 << 22  # bytes that are read at once


def write_bytes(path: str, content: bytes) -> None:
  """Writes a file under a temporary name, and then gives it its own name.

  A local file is on the disk before it gets its name, so that a power failure
  leaves no empty file behind. An object store shows a file only once all of it
  is there, so that it needs no temporary name.

  Args:
    path: path of the file. Its folder must exist. An old file is replaced; a
      link stays, and the file that it leads to is replaced. A device, such as
      /dev/stdout, is written to directly.
    content: everything that the file will hold.

  Raises:
    OSError: the file cannot be written. An old file is unchanged.
    tf.errors.OpError: the same, for a path that is not local.
  """
  if not is_local(path):
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "wb") as file:
      file.write(content)
    return
  path = os.path.realpath(path)
  if os.path.exists(path) and not os.path.isfile(path):
    with open(path, "wb") as device:
      device.write(content)
    return
  temporary = f"{path}.{os.getpid()}{_TEMPORARY}"
  try:
    with open(temporary, "wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    raise


def write_text(path: str, content: str) -> None:
  """Writes a text file in UTF-8; see `write_bytes`."""
  write_bytes(path, content.encode("utf-8"))


def open_to_append(path: str, kept: str) -> Any:
  """Opens a text file to append to a part of its old content.

  The old file stays until the kept part is written: a stop at any moment loses
  nothing of it.

  Args:
    path: path of the file, which need not exist.
    kept: text that the file begins with; it replaces the old content.

  Returns:
    A file with `write`, `flush` and `close`.
  """
  import tensorflow as tf

  write_text(path, kept)
  return tf.io.gfile.GFile(path, "a")


def flush_to_disk(path: str) -> None:
  """Waits until a local file that another library wrote is on the disk."""
  if is_local(path):
    with open(path, "rb") as file:
      os.fsync(file.fileno())


def is_local(path: str) -> bool:
  """Returns whether a path belongs to this machine's file system."""
  return "://" not in path


def remove_leftovers(path: str) -> None:
  """Removes what stopped processes left while they were writing a file.

  To be called by the only process that writes the file.
  """
  import tensorflow as tf

  folder, name = os.path.split(path)
  begun = re.compile(rf"{re.escape(name)}(\..*)?{re.escape(_TEMPORARY)}")
  for found in filter(begun.fullmatch, tf.io.gfile.listdir(folder or ".")):
    tf.io.gfile.remove(os.path.join(folder, found))


def sha256_of_file(path: str) -> str:
  """Returns the SHA-256 of a file of any size as 64 hexadecimal digits.

  Raises:
    OSError: a local file cannot be read.
    tf.errors.OpError: the same, for a path that is not local.
  """
  digest = hashlib.sha256()
  with _open_to_read(path) as file:
    while chunk := file.read(_CHUNK):
      digest.update(chunk)
  return digest.hexdigest()


def _open_to_read(path: str) -> Any:
  if is_local(path):
    return open(path, "rb")
  import tensorflow as tf

  return tf.io.gfile.GFile(path, "rb")


def sha256(content: bytes) -> str:
  """Returns the SHA-256 of a file's content as 64 hexadecimal digits."""
  return hashlib.sha256(content).hexdigest()
