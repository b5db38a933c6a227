"""SentencePiece vocabularies, and how they are trained.

The paper's vocabulary has 32,000 pieces of byte-pair encoding. Vocabularies
trained here keep every byte of a text: nothing is normalized, characters
without a piece become bytes, and a newline is a piece of its own.
SentencePiece's default rules would turn a newline into a blank, and the
OPTIONS of a prompt would then be on one line.
"""

import functools
import hashlib
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_text
from absl import logging
from sentencepiece import sentencepiece_model_pb2

from flan_tf.vocab import base
from flan_tf.vocab.base import Vocabulary, VocabularyError

# The module creates its classes when it is imported, so pyright does not see
# them.
_MESSAGES: Any = sentencepiece_model_pb2

PAD, EOS, UNK = 0, 1, 2  # Ids in the vocabularies trained here.
_NO_PIECE = "<none>"  # A name that no model has a piece for.
# Characters of a line. SentencePiece ignores longer lines, so that training
# cuts them.
_LONGEST_LINE = 4_000


class SentencePieceVocabulary(Vocabulary):
  """A SentencePiece vocabulary; see `Vocabulary` for further attributes.

  Attributes:
    pad_id: 0 if the model does not define a padding piece.
    bos_id: the start piece, or the padding piece if the model has no start
      piece. Vocabularies trained here have none, like those of T5 and FLAN.
      If there is neither, the end-of-text piece.
    has_start: whether the model has a start piece or a padding piece.
  """

  def __init__(self, serialized: bytes, source: str = "the given bytes"):
    """Builds a vocabulary from a serialized SentencePiece model.

    Args:
      serialized: the bytes of the model's file.
      source: where the bytes come from, for error messages.

    Raises:
      VocabularyError: the bytes are not a model, or the model has no
        end-of-text piece.
    """
    processor = sentencepiece.SentencePieceProcessor()
    try:
      if not serialized:
        raise RuntimeError("it is empty")
      processor.LoadFromSerializedProto(serialized)
    # ValueError: the library cannot decode its own message on damaged bytes.
    except (RuntimeError, TypeError, OSError, ValueError) as error:
      raise VocabularyError(
        f"The {len(serialized)} bytes from {source} are not a SentencePiece"
        " model. `python -m launch.train_vocabulary` or spm_train makes one."
      ) from error
    if processor.eos_id() < 0:
      raise VocabularyError(
        f"The SentencePiece model from {source} has no end-of-text piece, which"
        " separates prompts from targets. Train it with --eos_id=1."
      )
    self.serialized = serialized
    self._processor = processor
    self.size = processor.GetPieceSize()
    self.eos_id = processor.eos_id()
    self.pad_id = max(processor.pad_id(), 0)
    starts = [i for i in (processor.bos_id(), processor.pad_id()) if i >= 0]
    self.has_start = bool(starts)
    self.bos_id = starts[0] if starts else self.eos_id
    self.fingerprint = hashlib.sha256(serialized).hexdigest()[:16]

  @classmethod
  def load(cls, path: str | os.PathLike) -> "SentencePieceVocabulary":
    """Reads a model file, local or gs://.

    Raises:
      VocabularyError: there is no such file, or it is not a model.
    """
    return cls(*base.read_file(path))

  @classmethod
  def train(
    cls,
    texts: Iterable[str],
    size: int,
    path: str | os.PathLike | None = None,
    kind: str = "bpe",
  ) -> "SentencePieceVocabulary":
    """Trains a model; equal texts give an equal model.

    Args:
      texts: any iterable; it is read once.
      size: number of pieces, among them 256 bytes and 4 special pieces. A
        small corpus gives fewer pieces, which is logged.
      path: file to write (local or gs://), or None.
      kind: "bpe" as in the paper, or "unigram".

    Raises:
      ValueError: there are no texts, `kind` is unknown, or `size` is too small
        for the bytes and characters of the texts.
    """
    if kind not in ("bpe", "unigram"):
      raise ValueError(f"kind is {kind!r}; it must be 'bpe' or 'unigram'.")
    lines = _short_lines(texts)
    first_line = next(lines, None)
    if first_line is None:
      raise ValueError("There is no text to train a vocabulary on.")
    model = io.BytesIO()
    try:
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=itertools.chain([first_line], lines),
        model_writer=model,
        vocab_size=size,
        hard_vocab_limit=False,
        model_type=kind,
        byte_fallback=True,
        character_coverage=1.0 if kind == "bpe" else 0.9995,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["\n"],
        pad_id=PAD,
        eos_id=EOS,
        unk_id=UNK,
        bos_id=-1,
        max_sentence_length=4 * _LONGEST_LINE + 64,
        shuffle_input_sentence=False,
        # With more threads, the order of sums would depend on timing.
        num_threads=1,
        minloglevel=2,
      )
    except RuntimeError as error:
      raise ValueError(
        f"A vocabulary of {size} pieces cannot be trained on these texts:"
        f" {_reason(error)} Expected a size of at least 260 (256 bytes and 4"
        " special pieces) plus the characters of the texts."
      ) from error
    vocabulary = cls(model.getvalue())
    if vocabulary.size < size:
      logging.warning(
        "The texts give %d pieces, fewer than the requested %d.",
        vocabulary.size,
        size,
      )
    if path is not None:
      vocabulary.save(path)
    return vocabulary

  def without_start(self) -> "SentencePieceVocabulary":
    """Returns a vocabulary with equal pieces and no start before texts."""
    proto = self._proto()
    # SentencePiece looks both pieces up by name; these values mean "absent".
    proto.trainer_spec.bos_piece = proto.trainer_spec.pad_piece = _NO_PIECE
    proto.trainer_spec.bos_id = proto.trainer_spec.pad_id = -1
    return SentencePieceVocabulary(proto.SerializeToString())

  def with_special_pieces(
    self, pieces: Sequence[str]
  ) -> "SentencePieceVocabulary":
    proto = self._proto()
    for piece in pieces:
      kind = _MESSAGES.ModelProto.SentencePiece.CONTROL
      proto.pieces.add(piece=piece, score=0.0, type=kind)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return SentencePieceVocabulary(proto.SerializeToString())

  @functools.cached_property
  def verbatim(self) -> "SentencePieceVocabulary":
    proto = self._proto()
    if not proto.normalizer_spec.add_dummy_prefix:
      return self
    proto.normalizer_spec.add_dummy_prefix = False
    return SentencePieceVocabulary(proto.SerializeToString())

  @functools.cached_property
  def special_pieces(self) -> dict[str, int]:
    kinds = _MESSAGES.ModelProto.SentencePiece
    return {
      piece.piece: i
      for i, piece in enumerate(self._proto().pieces)
      if piece.type in (kinds.CONTROL, kinds.USER_DEFINED)
    }

  def _proto(self) -> Any:
    proto = _MESSAGES.ModelProto()
    proto.ParseFromString(self.serialized)
    return proto

  def tokenize(self, texts: Any) -> Any:
    return self._tokenizer.tokenize(texts)

  def detokenize(self, ids: Any) -> Any:
    return self._tokenizer.detokenize(base.drop_special_ids(self, ids))

  @property
  def resources(self) -> Any:
    return self._tokenizer

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    ids = self._processor.encode(list(texts))
    return [np.asarray(row, np.int32) for row in ids]

  def decode(self, ids: Iterable[int]) -> str:
    special_ids = {self.pad_id, self.eos_id, self.bos_id}
    return self._processor.decode(
      [int(i) for i in ids if int(i) not in special_ids]
    )

  def pieces(self, ids: Iterable[int]) -> list[str]:
    """Returns the piece of each id: "\\u2581the", "<0x0A>"."""
    return [self._processor.id_to_piece(int(i)) for i in ids]

  @functools.cached_property
  def _tokenizer(self) -> tensorflow_text.SentencepieceTokenizer:
    # Outside of any graph, since tf.data captures the resource.
    with tf.init_scope():
      out_type: Any = tf.int32
      return tensorflow_text.SentencepieceTokenizer(self.serialized, out_type)


def _short_lines(texts: Iterable[str]) -> Iterator[str]:
  """Yields the lines of texts, in parts of at most `_LONGEST_LINE`."""
  for text in texts:
    for line in text.replace("\0", "").split("\n"):
      for start in range(0, len(line), _LONGEST_LINE):
        yield line[start : start + _LONGEST_LINE]


def _reason(error: Exception) -> str:
  """Returns the sentence after the C++ source position in an error."""
  text = re.sub(r"^.*?\) \[.*?\] ?", "", str(error)).strip()
  return text or str(error)
