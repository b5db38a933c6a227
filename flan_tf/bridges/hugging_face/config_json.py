"""A Hugging Face config.json as the configuration of our model.

What changes the numbers and is not implemented is refused by name; settings
that nobody here has heard of are told.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from absl import logging

from flan_tf import config, name_lists
from flan_tf.bridges import model_source
from flan_tf.model import dims

FAMILIES = ("gpt2", "llama", "mistral", "gemma", "gemma2", "qwen2")

_ACTIVATIONS = {
  "silu": "swiglu",
  "gelu_pytorch_tanh": "geglu",
  "gelu_new": "geglu",
}
_GPT2_ACTIVATIONS = {
  "gelu_new": "gelu",
  "gelu_pytorch_tanh": "gelu",
  "relu": "relu",
}

# Settings that change no logits of a trained model, or only how it is run.
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


class CheckedConfig:
  """config.json, and which of its settings were looked at.

  Attributes:
    where: the file.
    model_type: the family.
    refused: what is not implemented, for people.
  """

  def __init__(self, folder: str):
    self.where = os.path.join(folder, "config.json")
    try:
      with open(self.where, encoding="utf-8") as file:
        self._values = json.load(file)
    except FileNotFoundError as error:
      raise model_source.SourceError(
        f"There is no {self.where}. Expected a folder with config.json and"
        " *.safetensors, as `save_pretrained` writes it."
      ) from error
    except (OSError, ValueError) as error:
      raise model_source.SourceError(
        f"{self.where} cannot be read: {error}."
      ) from error
    self._seen: set[str] = set(_HARMLESS)
    self.refused: list[str] = []
    self.model_type = self._values.get("model_type")
    if self.model_type not in FAMILIES:
      raise model_source.SourceError(
        f"{self.where}: "
        + name_lists.unknown_name("model_type", str(self.model_type), FAMILIES)
      )

  def get(self, name: str, default: Any = None) -> Any:
    """A setting; what is null counts as absent."""
    self._seen.add(name)
    value = self._values.get(name)
    return default if value is None else value

  def need(self, name: str) -> Any:
    """A setting that must be there."""
    value = self.get(name)
    if value is None:
      raise model_source.SourceError(f"{self.where} has no {name!r}.")
    return value

  def say(self, name: str, default: Any) -> Any:
    """A setting that must be there, but may be null for `default`."""
    if name not in self._values:
      self.need(name)
    return self.get(name, default)

  def expect(self, name: str, *allowed: Any) -> None:
    """Refuses a setting that is there with another value than these."""
    value = self.get(name, allowed[0])
    if value not in allowed:
      self.refused.append(f"{name} {value!r}")

  def choose(self, name: str, value: Any, known: Mapping[Any, str]) -> str:
    """What a setting's value is called here."""
    if value not in known:
      self.refused.append(f"{name} {value!r} (known: {', '.join(known)})")
      return next(iter(known.values()))
    return known[value]

  def finish(self) -> None:
    """Refuses what is not implemented; says what is not understood."""
    model_source.refuse(self.where, self.refused)
    unknown = [
      f"{name} {value!r}"
      for name, value in sorted(self._values.items())
      if name not in self._seen and value not in (None, False)
    ]
    if unknown:
      logging.warning(
        "%s: settings that are not known here have no effect: %s.",
        self.where,
        "; ".join(unknown),
      )


def model_of(settings: CheckedConfig) -> tuple[config.ModelConfig, int]:
  """The model of a configuration, and how many tokens it reads at once.

  Raises:
    SourceError: a setting is missing, or one is not implemented.
  """
  settings.expect("quantization_config", None)
  settings.expect("is_encoder_decoder", False)
  settings.expect("add_cross_attention", False)
  read = _gpt2_model if settings.model_type == "gpt2" else _llama_model
  model, context = read(settings)
  settings.finish()
  return model, context


def _gpt2_model(settings: CheckedConfig) -> tuple[config.ModelConfig, int]:
  settings.expect("scale_attn_weights", True)
  settings.expect("scale_attn_by_inverse_layer_idx", False)
  width, heads = settings.need("n_embd"), settings.need("n_head")
  rows, positions = settings.need("vocab_size"), settings.need("n_positions")
  model = config.ModelConfig(
    layers=settings.need("n_layer"),
    d_model=width,
    heads=heads,
    d_kv=width // heads,
    d_ff=settings.get("n_inner", 4 * width),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp=settings.choose(
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
  return model, positions


def _llama_model(settings: CheckedConfig) -> tuple[config.ModelConfig, int]:
  family = settings.model_type
  gemma = family in ("gemma", "gemma2")
  heads, width = (
    settings.need("num_attention_heads"),
    settings.need("hidden_size"),
  )
  rows = settings.need("vocab_size")
  head_dim = settings.get("head_dim", width // heads)
  if gemma:
    settings.need("head_dim")
  settings.expect("partial_rotary_factor", 1.0)
  settings.expect("use_bidirectional_attention", False)
  settings.expect("qk_norm", False)
  settings.expect("use_qk_norm", False)
  window, every = _window(settings)
  activation = settings.get("hidden_act")
  if gemma:
    # Gemma was trained with the tanh form; its first configurations say "gelu".
    activation = settings.get("hidden_activation", activation)
    if activation in (None, "gelu"):
      activation = "gelu_pytorch_tanh"
  attention_bias = "qkv" if family == "qwen2" else "none"
  if settings.get("attention_bias", False) and family != "qwen2":
    attention_bias = "all"
  context = settings.get("max_position_embeddings", 0)
  query_scale = attention_cap = logit_cap = 0.0
  if family == "gemma2":
    query_scale = float(settings.need("query_pre_attn_scalar")) ** -0.5
    attention_cap = float(settings.say("attn_logit_softcapping", 0))
    logit_cap = float(settings.say("final_logit_softcapping", 0))
  else:
    settings.expect("attn_logit_softcapping", 0)
    settings.expect("final_logit_softcapping", 0)
  kv_heads = settings.get("num_key_value_heads", heads)
  model = config.ModelConfig(
    layers=settings.need("num_hidden_layers"),
    d_model=width,
    heads=heads,
    kv_heads=0 if kv_heads == heads else kv_heads,
    d_kv=head_dim,
    d_ff=settings.need("intermediate_size"),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp=settings.choose("hidden_act", activation or "silu", _ACTIVATIONS),
    mlp_bias=bool(settings.get("mlp_bias", False)),
    norm="rms",
    post_norms=family == "gemma2",
    attention_bias=attention_bias,
    query_scale=query_scale,
    attention_cap=attention_cap,
    logit_cap=logit_cap,
    window=window,
    window_every=every,
    positions="rotary",
    norm_epsilon=float(settings.get("rms_norm_eps", 1e-6)),
    shared_embedding=settings.get("tie_word_embeddings", gemma),
    scale_embedding=gemma,
    **_rotary(settings, context),
  )
  return model, context


def _rotary(settings: CheckedConfig, context: int) -> dict[str, Any]:
  """The model's rotary settings."""
  # Newer files have all of it in rope_parameters.
  both = settings.get("rope_scaling", {}) | settings.get("rope_parameters", {})
  base = both.get("rope_theta", settings.get("rope_theta", 10_000.0))
  kind = both.get("rope_type", both.get("type", "default"))
  found: dict[str, Any] = {"rotary_base": float(base)}
  if kind == "linear":
    factor = float(both["factor"])
    found |= {"rotary_scaling": "linear", "rotary_factor": factor}
  elif kind == "llama3":
    length = both.get("original_max_position_embeddings", context)
    found |= {
      "rotary_scaling": "llama3",
      "rotary_factor": float(both["factor"]),
      "rotary_low_frequency": float(both["low_freq_factor"]),
      "rotary_high_frequency": float(both["high_freq_factor"]),
      "rotary_original_length": int(length),
    }
  elif kind != "default":
    settings.refused.append(
      f"rope_type {kind!r} (known: default, linear, llama3)"
    )
  if both.get("partial_rotary_factor", 1.0) != 1.0:
    settings.refused.append("rope_parameters with partial_rotary_factor")
  return found


def _window(settings: CheckedConfig) -> tuple[int, int]:
  """How far back layers see, and every which layer: (0, 1) for all the way."""
  layers, family = settings.need("num_hidden_layers"), settings.model_type
  window = settings.get("sliding_window", 0)
  kinds = settings.get("layer_types")
  if kinds is not None:
    known = ("full_attention", "sliding_attention")
    strange = sorted(set(kinds) - set(known))
    if strange:
      settings.refused.append(f"layer_types {', '.join(strange)}")
    slides = [kind == "sliding_attention" for kind in kinds]
  elif family == "gemma2":
    slides = [index % 2 == 0 for index in range(layers)]
  elif family == "qwen2":
    first = settings.get("max_window_layers", 28)
    use = settings.get("use_sliding_window", False)
    slides = [use and index >= first for index in range(layers)]
  else:
    slides = [family == "mistral"] * layers
  settings.get("use_sliding_window")
  if not window or not any(slides):
    return 0, 1
  for every in range(1, layers + 1):
    if slides == [index % every == 0 for index in range(layers)]:
      return window, every
  settings.refused.append(
    "sliding windows in layers "
    + ", ".join(str(index) for index, slide in enumerate(slides) if slide)
    + f" of {layers} (known: every layer, or 0, n, 2n, ...)"
  )
  return 0, 1
