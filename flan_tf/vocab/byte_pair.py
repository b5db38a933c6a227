r"""Byte-pair vocabularies: those of GPT-2, Llama 3, Qwen 2 and SmolLM2.

A text is split into words (`flan_tf.vocab.pretokenize`) and each word into its
bytes. Then neighbors are merged, in the order of the list of merges. Pieces are
spelled in byte characters (`flan_tf.vocab.byte_characters`), so that a blank is
"Ġ".

Outside the graph, Hugging Face `tokenizers` does this. Inside the graph, plain
TensorFlow operations do it, with equal ids, so that an exported model needs no
Python. (KerasHub's BytePairTokenizer is not used: it splits texts in ways that
no model was trained with, see `flan_tf.vocab.pretokenize`.)

The file of such a vocabulary is one JSON object:

  kind           "byte_pair"
  tokens         the pieces by id, spelled in byte characters
  merges         "Ġ t", ...; the first merge is applied first
  pattern        a name in `pretokenize.PATTERNS`
  special        {"bos": id, "eos": id, "pad": id, "others": [ids]}; bos and
                 pad may be null; no text is tokenized into any of these
  adds_bos       whether the model was trained with `bos` before each text
  ignore_merges  whether a word that is a piece is always that piece, whatever
                 the merges give (Llama 3)
  normalizer     "nfc" or null
"""

import functools
import hashlib
import json
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text
import tokenizers
from tokenizers import models, normalizers

from flan_tf.vocab import base, bpe_ops, byte_characters, pretokenize
from flan_tf.vocab.base import Vocabulary, VocabularyError

KIND = "byte_pair"
# The piece between two documents in all of these families but Llama 3.
END_OF_TEXT = "<|endoftext|>"
# A text up to the last blank between two ASCII letters.
_LAST_BLANK = re.compile(r".*[A-Za-z](?= [A-Za-z])", re.DOTALL)


class BytePairVocabulary(Vocabulary):
  """A byte-pair vocabulary; see `Vocabulary` for further attributes.

  Special pieces that are spelled in a text, such as "<|endoftext|>", are
  tokenized like any other characters.

  Attributes:
    pad_id: the end-of-text piece if the file names no padding piece.
    bos_id: the model's start piece if `adds_bos` is true. If not, the piece
      between two documents, for uses that need a token before the first one.
    has_start: `adds_bos` of the file.
    tokens: the pieces by id, spelled in byte characters.
    merges: the merges, each as two pieces with a blank between them.
    special: the entry "special" of the file.
    pattern: the name of the pre-tokenizer pattern.
    ignore_merges: the entry "ignore_merges" of the file.
    normalizer: "nfc" or None.
  """

  def __init__(self, serialized: bytes, source: str = "the given bytes"):
    """Builds a vocabulary from the bytes of its file.

    Args:
      serialized: the JSON that the head of this module describes.
      source: where the bytes come from, for error messages.

    Raises:
      VocabularyError: the bytes are not such a file, or an entry does not fit.
    """
    try:
      values = json.loads(serialized)
      if not isinstance(values, dict) or values.get("kind") != KIND:
        raise ValueError(f'it has no "kind": "{KIND}"')
      self._set_parts(values)
    # `tokenizers` raises bare exceptions.
    except Exception as error:
      raise VocabularyError(
        f"The byte-pair vocabulary from {source} ({len(serialized)} bytes)"
        f" cannot be read: {type(error).__name__}: {error}. Expected a file"
        " that `BytePairVocabulary.from_parts(...).save(path)` wrote."
      ) from error
    self.serialized = serialized
    self.fingerprint = hashlib.sha256(serialized).hexdigest()[:16]

  @classmethod
  def from_parts(
    cls,
    tokens: Sequence[str],
    merges: Iterable[str | Sequence[str]],
    pattern: str,
    special: Mapping[str, Any],
    adds_bos: bool = False,
    ignore_merges: bool = False,
    normalizer: str | None = None,
    source: str = "the given pieces",
  ) -> "BytePairVocabulary":
    """Builds a vocabulary from its parts.

    Args:
      tokens: as in the file; the head of this module describes it.
      merges: as in the file, or as pairs of pieces.
      pattern: as in the file.
      special: as in the file.
      adds_bos: as in the file.
      ignore_merges: as in the file.
      normalizer: as in the file.
      source: where the parts come from, for error messages.

    Raises:
      VocabularyError: a part does not fit.
    """
    merge_texts = [_merge_text(merge, source) for merge in merges]
    values = {
      "kind": KIND,
      "pattern": pattern,
      "normalizer": normalizer,
      "ignore_merges": bool(ignore_merges),
      "adds_bos": bool(adds_bos),
      "special": dict(special),
      "tokens": list(tokens),
      "merges": merge_texts,
    }
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return cls(text.encode(), source)

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    rows = self._tokenizer.encode_batch_fast(
      list(texts), add_special_tokens=False
    )
    return [np.asarray(row.ids, np.int32) for row in rows]

  def last_safe_cut(self, text: str) -> int:
    # In all patterns, a blank before a letter begins a word.
    match = _LAST_BLANK.match(text)
    return match.end() if match else 0

  def decode(self, ids: Iterable[int]) -> str:
    special_ids = {self.pad_id, self.eos_id, self.bos_id}
    parts = [
      self._piece_bytes[i]
      for i in map(int, ids)
      # The padding rows of an embedding have no piece, but may be predicted.
      if i not in special_ids and i < self.size
    ]
    return b"".join(parts).decode("utf-8", errors="replace")

  def pieces(self, ids: Iterable[int]) -> list[str]:
    """Returns the piece of each id in byte characters: "Ġthe", "Ċ"."""
    return [self.tokens[int(i)] for i in ids]

  def with_special_pieces(self, pieces: Sequence[str]) -> "BytePairVocabulary":
    new_ids = range(self.size, self.size + len(pieces))
    others = [*self.special.get("others", []), *new_ids]
    return self.from_parts(
      [*self.tokens, *pieces],
      self.merges,
      self.pattern,
      {**self.special, "others": others},
      adds_bos=self.has_start,
      ignore_merges=self.ignore_merges,
      normalizer=self.normalizer,
    )

  def tokenize(self, texts: Any) -> Any:
    merger = self._merger
    # Bytes that are not UTF-8 become U+FFFD, as when Python reads a text.
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
    if self.normalizer == "nfc":
      texts = tensorflow_text.normalize_utf8(texts, "NFC")
    words = pretokenize.split_words(texts, self.pattern)
    ids = merger.tokenize_words(words.values)  # ragged [words, None]
    return words.with_values(ids).merge_dims(1, 2)

  def detokenize(self, ids: Any) -> Any:
    ids = base.drop_special_ids(self, ids)
    texts = self._merger.join_bytes(ids)
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")

  @property
  def resources(self) -> Any:
    return self._merger

  def _set_parts(self, values: dict[str, Any]) -> None:
    """Sets all attributes from the entries of the file, and checks them."""
    self.tokens: list[str] = values["tokens"]
    self.merges: list[str] = values["merges"]
    self.special: dict[str, Any] = values["special"]
    self.pattern: str = values["pattern"]
    self.has_start: bool = values["adds_bos"]
    self.ignore_merges: bool = values["ignore_merges"]
    self.normalizer: str | None = values["normalizer"]
    self.size = len(self.tokens)
    pretokenize.check_pattern(self.pattern)
    if self.normalizer not in (None, "nfc"):
      raise ValueError(f"normalizer is {self.normalizer!r}, not 'nfc' or null")
    self._set_special_ids()
    if len(set(self.tokens)) < self.size:
      raise ValueError("a piece is there twice")
    self._vocab = {
      token: i
      for i, token in enumerate(self.tokens)
      if i not in self._special_ids
    }
    self._merge_pairs = [_merge_pair(merge) for merge in self.merges]
    self._model = models.BPE(
      self._vocab, self._merge_pairs, ignore_merges=self.ignore_merges
    )
    self._tokenizer = tokenizers.Tokenizer(self._model)
    self._tokenizer.pre_tokenizer = pretokenize.build_pre_tokenizer(
      self.pattern
    )
    if self.normalizer == "nfc":
      self._tokenizer.normalizer = normalizers.NFC()

  def _set_special_ids(self) -> None:
    roles = {role: self.special.get(role) for role in ("bos", "eos", "pad")}
    ids = [i for i in roles.values() if i is not None]
    ids += self.special.get("others", [])
    out_of_range = [i for i in ids if not 0 <= i < self.size]
    if out_of_range:
      raise ValueError(f"special ids {out_of_range} in {self.size} pieces")
    if roles["eos"] is None:
      raise ValueError("no end-of-text piece; set special.eos to its id")
    self._special_ids = frozenset(ids)
    self.special_pieces = {self.tokens[i]: i for i in sorted(ids)}
    self.eos_id = roles["eos"]
    self.pad_id = self.eos_id if roles["pad"] is None else roles["pad"]
    self.bos_id = self._find_start(roles["bos"])

  def _find_start(self, bos: int | None) -> int:
    if self.has_start:
      if bos is None:
        raise ValueError("adds_bos is true, but special.bos is null")
      return bos
    for i in sorted(self._special_ids):
      if self.tokens[i] == END_OF_TEXT:
        return i
    return self.eos_id

  @functools.cached_property
  def _piece_bytes(self) -> list[bytes]:
    """The bytes of each id; special pieces are spelled out."""
    return [
      token.encode()
      if i in self._special_ids
      else byte_characters.to_bytes(token)
      for i, token in enumerate(self.tokens)
    ]

  @functools.cached_property
  def _merger(self) -> bpe_ops.BytePairMerger:
    # Words that the merges turn into one piece. Without a pre-tokenizer, each
    # piece is taken as one word.
    word_tokenizer = tokenizers.Tokenizer(self._model)
    whole_words = {}
    rows = word_tokenizer.encode_batch_fast(
      list(self._vocab), add_special_tokens=False
    )
    for i, row in zip(self._vocab.values(), rows, strict=True):
      if row.ids == [i]:
        whole_words[self._piece_bytes[i]] = i
    byte_ids = [self._vocab.get(c, -1) for c in byte_characters.CHARACTERS]
    # If a merge is listed twice, its last place counts, as in `tokenizers`.
    ranks = {pair: rank for rank, pair in enumerate(self._merge_pairs)}
    merges = [
      (self._vocab[a], self._vocab[b], self._vocab[a + b])
      for a, b in sorted(ranks, key=ranks.__getitem__)
    ]
    # Outside of any graph, since tf.data captures the tables.
    with tf.init_scope():
      return bpe_ops.BytePairMerger(
        whole_words, byte_ids, merges, self._piece_bytes
      )


def _merge_text(merge: Any, source: str) -> str:
  if isinstance(merge, str):
    return merge
  if not isinstance(merge, Sequence) or list(map(type, merge)) != [str, str]:
    got = reprlib.repr(merge)
    raise VocabularyError(f"{source}: {got} is no merge of two pieces.")
  return " ".join(merge)


def _merge_pair(merge: str) -> tuple[str, str]:
  left, blank, right = merge.partition(" ")
  if not (left and blank and right) or " " in right:
    raise ValueError(f"{merge!r} is no merge: expected two pieces and a blank")
  return left, right
