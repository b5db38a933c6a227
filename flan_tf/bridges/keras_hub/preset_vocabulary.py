"""Vocabularies from the tokenizers of KerasHub presets."""

import os
import re
from typing import Any

from flan_tf import name_lists
from flan_tf.bridges.keras_hub import preset_files
from flan_tf.bridges.model_source import SourceError
from flan_tf.foreign_values import ForeignValues
from flan_tf.vocab.base import MOST_PIECES, Vocabulary
from flan_tf.vocab.byte_pair import BytePairVocabulary
from flan_tf.vocab.load import load_vocabulary
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

_SENTENCEPIECE_CLASSES = (
  "LlamaTokenizer",
  "MistralTokenizer",
  "GemmaTokenizer",
)
# Options of `BytePairVocabulary.from_parts` by class. Presets do not have them,
# but each class belongs to a family that was trained with them.
_BYTE_PAIR_CLASSES: dict[str, dict[str, Any]] = {
  "GPT2Tokenizer": {"pattern": "gpt2"},
  "Llama3Tokenizer": {
    "pattern": "llama3",
    "adds_bos": True,
    "ignore_merges": True,
  },
  "QwenTokenizer": {"pattern": "qwen2", "normalizer": "nfc"},
}
_LLAMA3_START = "<|begin_of_text|>"


def read_vocabulary(folder: str) -> Vocabulary:
  """Reads the tokenizer of a preset.

  A preset that `preset_writer` wrote has the vocabulary itself, too.

  Raises:
    SourceError: there is no tokenizer, or its class is not supported.
    VocabularyError: its files cannot be read.
  """
  own_file = os.path.join(folder, preset_files.VOCABULARY)
  if os.path.exists(own_file):
    return load_vocabulary(own_file)
  if not os.path.exists(os.path.join(folder, preset_files.TOKENIZER)):
    raise SourceError(
      f"{folder} has no {preset_files.TOKENIZER}. Save the tokenizer, or the"
      " whole task, with the same `save_to_preset`, or name a --vocabulary."
    )
  saved = preset_files.read_json(folder, preset_files.TOKENIZER)
  class_name = saved.text("class_name", "None")
  if class_name in _SENTENCEPIECE_CLASSES:
    assets = os.path.join(folder, preset_files.TOKENIZER_FOLDER)
    path = os.path.join(assets, "vocabulary.spm")
    return SentencePieceVocabulary.load(path)
  if class_name not in _BYTE_PAIR_CLASSES:
    known = (*_SENTENCEPIECE_CLASSES, *_BYTE_PAIR_CLASSES)
    raise SourceError(
      f"{folder}: " + name_lists.unknown_name("tokenizer", class_name, known)
    )
  return _byte_pair_vocabulary(folder, class_name, saved.section("config"))


def _byte_pair_vocabulary(
  folder: str, class_name: str, settings: ForeignValues
) -> BytePairVocabulary:
  assets = os.path.join(folder, preset_files.TOKENIZER_FOLDER)
  vocabulary = preset_files.read_json(assets, "vocabulary.json")
  ids = vocabulary.all_integers(0, MOST_PIECES - 1)
  bos, default_eos = None, "<|endoftext|>"
  if class_name == "Llama3Tokenizer":
    bos, default_eos = _LLAMA3_START, "<|end_of_text|>"
    if bos not in ids:
      # KerasHub gives this class to the byte pairs of other models too.
      raise SourceError(
        f"{folder}: this {class_name} has no piece {bos!r}, so it is not the"
        " tokenizer of Llama 3, and a preset does not say how it splits texts"
        " into words. Name a --vocabulary: the Hugging Face folder that has its"
        " tokenizer.json."
      )
  eos = settings.text("eos_token", default_eos)
  # Presets leave out the reserved pieces of Llama 3, but keep their ids free.
  size = max(ids.values(), default=-1) + 1
  tokens = [f"<|reserved_{i}|>" for i in range(size)]
  for token, i in ids.items():
    tokens[i] = token
  return BytePairVocabulary.from_parts(
    tokens,
    _read_merges(os.path.join(assets, "merges.txt")),
    special={
      "bos": ids.get(bos or ""),
      "eos": ids.get(eos or ""),
      "pad": None,
      "others": [
        i for i, token in enumerate(tokens) if re.fullmatch(r"<\|.*\|>", token)
      ],
    },
    source=folder,
    **_BYTE_PAIR_CLASSES[class_name],
  )


def _read_merges(path: str) -> list[str]:
  try:
    with open(path, encoding="utf-8") as file:
      lines = file.read().split("\n")
  except (OSError, UnicodeDecodeError) as error:
    raise SourceError(f"{path} cannot be read: {error}.") from error
  return [line for line in lines if line and not line.startswith("#version")]
