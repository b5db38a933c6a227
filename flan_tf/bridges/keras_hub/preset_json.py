"""JSON files of a KerasHub preset: backbone, tokenizer, preprocessor, task."""

from typing import Any

from flan_tf import config
from flan_tf.bridges.keras_hub import preset_files
from flan_tf.bridges.keras_hub.preset_tokenizer import PresetTokenizer
from flan_tf.bridges.model_source import ModelSource


def json_files(
  source: ModelSource, family: str, tokenizer: PresetTokenizer
) -> dict[str, dict[str, Any]]:
  """Returns the content of each JSON file, by its name.

  Args:
    source: the model.
    family: the family of its classes, e.g. "Llama".
    tokenizer: the tokenizer that the preset gets.
  """
  model = source.model
  length = source.row_length
  if model.positions == "learned":
    length = min(length, model.max_positions)
  backbone = _keras_object(
    f"{family}Backbone", _backbone_config(source, family)
  )
  tokenizer_object = _keras_object(
    tokenizer.name,
    {
      "config_file": preset_files.TOKENIZER,
      "sequence_length": None,
      **tokenizer.config,
    },
    dtype="int32",
  )
  preprocessor = _keras_object(
    f"{family}CausalLMPreprocessor",
    {
      "tokenizer": tokenizer_object,
      "config_file": "preprocessor.json",
      "sequence_length": length,
      "add_start_token": source.vocabulary.has_start,
      "add_end_token": True,
    },
  )
  task = _keras_object(
    f"{family}CausalLM",
    {"backbone": backbone, "preprocessor": preprocessor},
    dtype=None,
  )
  return {
    preset_files.CONFIG: backbone,
    preset_files.TOKENIZER: tokenizer_object,
    "preprocessor.json": preprocessor,
    "task.json": task,
    "metadata.json": _metadata(source),
  }


def _backbone_config(source: ModelSource, family: str) -> dict[str, Any]:
  """Returns the settings of a backbone of the family."""
  model = source.model
  settings: dict[str, Any] = {
    "vocabulary_size": source.rows,
    "num_layers": model.layers,
    "hidden_dim": model.d_model,
    "intermediate_dim": model.d_ff,
    "dropout": 0.0,
  }
  if family == "GPT2":
    return settings | {
      "num_heads": model.heads,
      "max_sequence_length": model.max_positions,
    }
  settings |= {
    "num_query_heads": model.heads,
    "num_key_value_heads": model.kv_heads or model.heads,
    "layer_norm_epsilon": model.norm_epsilon,
  }
  if family == "Gemma":
    return settings | _gemma_settings(model)
  settings["rope_max_wavelength"] = model.rotary_base
  if family in ("Mistral", "Qwen"):
    is_linear = model.rotary_scaling == "linear"
    settings["rope_scaling_factor"] = model.rotary_factor if is_linear else 1.0
  if family == "Mistral":
    return settings | {
      "head_dim": model.d_kv,
      "sliding_window": model.window or None,
    }
  # KerasHub 0.32 reads this setting of a Llama, though it does not write it.
  settings["tie_word_embeddings"] = model.shared_embedding
  if model.rotary_scaling == "llama3":
    settings |= {
      "rope_frequency_adjustment_factor": model.rotary_factor,
      "rope_low_freq_factor": model.rotary_low_frequency,
      "rope_high_freq_factor": model.rotary_high_frequency,
      "rope_pretraining_sequence_length": model.rotary_original_length,
    }
  return settings


def _gemma_settings(model: config.ModelConfig) -> dict[str, Any]:
  return {
    # KerasHub counts the two halves of a gated MLP together.
    "intermediate_dim": 2 * model.d_ff,
    "head_dim": model.d_kv,
    "query_head_dim_normalize": True,
    "use_post_ffw_norm": model.post_norms,
    "use_post_attention_norm": model.post_norms,
    "attention_logit_soft_cap": model.attention_cap or None,
    "final_logit_soft_cap": model.logit_cap or None,
    "use_sliding_window_attention": bool(model.window),
    "sliding_window_size": model.window or 4096,
  }


def _keras_object(
  class_name: str, values: dict[str, Any], dtype: str | None = "float32"
) -> dict[str, Any]:
  """Returns an object of a class of `keras_hub.models` as Keras saves it.

  Args:
    class_name: the class.
    values: arguments of its constructor.
    dtype: the object's type of numbers; None for a task, which has none.
  """
  import keras_hub

  common: dict[str, Any] = {"name": class_name.lower()}
  if dtype:
    policy = {
      "module": "keras",
      "class_name": "DTypePolicy",
      "config": {"name": dtype},
      "registered_name": None,
    }
    common |= {"trainable": True, "dtype": policy}
  return {
    "module": getattr(keras_hub.models, class_name).__module__,
    "class_name": class_name,
    "config": common | values,
    "registered_name": f"keras_hub>{class_name}",
  }


def _metadata(source: ModelSource) -> dict[str, Any]:
  import keras
  import keras_hub

  model = source.model
  padding = (model.vocab - source.rows) * model.d_model
  tables = 1 if model.shared_embedding else 2
  return {
    "keras_version": keras.__version__,
    "keras_hub_version": keras_hub.__version__,
    "parameter_count": source.parameters - tables * padding,
    "tasks": ["CausalLM"],
  }
