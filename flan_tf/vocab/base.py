"""The interface of a vocabulary: text to token ids and back."""

import abc
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# The most pieces of a vocabulary from elsewhere. The largest in use have some
# 260,000.
MOST_PIECES = 1 << 21


class VocabularyError(ValueError):
  """Raised if a vocabulary file is missing or cannot be used."""


class Vocabulary(abc.ABC):
  """Converts text to token ids and back, in the graph and outside of it.

  `flan_tf.vocab.sentence_piece` and `flan_tf.vocab.byte_pair` implement it.

  Attributes:
    serialized: the bytes of the vocabulary's file.
    size: number of pieces.
    pad_id: the piece that fills the ends of rows.
    eos_id: the piece that ends a text.
    bos_id: the piece before the first token of a text.
    has_start: whether every text starts with `bos_id`. If not, the model reads
      the first token of a text without predicting it.
    special_pieces: the ids of control pieces such as "<|im_start|>", by their
      spelling. Tokenizing a text never gives one of them, except for pieces
      that a SentencePiece model declares as user-defined.
    fingerprint: 16 hexadecimal digits that identify the file.
  """

  serialized: bytes
  size: int
  pad_id: int
  eos_id: int
  bos_id: int
  has_start: bool = True
  special_pieces: Mapping[str, int]
  fingerprint: str

  @property
  def start_id(self) -> int | None:
    """The input before the first token of a text; None if there is none."""
    return self.bos_id if self.has_start else None

  @property
  def verbatim(self) -> "Vocabulary":
    """A vocabulary with equal pieces that adds no blank before a text."""
    return self

  def encode_special(self, text: str) -> np.ndarray:
    """Tokenizes a text in which special pieces are spelled out: int32 [n].

    It is meant for chat templates, never for texts of other people. Where two
    special pieces match, the longer one is taken. The text between special
    pieces is encoded without a blank before it.
    """
    longest_first = sorted(self.special_pieces, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    parts = re.split(f"({pattern})", text) if pattern else [text]
    # Texts and special pieces alternate, and a text comes first.
    texts = self.verbatim.encode(parts[::2])
    ids: list[np.ndarray] = [texts[0]]
    for piece, text_ids in zip(parts[1::2], texts[1:], strict=True):
      ids += [np.array([self.special_pieces[piece]], np.int32), text_ids]
    return np.concatenate(ids)

  def last_safe_cut(self, text: str) -> int:
    """Returns the last known place at which a text may be cut in two.

    The pieces of both halves together are those of the text, whatever may be
    appended to it. 0 if no such place is known.
    """
    del text
    return 0

  @abc.abstractmethod
  def with_special_pieces(self, pieces: Sequence[str]) -> "Vocabulary":
    """Returns a vocabulary with special pieces added after the present ones."""

  @abc.abstractmethod
  def tokenize(self, texts: Any) -> Any:
    """Tokenizes a batch in the graph: strings [n] -> ragged int32 [n, None]."""

  @abc.abstractmethod
  def detokenize(self, ids: Any) -> Any:
    """Decodes a batch in the graph: ragged int32 [n, None] -> strings [n].

    Start, end and padding pieces are left out, as in `decode`.
    """

  @property
  @abc.abstractmethod
  def resources(self) -> Any:
    """The lookup tables of `tokenize` and `detokenize`, for a `tf.Module`."""

  @abc.abstractmethod
  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    """Tokenizes texts outside the graph: one int32 array for each text."""

  @abc.abstractmethod
  def decode(self, ids: Iterable[int]) -> str:
    """Returns the text of ids; start, end and padding pieces are left out."""

  @abc.abstractmethod
  def pieces(self, ids: Iterable[int]) -> list[str]:
    """Returns the spelling of each id's piece."""

  def save(self, path: str | os.PathLike) -> None:
    """Writes the vocabulary's file, local or gs://, in one atomic step."""
    path = os.path.expanduser(os.fspath(path))
    tf.io.gfile.makedirs(os.path.dirname(path) or ".")
    unfinished = f"{path}.part{os.getpid()}"
    with tf.io.gfile.GFile(unfinished, "wb") as file:
      file.write(self.serialized)
    tf.io.gfile.rename(unfinished, path, overwrite=True)


def drop_special_ids(vocabulary: Vocabulary, ids: Any) -> Any:
  """Removes padding, start, end and unknown ids from ragged ids [n, None]."""
  special_ids = [vocabulary.pad_id, vocabulary.eos_id, vocabulary.bos_id]
  is_special = tf.reduce_any(ids.values[:, tf.newaxis] == special_ids, axis=1)
  is_kept = ~is_special & (ids.values < vocabulary.size)
  return tf.ragged.boolean_mask(ids, ids.with_values(is_kept))


def read_file(path: str | os.PathLike) -> tuple[bytes, str]:
  """Reads a vocabulary file, local or gs://.

  Returns:
    (the bytes, the path with the home folder expanded).

  Raises:
    VocabularyError: there is no such file.
  """
  path = os.path.expanduser(os.fspath(path))
  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      return file.read(), path
  except tf.errors.OpError as error:
    raise VocabularyError(
      f"There is no vocabulary file {path} ({type(error).__name__})."
      " Expected a SentencePiece model or a byte-pair vocabulary. `python -m"
      " launch.train_vocabulary` trains a SentencePiece model."
    ) from error
