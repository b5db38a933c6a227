"""Vocabularies: in-graph tokenizing in batches, and training.

Both kinds, SentencePiece (here) and byte pairs (`flan_tf.vocab.byte_pair`), are
an `Vocabulary`; `load_vocabulary` and `vocabulary_from_bytes` tell the files apart.

The paper's vocabulary is 32,000 byte-pair pieces. Models trained here keep
every byte of a text: nothing is normalized, unknown characters become bytes,
and a newline is a piece of its own (the usual rules would make it a blank, and
an OPTIONS block would be one line).
"""

import abc
import functools
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_text
from absl import logging
from sentencepiece import sentencepiece_model_pb2

# It makes its classes when it is imported, where pyright cannot see them.
_MESSAGES: Any = sentencepiece_model_pb2

PAD, EOS, UNK = 0, 1, 2  # of the models trained here
_NONE = "<none>"  # the name of a piece that no model has
# SentencePiece leaves out longer lines; training cuts them into such parts.
_LONGEST_LINE = 4_000


class VocabularyError(ValueError):
  """A vocabulary file is missing or is not a SentencePiece model."""


class Vocabulary(abc.ABC):
  """Text to ids and back, whatever the kind of vocabulary.

  Attributes:
    model: the file's bytes.
    size: number of pieces.
    pad_id: fills rows up.
    eos_id: ends a prompt and a target.
    bos_id: starts a segment.
    has_start: whether every text starts with `bos_id`. Where it does not, its
      first token is read and not predicted.
    special_pieces: the ids of pieces that people spell around texts, by how
      they are spelt. A text gives none of them, but for those that a
      SentencePiece model calls user-defined, which it finds everywhere.
    fingerprint: 16 hex digits that name the model.
  """

  model: bytes
  size: int
  pad_id: int
  eos_id: int
  bos_id: int
  has_start: bool = True
  special_pieces: Mapping[str, int]
  fingerprint: str

  @property
  def start_id(self) -> int | None:
    """The input before the first token of a text, if there is one."""
    return self.bos_id if self.has_start else None

  @property
  def verbatim(self) -> "Vocabulary":
    """The same pieces; a text is taken as it is, with no blank before it."""
    return self

  def encode_special(self, text: str) -> np.ndarray:
    """The ids of a text in which special pieces are spelt: int32 [n].

    Only for what people write around texts, never for the texts of others. Of
    two pieces that start alike the longer one is taken; what is between pieces
    is encoded verbatim.
    """
    longest_first = sorted(self.special_pieces, key=len, reverse=True)
    spelt = "|".join(map(re.escape, longest_first))
    parts = re.split(f"({spelt})", text) if spelt else [text]
    texts = self.verbatim.encode(parts[::2])
    ids: list[np.ndarray] = [texts[0]]
    for piece, part in zip(parts[1::2], texts[1:], strict=True):
      ids += [np.array([self.special_pieces[piece]], np.int32), part]
    return np.concatenate(ids)

  def border(self, text: str) -> int:
    """Where a text may be cut without changing a piece of it.

    The last such place that is known, whatever may follow the text; 0 where
    none is.
    """
    del text
    return 0

  @abc.abstractmethod
  def with_special(self, pieces: Sequence[str]) -> "Vocabulary":
    """The same pieces and new ones behind them, which no text gives."""

  @abc.abstractmethod
  def tokenize(self, texts: Any) -> Any:
    """Tokenizes a batch in the graph: strings [n] -> ragged int32 [n, None]."""

  @abc.abstractmethod
  def detokenize(self, ids: Any) -> Any:
    """As `decode`, in the graph: ragged int32 [n, None] -> strings [n]."""

  @property
  @abc.abstractmethod
  def resources(self) -> Any:
    """What both graphs look things up in; it is saved with a `tf.Module`."""

  @abc.abstractmethod
  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    """Tokenizes texts outside the graph: one int32 array each."""

  @abc.abstractmethod
  def decode(self, ids: Iterable[int]) -> str:
    """Ids to text; padding, start and end pieces leave no trace."""

  @abc.abstractmethod
  def pieces(self, ids: Iterable[int]) -> list[str]:
    """The piece of each id as it is spelt."""

  def save(self, path: str | os.PathLike) -> None:
    """Writes the model file; a reader never sees half of it."""
    path = os.path.expanduser(os.fspath(path))
    tf.io.gfile.makedirs(os.path.dirname(path) or ".")
    part = f"{path}.part{os.getpid()}"
    with tf.io.gfile.GFile(part, "wb") as file:
      file.write(self.model)
    tf.io.gfile.rename(part, path, overwrite=True)


def vocabulary_from_bytes(
  model: bytes, where: str = "the given bytes"
) -> Vocabulary:
  """The vocabulary that a file holds: SentencePiece or byte pairs.

  Raises:
    VocabularyError: it holds neither.
  """
  # The file of byte pairs is a JSON object; a SentencePiece model starts with
  # the tag of its first piece.
  if model.lstrip()[:1] == b"{":
    from flan_tf.vocab import byte_pair

    return byte_pair.BytePairVocabulary(model, where)
  return SentencePieceVocabulary(model, where)


def load_vocabulary(path: str | os.PathLike) -> Vocabulary:
  """Reads a vocabulary file of either kind, local or gs://.

  Raises:
    VocabularyError: there is no such file, or it is no vocabulary.
  """
  path = os.path.expanduser(os.fspath(path))
  return vocabulary_from_bytes(_read(path), where=path)


class SentencePieceVocabulary(Vocabulary):
  """A SentencePiece vocabulary.

  Attributes:
    pad_id: 0 where the model names none.
    bos_id: the padding id where the model has no start piece (models trained
      here have none, as T5's and FLAN's do not).
    has_start: whether it has a start piece or padding. One with neither is for
      a model that reads nothing before a text; `bos_id` is the end of text.
  """

  def __init__(self, model: bytes, where: str = "the given bytes"):
    """Takes a serialized SentencePiece model.

    Raises:
      VocabularyError: `model` is not one, or it has no end-of-text piece.
    """
    processor = sentencepiece.SentencePieceProcessor()
    try:
      if not model:
        raise RuntimeError("it is empty")
      processor.LoadFromSerializedProto(model)
    except (RuntimeError, TypeError, OSError) as error:
      raise VocabularyError(
        f"Expected a SentencePiece model, got {len(model)} bytes from {where}"
        " that are none. `SentencePieceVocabulary.train` or spm_train makes one."
      ) from error
    if processor.eos_id() < 0:
      raise VocabularyError(
        f"The SentencePiece model from {where} has no end-of-text piece, which"
        " separates prompts from targets. Train it with --eos_id=1."
      )
    self.model = model
    self._processor = processor
    self.size = processor.GetPieceSize()
    self.eos_id = processor.eos_id()
    self.pad_id = max(processor.pad_id(), 0)
    starts = [i for i in (processor.bos_id(), processor.pad_id()) if i >= 0]
    self.has_start = bool(starts)
    self.bos_id = starts[0] if starts else self.eos_id
    self.fingerprint = hashlib.sha256(model).hexdigest()[:16]

  @classmethod
  def load(cls, path: str | os.PathLike) -> "SentencePieceVocabulary":
    """Reads a model file, local or gs://.

    Raises:
      VocabularyError: there is no such file, or it is not a model.
    """
    path = os.path.expanduser(os.fspath(path))
    return cls(_read(path), where=path)

  @classmethod
  def train(
    cls,
    texts: Iterable[str],
    size: int,
    path: str | os.PathLike | None = None,
    kind: str = "bpe",
  ) -> "SentencePieceVocabulary":
    """Trains a model; the same texts give the same model.

    Args:
      texts: any iterable; read once.
      size: pieces wanted, 256 bytes and 4 special ones among them. A small
        corpus has fewer, which is logged: read `.size` of the result.
      path: where to write the model (local or gs://), or None.
      kind: "bpe" as in the paper, or "unigram".

    Raises:
      ValueError: no texts, or a size that does not even hold the bytes.
    """
    if kind not in ("bpe", "unigram"):
      raise ValueError(f"kind is {kind!r}; it must be 'bpe' or 'unigram'.")
    lines = _lines(texts)
    first = next(lines, None)
    if first is None:
      raise ValueError("There is no text to train a vocabulary on.")
    model = io.BytesIO()
    try:
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_chain(first, lines),
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
        num_threads=1,  # sums in one order, so the model is reproducible
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
        "The texts give %d pieces, fewer than the %d asked for.",
        vocabulary.size,
        size,
      )
    if path is not None:
      vocabulary.save(path)
    return vocabulary

  def without_start(self) -> "SentencePieceVocabulary":
    """The same pieces, for a model that reads no start piece before texts."""
    proto = self._proto()
    # SentencePiece finds both by name, and takes these for absent.
    proto.trainer_spec.bos_piece = proto.trainer_spec.pad_piece = _NONE
    proto.trainer_spec.bos_id = proto.trainer_spec.pad_id = -1
    return SentencePieceVocabulary(proto.SerializeToString())

  def with_special(self, pieces: Sequence[str]) -> "SentencePieceVocabulary":
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
    proto.ParseFromString(self.model)
    return proto

  def tokenize(self, texts: Any) -> Any:
    return self._tokenizer.tokenize(texts)

  def detokenize(self, ids: Any) -> Any:
    return self._tokenizer.detokenize(without_special(self, ids))

  @property
  def resources(self) -> Any:
    return self._tokenizer

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    ids = self._processor.encode(list(texts))
    return [np.asarray(row, np.int32) for row in ids]

  def decode(self, ids: Iterable[int]) -> str:
    special = {self.pad_id, self.eos_id, self.bos_id}
    return self._processor.decode(
      [int(i) for i in ids if int(i) not in special]
    )

  def pieces(self, ids: Iterable[int]) -> list[str]:
    """The piece of each id: "\\u2581the", "<0x0A>"."""
    return [self._processor.id_to_piece(int(i)) for i in ids]

  @functools.cached_property
  def _tokenizer(self) -> tensorflow_text.SentencepieceTokenizer:
    # Made outside of any graph: tf.data captures its resource.
    with tf.init_scope():
      out_type: Any = tf.int32
      return tensorflow_text.SentencepieceTokenizer(self.model, out_type)


def without_special(vocabulary: Vocabulary, ids: Any) -> Any:
  """Ragged ids without padding, start and end, and without ids of no piece."""
  left_out = [vocabulary.pad_id, vocabulary.eos_id, vocabulary.bos_id]
  special = tf.reduce_any(ids.values[:, tf.newaxis] == left_out, axis=1)
  kept = ~special & (ids.values < vocabulary.size)
  return tf.ragged.boolean_mask(ids, ids.with_values(kept))


def _read(path: str) -> bytes:
  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      return file.read()
  except tf.errors.OpError as error:
    raise VocabularyError(
      f"There is no vocabulary file {path} ({type(error).__name__})."
      " Expected a SentencePiece .model file; `SentencePieceVocabulary.train` makes one."
    ) from error


def _lines(texts: Iterable[str]) -> Iterator[str]:
  """Lines of at most `_LONGEST_LINE` characters; empty ones teach nothing."""
  for text in texts:
    for line in text.replace("\0", "").split("\n"):
      for start in range(0, len(line), _LONGEST_LINE):
        yield line[start : start + _LONGEST_LINE]


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
  yield first
  yield from rest


def _reason(error: Exception) -> str:
  """The sentence of a SentencePiece error behind its C++ position."""
  text = re.sub(r"^.*?\) \[.*?\] ?", "", str(error)).strip()
  return text or str(error)
