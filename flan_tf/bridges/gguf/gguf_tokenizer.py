"""The tokenizer in the metadata of a GGUF file.

tokenizer.ggml.model  "gpt2": byte pairs (tokens, merges, and as `pre` the
                      name of what cuts texts), or "llama": SentencePiece
                      (tokens, scores, types), of which the model that
                      SentencePiece reads is built again
tokens                the pieces by id
token_type            1 normal, 2 unknown, 3 control, 4 user-defined,
                      5 unused, 6 a byte: SentencePiece's own numbers
"""

from collections.abc import Mapping
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from flan_tf import name_lists
from flan_tf.vocab import byte_pair, vocabulary

# What llama.cpp calls each way to cut texts -> ours.
_PATTERNS = {
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


def read(metadata: Mapping[str, Any], where: str) -> vocabulary.Vocabulary:
  """Builds the vocabulary.

  Args:
    metadata: keys and values of the file.
    where: for errors.

  Raises:
    VocabularyError: there is none, or one that works in another way.
  """
  values = {
    name.removeprefix(_PREFIX): value
    for name, value in metadata.items()
    if name.startswith(_PREFIX)
  }
  known = {"gpt2": _byte_pairs, "llama": _sentence_pieces}
  kind = values.get("model")
  if kind is None or "tokens" not in values:
    raise vocabulary.VocabularyError(f"{where} has no tokenizer.")
  if kind not in known:
    raise vocabulary.VocabularyError(
      f"{where}: "
      + name_lists.unknown_name("tokenizer.ggml.model", str(kind), known)
    )
  count = len(values["tokens"])
  for name in ("token_type", "scores"):
    if len(values.setdefault(name, [_NORMAL] * count)) != count:
      raise vocabulary.VocabularyError(
        f"{where} has {count} pieces, but {len(values[name])} entries in"
        f" tokenizer.ggml.{name}."
      )
  return known[kind](values, where)


def special(metadata: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
  """What a chat template may write.

  Returns:
    ("bos_token" and "eos_token" by name; all special pieces).
  """
  tokens = metadata.get(f"{_PREFIX}tokens", [])
  kinds = metadata.get(f"{_PREFIX}token_type", [])
  ids = {
    f"{role}_token": metadata.get(f"{_PREFIX}{role}_token_id", -1)
    for role in ("bos", "eos")
  }
  names = {name: tokens[i] for name, i in ids.items() if 0 <= i < len(tokens)}
  return names, [
    token
    for token, kind in zip(tokens, kinds, strict=False)
    if kind in (_CONTROL, _USER_DEFINED)
  ]


def _byte_pairs(values: dict[str, Any], where: str):
  pre = values.get("pre", "default")
  if pre not in _PATTERNS:
    raise vocabulary.VocabularyError(
      f"{where}: "
      + name_lists.unknown_name("tokenizer.ggml.pre", str(pre), _PATTERNS)
    )
  pattern = _PATTERNS[pre]
  bos = values.get("bos_token_id")
  # As llama.cpp does where the file does not say.
  adds = values.get("add_bos_token", pattern == "llama3")
  return byte_pair.BytePairVocabulary.make(
    values["tokens"],
    values.get("merges", []),
    pattern,
    {
      "bos": bos,
      "eos": values.get("eos_token_id"),
      "pad": values.get("padding_token_id"),
      "others": [i for i, t in enumerate(values["token_type"]) if t != _NORMAL],
    },
    adds_bos=bool(adds) and bos is not None,
    # Not in the metadata; these come with these two.
    ignore_merges=pattern == "llama3",
    normalizer="nfc" if pattern == "qwen2" else None,
    where=where,
  )


def _sentence_pieces(values: dict[str, Any], where: str):
  tokens, types = values["tokens"], values["token_type"]
  protos: Any = sentencepiece_model_pb2
  model = protos.ModelProto()
  for token, score, kind in zip(tokens, values["scores"], types, strict=True):
    model.pieces.add(piece=token, score=float(score), type=int(kind))
  spec = model.trainer_spec
  spec.model_type = spec.BPE
  spec.vocab_size = len(tokens)
  spec.byte_fallback = _BYTE in types
  # Files that name none mean those of Llama.
  llama = "eos_token_id" not in values
  for role, name, default in (
    (
      "unk",
      "unknown_token_id",
      types.index(_UNKNOWN) if _UNKNOWN in types else 0,
    ),
    ("bos", "bos_token_id", 1 if llama else -1),
    ("eos", "eos_token_id", 2),
    ("pad", "padding_token_id", -1),
  ):
    number = int(values.get(name, default))
    if not -1 <= number < len(tokens):
      raise vocabulary.VocabularyError(
        f"{where}: tokenizer.ggml.{name} is {number}, of {len(tokens)} pieces."
      )
    setattr(spec, f"{role}_id", number)
    if number >= 0:
      setattr(spec, f"{role}_piece", tokens[number])
      # Only control pieces can start, end and fill up.
      model.pieces[number].type = _UNKNOWN if role == "unk" else _CONTROL
  normalizer = model.normalizer_spec
  normalizer.name = "identity"
  normalizer.add_dummy_prefix = bool(values.get("add_space_prefix", True))
  normalizer.remove_extra_whitespaces = bool(
    values.get("remove_extra_whitespaces", False)
  )
  normalizer.escape_whitespaces = True
  made = vocabulary.SentencePieceVocabulary(model.SerializeToString(), where)
  # llama.cpp adds it where the file does not say.
  return made if values.get("add_bos_token", True) else made.without_start()
