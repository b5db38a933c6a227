"""Opens a Hugging Face folder: config.json, *.safetensors, and a tokenizer.

Families: gpt2, llama (1 to 3, SmolLM2), mistral, gemma, gemma2, qwen2 (2, 2.5).
The model of this project has the options of all of them, so that a folder is
no more than a configuration and a table of names.
"""

import functools
import os

from flan_tf.bridges import chat_templates
from flan_tf.bridges.hugging_face import (
  config_models,
  safetensors_files,
  safetensors_mappings,
)
from flan_tf.bridges.hugging_face.config_json import CONFIG_FILE, CheckedConfig
from flan_tf.bridges.hugging_face.safetensors_files import SafetensorsReader
from flan_tf.bridges.model_source import ModelSource
from flan_tf.bridges.tensor_mapping import bind
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.hugging_face_tokenizer import load_hugging_face_tokenizer
from flan_tf.vocab.load import load_vocabulary

# Files that can hold a part of a tokenizer.
TOKENIZER_FILES = (
  "tokenizer.model",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
  chat_templates.TEMPLATE_FILE,
)


def open_source(
  folder: str, vocabulary: Vocabulary | None = None
) -> ModelSource:
  """Opens the model of a local folder; reads none of its tensors.

  Args:
    folder: has config.json and *.safetensors.
    vocabulary: used in place of the folder's tokenizer.

  Raises:
    SourceError: there is no such folder, or no model in it; the architecture or
      one of its options is not supported; tensors are missing, unknown, of
      another shape or stored as integers; or a file is damaged.
    VocabularyError: there is no tokenizer that can be read.
  """
  folder = os.path.expanduser(folder)
  settings = CheckedConfig(folder)
  model, context_length = config_models.read_model(settings)
  reader = SafetensorsReader(folder)
  ignore = functools.partial(
    safetensors_mappings.is_no_weight, model.shared_embedding
  )
  reader.check_floats(ignore)
  mappings = safetensors_mappings.mappings(
    model, settings.family, reader.shapes()
  )
  tensors = bind(reader, model, mappings, ignore)
  if vocabulary is None:
    vocabulary = load_hugging_face_tokenizer(folder)
  template = chat_templates.from_folder(folder, vocabulary)
  return ModelSource(
    model,
    vocabulary,
    tensors,
    origin=f"Hugging Face folder {folder} ({settings.family})",
    context_length=context_length,
    chat=template.chat,
    no_chat_reason=template.reason,
    files=_files(folder, reader),
  )


def _files(folder: str, reader: SafetensorsReader) -> tuple[str, ...]:
  """Returns the paths of the files of a folder that a model is read from."""
  small = [
    os.path.join(folder, name)
    for name in (CONFIG_FILE, safetensors_files.INDEX, *TOKENIZER_FILES)
  ]
  return (*filter(os.path.exists, small), *reader.files)


def open_vocabulary(path: str) -> Vocabulary:
  """Opens a vocabulary file of any kind, or the tokenizer of a folder.

  Raises:
    VocabularyError: there is none.
  """
  if os.path.isdir(os.path.expanduser(path)):
    return load_hugging_face_tokenizer(path)
  return load_vocabulary(path)
