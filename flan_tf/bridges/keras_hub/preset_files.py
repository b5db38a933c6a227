"""The files of a KerasHub preset: h5 weights, and the tokenizer's assets."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import h5py
import ml_dtypes
import numpy as np

from flan_tf import name_lists
from flan_tf.bridges import model_source
from flan_tf.vocab import byte_pair, vocabulary

WEIGHTS, SHARDS = "model.weights.h5", "model.weights.json"
VOCABULARY = "vocabulary.model"
_TOKENIZER = "assets/tokenizer"
ASSETS = tuple(
  f"{_TOKENIZER}/{name}"
  for name in ("vocabulary.spm", "vocabulary.json", "merges.txt")
)
_SENTENCEPIECE = ("LlamaTokenizer", "MistralTokenizer", "GemmaTokenizer")
# Class -> the pattern that the family was trained with, and its other habits.
_BYTE_PAIRS: dict[str, dict[str, Any]] = {
  "GPT2Tokenizer": {"pattern": "gpt2"},
  "Llama3Tokenizer": {
    "pattern": "llama3",
    "adds_bos": True,
    "ignore_merges": True,
  },
  "QwenTokenizer": {"pattern": "qwen2", "normalizer": "nfc"},
}


class H5TensorReader:
  """The tensors of a preset's h5 file or shards; see source.Reader."""

  def __init__(self, folder: str):
    self.where = folder
    self._places: dict[
      str, tuple[str, str]
    ] = {}  # name -> file, its name there
    self._shapes: dict[str, tuple[int, ...]] = {}
    if os.path.exists(os.path.join(folder, WEIGHTS)):
      names = [WEIGHTS]
    elif os.path.exists(os.path.join(folder, SHARDS)):
      names = files_of(read_json(folder, SHARDS).get("weight_map", {}))
    else:
      raise model_source.SourceError(
        f"{folder} has no weights: neither {WEIGHTS} nor {SHARDS}."
      )
    for name in names:
      self._add(os.path.join(folder, name))

  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    return self._shapes

  def read(
    self, name: str, columns: tuple[int, int] | None = None
  ) -> np.ndarray:
    return self._read(name, (..., slice(*columns)) if columns else ())

  def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
    return self._read(name, (slice(begin, end),))

  def _read(self, name: str, at: tuple) -> np.ndarray:
    path, inner = self._places[name]
    with _opened(path) as file:
      data = file[inner]
      try:
        value = data[at]
      except OSError as error:
        raise _damaged(path, error) from error
      if _dtype(data) == "bfloat16":
        value = value.view(ml_dtypes.bfloat16)
    return value

  def _add(self, path: str) -> None:
    others = []

    def add(name: str, item: Any) -> None:
      if isinstance(item, h5py.Dataset):
        # The first Keras 3 called the folder of layers otherwise.
        ours = re.sub(r"^_layer_checkpoint_dependencies/", "layers/", name)
        self._places[ours] = path, name
        self._shapes[ours] = item.shape
        if not _dtype(item).startswith(("float", "bfloat")):
          others.append(f"{ours} ({_dtype(item)})")

    with _opened(path) as file:
      try:
        file.visititems(add)
      except (OSError, RuntimeError) as error:
        raise _damaged(path, error) from error
    if others:
      raise model_source.SourceError(
        f"{path} is quantized, or holds more than weights; only floating-point"
        " tensors are read: " + "; ".join(model_source.grouped(others))
      )


def _dtype(data: Any) -> str:
  """Keras keeps bfloat16 as two bytes that h5 has no name for."""
  return str(data.attrs.get("dtype", data.dtype))


def _opened(path: str) -> h5py.File:
  try:
    return h5py.File(path, "r")
  except FileNotFoundError as error:
    raise model_source.SourceError(f"There is no file {path}.") from error
  except OSError as error:
    raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> model_source.SourceError:
  return model_source.SourceError(f"{path} is damaged or cut short: {error}.")


def files_of(weight_map: Mapping[str, str | list[str]]) -> list[str]:
  """The shards; a layer whose variables lie in several has a list of them."""
  found = set()
  for names in weight_map.values():
    found.update([names] if isinstance(names, str) else names)
  return sorted(found)


def read_json(folder: str, name: str) -> dict[str, Any]:
  path = os.path.join(folder, name)
  try:
    with open(path, encoding="utf-8") as file:
      return json.load(file)
  except FileNotFoundError as error:
    raise model_source.SourceError(f"There is no file {path}.") from error
  except (OSError, ValueError) as error:
    raise model_source.SourceError(
      f"{path} cannot be read: {error}."
    ) from error


def read_vocabulary(folder: str) -> vocabulary.Vocabulary:
  """The tokenizer of a preset; what `keras_hub_export` wrote has ours, too.

  Raises:
    SourceError: there is none, or none of a class that is known here.
    VocabularyError: its files cannot be read.
  """
  ours = os.path.join(folder, VOCABULARY)
  if os.path.exists(ours):
    return vocabulary.load_vocabulary(ours)
  if not os.path.exists(os.path.join(folder, "tokenizer.json")):
    raise model_source.SourceError(
      f"{folder} has no tokenizer.json: save the tokenizer, or the whole task,"
      " with the same `save_to_preset`, or name a --vocabulary."
    )
  saved = read_json(folder, "tokenizer.json")
  name = str(saved.get("class_name"))
  assets = os.path.join(folder, _TOKENIZER)
  if name in _SENTENCEPIECE:
    path = os.path.join(assets, "vocabulary.spm")
    return vocabulary.SentencePieceVocabulary.load(path)
  if name not in _BYTE_PAIRS:
    known = (*_SENTENCEPIECE, *_BYTE_PAIRS)
    raise model_source.SourceError(
      f"{folder}: " + name_lists.unknown_name("tokenizer", name, known)
    )
  ids = read_json(assets, "vocabulary.json")
  path = os.path.join(assets, "merges.txt")
  try:
    with open(path, encoding="utf-8") as file:
      lines = file.read().split("\n")
  except OSError as error:
    raise model_source.SourceError(
      f"{path} cannot be read: {error}."
    ) from error
  settings = saved.get("config", {})
  eos = settings.get("eos_token", "<|endoftext|>")
  bos = None
  if name == "Llama3Tokenizer":
    bos, eos = "<|begin_of_text|>", settings.get("eos_token", "<|end_of_text|>")
    if bos not in ids:
      # KerasHub gives this class to the byte pairs of other models too.
      raise model_source.SourceError(
        f"{folder}: this {name} has no piece {bos!r}, so it is not that of"
        " Llama 3, and a preset does not say how it cuts texts. Name a"
        " --vocabulary: the Hugging Face folder that has its tokenizer.json."
      )
  # Llama 3's reserved pieces are left out of presets; their ids are not.
  tokens = [f"<|reserved_{i}|>" for i in range(max(ids.values()) + 1)]
  for token, i in ids.items():
    tokens[i] = token
  special = {
    role: ids.get(token or "") for role, token in (("bos", bos), ("eos", eos))
  }
  others = [
    i for i, token in enumerate(tokens) if re.fullmatch(r"<\|.*\|>", token)
  ]
  return byte_pair.BytePairVocabulary.make(
    tokens,
    [line for line in lines if line and not line.startswith("#version")],
    special={**special, "pad": None, "others": others},
    where=folder,
    **_BYTE_PAIRS[name],
  )
