"""Files that are made once on a machine, and used by every later run.

$FLAN_CACHE, by default ~/.cache/flan_tf
  rows/                 the shipped rows as a prepared TFDS directory
  shipped-4000.model    a small vocabulary, trained on these rows
  plans/                results of the TPU compiler
"""

import os

from flan_tf.task import table

# Pieces of the small vocabulary.
_PIECES = 4_000


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
  """
  if tfds_data_dir:
    return os.path.expanduser(os.fspath(tfds_data_dir))
  from flan_tf.data import shipped_rows

  return str(
    shipped_rows.prepare_shipped_rows(
      table.shipped_tasks(),
      table.shipped_rows_folder(),
      os.path.join(folder(), "rows"),
    )
  )


def small_vocabulary() -> str:
  """Returns the path of a small vocabulary, trained at the first use.

  It is trained on the shipped rows of all tasks.
  """
  from flan_tf.data import language_model
  from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

  path = os.path.join(folder(), f"shipped-{_PIECES}.model")
  if not os.path.exists(path):
    texts = language_model.read_training_texts(
      table.shipped_tasks(), data_dir()
    )
    SentencePieceVocabulary.train(texts, _PIECES, path)
  return path
