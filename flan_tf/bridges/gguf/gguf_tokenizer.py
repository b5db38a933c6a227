"""Vocabularies from the metadata of a GGUF file.

tokenizer.ggml.model   "gpt2": byte pairs, with tokens, merges, and the name
                       `pre` of the pre-tokenizer
                       "llama": SentencePiece, with tokens, scores and types,
                       from which a SentencePiece model is built
tokenizer.ggml.tokens  the pieces by id
....token_type         the pieces' types: 1 normal, 2 unknown, 3 control,
                       4 user-defined, 5 unused, 6 byte (as in SentencePiece)
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sentencepiece import sentencepiece_model_pb2

from flan_tf import name_lists
from flan_tf.foreign_values import ForeignValues
from flan_tf.vocab.base import Vocabulary, VocabularyError
from flan_tf.vocab.byte_pair import BytePairVocabulary
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

# Pre-tokenizers by llama.cpp's name -> name in `flan_tf.vocab.pretokenize`.
_PRE_TOKENIZERS = {
  "gpt-2": "gpt2",
  "gpt2": "gpt2",
  "default": "gpt2",
  "smollm": "smollm",
  "starcoder": "smollm",
  "llama-bpe": "llama3",
  "llama3": "llama3",
  "llama-v3": "llama3",
  "qwen2": "qwen2",
}
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_PREFIX = "tokenizer.ggml."

# The module makes its classes when it is imported, where pyright cannot see
# them.
_MESSAGES: Any = sentencepiece_model_pb2


class SpecialTokens(NamedTuple):
  """Special pieces that a chat template may write.

  Attributes:
    by_role: the pieces "bos_token" and "eos_token", as far as there are any.
    pieces: all special pieces.
  """

  by_role: dict[str, str]
  pieces: list[str]


def read(metadata: Mapping[str, Any], path: str) -> Vocabulary:
  """Builds the vocabulary of a file.

  Args:
    metadata: the file's metadata.
    path: the file, for messages.

  Raises:
    VocabularyError: the file has no tokenizer, or one that is not supported.
  """
  values = ForeignValues(path, metadata, VocabularyError, _PREFIX)
  readers = {"gpt2": _byte_pair_vocabulary, "llama": _sentencepiece_vocabulary}
  kind = values.text("model", None)
  tokens = values.texts("tokens", None)
  if kind is None or tokens is None:
    raise VocabularyError(
      f"{path} has no tokenizer: {_PREFIX}model or {_PREFIX}tokens is missing."
      " Name another one with --vocabulary."
    )
  if kind not in readers:
    raise VocabularyError(
      f"{path}: " + name_lists.unknown_name(f"{_PREFIX}model", kind, readers)
    )
  for name, entries in (
    ("token_type", _types(values, tokens)),
    ("scores", _scores(values, tokens)),
  ):
    if len(entries) != len(tokens):
      raise VocabularyError(
        f"{path} has {len(tokens)} pieces, but {len(entries)} entries in"
        f" {_PREFIX}{name}."
      )
  return readers[kind](values, tokens)


def special_tokens(metadata: Mapping[str, Any], path: str) -> SpecialTokens:
  """Returns the special pieces of a file's tokenizer; see `read`."""
  values = ForeignValues(path, metadata, VocabularyError, _PREFIX)
  tokens = values.texts("tokens", [])
  types = _types(values, tokens)
  ids = {
    f"{role}_token": values.integer(f"{role}_token_id", -1)
    for role in ("bos", "eos")
  }
  return SpecialTokens(
    {role: tokens[i] for role, i in ids.items() if 0 <= i < len(tokens)},
    [
      token
      for token, token_type in zip(tokens, types, strict=False)
      if token_type in (_CONTROL, _USER_DEFINED)
    ],
  )


def _types(values: ForeignValues, tokens: list[str]) -> list[int]:
  return values.integers("token_type", [_NORMAL] * len(tokens), 1, _BYTE)


def _scores(values: ForeignValues, tokens: list[str]) -> list[float]:
  return values.numbers("scores", [0.0] * len(tokens))


def _byte_pair_vocabulary(
  values: ForeignValues, tokens: list[str]
) -> Vocabulary:
  name = values.text("pre", "default")
  if name not in _PRE_TOKENIZERS:
    raise VocabularyError(
      f"{values.origin}: "
      + name_lists.unknown_name(f"{_PREFIX}pre", name, _PRE_TOKENIZERS)
    )
  pre_tokenizer = _PRE_TOKENIZERS[name]
  bos = values.integer("bos_token_id", None)
  # The default of llama.cpp.
  adds_bos = values.flag("add_bos_token", pre_tokenizer == "llama3")
  return BytePairVocabulary.from_parts(
    tokens,
    values.texts("merges", []),
    pre_tokenizer,
    {
      "bos": bos,
      "eos": values.integer("eos_token_id", None),
      "pad": values.integer("padding_token_id", None),
      "others": [
        i
        for i, token_type in enumerate(_types(values, tokens))
        if token_type != _NORMAL
      ],
    },
    adds_bos=adds_bos and bos is not None,
    # The metadata do not say so, but the tokenizers of these families do it.
    ignore_merges=pre_tokenizer == "llama3",
    normalizer="nfc" if pre_tokenizer == "qwen2" else None,
    source=values.origin,
  )


def _sentencepiece_vocabulary(
  values: ForeignValues, tokens: list[str]
) -> Vocabulary:
  model = _MESSAGES.ModelProto()
  types = _types(values, tokens)
  for token, score, token_type in zip(
    tokens, _scores(values, tokens), types, strict=True
  ):
    model.pieces.add(piece=token, score=score, type=token_type)
  trainer = model.trainer_spec
  trainer.model_type = trainer.BPE
  trainer.vocab_size = len(tokens)
  trainer.byte_fallback = _BYTE in types
  _set_special_pieces(model, values, tokens)
  normalizer = model.normalizer_spec
  normalizer.name = "identity"
  normalizer.add_dummy_prefix = values.flag("add_space_prefix", True)
  normalizer.remove_extra_whitespaces = values.flag(
    "remove_extra_whitespaces", False
  )
  normalizer.escape_whitespaces = True
  vocabulary = SentencePieceVocabulary(model.SerializeToString(), values.origin)
  # The default of llama.cpp.
  if values.flag("add_bos_token", True):
    return vocabulary
  return vocabulary.without_start()


def _set_special_pieces(
  model: Any, values: ForeignValues, tokens: list[str]
) -> None:
  """Sets ids and names of unknown, start, end and padding in a model."""
  types = _types(values, tokens)
  # A file without the ids has those of Llama.
  is_llama = values.get("eos_token_id") is None
  unknown = types.index(_UNKNOWN) if _UNKNOWN in types else 0
  for role, name, default in (
    ("unk", "unknown_token_id", unknown),
    ("bos", "bos_token_id", 1 if is_llama else -1),
    ("eos", "eos_token_id", 2),
    ("pad", "padding_token_id", -1),
  ):
    number = values.integer(name, default, low=-1)
    if not -1 <= number < len(tokens):
      raise VocabularyError(
        f"{values.origin}: {_PREFIX}{name} is {number}, but there are"
        f" {len(tokens)} pieces."
      )
    setattr(model.trainer_spec, f"{role}_id", number)
    if number >= 0:
      setattr(model.trainer_spec, f"{role}_piece", tokens[number])
      # SentencePiece accepts only control pieces as start, end and padding.
      model.pieces[number].type = _UNKNOWN if role == "unk" else _CONTROL
