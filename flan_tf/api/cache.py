"""Files that are made once on a machine, and used by every later run.

$FLAN_CACHE, by default ~/.cache/flan_tf
  rows/                 the shipped rows as a prepared TFDS directory
  shipped-4000.model    a small vocabulary, trained on these rows
  plans/                results of the TPU compiler
"""

import contextlib
import os
from collections.abc import Iterator

from flan_tf.task import table

# Pieces of the small vocabulary.
_PIECES = 4_000


class CacheError(OSError):
  """The folder of these files cannot be written; the message says why."""


def folder() -> str:
  """Returns the folder of these files, which may not exist yet."""
  return os.environ.get("FLAN_CACHE") or os.path.join(
    os.path.expanduser("~"), ".cache", "flan_tf"
  )


def data_dir(tfds_data_dir: str | os.PathLike = "") -> str:
  """Returns the TFDS directory to read: the given one, or the shipped rows.

  The shipped rows are written as a prepared TFDS directory at the first use, so
  that they are read in the same way as any other data.

  Args:
    tfds_data_dir: a prepared TFDS directory, local or gs://; "" for the shipped
      rows.

  Raises:
    CacheError: the shipped rows cannot be written.
  """
  if tfds_data_dir:
    return os.path.expanduser(os.fspath(tfds_data_dir))
  from flan_tf.data import shipped_rows

  with _naming_folder():
    return shipped_rows.prepare_shipped_rows(
      table.shipped_tasks(),
      table.shipped_rows_folder(),
      os.path.join(folder(), "rows"),
    )


def small_vocabulary() -> str:
  """Returns the path of a small vocabulary, trained at the first use.

  It is trained on the shipped rows of all tasks.

  Raises:
    CacheError: it cannot be written.
  """
  from flan_tf.data import language_model
  from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

  path = os.path.join(folder(), f"shipped-{_PIECES}.model")
  if not os.path.exists(path):
    texts = language_model.read_training_texts(
      table.shipped_tasks(), data_dir()
    )
    with _naming_folder():
      SentencePieceVocabulary.train(texts, _PIECES, path)
  return path


@contextlib.contextmanager
def _naming_folder() -> Iterator[None]:
  """Turns the errors of writing to the folder into a `CacheError`."""
  import tensorflow as tf

  try:
    yield
  except (OSError, tf.errors.OpError) as error:
    if folder() not in str(error):
      raise  # It is not about the folder.
    reason = getattr(error, "strerror", None) or getattr(error, "message", "")
    raise CacheError(
      f"The folder {folder()} cannot be written: {reason or error}. flan_tf"
      " keeps files there that are made once. Set the environment variable"
      " FLAN_CACHE to a folder that can be written."
    ) from error
