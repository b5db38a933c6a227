"""Opens a GGUF file, the format of llama.cpp, quantized or not.

Architectures: llama (also Mistral and SmolLM2) and gpt2. The metadata of the
file hold the model's sizes and its tokenizer. Tensors are read one at a time
and dequantized to float32.
"""

import functools
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flan_tf import config, name_lists
from flan_tf.bridges import chat_templates
from flan_tf.bridges.gguf import (
  gguf_config,
  gguf_mappings,
  gguf_tokenizer,
)
from flan_tf.bridges.gguf.gguf_reader import GgufReader
from flan_tf.bridges.model_source import ModelSource, SourceError
from flan_tf.bridges.tensor_mapping import TensorMapping, bind
from flan_tf.foreign_values import ForeignValues
from flan_tf.vocab.base import Vocabulary


class _Architecture(NamedTuple):
  """Functions that read the models of one architecture."""

  model_config: Callable[[gguf_config.ArchitectureMetadata], config.ModelConfig]
  mappings: Callable[[config.ModelConfig], Mapping[str, TensorMapping]]


_ARCHITECTURES = {
  "gpt2": _Architecture(gguf_config.gpt2_model, gguf_mappings.gpt2_mappings),
  "llama": _Architecture(gguf_config.llama_model, gguf_mappings.llama_mappings),
}


def open_source(
  path: str | os.PathLike, vocabulary: Vocabulary | None = None
) -> ModelSource:
  """Opens the model of a local file; reads none of its tensors.

  Args:
    path: the file.
    vocabulary: used in place of the file's own tokenizer.

  Raises:
    SourceError: the file does not exist or is damaged; its architecture, an
      option or a type of its tensors is not supported; or tensors are missing,
      unknown or of another shape.
    VocabularyError: the file has no tokenizer, or one that is not supported.
  """
  reader = GgufReader(os.path.expanduser(os.fspath(path)))
  general = ForeignValues(reader.path, reader.metadata, SourceError)
  _refuse_splits(general)
  name = general.text("general.architecture", "None")
  if name not in _ARCHITECTURES:
    raise SourceError(
      f"{reader.path}: "
      + name_lists.unknown_name("architecture", name, _ARCHITECTURES)
    )
  architecture = _ARCHITECTURES[name]
  metadata = gguf_config.ArchitectureMetadata(reader, name)
  model = architecture.model_config(metadata)
  metadata.check_supported()
  # The configuration says what the frequencies are.
  ignore = functools.partial(str.__eq__, gguf_config.FREQUENCIES)
  tensors = bind(reader, model, architecture.mappings(model), ignore)
  if vocabulary is None:
    vocabulary = gguf_tokenizer.read(reader.metadata, reader.path)
  special = gguf_tokenizer.special_tokens(reader.metadata, reader.path)
  template = chat_templates.from_jinja(
    general.text("tokenizer.chat_template", ""),
    vocabulary,
    special.by_role,
    special.pieces,
    source=f"tokenizer.chat_template in {reader.path}",
  )
  title = general.text("general.name", "without a name")
  return ModelSource(
    model,
    vocabulary,
    tensors,
    origin=f"GGUF file {reader.path} ({name}, {title})",
    context_length=metadata.integer("context_length", 0),
    chat=template.chat,
    no_chat_reason=template.reason,
    files=(reader.path,),
  )


def _refuse_splits(general: ForeignValues) -> None:
  count = general.integer("split.count", 1)
  if count > 1:
    raise SourceError(
      f"{general.origin} is one of {count} files of a model. Join them with"
      " `llama-gguf-split --merge`, and name the file that it writes."
    )
