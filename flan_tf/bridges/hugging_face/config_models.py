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
# Of numbers that something is divided by.
_SMALLEST = 1e-6


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
  d_model, heads = settings.size("n_embd"), settings.size("n_head")
  rows = settings.size("vocab_size")
  positions = settings.size("n_positions")
  model = settings.model(
    layers=settings.layers("n_layer"),
    d_model=d_model,
    heads=heads,
    d_kv=d_model // heads,
    d_ff=settings.size("n_inner", default=4 * d_model),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp=settings.translate(
      "activation_function",
      settings.text("activation_function", "gelu_new"),
      _GPT2_ACTIVATIONS,
    ),
    mlp_bias=True,
    norm="layer",
    attention_bias="all",
    positions="learned",
    max_positions=positions,
    norm_epsilon=settings.number("layer_norm_epsilon", 1e-5, low=0),
    shared_embedding=settings.flag("tie_word_embeddings", True),
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
  heads = settings.size("num_attention_heads")
  d_model = settings.size("hidden_size")
  rows = settings.size("vocab_size")
  head_dim = {} if is_gemma else {"default": d_model // heads}
  window = _window(settings)
  kv_heads = settings.size("num_key_value_heads", default=heads)
  context_length = settings.integer("max_position_embeddings", 0)
  model = settings.model(
    layers=settings.layers("num_hidden_layers"),
    d_model=d_model,
    heads=heads,
    kv_heads=0 if kv_heads == heads else kv_heads,
    d_kv=settings.size("head_dim", **head_dim),
    d_ff=settings.size("intermediate_size"),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp=_gated_mlp(settings),
    mlp_bias=settings.flag("mlp_bias", False),
    norm="rms",
    post_norms=settings.family == "gemma2",
    attention_bias=_attention_bias(settings),
    window=window.size,
    window_every=window.every,
    positions="rotary",
    norm_epsilon=settings.number("rms_norm_eps", 1e-6, low=0),
    shared_embedding=settings.flag("tie_word_embeddings", is_gemma),
    scale_embedding=is_gemma,
    **_query_scale_and_caps(settings),
    **_rotary(settings, context_length),
  )
  return ConfiguredModel(model, context_length)


def _gated_mlp(settings: CheckedConfig) -> str:
  activation = settings.text("hidden_act", None)
  if settings.family in _GEMMA:
    # Gemma was trained with the tanh form; its first configurations say "gelu".
    activation = settings.text("hidden_activation", activation)
    if activation in (None, "gelu"):
      activation = "gelu_pytorch_tanh"
  return settings.translate(
    "hidden_act", activation or "silu", _GATED_ACTIVATIONS
  )


def _attention_bias(settings: CheckedConfig) -> str:
  has_bias = settings.flag("attention_bias", False)
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
    "query_scale": settings.number("query_pre_attn_scalar", low=1e-6) ** -0.5,
    "attention_cap": settings.number_or_null("attn_logit_softcapping"),
    "logit_cap": settings.number_or_null("final_logit_softcapping"),
  }


def _rotary(settings: CheckedConfig, context_length: int) -> dict[str, Any]:
  """Returns the rotary options of the configuration."""
  # Newer files have base and scaling in rope_parameters.
  rope = settings.section("rope_scaling").updated(
    settings.section("rope_parameters")
  )
  base = settings.number("rope_theta", 10_000.0, low=_SMALLEST)
  scaling = rope.text("rope_type", rope.text("type", "default"))
  options: dict[str, Any] = {
    "rotary_base": rope.number("rope_theta", base, low=_SMALLEST)
  }
  if scaling == "linear":
    factor = rope.number("factor", low=_SMALLEST)
    options |= {"rotary_scaling": "linear", "rotary_factor": factor}
  elif scaling == "llama3":
    length = "original_max_position_embeddings"
    options |= {
      "rotary_scaling": "llama3",
      "rotary_factor": rope.number("factor", low=_SMALLEST),
      "rotary_low_frequency": rope.number("low_freq_factor", low=_SMALLEST),
      "rotary_high_frequency": rope.number("high_freq_factor", low=_SMALLEST),
      "rotary_original_length": rope.integer(length, context_length),
    }
  elif scaling != "default":
    settings.refuse(f"rope_type {scaling!r} (known: default, linear, llama3)")
  if rope.number("partial_rotary_factor", 1.0) != 1.0:
    settings.refuse("rope_parameters with partial_rotary_factor")
  return options


def _window(settings: CheckedConfig) -> _Window:
  """Returns the sliding window, if layers 0, n, 2n, ... have one."""
  layers = settings.layers("num_hidden_layers")
  size = settings.integer("sliding_window", 0)
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
  types = settings.texts("layer_types", None)
  use_window = settings.flag("use_sliding_window", False)
  if types is not None:
    known = ("full_attention", "sliding_attention")
    unknown = sorted(set(types) - set(known))
    if unknown:
      settings.refuse(f"layer_types {', '.join(unknown)}")
    return [layer_type == "sliding_attention" for layer_type in types]
  if settings.family == "gemma2":
    return [index % 2 == 0 for index in range(layers)]
  if settings.family == "qwen2":
    first = settings.integer("max_window_layers", 28)
    return [use_window and index >= first for index in range(layers)]
  return [settings.family == "mistral"] * layers
