"""Opens vocabularies of either kind."""

import os

from flan_tf.vocab import base
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.byte_pair import BytePairVocabulary
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary


def load_vocabulary(path: str | os.PathLike) -> Vocabulary:
  """Reads a vocabulary file, local or gs://: SentencePiece or byte pairs.

  Raises:
    VocabularyError: there is no such file, or it is not a vocabulary.
  """
  serialized, path = base.read_file(path)
  return vocabulary_from_bytes(serialized, source=path)


def vocabulary_from_bytes(
  serialized: bytes, source: str = "the given bytes"
) -> Vocabulary:
  """Builds a vocabulary from the bytes of its file.

  Args:
    serialized: a SentencePiece model, or the JSON file of a byte-pair
      vocabulary.
    source: where the bytes come from, for error messages.

  Raises:
    VocabularyError: the bytes have neither of these formats.
  """
  # A byte-pair file is a JSON object. A SentencePiece model starts with the
  # protocol buffer tag of its first piece, which is no brace.
  if serialized.lstrip()[:1] == b"{":
    return BytePairVocabulary(serialized, source)
  return SentencePieceVocabulary(serialized, source)
