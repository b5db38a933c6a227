"""Where a run reads its data: a prepared directory, or the shipped rows."""

import os

import tasks

# Pieces of the vocabulary that is made where none is named.
_PIECES = 4_000


def data_dir(tfds_data_dir: str) -> str:
  """The directory itself, or one with the rows that the project ships.

  The shipped rows are written out as a prepared TFDS directory at first use,
  below $FLAN_CACHE (by default ~/.cache/flan_tf), so that they are read the
  way any data set is.
  """
  from flan_tf.data import shipped_rows

  if tfds_data_dir:
    return os.path.expanduser(tfds_data_dir)
  rows = os.path.join(os.path.dirname(tasks.__file__), "rows")
  return str(
    shipped_rows.prepare_sample_rows(
      tasks.ALL, rows, os.path.join(cache(), "rows")
    )
  )


def vocabulary() -> str:
  """A small vocabulary, trained on the shipped rows at first use: its path."""
  from flan_tf.data import pipeline
  from flan_tf.vocab.vocabulary import SentencePieceVocabulary

  path = os.path.join(cache(), f"shipped-{_PIECES}.model")
  if not os.path.exists(path):
    texts = pipeline.training_texts(tasks.ALL, data_dir(""))
    SentencePieceVocabulary.train(texts, _PIECES, path)
  return path


def cache() -> str:
  """Where things that are made once are kept."""
  return os.environ.get("FLAN_CACHE") or os.path.join(
    os.path.expanduser("~"), ".cache", "flan_tf"
  )
