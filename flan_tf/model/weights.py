"""The weights of the language model: their names, shapes, and a typed view.

On disk and on the cores every weight has a name; see `weight_specs`:

  embedding                   [vocab, d_model]
  position_embedding          [positions, d_model]     positions "learned"
  relative_bias               [heads, buckets]         positions "t5"
  layer_000/attention/norm    [d_model]
  layer_000/attention/q       [d_model, heads, d_kv]
  layer_000/attention/k v     [d_model, kv_heads, d_kv]
  layer_000/attention/o       [heads, d_kv, d_model]
  layer_000/mlp/norm          [d_model]
  layer_000/mlp/gate in       [d_model, d_ff]          gate: gated MLPs only
  layer_000/mlp/out           [d_ff, d_model]
  final_norm                  [d_model]
  unembedding                 [vocab, d_model]         if not shared
  soft_prompt                 [prompt, d_model]        see adapters.py

With `post_norms` there are `attention/post_norm` and `mlp/post_norm`. A bias is
named after the weight whose output it is added to, as `attention/q_bias`
[heads, d_kv], and has the shape of that output. LoRA's matrices are named
`attention/q/lora_a` and `attention/q/lora_b`.

The model itself reads `ModelWeights`, which has a field for each of these.
"""

import dataclasses
from collections.abc import Mapping
from typing import Self

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.state import StateSpec, constant, normal
from flan_tf.model.dims import Dims

SOFT_PROMPT = "soft_prompt"
LORA_A, LORA_B = "lora_a", "lora_b"

# The weights outside of the layers.
_TABLES = (
  "embedding",
  "position_embedding",
  "relative_bias",
  "final_norm",
  "final_norm_bias",
  "unembedding",
  SOFT_PROMPT,
)

# Mesh-TF tensors by the names above.
NamedWeights = Mapping[str, mtf.Tensor]


# -- names and shapes ----------------------------------------------------------


def weight_name(layer: int, name: str) -> str:
  """Returns the full name of a layer's weight: layer_007/mlp/in."""
  return f"layer_{layer:03d}/{name}"


def has_gate(model: config.ModelConfig) -> bool:
  """Returns whether the MLP multiplies its activation by a second product."""
  return model.mlp in ("geglu", "swiglu")


def layer_names(model: config.ModelConfig) -> tuple[str, ...]:
  """Returns the names of one layer's weights, without the layer's number."""
  post = ("post_norm",) if model.post_norms else ()
  gate = ("gate",) if has_gate(model) else ()
  attention_names = ("norm", "q", "k", "v", "o", *post)
  mlp_names = ("norm", *gate, "in", "out", *post)
  names = (
    *("attention/" + name for name in attention_names),
    *("mlp/" + name for name in mlp_names),
  )
  biased = [f"{name}_bias" for name in names if _has_bias(model, name)]
  return (*names, *biased)


def _has_bias(model: config.ModelConfig, name: str) -> bool:
  sublayer, _, name = name.rpartition("/")
  if name.endswith("norm"):
    return model.norm == "layer"
  if sublayer == "mlp":
    return model.mlp_bias
  if name == "o":
    return model.attention_bias == "all"
  return model.attention_bias != "none"


def weight_specs(model: config.ModelConfig, d: Dims) -> dict[str, StateSpec]:
  """Returns the shape and the initializer of every weight, by name.

  Matrices start as normal noise with a standard deviation of 1 / sqrt(fan-in),
  which keeps activations near one; norms start at 1, biases at 0.
  """

  def matrix(*dims: mtf.Dimension, fan_in: int) -> StateSpec:
    return StateSpec(mtf.Shape(dims), normal(fan_in**-0.5))

  def bias(*dims: mtf.Dimension) -> StateSpec:
    return StateSpec(mtf.Shape(dims), constant(0.0))

  scale = StateSpec(mtf.Shape([d.width]), constant(1.0))
  into_ff = matrix(d.d_model, d.d_ff, fan_in=model.d_model)
  into_kv = matrix(d.d_model, d.kv_heads, d.d_kv, fan_in=model.d_model)
  layer_specs = {
    "attention/norm": scale,
    "attention/norm_bias": bias(d.width),
    "attention/q": matrix(d.d_model, d.heads, d.d_kv, fan_in=model.d_model),
    "attention/q_bias": bias(d.heads, d.d_kv),
    "attention/k": into_kv,
    "attention/k_bias": bias(d.kv_heads, d.d_kv),
    "attention/v": into_kv,
    "attention/v_bias": bias(d.kv_heads, d.d_kv),
    "attention/o": matrix(
      d.heads, d.d_kv, d.d_model, fan_in=model.heads * model.d_kv
    ),
    "attention/o_bias": bias(d.width),
    "attention/post_norm": scale,
    "attention/post_norm_bias": bias(d.width),
    "mlp/norm": scale,
    "mlp/norm_bias": bias(d.width),
    "mlp/gate": into_ff,
    "mlp/gate_bias": bias(d.d_ff),
    "mlp/in": into_ff,
    "mlp/in_bias": bias(d.d_ff),
    "mlp/out": matrix(d.d_ff, d.d_model, fan_in=model.d_ff),
    "mlp/out_bias": bias(d.width),
    "mlp/post_norm": scale,
    "mlp/post_norm_bias": bias(d.width),
  }
  embedding = matrix(d.vocab, d.d_model, fan_in=model.d_model)
  specs = {"embedding": embedding}
  if model.positions == "learned":
    specs["position_embedding"] = matrix(
      d.positions, d.d_model, fan_in=model.d_model
    )
  if model.positions == "t5":
    specs["relative_bias"] = bias(d.heads, d.buckets)
  for layer in range(model.layers):
    for name in layer_names(model):
      specs[weight_name(layer, name)] = layer_specs[name]
  specs["final_norm"] = scale
  if model.norm == "layer":
    specs["final_norm_bias"] = bias(d.width)
  if not model.shared_embedding:
    specs["unembedding"] = embedding
  return specs


def cast_weights(weights: NamedWeights, dtype: tf.DType) -> NamedWeights:
  """Returns all weights in the precision of the computation."""
  return {name: mtf.cast(w, dtype) for name, w in weights.items()}


def cast_tables(weights: NamedWeights, dtype: tf.DType) -> NamedWeights:
  """Returns the weights with those outside of the layers cast.

  A layer casts its own weights where it uses them. A model that recomputes its
  layers thus never holds all of its weights twice.
  """
  return {
    name: mtf.cast(w, dtype) if name in _TABLES else w
    for name, w in weights.items()
  }


# -- the typed view ------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Norm:
  """A norm's scale [d_model], and LayerNorm's bias [d_model]."""

  scale: mtf.Tensor
  bias: mtf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Linear:
  """A matrix [*inputs, *outputs], its bias [*outputs], and LoRA's matrices.

  Attributes:
    weight: e.g. [d_model, heads, d_kv].
    bias: added to the output.
    lora_a: [*inputs, rank].
    lora_b: [rank, *outputs], already scaled by alpha / rank.
  """

  weight: mtf.Tensor
  bias: mtf.Tensor | None = None
  lora_a: mtf.Tensor | None = None
  lora_b: mtf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class FusedLinear:
  """Several matrices as one, concatenated along their second dimension.

  Attributes:
    weight: [d_model, heads and kv_heads, d_kv].
    biases: the bias of each of them.
  """

  weight: mtf.Tensor
  biases: tuple[mtf.Tensor | None, ...]


@dataclasses.dataclass(frozen=True)
class LayerWeights:
  """The weights of one layer; see the docstring of the module for shapes."""

  attention_norm: Norm
  qkv: tuple[Linear, Linear, Linear]
  attention_out: Linear
  attention_post_norm: Norm | None
  mlp_norm: Norm
  mlp_in: tuple[Linear, ...]  # (gate, in) or (in,)
  mlp_out: Linear
  mlp_post_norm: Norm | None

  @classmethod
  def of(cls, named: NamedWeights, layer: int) -> Self:
    """Collects the weights of a layer by their names."""

    def get(name: str) -> mtf.Tensor | None:
      return named.get(weight_name(layer, name))

    def norm(name: str) -> Norm:
      return Norm(named[weight_name(layer, name)], get(f"{name}_bias"))

    def post_norm(name: str) -> Norm | None:
      return None if get(name) is None else norm(name)

    def linear(name: str) -> Linear:
      return Linear(
        named[weight_name(layer, name)],
        get(f"{name}_bias"),
        get(f"{name}/{LORA_A}"),
        get(f"{name}/{LORA_B}"),
      )

    gate = () if get("mlp/gate") is None else (linear("mlp/gate"),)
    return cls(
      attention_norm=norm("attention/norm"),
      qkv=(linear("attention/q"), linear("attention/k"), linear("attention/v")),
      attention_out=linear("attention/o"),
      attention_post_norm=post_norm("attention/post_norm"),
      mlp_norm=norm("mlp/norm"),
      mlp_in=(*gate, linear("mlp/in")),
      mlp_out=linear("mlp/out"),
      mlp_post_norm=post_norm("mlp/post_norm"),
    )

  def fused_qkv(self, dtype: tf.DType) -> FusedLinear | None:
    """Returns q, k and v as one matrix, or None where LoRA adds to them."""
    if any(w.lora_a is not None for w in self.qkv):
      return None
    weights = [mtf.cast(w.weight, dtype) for w in self.qkv]
    return FusedLinear(
      ops.concatenate(weights, at=1), tuple(w.bias for w in self.qkv)
    )


@dataclasses.dataclass(frozen=True)
class ModelWeights:
  """All weights of a model; see the docstring of the module for shapes."""

  embedding: mtf.Tensor
  layers: tuple[LayerWeights, ...]
  final_norm: Norm
  unembedding: mtf.Tensor | None = None
  position_embedding: mtf.Tensor | None = None
  relative_bias: mtf.Tensor | None = None
  soft_prompt: mtf.Tensor | None = None

  @classmethod
  def of(cls, model: config.ModelConfig, named: NamedWeights) -> Self:
    """Collects the weights of a model by their names."""
    return cls(
      embedding=named["embedding"],
      layers=tuple(
        LayerWeights.of(named, layer) for layer in range(model.layers)
      ),
      final_norm=Norm(named["final_norm"], named.get("final_norm_bias")),
      unembedding=named.get("unembedding"),
      position_embedding=named.get("position_embedding"),
      relative_bias=named.get("relative_bias"),
      soft_prompt=named.get(SOFT_PROMPT),
    )

  @property
  def output_embedding(self) -> mtf.Tensor:
    """[vocab, d_model]: turns hidden states into logits."""
    return self.embedding if self.unembedding is None else self.unembedding
