"""Folders that models are written to: taken only if empty, never left partial.

All functions take local paths and gs:// paths.
"""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from flan_tf.bridges.model_source import SourceError


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
  """Removes the target folder if the `with` block fails or is interrupted."""
  try:
    yield
  except BaseException:  # Ctrl-C, too, must leave nothing half-written.
    _remove(target)
    raise


@contextlib.contextmanager
def renamed_when_complete(target: str) -> Iterator[str]:
  """Yields a folder to write, which gets the name `target` at the end.

  If the block fails or is interrupted, the folder is removed.
  """
  partial = f"{target}.part{os.getpid()}"
  with removed_on_error(partial):
    yield partial
    tf.io.gfile.rename(partial, target, overwrite=True)


def _remove(folder: str) -> None:
  with contextlib.suppress(tf.errors.NotFoundError):
    tf.io.gfile.rmtree(folder)
