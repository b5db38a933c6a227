"""Reads the tokenizer of a Hugging Face model folder."""

import json
import os
from collections.abc import Mapping
from typing import Any

from flan_tf.vocab import byte_characters, byte_pair, pretokenize
from flan_tf.vocab.base import Vocabulary, VocabularyError
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
  model = spec.get("model", {})
  pattern = pretokenize.find_pattern(spec.get("pre_tokenizer"))
  kind = model.get("type", "BPE")
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
  added = {t["id"]: t["content"] for t in spec.get("added_tokens") or []}
  pieces = {**{i: t for t, i in model["vocab"].items()}, **added}
  # Ids without a piece keep their place.
  tokens = [pieces.get(i, f"<unused {i}>") for i in range(max(pieces) + 1)]
  unused = [i for i in range(len(tokens)) if i not in pieces]
  special = _special_roles(folder, {token: i for i, token in pieces.items()})
  return byte_pair.BytePairVocabulary.from_parts(
    tokens,
    model["merges"],
    pattern,
    {**special, "others": sorted([*added, *unused])},
    adds_bos=_adds_start(spec, pieces, special["bos"]),
    ignore_merges=model.get("ignore_merges", False),
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
  settings = _read_json(os.path.join(folder, "tokenizer_config.json"), {})
  model_config = _read_json(os.path.join(folder, "config.json"), {})
  embedding_rows = model_config.get("vocab_size", 0)
  added = _read_json(os.path.join(folder, "added_tokens.json"), {})
  pieces = {i: piece for piece, i in added.items()}
  for i, token in settings.get("added_tokens_decoder", {}).items():
    pieces[int(i)] = token["content"]
  last = max((i for i in pieces if i < embedding_rows), default=-1)
  new_ids = range(vocabulary.size, last + 1)
  if new_ids:
    vocabulary = vocabulary.with_special_pieces(
      [pieces.get(i, f"<unused {i}>") for i in new_ids]
    )
  if settings.get("add_bos_token") is False:
    return vocabulary.without_start()
  return vocabulary


def _refuse_unsupported_options(path: str, spec: Mapping[str, Any]) -> None:
  model, normalizer = spec["model"], spec.get("normalizer")
  options = {name: model[name] for name in _OPTIONS if model.get(name)}
  # unk_token is never used if every byte has a piece.
  if all(c in model["vocab"] for c in byte_characters.CHARACTERS):
    options.pop("unk_token", None)
  if normalizer and normalizer.get("type") != "NFC":
    options["normalizer"] = normalizer
  if options:
    raise VocabularyError(
      f"{path} has options that byte-pair vocabularies do not support here:"
      f" {json.dumps(options)}."
    )


def _adds_start(
  spec: Mapping[str, Any], pieces: Mapping[int, str], bos: int | None
) -> bool:
  """Returns whether the tokenizer puts the start piece before every text."""
  if bos is None:
    return False
  steps = [spec.get("post_processor") or {}]
  steps += steps[0].get("processors") or []
  return any(
    (step.get("single") or [{}])[0].get("SpecialToken", {}).get("id")
    == pieces[bos]
    for step in steps
  )


def _special_roles(
  folder: str, ids: Mapping[str, int]
) -> dict[str, int | None]:
  """Returns the ids of bos, eos and pad; None for a piece that is not named.

  Args:
    folder: the model folder, with the files that name the pieces.
    ids: the id of each piece.
  """
  names = _read_json(os.path.join(folder, "special_tokens_map.json"), {})
  names |= _read_json(os.path.join(folder, "tokenizer_config.json"), {})
  model_config = _read_json(os.path.join(folder, "config.json"), {})
  roles: dict[str, int | None] = {}
  for role in ("bos", "eos", "pad"):
    token = names.get(f"{role}_token")
    token = token.get("content") if isinstance(token, dict) else token
    number = model_config.get(f"{role}_token_id")
    number = number[0] if isinstance(number, list) else number
    role_id = ids.get(token) if isinstance(token, str) else number
    roles[role] = role_id if role_id in ids.values() else None
  if roles["eos"] is None:
    roles["eos"] = ids.get(byte_pair.END_OF_TEXT)
  return roles


def _gpt2_spec(folder: str) -> dict[str, Any]:
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
  settings = _read_json(os.path.join(folder, "tokenizer_config.json"), {})
  tokenizer_class = settings.get("tokenizer_class", _GPT2_CLASSES[0])
  if tokenizer_class not in _GPT2_CLASSES:
    raise VocabularyError(
      f"{folder} has vocab.json and merges.txt, but only a tokenizer.json says"
      f" how a {tokenizer_class} splits texts. `AutoTokenizer.from_pretrained"
      "(...).save_pretrained(...)` writes one."
    )
  vocab = _read_json(os.path.join(folder, "vocab.json"))
  with open(merges_path, encoding="utf-8") as file:
    lines = [line.rstrip("\n") for line in file]
  end = byte_pair.END_OF_TEXT
  return {
    "pre_tokenizer": {"type": "ByteLevel"},
    "added_tokens": [{"id": vocab[end], "content": end}]
    if end in vocab
    else [],
    "model": {
      "vocab": vocab,
      "merges": [m for m in lines if m and not m.startswith("#version")],
    },
  }


def _read_json(path: str, default: Any = None) -> dict[str, Any]:
  """Reads a JSON file; returns `default` if it is missing and has one."""
  try:
    with open(path, encoding="utf-8") as file:
      return json.load(file)
  except FileNotFoundError as error:
    if default is not None:
      return default
    raise VocabularyError(f"There is no file {path}.") from error
  except ValueError as error:
    raise VocabularyError(f"{path} is no JSON: {error}.") from error
