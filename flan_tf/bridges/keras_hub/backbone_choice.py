"""The class of KerasHub that computes a model exactly.

The first family below that fits is taken: Llama (Llama3 with byte pairs),
Mistral, Qwen, Gemma, GPT2. So a Llama with heads wider than d_model / heads
becomes a Mistral without a window, and this project's own model with rotary
positions becomes a Gemma.
"""

from collections.abc import Iterator, Mapping

from flan_tf import config
from flan_tf.bridges.model_source import ModelSource, SourceError
from flan_tf.vocab.byte_pair import BytePairVocabulary

# Values of these options that are names of a condition on the model.
_D_KV_IS_SHARE, _ANY_D_KV = "d_model / heads", "any"
_ALL_LAYERS, _EVERY_SECOND_LAYER = "in all layers", "in every second layer"

# Values that each option of the model may have, by family. A family allows all
# values of the options that it does not name.
_Allowed = Mapping[str, tuple]
_ROTARY: _Allowed = {
  "mlp_bias": (False,),
  "norm": ("rms",),
  "positions": ("rotary",),
}
_LLAMA: _Allowed = {
  **_ROTARY,
  "mlp": ("swiglu",),
  "post_norms": (False,),
  "attention_bias": ("none",),
  "attention_cap": (0.0,),
  "logit_cap": (0.0,),
  "scale_embedding": (False,),
  # KerasHub 0.32 does not use the linear factor of a Llama.
  "rotary_scaling": ("none", "llama3"),
  "window": (0,),
  "d_kv": (_D_KV_IS_SHARE,),
}
_LINEARLY_SCALED: _Allowed = {**_LLAMA, "rotary_scaling": ("none", "linear")}
_MISTRAL: _Allowed = {
  **_LINEARLY_SCALED,
  "shared_embedding": (False,),
  "window": (_ALL_LAYERS,),
  "d_kv": (_ANY_D_KV,),
}
# KerasHub 0.32 fails to generate with a Qwen that has a window.
_QWEN: _Allowed = {**_LINEARLY_SCALED, "attention_bias": ("qkv",)}
_GEMMA: _Allowed = {
  **_ROTARY,
  "mlp": ("geglu",),
  "attention_bias": ("none",),
  "scale_embedding": (True,),
  "shared_embedding": (True,),
  "rotary_scaling": ("none",),
  "rotary_base": (10_000.0,),
  # The norms in the blocks of KerasHub's Gemma have no other epsilon, whatever
  # the configuration says.
  "norm_epsilon": (1e-6,),
  "window": (_EVERY_SECOND_LAYER,),
}
_GPT2: _Allowed = {
  "mlp": ("gelu",),
  "mlp_bias": (True,),
  "norm": ("layer",),
  "post_norms": (False,),
  "attention_bias": ("all",),
  "attention_cap": (0.0,),
  "logit_cap": (0.0,),
  "positions": ("learned",),
  "norm_epsilon": (1e-5,),
  "shared_embedding": (True,),
  "scale_embedding": (False,),
  "kv_heads": (0,),
  "window": (0,),
  "d_kv": (_D_KV_IS_SHARE,),
}
_FAMILIES: dict[str, _Allowed] = {
  "Mistral": _MISTRAL,
  "Qwen": _QWEN,
  "Gemma": _GEMMA,
  "GPT2": _GPT2,
}


def choose_family(source: ModelSource) -> str:
  """Returns the family whose classes compute a model: "Llama", "Gemma", ...

  Raises:
    SourceError: there is none; the message says what each family would need.
  """
  # The two classes differ in name and tokenizer only.
  byte_pairs = isinstance(source.vocabulary, BytePairVocabulary)
  families = {"Llama3" if byte_pairs else "Llama": _LLAMA, **_FAMILIES}
  differences = {}
  for family, allowed in families.items():
    differences[family] = list(_differences(source.model, allowed))
    if not differences[family]:
      return family
  closest_first = sorted(differences, key=lambda name: len(differences[name]))
  lines = "\n".join(
    f"  {family}Backbone: {'; '.join(differences[family])}"
    for family in closest_first
  )
  raise SourceError(
    f"{source.origin}: no model of KerasHub computes this one. Options that do"
    f" not fit, by class:\n{lines}"
  )


def _differences(model: config.ModelConfig, allowed: _Allowed) -> Iterator[str]:
  """Yields each option that does not fit, with the values that would."""
  for name, values in allowed.items():
    value, fits = getattr(model, name), False
    if name == "d_kv":
      fits = values == (_ANY_D_KV,) or value == model.d_model // model.heads
    elif name == "window" and values != (0,):
      every = 2 if values == (_EVERY_SECOND_LAYER,) else 1
      fits = not value or model.layers == 1 or model.window_every == every
      value = _ALL_LAYERS
      if model.window_every > 1:
        value = f"in layers 0, {model.window_every}, ..."
    elif name == "kv_heads":
      fits = value in (0, model.heads)
    else:
      fits = value in values
    if not fits:
      yield f"{name} {value} (only {' or '.join(map(str, values))})"
