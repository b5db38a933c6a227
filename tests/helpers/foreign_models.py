"""Writes small models as other projects do, and damages their files.

`mutations` yields one damaged copy after another, the same for a seed:

  config.json          a key is removed, or gets a value of another type or size
  any file             some bits are flipped, or its end is cut off
"""

import copy
import json
import os
import pathlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from safetensors import numpy as safetensors_numpy

from flan_tf.bridges.hugging_face import (
  config_json,
  config_models,
  safetensors_mappings,
)
from flan_tf.bridges.keras_hub import backbone_configs, backbone_mappings
from flan_tf.bridges.settings import Settings
from flan_tf.bridges.tensor_mapping import TensorMapping
from flan_tf.vocab.byte_pair import BytePairVocabulary
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

ODD_VALUES: tuple[Any, ...] = (
  None,
  True,
  "16",
  "",
  "../../other",
  0,
  -1,
  2,
  0.5,
  10**12,
  10**400,
  float("inf"),
  [],
  [1],
  ["a", "b"],
  [None],
  [[[]]],
  {},
  {"a": 1},
  {"type": [1]},
)
CHAT_TEMPLATE = (
  "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|end|>\n"
  "{% endfor %}"
)
_SIZES = {
  "model_type": "llama",
  "hidden_size": 16,
  "intermediate_size": 24,
  "num_hidden_layers": 2,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "head_dim": 4,
  "max_position_embeddings": 64,
  "rms_norm_eps": 1e-5,
  "rope_theta": 10000.0,
  "rope_scaling": {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
  },
  "hidden_act": "silu",
  "attention_bias": False,
  "tie_word_embeddings": False,
  "eos_token_id": [0],
  "bos_token_id": 1,
}


def write_folder(folder: pathlib.Path, made: BytePairVocabulary) -> None:
  """Writes a Hugging Face folder of a Llama with two files of tensors."""
  folder.mkdir(parents=True, exist_ok=True)
  _write_json(folder / "config.json", {**_SIZES, "vocab_size": made.size})
  model, _ = config_models.read_model(config_json.CheckedConfig(str(folder)))
  mappings = safetensors_mappings.mappings(
    model, "llama", ["model.norm.weight"]
  )
  weight_map = {}
  for number, tensors in enumerate(_two_files(mappings), start=1):
    name = f"model-0000{number}-of-00002.safetensors"
    safetensors_numpy.save_file(tensors, folder / name)
    weight_map |= dict.fromkeys(tensors, name)
  _write_json(
    folder / "model.safetensors.index.json",
    {"metadata": {"total_size": 1}, "weight_map": weight_map},
  )
  write_tokenizer(folder, made)


def write_sentencepiece_folder(
  folder: pathlib.Path, texts: Sequence[str]
) -> None:
  """Writes a SentencePiece tokenizer, and files that add pieces to it."""
  folder.mkdir(parents=True)
  made = SentencePieceVocabulary.train(texts * 20, 300)
  made.save(str(folder / "tokenizer.model"))
  _write_json(folder / "config.json", {"vocab_size": made.size + 8})
  _write_json(folder / "added_tokens.json", {"<first>": made.size})
  decoder = {str(made.size + 1): {"content": "<second>", "special": True}}
  _write_json(
    folder / "tokenizer_config.json",
    {"add_bos_token": False, "added_tokens_decoder": decoder},
  )


class _NoTensors:
  """The reader of a preset whose tensors are not written yet."""

  def shapes(self) -> dict:
    return {}


def write_preset(folder: pathlib.Path, made: BytePairVocabulary) -> None:
  """Writes a KerasHub preset of a Llama with two files of tensors."""
  assets = folder / "assets" / "tokenizer"
  assets.mkdir(parents=True)
  settings = {
    "vocabulary_size": made.size,
    "num_layers": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "rope_max_wavelength": 500,
    "rope_frequency_adjustment_factor": 8.0,
    "rope_low_freq_factor": 1.0,
    "rope_high_freq_factor": 4.0,
    "rope_pretraining_sequence_length": 32,
    "layer_norm_epsilon": 1e-6,
    "tie_word_embeddings": True,
  }
  _write_json(
    folder / "config.json",
    {"class_name": "LlamaBackbone", "config": settings},
  )
  model = backbone_configs.read_model(
    "LlamaBackbone", Settings("", settings), _NoTensors()
  )
  mappings = backbone_mappings.backbone_mappings("LlamaBackbone", model)
  weight_map: dict[str, Any] = {}
  for number, tensors in enumerate(_two_files(mappings)):
    name = f"model_{number:05d}.weights.h5"
    with h5py.File(folder / name, "w") as file:
      for tensor, value in tensors.items():
        file[tensor] = value
        weight_map[f"/{os.path.dirname(tensor)}"] = name
  weight_map["/layers"] = sorted(set(weight_map.values()))
  _write_json(folder / "model.weights.json", {"weight_map": weight_map})
  _write_json(
    folder / "tokenizer.json",
    {"class_name": "GPT2Tokenizer", "config": {"eos_token": made.tokens[0]}},
  )
  ids = {token: i for i, token in enumerate(made.tokens)}
  _write_json(assets / "vocabulary.json", ids)
  (assets / "merges.txt").write_text("\n".join(made.merges))


def _two_files(mappings: Mapping[str, TensorMapping]) -> list[dict]:
  """Returns random tensors by name, in two parts."""
  rng = np.random.default_rng(0)
  parts: list[dict] = [{}, {}]
  for index, mapping in enumerate(mappings.values()):
    value = rng.standard_normal(mapping.shape).astype(np.float32)
    parts[index % 2][mapping.name] = value
  return parts


def write_tokenizer(folder: pathlib.Path, made: BytePairVocabulary) -> None:
  """Writes tokenizer.json and tokenizer_config.json."""
  values = json.loads(made._tokenizer.to_str())
  special = {i: made.tokens[i] for i in made.special_pieces.values()}
  values["added_tokens"] = [
    {"id": i, "content": token, "special": True} for i, token in special.items()
  ]
  values["post_processor"] = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": made.tokens[1]}}, {"Sequence": {}}],
  }
  _write_json(folder / "tokenizer.json", values)
  settings = {
    "chat_template": CHAT_TEMPLATE,
    "add_bos_token": True,
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": made.tokens[1],
    "eos_token": {"content": made.tokens[0]},
    "pad_token": made.tokens[2],
    "added_tokens_decoder": {
      str(i): {"content": token, "special": True}
      for i, token in special.items()
    },
  }
  _write_json(folder / "tokenizer_config.json", settings)
  _write_json(folder / "special_tokens_map.json", {"eos_token": made.tokens[0]})


def mutations(
  folder: pathlib.Path, seed: int, values: int, bytes_: int
) -> Iterator[str]:
  """Damages the files of a folder, one at a time, and repairs them again.

  Args:
    folder: the folder, or one with a single file.
    seed: gives the same damages again.
    values: number of changes to JSON files.
    bytes_: number of flipped bits and of cuts in any file.

  Yields:
    A description, while one file is damaged.
  """
  rng = random.Random(seed)
  files = sorted(path for path in folder.rglob("*") if path.is_file())
  json_files = [path for path in files if path.suffix == ".json"]
  for number in range(values + bytes_):
    path = rng.choice(json_files if number < values else files)
    whole = path.read_bytes()
    if number < values:
      changed, what = _changed_json(whole, rng)
    else:
      changed, what = _changed_bytes(whole, rng)
    path.write_bytes(changed)
    try:
      yield f"{path.name}: {what}"
    finally:
      path.write_bytes(whole)


def _changed_json(content: bytes, rng: random.Random) -> tuple[bytes, str]:
  """Changes one value, most often one that is not deep in the file."""
  values = copy.deepcopy(json.loads(content))
  place, part = [], values
  while True:
    keys = list(part) if isinstance(part, dict) else list(range(len(part)))
    key = rng.choice(keys)
    place.append(key)
    if not (isinstance(part[key], (dict, list)) and part[key]):
      break
    if rng.random() < 0.3:
      break
    part = part[key]
  if rng.random() < 0.1:
    del part[key]
    return json.dumps(values).encode(), f"without {place}"
  odd = rng.choice(ODD_VALUES)
  part[key] = odd
  return json.dumps(values).encode(), f"{place} is {odd!r:.40}"


def _changed_bytes(content: bytes, rng: random.Random) -> tuple[bytes, str]:
  if rng.random() < 0.3:
    size = rng.randrange(len(content))
    return content[:size], f"cut to {size} bytes"
  damaged = bytearray(content)
  # Headers are at the beginning.
  limit = len(damaged) if rng.random() < 0.5 else min(len(damaged), 2000)
  places = [rng.randrange(limit) for _ in range(rng.choice((1, 1, 3)))]
  for place in places:
    damaged[place] ^= 1 << rng.randrange(8)
  return bytes(damaged), f"bits flipped in bytes {places}"


def _write_json(path: pathlib.Path, values: Any) -> None:
  path.write_text(json.dumps(values))
