"""Model configurations from the settings of a Hugging Face config.json."""

from typing import Any, NamedTuple

from flan_tf import config
from flan_tf.bridges.hugging_face.config_json import CheckedConfig
from flan_tf.model import dims

_GATED_ACTIVATIONS = {
  "silu": "swiglu",
  "gelu_pytorch_tanh": "geglu",
  "gelu_new": "geglu",
}
_GPT2_ACTIVATIONS = {
  "gelu_new": "gelu",
  "gelu_pytorch_tanh": "gelu",
  "relu": "relu",
}
_GEMMA = ("gemma", "gemma2")


class ConfiguredModel(NamedTuple):
  """A configuration that was read.

  Attributes:
    model: sizes and options.
    context_length: tokens that the model was trained to read at once.
  """

  model: config.ModelConfig
  context_length: int


class _Window(NamedTuple):
  """Sliding-window attention; see `config.ModelConfig`."""

  size: int = 0
  every: int = 1


def read_model(settings: CheckedConfig) -> ConfiguredModel:
  """Returns the model that a config.json describes.

  Raises:
    SourceError: a setting is missing, or one is not supported.
  """
  settings.expect("quantization_config", None)
  settings.expect("is_encoder_decoder", False)
  settings.expect("add_cross_attention", False)
  read = _gpt2_model if settings.family == "gpt2" else _llama_model
  configured = read(settings)
  settings.finish()
  return configured


def _gpt2_model(settings: CheckedConfig) -> ConfiguredModel:
  settings.expect("scale_attn_weights", True)
  settings.expect("scale_attn_by_inverse_layer_idx", False)
  d_model, heads = settings.require("n_embd"), settings.require("n_head")
  rows = settings.require("vocab_size")
  positions = settings.require("n_positions")
  model = config.ModelConfig(
    layers=settings.require("n_layer"),
    d_model=d_model,
    heads=heads,
    d_kv=d_model // heads,
    d_ff=settings.get("n_inner", 4 * d_model),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp=settings.translate(
      "activation_function",
      settings.get("activation_function", "gelu_new"),
      _GPT2_ACTIVATIONS,
    ),
    mlp_bias=True,
    norm="layer",
    attention_bias="all",
    positions="learned",
    max_positions=positions,
    norm_epsilon=float(settings.get("layer_norm_epsilon", 1e-5)),
    shared_embedding=settings.get("tie_word_embeddings", True),
    scale_embedding=False,
  )
  return ConfiguredModel(model, positions)


def _llama_model(settings: CheckedConfig) -> ConfiguredModel:
  """Returns the model of any family but GPT-2: all derive from Llama."""
  for name, value in (
    ("partial_rotary_factor", 1.0),
    ("use_bidirectional_attention", False),
    ("qk_norm", False),
    ("use_qk_norm", False),
  ):
    settings.expect(name, value)
  is_gemma = settings.family in _GEMMA
  heads = settings.require("num_attention_heads")
  d_model = settings.require("hidden_size")
  rows = settings.require("vocab_size")
  head_dim = settings.get("head_dim", d_model // heads)
  if is_gemma:
    settings.require("head_dim")
  window = _window(settings)
  kv_heads = settings.get("num_key_value_heads", heads)
  context_length = settings.get("max_position_embeddings", 0)
  model = config.ModelConfig(
    layers=settings.require("num_hidden_layers"),
    d_model=d_model,
    heads=heads,
    kv_heads=0 if kv_heads == heads else kv_heads,
    d_kv=head_dim,
    d_ff=settings.require("intermediate_size"),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp=_gated_mlp(settings),
    mlp_bias=bool(settings.get("mlp_bias", False)),
    norm="rms",
    post_norms=settings.family == "gemma2",
    attention_bias=_attention_bias(settings),
    window=window.size,
    window_every=window.every,
    positions="rotary",
    norm_epsilon=float(settings.get("rms_norm_eps", 1e-6)),
    shared_embedding=settings.get("tie_word_embeddings", is_gemma),
    scale_embedding=is_gemma,
    **_query_scale_and_caps(settings),
    **_rotary(settings, context_length),
  )
  return ConfiguredModel(model, context_length)


def _gated_mlp(settings: CheckedConfig) -> str:
  activation = settings.get("hidden_act")
  if settings.family in _GEMMA:
    # Gemma was trained with the tanh form; its first configurations say "gelu".
    activation = settings.get("hidden_activation", activation)
    if activation in (None, "gelu"):
      activation = "gelu_pytorch_tanh"
  return settings.translate(
    "hidden_act", activation or "silu", _GATED_ACTIVATIONS
  )


def _attention_bias(settings: CheckedConfig) -> str:
  has_bias = settings.get("attention_bias", False)
  if settings.family == "qwen2":
    return "qkv"
  return "all" if has_bias else "none"


def _query_scale_and_caps(settings: CheckedConfig) -> dict[str, float]:
  """Returns what Gemma 2 does to queries and logits; no other family may."""
  if settings.family != "gemma2":
    settings.expect("attn_logit_softcapping", 0)
    settings.expect("final_logit_softcapping", 0)
    return {}
  return {
    "query_scale": float(settings.require("query_pre_attn_scalar")) ** -0.5,
    "attention_cap": float(
      settings.require_or_null("attn_logit_softcapping", 0)
    ),
    "logit_cap": float(settings.require_or_null("final_logit_softcapping", 0)),
  }


def _rotary(settings: CheckedConfig, context_length: int) -> dict[str, Any]:
  """Returns the rotary options of the configuration."""
  # Newer files have base and scaling in rope_parameters.
  rope = settings.get("rope_scaling", {}) | settings.get("rope_parameters", {})
  base = rope.get("rope_theta", settings.get("rope_theta", 10_000.0))
  scaling = rope.get("rope_type", rope.get("type", "default"))
  options: dict[str, Any] = {"rotary_base": float(base)}
  if scaling == "linear":
    factor = float(rope["factor"])
    options |= {"rotary_scaling": "linear", "rotary_factor": factor}
  elif scaling == "llama3":
    length = rope.get("original_max_position_embeddings", context_length)
    options |= {
      "rotary_scaling": "llama3",
      "rotary_factor": float(rope["factor"]),
      "rotary_low_frequency": float(rope["low_freq_factor"]),
      "rotary_high_frequency": float(rope["high_freq_factor"]),
      "rotary_original_length": int(length),
    }
  elif scaling != "default":
    settings.refuse(f"rope_type {scaling!r} (known: default, linear, llama3)")
  if rope.get("partial_rotary_factor", 1.0) != 1.0:
    settings.refuse("rope_parameters with partial_rotary_factor")
  return options


def _window(settings: CheckedConfig) -> _Window:
  """Returns the sliding window, if layers 0, n, 2n, ... have one."""
  layers = settings.require("num_hidden_layers")
  size = settings.get("sliding_window", 0)
  has_window = _layers_with_window(settings, layers)
  if not size or not any(has_window):
    return _Window()
  for every in range(1, layers + 1):
    if has_window == [index % every == 0 for index in range(layers)]:
      return _Window(size, every)
  indices = [str(i) for i, windowed in enumerate(has_window) if windowed]
  settings.refuse(
    f"sliding windows in layers {', '.join(indices)} of {layers} (known: every"
    " layer, or 0, n, 2n, ...)"
  )
  return _Window()


def _layers_with_window(settings: CheckedConfig, layers: int) -> list[bool]:
  """Returns, for each layer, whether its attention has a sliding window."""
  types = settings.get("layer_types")
  use_window = settings.get("use_sliding_window", False)
  if types is not None:
    known = ("full_attention", "sliding_attention")
    unknown = sorted(set(types) - set(known))
    if unknown:
      settings.refuse(f"layer_types {', '.join(unknown)}")
    return [layer_type == "sliding_attention" for layer_type in types]
  if settings.family == "gemma2":
    return [index % 2 == 0 for index in range(layers)]
  if settings.family == "qwen2":
    first = settings.get("max_window_layers", 28)
    return [use_window and index >= first for index in range(layers)]
  return [settings.family == "mistral"] * layers
