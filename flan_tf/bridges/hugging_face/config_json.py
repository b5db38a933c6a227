"""Settings of a Hugging Face config.json.

A setting that changes the model's outputs and is not supported is refused. A
setting that nothing reads is logged: it may belong to a newer version.
"""

import os
from collections.abc import Mapping
from typing import Any

from absl import logging

from flan_tf import foreign_values, name_lists
from flan_tf.bridges.model_source import SourceError
from flan_tf.bridges.settings import Settings

CONFIG_FILE = "config.json"
FAMILIES = ("gpt2", "llama", "mistral", "gemma", "gemma2", "qwen2")

# Settings that do not change the logits of a trained model.
_HARMLESS = frozenset(
  "architectures attention_dropout attn_pdrop bos_token_id cache_implementation"
  " dtype embd_pdrop eos_token_id id2label initializer_range is_decoder"
  " is_llama_config label2id layer_norm_eps max_position_embeddings model_type"
  " n_ctx pad_token_id pretraining_tp reorder_and_upcast_attn resid_pdrop"
  " rope_interleaved summary_activation summary_first_dropout"
  " summary_proj_to_labels summary_type summary_use_proj task_specific_params"
  " torch_dtype transformers_version transformers.js_config use_cache"
  " _name_or_path _attn_implementation_autoset _flash_attn_2_enabled"
  " chunk_size_feed_forward output_attentions output_hidden_states return_dict"
  " problem_type max_window_layers".split()
)
_NO_FILE = (
  "Expected a folder with config.json and *.safetensors, as `save_pretrained`"
  " writes it."
)


class CheckedConfig(Settings):
  """The settings of a config.json; remembers which of them were read.

  Attributes:
    family: the setting "model_type", one of FAMILIES.

  Args:
    folder: the folder with config.json.

  Raises:
    SourceError: there is no such file, it cannot be read, or its family is not
      supported.
  """

  def __init__(self, folder: str):
    path = os.path.join(folder, CONFIG_FILE)
    file = foreign_values.read_json(path, SourceError, _NO_FILE)
    self._all_values = {name: file.get(name) for name in file.names()}
    super().__init__(path, self._all_values)
    self._read_names: set[str] = set(_HARMLESS)
    self.family: str = self.text("model_type", "None")
    if self.family not in FAMILIES:
      raise SourceError(
        f"{path}: "
        + name_lists.unknown_name("model_type", self.family, FAMILIES)
      )

  def get(self, name: str, default: Any = None) -> Any:
    self._read_names.add(name)
    return super().get(name, default)

  def number_or_null(self, name: str) -> float:
    """Returns a number that must be there; 0 if it is null."""
    if name in self._all_values:
      return self.number(name, 0.0)
    return self.number(name)

  def expect(self, name: str, value: Any) -> None:
    """Refuses the model if a setting is there and has another value."""
    actual = self.get(name, value)
    if actual != value:
      self.refuse(f"{name} {actual!r}")

  def translate(self, name: str, value: str, known: Mapping[str, str]) -> str:
    """Returns the name that a setting's value has here.

    Args:
      name: the setting, for the message.
      value: its value; one that is not known is refused.
      known: names by value.
    """
    if value in known:
      return known[value]
    self.refuse(f"{name} {value!r} (known: {', '.join(known)})")
    return next(iter(known.values()))

  def finish(self) -> None:
    """Raises SourceError for refused settings; logs those that nothing read."""
    self.check_supported()
    unknown = [
      f"{name} {value!r}"
      for name, value in sorted(self._all_values.items())
      if name not in self._read_names and value not in (None, False)
    ]
    if unknown:
      logging.warning(
        "%s: these settings are not known here and have no effect: %s.",
        self.origin,
        "; ".join(unknown),
      )
