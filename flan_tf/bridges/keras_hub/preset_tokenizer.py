"""Vocabularies as tokenizers of KerasHub.

The classes of KerasHub find start, end and padding by the names of the pieces:

  class              kind           start                end             padding
  GPT2Tokenizer      byte pairs     <|endoftext|>        <|endoftext|>
  Llama3Tokenizer    byte pairs     <|begin_of_text|>    any name
  QwenTokenizer      byte pairs     none                 <|endoftext|>
  LlamaTokenizer     SentencePiece  <s>                  </s>
  MistralTokenizer   SentencePiece  <s>                  </s>
  GemmaTokenizer     SentencePiece  <bos>                <eos>           <pad>

Byte pairs get a class whose names they have. In a SentencePiece model the
pieces for start, end and padding are no text, so they can be renamed; their ids
stay. Where a model has no start piece of its own (it reads the padding before a
text), the padding piece gets the name of the start, and the unknown piece,
which a model with byte fallback never gives, gets the name of the padding.
"""

import dataclasses
import json
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from flan_tf.bridges.model_source import SourceError
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.byte_pair import BytePairVocabulary
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

_END_OF_TEXT = "<|endoftext|>"
_LLAMA3_START = "<|begin_of_text|>"
_LLAMA3_END, _LLAMA3_TURN = "<|end_of_text|>", "<|eot_id|>"
_LLAMA3_HEADERS = ("<|start_header_id|>", "<|end_header_id|>")
_BYTE_PAIR_CLASSES = ("Llama3Tokenizer", "GPT2Tokenizer", "QwenTokenizer")
_CLASS_OF_PATTERN = {"gpt2": "GPT2Tokenizer", "qwen2": "QwenTokenizer"}
# The piece that a byte-pair class puts before a text; QwenTokenizer has none.
_START_OF_CLASS = {
  "Llama3Tokenizer": _LLAMA3_START,
  "GPT2Tokenizer": _END_OF_TEXT,
}
# Names of the special pieces of each SentencePiece class.
_PIECE_NAMES = {
  "LlamaTokenizer": {"bos": "<s>", "eos": "</s>"},
  "MistralTokenizer": {"bos": "<s>", "eos": "</s>"},
  "GemmaTokenizer": {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>"},
}

# The module makes its classes when it is imported, where pyright cannot see
# them.
_MESSAGES: Any = sentencepiece_model_pb2


@dataclasses.dataclass(frozen=True)
class PresetTokenizer:
  """A tokenizer of a KerasHub preset.

  Attributes:
    name: name of its class.
    config: arguments of the class's constructor.
    assets: content of its files, by name.
    notes: differences from the vocabulary, for people.
  """

  name: str
  config: dict[str, Any]
  assets: dict[str, bytes]
  notes: tuple[str, ...] = ()


def make_tokenizer(
  vocabulary: Vocabulary, preferred_class: str, origin: str
) -> PresetTokenizer:
  """Returns the tokenizer for a vocabulary.

  Args:
    vocabulary: the vocabulary.
    preferred_class: the class of the model's family; used if it fits.
    origin: the model, for messages.

  Raises:
    SourceError: no class fits the special pieces of the vocabulary.
  """
  if isinstance(vocabulary, BytePairVocabulary):
    return _byte_pair_tokenizer(vocabulary, preferred_class, origin)
  if not isinstance(vocabulary, SentencePieceVocabulary):
    raise SourceError(
      f"{origin}: KerasHub has no tokenizer for a {type(vocabulary).__name__}."
    )
  name = (
    preferred_class if preferred_class in _PIECE_NAMES else "LlamaTokenizer"
  )
  model = _with_piece_names(vocabulary, _PIECE_NAMES[name], f"{origin}, {name}")
  config = {"proto": None, "add_bos": False, "add_eos": False}
  return PresetTokenizer(name, config, {"vocabulary.spm": model})


def _byte_pair_tokenizer(
  vocabulary: BytePairVocabulary, preferred_class: str, origin: str
) -> PresetTokenizer:
  name = _byte_pair_class(vocabulary, preferred_class, origin)
  config: dict[str, Any] = {
    "unsplittable_tokens": sorted(_special_pieces(vocabulary))
  }
  if name == "Llama3Tokenizer":
    config["bos_token"] = _LLAMA3_START
    config["eos_token"] = vocabulary.tokens[vocabulary.eos_id]
  config["add_prefix_space"] = False
  notes = [
    "KerasHub's byte-pair tokenizers cut texts into words in a way of their"
    " own, so that blanks, digits and letters beyond ASCII may get other ids"
    " than in training. `vocabulary.model` here has the right ones."
  ]
  if name == "GPT2Tokenizer" and not vocabulary.has_start:
    notes.append(
      f"`generate` on a text puts {_END_OF_TEXT} before it, which training did"
      " not; the code below does not."
    )
  ids = {token: i for i, token in enumerate(vocabulary.tokens)}
  merges = "".join(f"{merge}\n" for merge in vocabulary.merges)
  return PresetTokenizer(
    name,
    config,
    {
      "vocabulary.json": json.dumps(ids).encode(),
      "merges.txt": merges.encode(),
    },
    tuple(notes),
  )


def _special_pieces(vocabulary: BytePairVocabulary) -> set[str]:
  special = vocabulary.special
  ids = [special.get(role) for role in ("bos", "eos", "pad")]
  ids += special.get("others", [])
  return {vocabulary.tokens[i] for i in ids if i is not None}


def _byte_pair_class(
  vocabulary: BytePairVocabulary, preferred_class: str, origin: str
) -> str:
  """Returns the best class that fits a vocabulary.

  Raises:
    SourceError: none fits; the message says what each class lacks.
  """
  problems = {name: _problems(vocabulary, name) for name in _BYTE_PAIR_CLASSES}
  fitting = [name for name in problems if not problems[name]]
  if not fitting:
    lines = "\n".join(f"  {name}: {text}" for name, text in problems.items())
    raise SourceError(
      f"{origin}: no byte-pair tokenizer of KerasHub fits.\n{lines}"
    )
  preferences = (
    preferred_class,
    _CLASS_OF_PATTERN.get(vocabulary.pattern, ""),
    # A class that puts a piece before texts, only if the model reads one.
    "Llama3Tokenizer" if vocabulary.has_start else "QwenTokenizer",
  )
  return next((name for name in preferences if name in fitting), fitting[0])


def _problems(vocabulary: BytePairVocabulary, class_name: str) -> str:
  """Returns why a class does not fit a vocabulary; empty if it fits."""
  eos = vocabulary.tokens[vocabulary.eos_id]
  start = vocabulary.tokens[vocabulary.bos_id]
  needed = [_END_OF_TEXT]
  if class_name == "Llama3Tokenizer":
    needed = [_LLAMA3_START, *_LLAMA3_HEADERS]
    needed += [_LLAMA3_TURN] if eos == _LLAMA3_END else []
  missing = [token for token in needed if token not in vocabulary.tokens]
  problems = [f"needs the pieces {', '.join(missing)}"] if missing else []
  class_start = _START_OF_CLASS.get(class_name)
  if vocabulary.has_start and class_start != start:
    problems.append(
      f"starts texts with {class_start or 'nothing'}, the model with {start}"
    )
  if class_name != "Llama3Tokenizer" and eos != _END_OF_TEXT:
    problems.append(f"ends texts with {_END_OF_TEXT}, the model with {eos}")
  return "; ".join(problems)


def _with_piece_names(
  vocabulary: SentencePieceVocabulary, names: dict[str, str], origin: str
) -> bytes:
  """Returns the SentencePiece model with other names of its special pieces.

  Args:
    vocabulary: the model.
    names: the names of the pieces "bos", "eos" and, if the class has one,
      "pad".
    origin: the model and the class, for messages.

  Raises:
    SourceError: a special piece is a text, or another piece has its new name.
  """
  proto = _MESSAGES.ModelProto()
  proto.ParseFromString(vocabulary.serialized)
  new_names = _new_names(vocabulary, proto, names)
  old_names = vocabulary.pieces(range(vocabulary.size))
  if all(old_names[i] == name for i, name in new_names.items()):
    return vocabulary.serialized
  types = _MESSAGES.ModelProto.SentencePiece
  texts = [i for i in new_names if proto.pieces[i].type == types.NORMAL]
  all_names = [new_names.get(i, name) for i, name in enumerate(old_names)]
  taken = sorted(
    name for name in new_names.values() if all_names.count(name) > 1
  )
  if texts or taken or len(set(new_names.values())) < len(names):
    raise SourceError(
      f"{origin}: the pieces for start, end and padding cannot be named"
      f" {', '.join(names.values())}: the vocabulary has"
      f" {', '.join(taken) or 'texts'} in another place."
    )
  trainer = proto.trainer_spec
  for i, name in new_names.items():
    proto.pieces[i].piece = name
    if proto.pieces[i].type == types.UNKNOWN:
      trainer.unk_piece = name
  trainer.bos_piece, trainer.eos_piece = names["bos"], names["eos"]
  trainer.pad_piece = names.get("pad", trainer.pad_piece)
  return proto.SerializeToString()


def _new_names(
  vocabulary: SentencePieceVocabulary, proto: Any, names: dict[str, str]
) -> dict[int, str]:
  """Returns the new names of pieces, by their ids."""
  new_names = {
    vocabulary.bos_id: names["bos"],
    vocabulary.eos_id: names["eos"],
  }
  if "pad" in names:
    pad = vocabulary.pad_id
    if pad in new_names:  # It starts texts: the unknown piece pads.
      types = _MESSAGES.ModelProto.SentencePiece
      pad = next(
        i for i, piece in enumerate(proto.pieces) if piece.type == types.UNKNOWN
      )
    new_names[pad] = names["pad"]
  return new_names
