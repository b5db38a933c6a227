"""Trains vocabularies on the text that a run may see."""

import os
from collections.abc import Sequence

from flan_tf import name_lists
from flan_tf.api import cache
from flan_tf.api.task_table import tasks as task_table
from flan_tf.data import language_model
from flan_tf.task import holdout
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary


def train_vocabulary(
  output: str | os.PathLike,
  *,
  size: int = 4_000,
  kind: str = "bpe",
  held_out: str | Sequence[str] = (),
  data_dir: str = "",
) -> SentencePieceVocabulary:
  """Trains a SentencePiece vocabulary on the training rows of all tasks.

  Args:
    output: path of the file to write.
    size: number of pieces.
    kind: "bpe" or "unigram".
    held_out: clusters or tasks whose rows, and those of related clusters, are
      not read; a tuple of names, or one text with commas.
    data_dir: a prepared TFDS directory; "" for the shipped rows.

  Raises:
    ValueError: an unknown name, or there is too little text for `size` pieces.
  """
  if isinstance(held_out, str):
    held_out = name_lists.split_names(held_out)
  allowed = holdout.training_tasks(task_table.registry(), tuple(held_out))
  texts = language_model.read_training_texts(allowed, cache.data_dir(data_dir))
  return SentencePieceVocabulary.train(texts, size, os.fspath(output), kind)
