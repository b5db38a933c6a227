"""Writes a model as a KerasHub preset, one tensor after another.

  FOLDER/config.json, task.json, preprocessor.json, tokenizer.json
  FOLDER/assets/tokenizer/*      the tokenizer's files
  FOLDER/model.weights.h5        or several files, with model.weights.json
  FOLDER/vocabulary.model        the vocabulary as this project saves it
  FOLDER/README.md               the model card

`keras_hub.models.CausalLM.from_preset(FOLDER)` loads it. KerasHub scales
queries by d_kv ** -0.5 only; another `query_scale` is multiplied into the
weights of the queries.
"""

import dataclasses
import json
import math
import os

import h5py
import numpy as np

from flan_tf import config
from flan_tf.bridges import model_card
from flan_tf.bridges.keras_hub import (
  preset_card,
  preset_files,
  preset_json,
  preset_tokenizer,
)
from flan_tf.bridges.keras_hub.backbone_choice import choose_family
from flan_tf.bridges.keras_hub.backbone_mappings import backbone_mappings
from flan_tf.bridges.model_source import (
  VOCABULARY_TABLES,
  ModelSource,
  SourceError,
  check_value,
)
from flan_tf.bridges.target_folder import check_is_free, removed_on_error
from flan_tf.bridges.tensor_mapping import TensorMapping
from flan_tf.bridges.write_progress import WriteProgress, no_progress

# The limit of KerasHub's own `save_to_preset`: files of at most 10 GB.
SHARD_BYTES = 10 << 30


def write(
  source: ModelSource,
  target: str,
  progress: WriteProgress = no_progress,
  shard_bytes: int = SHARD_BYTES,
) -> str:
  """Writes a preset.

  Args:
    source: the model.
    target: a local folder that does not exist, or is empty.
    progress: called after each tensor.
    shard_bytes: the most bytes of tensors in one file; more need several.

  Returns:
    The name of the backbone's class, e.g. "LlamaBackbone".

  Raises:
    SourceError: no class of KerasHub computes this model, no tokenizer fits,
      there is something at `target`, or a tensor cannot be read. Nothing
      remains of what was written.
  """
  target = os.path.expanduser(target)
  if "://" in target:
    raise SourceError(
      f"{target}: a preset is written to a local folder only; write it there,"
      " and copy it."
    )
  check_is_free(target)
  family = choose_family(source)
  tokenizer = preset_tokenizer.make_tokenizer(
    source.vocabulary, f"{family}Tokenizer", source.origin
  )
  with removed_on_error(target):
    os.makedirs(target, exist_ok=True)
    for name, content in _small_files(source, family, tokenizer).items():
      path = os.path.join(target, name)
      os.makedirs(os.path.dirname(path), exist_ok=True)
      with open(path, "wb") as file:
        file.write(content)
    _write_weights(source, family, target, progress, shard_bytes)
  return f"{family}Backbone"


def _small_files(
  source: ModelSource, family: str, tokenizer: preset_tokenizer.PresetTokenizer
) -> dict[str, bytes]:
  """Returns the content of all files but the weights, by name."""
  notes = list(tokenizer.notes)
  factor = _query_factor(source.model)
  if factor != 1.0:
    notes.append(
      f"The weights of queries are multiplied by {factor:g}, as KerasHub scales"
      " them by d_kv ** -0.5 only."
    )
  files = {
    name: json.dumps(content, indent=2).encode()
    for name, content in preset_json.json_files(
      source, family, tokenizer
    ).items()
  }
  files |= {
    f"{preset_files.TOKENIZER_FOLDER}/{name}": content
    for name, content in tokenizer.assets.items()
  }
  files[preset_files.VOCABULARY] = source.vocabulary.serialized
  card = preset_card.preset_card(source, family, notes)
  files[model_card.FILE] = card.encode()
  return files


def _query_factor(model: config.ModelConfig) -> float:
  """Returns the factor of queries that KerasHub does not apply itself."""
  return model.query_scale * model.d_kv**0.5 if model.query_scale else 1.0


def _write_weights(
  source: ModelSource,
  family: str,
  target: str,
  progress: WriteProgress,
  shard_bytes: int,
) -> None:
  mappings = backbone_mappings(
    f"{family}Backbone", dataclasses.replace(source.model, pieces=source.rows)
  )
  total = sum(_bytes(mapping) for mapping in mappings.values())
  done = 0
  with _WeightFiles(target, total, shard_bytes) as files:
    for name, mapping in mappings.items():
      size = _bytes(mapping)
      file = files.file_for(mapping.name, size)
      file[mapping.name] = _stored_tensor(source, name, mapping)
      done += size
      progress(name, done, total)
    files.write_index()


def _bytes(mapping: TensorMapping) -> int:
  return 4 * math.prod(mapping.shape)


class _WeightFiles:
  """The h5 files of a preset, of which one is open at a time.

  Args:
    folder: the preset's folder.
    total: bytes of all tensors.
    shard_bytes: the most bytes of tensors in one file.
  """

  def __init__(self, folder: str, total: int, shard_bytes: int):
    self._folder = folder
    self._total = total
    self._shard_bytes = shard_bytes
    self._has_shards = total > shard_bytes
    self._files_of_group: dict[str, list[str]] = {}
    self._file: h5py.File | None = None
    self._name = ""
    self._count = 0
    self._bytes_in_file = 0

  def __enter__(self) -> "_WeightFiles":
    return self

  def __exit__(self, *error) -> None:
    if self._file is not None:
      self._file.close()

  def file_for(self, tensor: str, size: int) -> h5py.File:
    """Returns the open file for a tensor, a new one if the last one is full.

    Args:
      tensor: the tensor's name in the file.
      size: its bytes.
    """
    is_full = (
      self._has_shards
      and self._bytes_in_file > 0
      and self._bytes_in_file + size > self._shard_bytes
    )
    if self._file is None or is_full:
      self._open_next()
    self._bytes_in_file += size
    files = self._files_of_group.setdefault("/" + os.path.dirname(tensor), [])
    if self._name not in files:
      files.append(self._name)
    return self._file

  def _open_next(self) -> None:
    if self._file is not None:
      self._file.close()
    self._name = preset_files.WEIGHTS
    if self._has_shards:
      self._name = f"model_{self._count:05d}.weights.h5"
    self._file = h5py.File(os.path.join(self._folder, self._name), "w")
    self._count += 1
    self._bytes_in_file = 0

  def write_index(self) -> None:
    """Writes the file of each group of variables, if there are several."""
    if not self._has_shards:
      return
    index = {
      "metadata": {"total_size": self._total},
      "weight_map": {
        group: files[0] if len(files) == 1 else files
        for group, files in self._files_of_group.items()
      },
    }
    path = os.path.join(self._folder, preset_files.SHARD_INDEX)
    with open(path, "w") as file:
      json.dump(index, file, indent=2)


def _stored_tensor(
  source: ModelSource, name: str, mapping: TensorMapping
) -> np.ndarray:
  """Reads a weight and returns it as KerasHub stores it."""
  tensor = source.tensors[name]
  value = tensor.read()
  check_value(f"{source.origin}: {name}", value, tensor.shape)
  if name in VOCABULARY_TABLES:
    value = value[: source.rows]
  if name.endswith(("attention/q", "attention/q_bias")):
    factor = _query_factor(source.model)
    value = value if factor == 1.0 else value * np.float32(factor)
  return np.ascontiguousarray(mapping.to_stored(value), np.float32)
