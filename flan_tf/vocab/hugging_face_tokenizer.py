"""Reads the tokenizer of a Hugging Face model folder."""

import json
import os
import reprlib
from collections.abc import Mapping

from flan_tf import foreign_values
from flan_tf.foreign_values import ForeignValues
from flan_tf.vocab import byte_characters, byte_pair, pretokenize
from flan_tf.vocab.base import MOST_PIECES, Vocabulary, VocabularyError
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

_SENTENCE_PIECE = "tokenizer.model"
_TEKKEN = "tekken.json"
_GPT2_CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast")
# Options of a tokenizer.json model that `BytePairVocabulary` does not have.
_OPTIONS = (
  "dropout",
  "byte_fallback",
  "continuing_subword_prefix",
  "end_of_word_suffix",
  "unk_token",
)


def load_hugging_face_tokenizer(folder: str | os.PathLike) -> Vocabulary:
  """Reads the tokenizer of a Hugging Face folder.

  The folder has byte pairs in tokenizer.json, or GPT-2's vocab.json with
  merges.txt, or a SentencePiece tokenizer.model. tokenizer_config.json and
  config.json name the start, end and padding pieces. All pieces that were added
  to a vocabulary are taken as special: no text is tokenized into them.

  Raises:
    VocabularyError: the folder has no tokenizer, or one that works in an
      unsupported way.
  """
  folder = os.path.expanduser(os.fspath(folder))
  has_sentence_piece = os.path.exists(os.path.join(folder, _SENTENCE_PIECE))
  path = os.path.join(folder, "tokenizer.json")
  if os.path.exists(path):
    spec = _read_json(path)
  elif has_sentence_piece:
    return _load_sentence_piece(folder)
  else:
    spec, path = _gpt2_spec(folder), os.path.join(folder, "merges.txt")
  model = spec.section("model")
  pattern = pretokenize.find_pattern(spec.section("pre_tokenizer"))
  kind = model.text("type", "BPE")
  if kind != "BPE" or pattern is None:
    if has_sentence_piece:
      return _load_sentence_piece(folder)
    raise VocabularyError(
      f"{path} splits texts in an unsupported way: model {kind}, pre_tokenizer"
      f" {json.dumps(spec.get('pre_tokenizer'))}. Supported: byte pairs with"
      f" one of the patterns {', '.join(sorted(pretokenize.PATTERNS))}, or a"
      f" SentencePiece {_SENTENCE_PIECE} in the same folder."
    )
  _refuse_unsupported_options(path, spec)
  added = {
    token.integer("id", high=MOST_PIECES - 1): token.text("content")
    for token in spec.sections("added_tokens")
  }
  vocab = model.section("vocab").all_integers(0, MOST_PIECES - 1)
  pieces = {**{i: token for token, i in vocab.items()}, **added}
  size = max(pieces, default=-1) + 1
  # Ids without a piece keep their place.
  tokens = [pieces.get(i, f"<unused {i}>") for i in range(size)]
  unused = [i for i in range(len(tokens)) if i not in pieces]
  special = _special_roles(folder, {token: i for i, token in pieces.items()})
  return byte_pair.BytePairVocabulary.from_parts(
    tokens,
    model.items("merges"),
    pattern,
    {**special, "others": sorted([*added, *unused])},
    adds_bos=_adds_start(spec, pieces, special["bos"]),
    ignore_merges=model.flag("ignore_merges", False),
    normalizer="nfc" if spec.get("normalizer") else None,
    source=path,
  )


def _load_sentence_piece(folder: str) -> Vocabulary:
  """Reads tokenizer.model, and what the folder's other files add to it.

  They may name pieces after those of the model (used as far as the embedding
  has rows for them), and they may say that texts have no start piece.
  """
  vocabulary = SentencePieceVocabulary.load(
    os.path.join(folder, _SENTENCE_PIECE)
  )
  settings = _read_if_present(folder, "tokenizer_config.json")
  embedding_rows = _read_if_present(folder, "config.json").integer(
    "vocab_size", 0, high=MOST_PIECES
  )
  added = _read_if_present(folder, "added_tokens.json")
  ids = added.all_integers(0, MOST_PIECES - 1)
  pieces = {i: piece for piece, i in ids.items()}
  decoder = settings.section("added_tokens_decoder").all_sections()
  for number, token in decoder.items():
    pieces[_piece_id(number, token)] = token.text("content")
  last = max((i for i in pieces if i < embedding_rows), default=-1)
  new_ids = range(vocabulary.size, last + 1)
  new_pieces = [pieces.get(i, f"<unused {i}>") for i in new_ids]
  if new_pieces:
    vocabulary = _with_pieces(folder, vocabulary, new_pieces)
  if not settings.flag("add_bos_token", True):
    return vocabulary.without_start()
  return vocabulary


def _with_pieces(
  folder: str, vocabulary: SentencePieceVocabulary, pieces: list[str]
) -> SentencePieceVocabulary:
  try:
    return vocabulary.with_special_pieces(pieces)
  except VocabularyError as error:
    raise VocabularyError(
      f"{folder}: SentencePiece refuses the pieces that added_tokens.json or"
      f" tokenizer_config.json adds to {_SENTENCE_PIECE}:"
      f" {reprlib.repr(pieces)}. Expected texts that are not empty, and that"
      " the model does not have yet."
    ) from error


def _piece_id(number: str, token: ForeignValues) -> int:
  """Returns the id of a piece in tokenizer_config.json, where it is a text."""
  if not (number.isascii() and number.isdigit() and len(number) < 10):
    raise VocabularyError(
      f"{token.origin}: expected the id of a piece, such as 32000."
    )
  return int(number)


def _refuse_unsupported_options(path: str, spec: ForeignValues) -> None:
  model, normalizer = spec.section("model"), spec.section("normalizer")
  options = {name: model.get(name) for name in _OPTIONS if model.get(name)}
  # unk_token is never used if every byte has a piece.
  vocab = model.section("vocab").names()
  if set(byte_characters.CHARACTERS) <= set(vocab):
    options.pop("unk_token", None)
  if normalizer.names() and normalizer.text("type", "") != "NFC":
    options["normalizer"] = spec.get("normalizer")
  if options:
    raise VocabularyError(
      f"{path} has options that byte-pair vocabularies do not support here:"
      f" {json.dumps(options)}."
    )


def _adds_start(
  spec: ForeignValues, pieces: Mapping[int, str], bos: int | None
) -> bool:
  """Returns whether the tokenizer puts the start piece before every text."""
  if bos is None:
    return False
  steps = [spec.section("post_processor")]
  steps += steps[0].sections("processors")
  # A step names what it writes; the first of it comes before the text.
  firsts = [step.sections("single")[:1] for step in steps]
  return any(
    first.section("SpecialToken").text("id", "") == pieces[bos]
    for (first,) in filter(None, firsts)
  )


def _special_roles(
  folder: str, ids: Mapping[str, int]
) -> dict[str, int | None]:
  """Returns the ids of bos, eos and pad; None for a piece that is not named.

  Args:
    folder: the model folder, with the files that name the pieces.
    ids: the id of each piece.
  """
  names = _read_if_present(folder, "special_tokens_map.json").updated(
    _read_if_present(folder, "tokenizer_config.json")
  )
  model_config = _read_if_present(folder, "config.json")
  roles: dict[str, int | None] = {}
  for role in ("bos", "eos", "pad"):
    token = names.get(f"{role}_token")
    token = token.get("content") if isinstance(token, dict) else token
    number = model_config.get(f"{role}_token_id")
    number = number[0] if isinstance(number, list) and number else number
    role_id = ids.get(token) if isinstance(token, str) else number
    roles[role] = None
    if isinstance(role_id, int) and role_id in ids.values():
      roles[role] = role_id
  if roles["eos"] is None:
    roles["eos"] = ids.get(byte_pair.END_OF_TEXT)
  return roles


def _gpt2_spec(folder: str) -> ForeignValues:
  """Returns vocab.json and merges.txt in the form of a tokenizer.json."""
  merges_path = os.path.join(folder, "merges.txt")
  if not os.path.exists(merges_path):
    if os.path.exists(os.path.join(folder, _TEKKEN)):
      raise VocabularyError(
        f"{folder} has Mistral's {_TEKKEN} only, which is not supported. Put"
        " the tokenizer.json of the same model beside it, or name a folder that"
        " has one as --vocabulary."
      )
    raise VocabularyError(
      f"{folder} has no tokenizer: expected tokenizer.json (byte pairs),"
      f" vocab.json with merges.txt (GPT-2), or {_SENTENCE_PIECE}"
      " (SentencePiece)."
    )
  settings = _read_if_present(folder, "tokenizer_config.json")
  tokenizer_class = settings.text("tokenizer_class", _GPT2_CLASSES[0])
  if tokenizer_class not in _GPT2_CLASSES:
    raise VocabularyError(
      f"{folder} has vocab.json and merges.txt, but only a tokenizer.json says"
      f" how a {tokenizer_class} splits texts. `AutoTokenizer.from_pretrained"
      "(...).save_pretrained(...)` writes one."
    )
  vocab = _read_json(os.path.join(folder, "vocab.json")).all_integers(
    0, MOST_PIECES - 1
  )
  end = byte_pair.END_OF_TEXT
  values = {
    "pre_tokenizer": {"type": "ByteLevel"},
    "added_tokens": [{"id": vocab[end], "content": end}]
    if end in vocab
    else [],
    "model": {
      "vocab": vocab,
      "merges": _read_merges(merges_path),
    },
  }
  return ForeignValues(folder, values, VocabularyError)


def _read_merges(path: str) -> list[str]:
  try:
    with open(path, encoding="utf-8") as file:
      lines = [line.rstrip("\n") for line in file]
  except (OSError, UnicodeDecodeError) as error:
    raise VocabularyError(f"{path} cannot be read: {error}.") from error
  return [line for line in lines if line and not line.startswith("#version")]


def _read_json(path: str) -> ForeignValues:
  return foreign_values.read_json(path, VocabularyError)


def _read_if_present(folder: str, name: str) -> ForeignValues:
  """Returns the values of a folder's JSON file; none if it is missing."""
  return foreign_values.read_json_if_present(
    os.path.join(folder, name), VocabularyError
  )
