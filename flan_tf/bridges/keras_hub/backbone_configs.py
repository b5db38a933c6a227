"""Model configurations from the config.json of KerasHub backbones.

The settings of a preset count, also where KerasHub 0.32 itself does not use
them: `rope_position_scaling_factor` of Llama, `query_head_dim_normalize` of
Gemma, `layer_norm_epsilon` in the blocks of Gemma.
"""

import functools
from collections.abc import Callable
from typing import Any

from flan_tf import config
from flan_tf.bridges.keras_hub.backbone_mappings import UNEMBEDDING
from flan_tf.bridges.keras_hub.h5_reader import H5TensorReader
from flan_tf.bridges.settings import Settings
from flan_tf.model import dims

# Of numbers that something is divided by.
_SMALLEST = 1e-6


def read_model(
  backbone: str, settings: Settings, reader: H5TensorReader
) -> config.ModelConfig:
  """Returns the model of a backbone.

  Args:
    backbone: the class's name, one of `backbone_mappings.BACKBONES`.
    settings: the backbone's settings.
    reader: the preset's tensors, for what no setting says.

  Raises:
    SourceError: a setting is missing, or one is not supported.
  """
  model = _MODELS[backbone](settings, reader)
  settings.check_supported()
  return model


def _gpt2(settings: Settings, reader: H5TensorReader) -> config.ModelConfig:
  del reader
  heads, d_model = settings.size("num_heads"), settings.size("hidden_dim")
  return settings.model(
    **_sizes(settings, heads, d_model // heads),
    mlp="gelu",
    mlp_bias=True,
    norm="layer",
    attention_bias="all",
    positions="learned",
    max_positions=settings.size("max_sequence_length"),
    norm_epsilon=1e-5,
    shared_embedding=True,
    scale_embedding=False,
  )


def _llama(
  settings: Settings,
  reader: H5TensorReader,
  attention_bias: str = "none",
) -> config.ModelConfig:
  """Returns the model of a Llama, Mistral or Qwen."""
  heads = settings.size("num_query_heads")
  head_dim = settings.size(
    "head_dim", default=settings.size("hidden_dim") // heads
  )
  # KerasHub 0.32 does not save whether a Llama shares its embedding.
  shared_embedding = UNEMBEDDING not in reader.shapes()
  window = settings.integer("sliding_window", 0)
  if settings.flag("use_sliding_window_attention", False):
    window = settings.integer("sliding_window_size")
  return settings.model(
    **_sizes(settings, heads, head_dim),
    mlp="swiglu",
    norm="rms",
    attention_bias=attention_bias,
    window=window,
    positions="rotary",
    rotary_base=settings.number("rope_max_wavelength", 10_000, low=_SMALLEST),
    norm_epsilon=settings.number("layer_norm_epsilon", 1e-6, low=0),
    shared_embedding=settings.flag("tie_word_embeddings", shared_embedding),
    scale_embedding=False,
    **_rotary_scaling(settings),
  )


def _gemma(settings: Settings, reader: H5TensorReader) -> config.ModelConfig:
  """Returns the model of a Gemma 1 or 2."""
  del reader
  heads = settings.size("num_query_heads")
  head_dim = settings.size("head_dim")
  post_norms = settings.flag("use_post_ffw_norm", False)
  if post_norms != settings.flag("use_post_attention_norm", False):
    settings.refuse("one post norm of the two")
  query_scale = 0.0  # The default of `config.ModelConfig`: head_dim ** -0.5.
  if not settings.flag("query_head_dim_normalize", True):
    # Gemma 2 27B scales by a head's share of d_model.
    query_scale = max(settings.size("hidden_dim") // heads, 1) ** -0.5
  has_window = settings.flag("use_sliding_window_attention", False)
  sizes = _sizes(settings, heads, head_dim)
  # KerasHub counts the two halves of a gated MLP together.
  sizes["d_ff"] //= 2
  return settings.model(
    **sizes,
    mlp="geglu",
    norm="rms",
    post_norms=post_norms,
    query_scale=query_scale,
    attention_cap=settings.number("attention_logit_soft_cap", 0, low=0),
    logit_cap=settings.number("final_logit_soft_cap", 0, low=0),
    window=settings.integer("sliding_window_size", 4096) if has_window else 0,
    window_every=2 if has_window else 1,
    positions="rotary",
    rotary_base=10_000.0,
    norm_epsilon=settings.number("layer_norm_epsilon", 1e-6, low=0),
    shared_embedding=True,
    scale_embedding=True,
  )


_MODELS: dict[str, Callable[[Settings, H5TensorReader], config.ModelConfig]] = {
  "GPT2Backbone": _gpt2,
  "LlamaBackbone": _llama,
  "Llama3Backbone": _llama,
  "MistralBackbone": _llama,
  "GemmaBackbone": _gemma,
  "QwenBackbone": functools.partial(_llama, attention_bias="qkv"),
}


def _sizes(settings: Settings, heads: int, head_dim: int) -> dict[str, Any]:
  """Returns the sizes that all backbones have."""
  rows = settings.size("vocabulary_size")
  kv_heads = settings.size("num_key_value_heads", default=heads)
  return {
    "layers": settings.layers("num_layers"),
    "d_model": settings.size("hidden_dim"),
    "heads": heads,
    "kv_heads": 0 if kv_heads == heads else kv_heads,
    "d_kv": head_dim,
    "d_ff": settings.size("intermediate_dim"),
    "vocab": dims.padded_vocab(rows),
    "pieces": rows,
  }


def _rotary_scaling(settings: Settings) -> dict[str, Any]:
  """Returns the options of the configuration that scale rotary frequencies."""
  name = "rope_position_scaling_factor"
  linear = settings.number("rope_scaling_factor", 1.0, low=_SMALLEST)
  linear = settings.number(name, linear, low=_SMALLEST)
  llama3 = settings.number(
    "rope_frequency_adjustment_factor", None, low=_SMALLEST
  )
  if llama3 is None:
    if linear == 1:
      return {}
    return {"rotary_scaling": "linear", "rotary_factor": linear}
  if linear != 1:
    settings.refuse(f"{name} beside rope_frequency_adjustment_factor")
  return {
    "rotary_scaling": "llama3",
    "rotary_factor": llama3,
    "rotary_low_frequency": settings.number(
      "rope_low_freq_factor", low=_SMALLEST
    ),
    "rotary_high_frequency": settings.number(
      "rope_high_freq_factor", low=_SMALLEST
    ),
    "rotary_original_length": settings.integer(
      "rope_pretraining_sequence_length"
    ),
  }
