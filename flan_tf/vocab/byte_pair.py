r"""Byte-pair vocabularies: those of GPT-2, Llama 3, Qwen 2 and SmolLM2.

A text is cut into words (`flan_tf.vocab.pretokenize`), a word into its bytes, and
neighbours are merged, the pair that comes first in the list of merges before
all others. A byte is spelt as one printable character, so that a blank is "Ġ".

Outside the graph Hugging Face `tokenizers` does that; in the graph it is done
here with plain TensorFlow, to the same ids, so that an exported model needs no
Python. Words that are pieces are looked up; the merges run for all other words
of a batch at once. (KerasHub's BytePairTokenizer cuts texts in ways that no
model was trained with, see `pretokens`; so its merges are not used either.)

The file of such a vocabulary is one JSON object:

  kind           "byte_pair"
  tokens         the pieces by id, spelt in byte characters
  merges         "Ġ t", ... the first is done first
  pattern        a name in `pretokens.PATTERNS`
  special        {"bos": id, "eos": id, "pad": id, "others": [ids]}; bos and
                 pad may be null; none of these is ever found in a text
  adds_bos       whether the model was trained with `bos` before each text
  ignore_merges  whether a word that is a piece is that piece, whatever the
                 merges make of it (Llama 3)
  normalizer     "nfc" or null
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text
import tokenizers
from tokenizers import models, normalizers

from flan_tf.vocab import bpe_ops, pretokenize, vocabulary

KIND = "byte_pair"
# The piece between two documents, in all of these families but Llama 3.
_END_OF_TEXT = "<|endoftext|>"
_TEKKEN = "tekken.json"
_GPT2_CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast")
# A text up to the last blank between two ASCII letters.
_BORDER = re.compile(r".*[A-Za-z](?= [A-Za-z])", re.DOTALL)


class BytePairVocabulary(vocabulary.Vocabulary):
  """Text to ids and back, by merging bytes.

  A text that spells a special piece, "<|endoftext|>" say, is a text: it gets
  the ids of its characters.

  Attributes:
    pad_id: the end-of-text piece where the model names none; never a piece
      that texts have.
    bos_id: the model's start piece if it was trained with one before each
      text; if not, the piece between two documents, for where something must
      come before the first token.
    has_start: `adds_bos` of the file.
    pattern: a name in `pretokens.PATTERNS`.
  """

  def __init__(self, model: bytes, where: str = "the given bytes"):
    """Takes the bytes of a vocabulary file.

    Raises:
      VocabularyError: they are none, or some part of them does not fit.
    """
    try:
      values = json.loads(model)
      if not isinstance(values, dict) or values.get("kind") != KIND:
        raise ValueError(f'it has no "kind": "{KIND}"')
      self._read(values)
    # `tokenizers` raises bare exceptions.
    except Exception as error:
      raise vocabulary.VocabularyError(
        f"The byte-pair vocabulary from {where} ({len(model)} bytes) cannot be"
        f" read: {type(error).__name__}: {error}. Expected the JSON of"
        " `BytePairVocabulary.make` or `from_hugging_face`."
      ) from error
    self.model = model
    self.fingerprint = hashlib.sha256(model).hexdigest()[:16]

  @classmethod
  def make(
    cls,
    tokens: Sequence[str],
    merges: Iterable[str | Sequence[str]],
    pattern: str,
    special: Mapping[str, Any],
    adds_bos: bool = False,
    ignore_merges: bool = False,
    normalizer: str | None = None,
    where: str = "the given pieces",
  ) -> "BytePairVocabulary":
    """A vocabulary from its parts: see the head of this file.

    Raises:
      VocabularyError: a part does not fit.
    """
    spelt = [m if isinstance(m, str) else " ".join(m) for m in merges]
    values = {
      "kind": KIND,
      "pattern": pattern,
      "normalizer": normalizer,
      "ignore_merges": bool(ignore_merges),
      "adds_bos": bool(adds_bos),
      "special": dict(special),
      "tokens": list(tokens),
      "merges": spelt,
    }
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return cls(text.encode(), where)

  def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
    rows = self._tokenizer.encode_batch_fast(
      list(texts), add_special_tokens=False
    )
    return [np.asarray(row.ids, np.int32) for row in rows]

  def border(self, text: str) -> int:
    # All patterns begin a word with the blank before it.
    found = _BORDER.match(text)
    return found.end() if found else 0

  def decode(self, ids: Iterable[int]) -> str:
    left_out = {self.pad_id, self.eos_id, self.bos_id}
    # A model's rows beyond the pieces only pad it, but may be predicted.
    parts = [
      self._bytes[i]
      for i in map(int, ids)
      if i not in left_out and i < self.size
    ]
    return b"".join(parts).decode("utf-8", errors="replace")

  def pieces(self, ids: Iterable[int]) -> list[str]:
    """The piece of each id in byte characters: "Ġthe", "Ċ"."""
    return [self.tokens[int(i)] for i in ids]

  def with_special(self, pieces: Sequence[str]) -> "BytePairVocabulary":
    new = range(self.size, self.size + len(pieces))
    others = [*self.special.get("others", []), *new]
    return self.make(
      [*self.tokens, *pieces],
      self.merges,
      self.pattern,
      {**self.special, "others": others},
      self.has_start,
      self.ignore_merges,
      self.normalizer,
    )

  def tokenize(self, texts: Any) -> Any:
    graph = self._graph
    # Bytes that are no UTF-8 become U+FFFD, as where Python reads a text.
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
    if self.normalizer == "nfc":
      texts = tensorflow_text.normalize_utf8(texts, "NFC")
    words = pretokenize.split(texts, self.pattern)
    ids = graph.tokenize_words(words.values)  # ragged [words, None]
    return words.with_values(ids).merge_dims(1, 2)

  def detokenize(self, ids: Any) -> Any:
    ids = vocabulary.without_special(self, ids)
    texts = self._graph.spell(ids)
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")

  @property
  def resources(self) -> Any:
    return self._graph

  def _read(self, values: dict[str, Any]) -> None:
    self.tokens: list[str] = values["tokens"]
    self.merges: list[str] = values["merges"]
    self.special: dict[str, Any] = values["special"]
    self.pattern: str = values["pattern"]
    self.has_start: bool = values["adds_bos"]
    self.ignore_merges: bool = values["ignore_merges"]
    self.normalizer: str | None = values["normalizer"]
    self.size = len(self.tokens)
    pretokenize.check(self.pattern)
    if self.normalizer not in (None, "nfc"):
      raise ValueError(f"normalizer is {self.normalizer!r}, not 'nfc' or null")
    roles = {name: self.special.get(name) for name in ("bos", "eos", "pad")}
    ids = [i for i in roles.values() if i is not None]
    ids += self.special.get("others", [])
    wrong = [i for i in ids if not 0 <= i < self.size]
    if wrong:
      raise ValueError(f"special ids {wrong} in {self.size} pieces")
    if roles["eos"] is None:
      raise ValueError("no end-of-text piece; set special.eos to its id")
    self._special_ids = frozenset(ids)
    self.special_pieces = {self.tokens[i]: i for i in sorted(ids)}
    self.eos_id = roles["eos"]
    self.pad_id = self.eos_id if roles["pad"] is None else roles["pad"]
    self.bos_id = self._start(roles["bos"])
    if len(set(self.tokens)) < self.size:
      raise ValueError("a piece is there twice")
    self._vocab = {
      token: i
      for i, token in enumerate(self.tokens)
      if i not in self._special_ids
    }
    self._pairs = [_pair(merge) for merge in self.merges]
    self._model = models.BPE(
      self._vocab, self._pairs, ignore_merges=self.ignore_merges
    )
    self._tokenizer = tokenizers.Tokenizer(self._model)
    self._tokenizer.pre_tokenizer = pretokenize.pre_tokenizer(self.pattern)
    if self.normalizer == "nfc":
      self._tokenizer.normalizer = normalizers.NFC()

  def _start(self, bos: int | None) -> int:
    if self.has_start:
      if bos is None:
        raise ValueError("adds_bos is true, but special.bos is null")
      return bos
    for i in sorted(self._special_ids):
      if self.tokens[i] == _END_OF_TEXT:
        return i
    return self.eos_id

  @functools.cached_property
  def _bytes(self) -> list[bytes]:
    """What each id stands for; special pieces are spelt out."""
    return [
      token.encode() if i in self._special_ids else _to_bytes(token)
      for i, token in enumerate(self.tokens)
    ]

  @functools.cached_property
  def _graph(self) -> bpe_ops.Merger:
    # Words that the merges make one piece of, alone.
    alone = tokenizers.Tokenizer(self._model)
    words = {}
    rows = alone.encode_batch_fast(list(self._vocab), add_special_tokens=False)
    for i, row in zip(self._vocab.values(), rows, strict=True):
      if row.ids == [i]:
        words[self._bytes[i]] = i
    of_byte = [self._vocab.get(c, -1) for c in _CHARACTERS]
    # Of a merge that is there twice the last place counts, in `tokenizers` too.
    ranks = {pair: rank for rank, pair in enumerate(self._pairs)}
    merges = [
      (self._vocab[a], self._vocab[b], self._vocab[a + b])
      for a, b in sorted(ranks, key=ranks.__getitem__)
    ]
    # Made outside of any graph: tf.data captures its tables.
    with tf.init_scope():
      return bpe_ops.Merger(words, of_byte, merges, self._bytes)


def from_hugging_face(
  folder: str | os.PathLike,
) -> vocabulary.Vocabulary:
  """The tokenizer of a Hugging Face folder.

  That is tokenizer.json with its byte pairs, or GPT-2's vocab.json and
  merges.txt, or a SentencePiece tokenizer.model. Start, end and padding are
  those that tokenizer_config.json and config.json name. Pieces that were added
  to a vocabulary are special here, all of them: none is ever found in a text.

  Raises:
    VocabularyError: there is none, or one that works in another way.
  """
  folder = os.path.expanduser(os.fspath(folder))
  path = os.path.join(folder, "tokenizer.json")
  if not os.path.exists(path):
    if os.path.exists(os.path.join(folder, "tokenizer.model")):
      return _sentencepiece(folder)
    spec, path = _gpt2_files(folder), os.path.join(folder, "merges.txt")
  else:
    spec = _json(path)
  model = spec.get("model", {})
  pattern = pretokenize.name_of(spec.get("pre_tokenizer"))
  kind = model.get("type", "BPE")
  if kind != "BPE" or pattern is None:
    if os.path.exists(os.path.join(folder, "tokenizer.model")):
      return _sentencepiece(folder)
    raise vocabulary.VocabularyError(
      f"{path} cuts texts in a way that is not known here: model {kind},"
      f" pre_tokenizer {json.dumps(spec.get('pre_tokenizer'))}. Known: byte"
      f" pairs with the patterns {', '.join(sorted(pretokenize.PATTERNS))}; or a"
      " SentencePiece tokenizer.model in the same folder."
    )
  _refuse_options(path, spec)
  added = {t["id"]: t["content"] for t in spec.get("added_tokens") or []}
  names = {**{i: t for t, i in model["vocab"].items()}, **added}
  # Ids that nothing was made for keep their place.
  tokens = [names.get(i, f"<unused {i}>") for i in range(max(names) + 1)]
  unused = [i for i in range(len(tokens)) if i not in names]
  special = _roles(folder, {token: i for i, token in names.items()})
  return BytePairVocabulary.make(
    tokens,
    model["merges"],
    pattern,
    {**special, "others": sorted([*added, *unused])},
    adds_bos=_adds(spec, names, special["bos"]),
    ignore_merges=model.get("ignore_merges", False),
    normalizer="nfc" if spec.get("normalizer") else None,
    where=path,
  )


def _sentencepiece(folder: str) -> vocabulary.Vocabulary:
  """The tokenizer.model of a folder, and what other files say of it.

  That is pieces behind those of the model, as far as the embedding has rows for
  them, and that no start is added.
  """
  found = vocabulary.SentencePieceVocabulary.load(
    os.path.join(folder, "tokenizer.model")
  )
  settings = _json(os.path.join(folder, "tokenizer_config.json"), {})
  rows = _json(os.path.join(folder, "config.json"), {}).get("vocab_size", 0)
  ids = _json(os.path.join(folder, "added_tokens.json"), {})
  names = {i: name for name, i in ids.items()}
  for i, token in settings.get("added_tokens_decoder", {}).items():
    names[int(i)] = token["content"]
  last = max((i for i in names if i < rows), default=-1)
  behind = range(found.size, last + 1)
  if behind:
    found = found.with_special([names.get(i, f"<unused {i}>") for i in behind])
  if settings.get("add_bos_token") is False:
    return found.without_start()
  return found


def _refuse_options(path: str, spec: Mapping[str, Any]) -> None:
  model, normalizer = spec["model"], spec.get("normalizer")
  options = {
    name: model.get(name)
    for name in (
      *("dropout", "byte_fallback", "continuing_subword_prefix"),
      *("end_of_word_suffix", "unk_token"),
    )
    # A byte without a piece is left out; with unk_token it would be that.
    if model.get(name) and not (name == "unk_token" and _whole(model["vocab"]))
  }
  if normalizer and normalizer.get("type") != "NFC":
    options["normalizer"] = normalizer
  if options:
    raise vocabulary.VocabularyError(
      f"{path} wants what byte-pair vocabularies do not have here:"
      f" {json.dumps(options)}."
    )


def _whole(vocab: Mapping[str, int]) -> bool:
  return all(character in vocab for character in _CHARACTERS)


def _adds(
  spec: Mapping[str, Any], names: Mapping[int, str], bos: int | None
) -> bool:
  """Whether the tokenizer puts its start piece before a text."""
  if bos is None:
    return False
  steps = [spec.get("post_processor") or {}]
  steps += steps[0].get("processors") or []
  return any(
    (step.get("single") or [{}])[0].get("SpecialToken", {}).get("id")
    == names[bos]
    for step in steps
  )


def _roles(folder: str, ids: Mapping[str, int]) -> dict[str, int | None]:
  """The ids of bos, eos and pad; None for what is not named."""
  named = _json(os.path.join(folder, "special_tokens_map.json"), {})
  named |= _json(os.path.join(folder, "tokenizer_config.json"), {})
  numbers = _json(os.path.join(folder, "config.json"), {})
  roles: dict[str, int | None] = {}
  for role in ("bos", "eos", "pad"):
    token = named.get(f"{role}_token")
    token = token.get("content") if isinstance(token, dict) else token
    number = numbers.get(f"{role}_token_id")
    number = number[0] if isinstance(number, list) else number
    found = ids.get(token) if isinstance(token, str) else number
    roles[role] = found if found in ids.values() else None
  if roles["eos"] is None:
    roles["eos"] = ids.get(_END_OF_TEXT)
  return roles


def _gpt2_files(folder: str) -> dict[str, Any]:
  """vocab.json and merges.txt as a tokenizer.json says it."""
  merges = os.path.join(folder, "merges.txt")
  if os.path.exists(os.path.join(folder, _TEKKEN)) and not os.path.exists(
    merges
  ):
    raise vocabulary.VocabularyError(
      f"{folder} has Mistral's {_TEKKEN} only, which is not read here. Put the"
      " tokenizer.json of the same model beside it, or name a folder that has"
      " one as --vocabulary."
    )
  if not os.path.exists(merges):
    raise vocabulary.VocabularyError(
      f"{folder} has no tokenizer: expected tokenizer.json (byte pairs),"
      " vocab.json with merges.txt (GPT-2), or tokenizer.model (SentencePiece)."
    )
  name = _json(os.path.join(folder, "tokenizer_config.json"), {}).get(
    "tokenizer_class", _GPT2_CLASSES[0]
  )
  if name not in _GPT2_CLASSES:
    raise vocabulary.VocabularyError(
      f"{folder} has vocab.json and merges.txt, but how a {name} cuts texts"
      " stands in tokenizer.json only. `AutoTokenizer.from_pretrained(...)"
      ".save_pretrained(...)` writes that."
    )
  vocab = _json(os.path.join(folder, "vocab.json"))
  with open(merges, encoding="utf-8") as file:
    lines = [line.rstrip("\n") for line in file]
  added = {"id": vocab.get(_END_OF_TEXT), "content": _END_OF_TEXT}
  return {
    "pre_tokenizer": {"type": "ByteLevel"},
    "added_tokens": [added] if _END_OF_TEXT in vocab else [],
    "model": {
      "vocab": vocab,
      "merges": [m for m in lines if m and not m.startswith("#version")],
    },
  }


def _json(path: str, default: Any = None) -> dict[str, Any]:
  try:
    with open(path, encoding="utf-8") as file:
      return json.load(file)
  except FileNotFoundError as error:
    if default is not None:
      return default
    raise vocabulary.VocabularyError(f"There is no file {path}.") from error
  except ValueError as error:
    raise vocabulary.VocabularyError(f"{path} is no JSON: {error}.") from error


def _byte_characters() -> tuple[str, ...]:
  """The character that spells each byte, as GPT-2 chose them.

  Printable bytes spell themselves; the others follow from U+0100.
  """
  printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
  others = iter(range(256, 512))
  return tuple(chr(b if b in printable else next(others)) for b in range(256))


_CHARACTERS = _byte_characters()
_BYTE_OF = {character: byte for byte, character in enumerate(_CHARACTERS)}


def _to_bytes(token: str) -> bytes:
  """Bytes of a piece; a piece that is not spelt in byte characters is text."""
  try:
    return bytes(_BYTE_OF[character] for character in token)
  except KeyError:
    return token.encode()


def _pair(merge: str) -> tuple[str, str]:
  a, blank, b = merge.partition(" ")
  if not (a and blank and b) or " " in b:
    raise ValueError(f"{merge!r} is no merge: expected two pieces and a blank")
  return a, b
