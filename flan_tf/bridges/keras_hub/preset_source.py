"""Opens a KerasHub preset: config.json, model.weights.h5, a tokenizer.

Backbones: GPT2, Llama, Llama3, Mistral, Gemma (1 and 2), Qwen (2 and 2.5). The
tensors are read from the h5 file or its shards; no Keras model is built.

A preset is a local folder, or any name that KerasHub can download: a built-in
preset, "kaggle://...", "hf://...". KerasHub's own `get_file` downloads the
files, which needs the network and, for some models, an account. A folder or a
name may also hold a Hugging Face model, as for KerasHub's `from_preset`.

KerasHub writes 1e-6 as `layer_norm_epsilon` of every Llama that it takes from a
Hugging Face folder. Convert such a folder with `hugging_face:` instead of the
preset that KerasHub made of it.
"""

import os
from collections.abc import Iterable

from flan_tf import name_lists
from flan_tf.bridges.hugging_face import folder_source, safetensors_files
from flan_tf.bridges.keras_hub import (
  backbone_configs,
  preset_files,
  preset_vocabulary,
)
from flan_tf.bridges.keras_hub.backbone_mappings import (
  BACKBONES,
  backbone_mappings,
)
from flan_tf.bridges.keras_hub.h5_reader import H5TensorReader
from flan_tf.bridges.model_source import ModelSource, SourceError
from flan_tf.bridges.settings import Settings
from flan_tf.bridges.tensor_mapping import bind
from flan_tf.foreign_values import ForeignValues
from flan_tf.vocab.base import Vocabulary


def open_source(
  preset: str, vocabulary: Vocabulary | None = None
) -> ModelSource:
  """Opens the model of a preset; reads none of its tensors.

  Args:
    preset: a local folder, or a name that KerasHub can download.
    vocabulary: used in place of the preset's tokenizer.

  Raises:
    SourceError: there is no such preset; the architecture or one of its options
      is not supported; tensors are missing, unknown, of another shape or
      quantized; or a file is damaged.
    VocabularyError: there is no tokenizer that can be read.
  """
  folder = os.path.expanduser(preset)
  if not os.path.isdir(folder):
    folder = download(preset)
  saved = preset_files.read_json(folder, preset_files.CONFIG)
  if _is_hugging_face(saved):
    return folder_source.open_source(folder, vocabulary)
  origin = f"KerasHub preset {preset}"
  backbone = saved.text("class_name", "None")
  if backbone not in BACKBONES:
    raise SourceError(
      f"{origin}: " + name_lists.unknown_name("backbone", backbone, BACKBONES)
    )
  reader = H5TensorReader(folder)
  settings = Settings(
    f"{origin}: {preset_files.CONFIG}", saved.get("config", {})
  )
  model = backbone_configs.read_model(backbone, settings, reader)
  tensors = bind(reader, model, backbone_mappings(backbone, model))
  if vocabulary is None:
    vocabulary = preset_vocabulary.read_vocabulary(folder)
  return ModelSource(
    model,
    vocabulary,
    tensors,
    origin=f"{origin} ({backbone})",
    # Only learned positions limit it; rotary ones have no setting.
    context_length=model.max_positions,
    no_chat_reason="presets carry none",
    files=_files(folder, reader),
  )


def _files(folder: str, reader: H5TensorReader) -> tuple[str, ...]:
  """Returns the paths of the files of a preset that a model is read from."""
  names = preset_files.CONFIG, preset_files.SHARD_INDEX, preset_files.TOKENIZER
  names += preset_files.VOCABULARY, *preset_files.TOKENIZER_ASSETS
  paths = [os.path.join(folder, name) for name in names]
  return (*filter(os.path.exists, paths), *reader.files)


def download(preset: str) -> str:
  """Downloads the files of a preset, without building its model.

  Returns:
    The local folder with the files.

  Raises:
    SourceError: KerasHub does not know the name, or cannot reach it.
  """
  from keras_hub.src.utils import preset_utils

  def get(name: str) -> str:
    return preset_utils.get_file(preset, name)

  def get_existing(names: tuple[str, ...]) -> None:
    for name in names:
      if preset_utils.check_file_exists(preset, name):
        get(name)

  try:
    folder = os.path.dirname(get(preset_files.CONFIG))
    saved = preset_files.read_json(folder, preset_files.CONFIG)
    if _is_hugging_face(saved):
      weights, index = safetensors_files.WEIGHTS, safetensors_files.INDEX
      get_existing(folder_source.TOKENIZER_FILES)
    else:
      weights, index = preset_files.WEIGHTS, preset_files.SHARD_INDEX
      get_existing((preset_files.TOKENIZER, preset_files.VOCABULARY))
      get_existing(preset_files.TOKENIZER_ASSETS)
    if preset_utils.check_file_exists(preset, weights):
      get(weights)
    else:
      get(index)
      for name in _shard_names(folder, saved):
        get(name)
  # Each of the model hubs has errors of its own.
  except Exception as error:
    raise SourceError(
      f"{preset!r} is no local folder, and KerasHub cannot get it:"
      f" {str(error).strip() or type(error).__name__}"
    ) from error
  return folder


def _shard_names(folder: str, saved: ForeignValues) -> Iterable[str]:
  """Returns the names of the files of a model that has several."""
  if _is_hugging_face(saved):
    return sorted(set(safetensors_files.read_index(folder).values()))
  index = preset_files.read_json(folder, preset_files.SHARD_INDEX)
  return preset_files.shard_files(index)


def _is_hugging_face(saved: ForeignValues) -> bool:
  """Returns whether a config.json is one of Hugging Face."""
  return "model_type" in saved.names()
