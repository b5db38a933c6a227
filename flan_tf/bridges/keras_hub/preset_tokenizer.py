"""A vocabulary as one of KerasHub's tokenizers.

KerasHub's classes know start and end of a text by how they are spelt:

  class              kind           start                end             padding
  GPT2Tokenizer      byte pairs     <|endoftext|>        <|endoftext|>
  Llama3Tokenizer    byte pairs     <|begin_of_text|>    as it is spelt
  QwenTokenizer      byte pairs     none                 <|endoftext|>
  LlamaTokenizer     SentencePiece  <s>                  </s>
  MistralTokenizer   SentencePiece  <s>                  </s>
  GemmaTokenizer     SentencePiece  <bos>                <eos>           <pad>

Byte pairs need the class that fits. In a SentencePiece model the pieces for
start, end and padding are no text, so they are spelt anew; ids stay. Where a
model has no start piece of its own (the padding is read before a text), the
padding becomes the start, and the unknown piece, which byte fallback never
gives, becomes what KerasHub pads with.
"""

import dataclasses
import json
from typing import Any

from flan_tf.bridges import model_source
from flan_tf.vocab import byte_pair
from flan_tf.vocab.vocabulary import SentencePieceVocabulary, Vocabulary

FOLDER = "assets/tokenizer"
_END_OF_TEXT = "<|endoftext|>"
_LLAMA3_START = "<|begin_of_text|>"
_LLAMA3_END, _LLAMA3_TURN = "<|end_of_text|>", "<|eot_id|>"
_LLAMA3_HEADERS = ("<|start_header_id|>", "<|end_header_id|>")
_SPELLINGS = {
  "LlamaTokenizer": {"bos": "<s>", "eos": "</s>"},
  "MistralTokenizer": {"bos": "<s>", "eos": "</s>"},
  "GemmaTokenizer": {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>"},
}
_BYTE_PAIRS = ("Llama3Tokenizer", "GPT2Tokenizer", "QwenTokenizer")
_PATTERNS = {"gpt2": "GPT2Tokenizer", "qwen2": "QwenTokenizer"}


@dataclasses.dataclass(frozen=True)
class PresetTokenizer:
  """A KerasHub tokenizer.

  Attributes:
    name: of its class.
    config: what the class takes.
    assets: its files by name.
    notes: where it differs from the vocabulary, for people.
  """

  name: str
  config: dict[str, Any]
  assets: dict[str, bytes]
  notes: tuple[str, ...] = ()


def make(vocabulary: Vocabulary, of_family: str, where: str) -> PresetTokenizer:
  """The tokenizer for a vocabulary.

  Args:
    vocabulary: what tokenizes.
    of_family: the model's own class, which is taken if it fits.
    where: for errors.

  Raises:
    SourceError: no class fits the vocabulary's special pieces.
  """
  if isinstance(vocabulary, byte_pair.BytePairVocabulary):
    return _byte_pairs(vocabulary, of_family, where)
  if not isinstance(vocabulary, SentencePieceVocabulary):
    raise model_source.SourceError(
      f"{where}: KerasHub has no tokenizer for a {type(vocabulary).__name__}."
    )
  name = of_family if of_family in _SPELLINGS else "LlamaTokenizer"
  model = _respelt(vocabulary, _SPELLINGS[name], f"{where}, {name}")
  settings = {"proto": None, "add_bos": False, "add_eos": False}
  return PresetTokenizer(name, settings, {"vocabulary.spm": model})


def _byte_pairs(
  vocabulary: byte_pair.BytePairVocabulary, of_family: str, where: str
) -> PresetTokenizer:
  problems = {name: _lacks(vocabulary, name) for name in _BYTE_PAIRS}
  fitting = [name for name, lacks in problems.items() if not lacks]
  if not fitting:
    tried = "\n".join(f"  {n}: {lacks}" for n, lacks in problems.items())
    raise model_source.SourceError(
      f"{where}: no byte-pair tokenizer of KerasHub fits.\n{tried}"
    )
  own = [of_family, _PATTERNS.get(vocabulary.pattern, "")]
  # One that puts something before texts, only where the model reads that.
  starts = "Llama3Tokenizer" if vocabulary.has_start else "QwenTokenizer"
  name = next((n for n in (*own, starts) if n in fitting), fitting[0])
  special = vocabulary.special
  ids = [special.get(role) for role in ("bos", "eos", "pad")]
  ids += special.get("others", [])
  spelt = {vocabulary.tokens[i] for i in ids if i is not None}
  settings: dict[str, Any] = {"unsplittable_tokens": sorted(spelt)}
  if name == "Llama3Tokenizer":
    settings["bos_token"] = _LLAMA3_START
    settings["eos_token"] = vocabulary.tokens[vocabulary.eos_id]
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
  vocab = {token: i for i, token in enumerate(vocabulary.tokens)}
  return PresetTokenizer(
    name,
    {**settings, "add_prefix_space": False},
    {
      "vocabulary.json": json.dumps(vocab).encode(),
      "merges.txt": "".join(f"{m}\n" for m in vocabulary.merges).encode(),
    },
    tuple(notes),
  )


def _lacks(vocabulary: byte_pair.BytePairVocabulary, name: str) -> str:
  """What a class needs that a vocabulary has not; empty if it fits."""
  eos = vocabulary.tokens[vocabulary.eos_id]
  start = vocabulary.tokens[vocabulary.bos_id]
  needs = [_END_OF_TEXT]
  if name == "Llama3Tokenizer":
    needs = [_LLAMA3_START, *_LLAMA3_HEADERS]
    needs += [_LLAMA3_TURN] if eos == _LLAMA3_END else []
  missing = [token for token in needs if token not in vocabulary.tokens]
  problems = [f"needs the pieces {', '.join(missing)}"] if missing else []
  if vocabulary.has_start:
    spelt = {"Llama3Tokenizer": _LLAMA3_START, "GPT2Tokenizer": _END_OF_TEXT}
    if spelt.get(name) != start:
      says = spelt.get(name, "nothing")
      problems.append(f"starts texts with {says}, the model with {start}")
  if name != "Llama3Tokenizer" and eos != _END_OF_TEXT:
    problems.append(f"ends texts with {_END_OF_TEXT}, the model with {eos}")
  return "; ".join(problems)


def _respelt(
  vocabulary: SentencePieceVocabulary,
  spelling: dict[str, str],
  where: str,
) -> bytes:
  """The SentencePiece model with other names for its special pieces."""
  from sentencepiece import sentencepiece_model_pb2

  # It makes its classes when it is imported, where pyright cannot see them.
  messages: Any = sentencepiece_model_pb2
  wanted = {vocabulary.bos_id: spelling["bos"]}
  wanted[vocabulary.eos_id] = spelling["eos"]
  names = vocabulary.pieces(range(vocabulary.size))
  proto = messages.ModelProto()
  proto.ParseFromString(vocabulary.model)
  kinds = messages.ModelProto.SentencePiece
  if "pad" in spelling:
    unknown = [i for i, p in enumerate(proto.pieces) if p.type == kinds.UNKNOWN]
    taken = vocabulary.pad_id in wanted
    wanted[unknown[0] if taken else vocabulary.pad_id] = spelling["pad"]
  if all(names[i] == name for i, name in wanted.items()):
    return vocabulary.model
  texts = [i for i in wanted if proto.pieces[i].type == kinds.NORMAL]
  spelt = [wanted.get(i, name) for i, name in enumerate(names)]
  twice = sorted(name for name in wanted.values() if spelt.count(name) > 1)
  if texts or twice or len(set(wanted.values())) < len(spelling):
    raise model_source.SourceError(
      f"{where}: the pieces for start, end and padding cannot be spelt"
      f" {', '.join(spelling.values())}: the vocabulary has"
      f" {', '.join(twice) or 'texts'} in another place."
    )
  trainer = proto.trainer_spec
  for i, name in wanted.items():
    proto.pieces[i].piece = name
    if proto.pieces[i].type == kinds.UNKNOWN:
      trainer.unk_piece = name
  trainer.bos_piece, trainer.eos_piece = spelling["bos"], spelling["eos"]
  trainer.pad_piece = spelling.get("pad", trainer.pad_piece)
  return proto.SerializeToString()
