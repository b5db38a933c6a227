"""The language model: one function of named weights and packed tokens.

A decoder-only transformer as in FLAN's LaMDA-PT: pre-normalized, T5 relative
positions, gated GELU, no biases; or with the choices of GPT-2, Llama, Mistral,
Gemma and Qwen (see config.ModelConfig). No device appears here: which dimension
is split over which cores is the layout's matter.

Weights, by name (see `weight_specs`):

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

`attention/post_norm` and `mlp/post_norm` are there with `post_norms`. A bias is
called after what it is added to, as `attention/q_bias` [heads, d_kv], and has
the shape of its output.
"""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops, state
from flan_tf.mesh.compat import mtf
from flan_tf.model import attention
from flan_tf.model.dims import Dims

# Learned vectors before every example; see adapters.py.
SOFT_PROMPT = "soft_prompt"

Weights = Mapping[str, mtf.Tensor]
# (q, k, v), each [batch, length, heads, d_kv] -> the same shape.
Attend = Callable[[mtf.Tensor, mtf.Tensor, mtf.Tensor], mtf.Tensor]

_ACTIVATIONS = {
  "geglu": lambda x: tf.nn.gelu(x, approximate=True),
  "swiglu": tf.nn.silu,
  "gelu": lambda x: tf.nn.gelu(x, approximate=True),
  "relu": tf.nn.relu,
}


@dataclasses.dataclass(frozen=True)
class Tokens:
  """Packed rows, each int32 [batch, length].

  Attributes:
    inputs: the token before each target.
    segment_ids: 1, 2, ... for the examples of a row, 0 for padding.
    positions: counted from 0 in each segment.
  """

  inputs: mtf.Tensor
  segment_ids: mtf.Tensor
  positions: mtf.Tensor


def gated(model: config.ModelConfig) -> bool:
  return model.mlp in ("geglu", "swiglu")


def layer_names(model: config.ModelConfig) -> tuple[str, ...]:
  """The weights of one layer, in the order in which `block` takes them."""
  post = ("post_norm",) if model.post_norms else ()
  gate = ("gate",) if gated(model) else ()
  attention_names = ("norm", "q", "k", "v", "o", *post)
  mlp_names = ("norm", *gate, "in", "out", *post)
  names = (
    *("attention/" + name for name in attention_names),
    *("mlp/" + name for name in mlp_names),
  )
  biased = [f"{name}_bias" for name in names if _has_bias(model, name)]
  return (*names, *biased)


def names_in_a_layer(weights: Weights) -> tuple[str, ...]:
  """As `layer_names`, and what adapters add."""
  first = "layer_000/"
  return tuple(
    name.removeprefix(first) for name in weights if name.startswith(first)
  )


def _has_bias(model: config.ModelConfig, name: str) -> bool:
  part, _, name = name.rpartition("/")
  if name.endswith("norm"):
    return model.norm == "layer"
  if part == "mlp":
    return model.mlp_bias
  if name == "o":
    return model.attention_bias == "all"
  return model.attention_bias != "none"


def weight_specs(model: config.ModelConfig, d: Dims) -> dict[str, state.Spec]:
  """Every weight: its shape, and a start that keeps activations near one."""

  def matrix(*dims: mtf.Dimension, fan_in: int) -> state.Spec:
    return state.Spec(mtf.Shape(dims), state.normal(fan_in**-0.5))

  def bias(*dims: mtf.Dimension) -> state.Spec:
    return state.Spec(mtf.Shape(dims), state.constant(0.0))

  scale = state.Spec(mtf.Shape([d.d_model]), state.constant(1.0))
  into_ff = matrix(d.d_model, d.d_ff, fan_in=model.d_model)
  into_kv = matrix(d.d_model, d.kv_heads, d.d_kv, fan_in=model.d_model)
  of_layer = {
    "attention/norm": scale,
    "attention/norm_bias": bias(d.d_model),
    "attention/q": matrix(d.d_model, d.heads, d.d_kv, fan_in=model.d_model),
    "attention/q_bias": bias(d.heads, d.d_kv),
    "attention/k": into_kv,
    "attention/k_bias": bias(d.kv_heads, d.d_kv),
    "attention/v": into_kv,
    "attention/v_bias": bias(d.kv_heads, d.d_kv),
    "attention/o": matrix(
      d.heads, d.d_kv, d.d_model, fan_in=model.heads * model.d_kv
    ),
    "attention/o_bias": bias(d.d_model),
    "attention/post_norm": scale,
    "attention/post_norm_bias": bias(d.d_model),
    "mlp/norm": scale,
    "mlp/norm_bias": bias(d.d_model),
    "mlp/gate": into_ff,
    "mlp/gate_bias": bias(d.d_ff),
    "mlp/in": into_ff,
    "mlp/in_bias": bias(d.d_ff),
    "mlp/out": matrix(d.d_ff, d.d_model, fan_in=model.d_ff),
    "mlp/out_bias": bias(d.d_model),
    "mlp/post_norm": scale,
    "mlp/post_norm_bias": bias(d.d_model),
  }
  embedding = matrix(d.vocab, d.d_model, fan_in=model.d_model)
  specs = {"embedding": embedding}
  if model.positions == "learned":
    specs["position_embedding"] = matrix(
      d.positions, d.d_model, fan_in=model.d_model
    )
  if model.positions == "t5":
    shape = mtf.Shape([d.heads, d.buckets])
    specs["relative_bias"] = state.Spec(shape, state.constant(0.0))
  for layer in range(model.layers):
    for name in layer_names(model):
      specs[f"layer_{layer:03d}/{name}"] = of_layer[name]
  specs["final_norm"] = scale
  if model.norm == "layer":
    specs["final_norm_bias"] = bias(d.d_model)
  if not model.shared_embedding:
    specs["unembedding"] = embedding
  return specs


def cast_weights(weights: Weights, dtype: tf.DType) -> dict[str, mtf.Tensor]:
  """Weights in the precision of the computation."""
  return {name: mtf.cast(w, dtype) for name, w in weights.items()}


def output_table(weights: Weights) -> mtf.Tensor:
  """[vocab, d_model]: what turns hidden states into logits."""
  return weights.get("unembedding", weights["embedding"])


def hidden_states(
  model: config.ModelConfig,
  d: Dims,
  weights: Weights,
  tokens: Tokens,
  recompute: bool = False,
) -> mtf.Tensor:
  """The last layer's normalized output, [batch, length, d_model].

  Args:
    model: sizes and choices.
    d: the dimensions.
    weights: by name, in the precision of the computation.
    tokens: packed rows.
    recompute: keep only the input of each layer for the backward pass.
  """

  def mask(window: int) -> mtf.Tensor:
    return ops.local(
      lambda segment_ids: attention.packed_mask(segment_ids, window),
      [tokens.segment_ids],
      mtf.Shape([d.batch, mtf.Dimension("one", 1), d.length, d.memory]),
      splittable=[d.batch],
      dtype=tf.float32,
      name="mask",
    )

  masks = {window: mask(window) for window in sorted(set(windows(model)))}
  # What every layer's attention reads besides q, k, v and its mask.
  shared = [tokens.positions]
  if model.positions == "t5":
    shared.append(_relative_bias(model, d, weights))
  names = names_in_a_layer(weights)

  def layer(x, *rest):
    w = dict(zip(names, rest, strict=False))
    return block(
      model, d, w, x, packed_attention(model, d, *rest[len(names) :])
    )

  x = embed(model, d, weights, tokens.inputs, tokens.positions)
  for index, window in enumerate(windows(model)):
    of_layer = [weights[f"layer_{index:03d}/{name}"] for name in names]
    inputs = [x, *of_layer, masks[window], *shared]
    x = ops.recompute(layer, inputs) if recompute else layer(*inputs)
  return norm(model, d, x, weights, "final_norm")


def windows(model: config.ModelConfig) -> list[int]:
  """How far back each layer sees; 0 for all the way."""
  return [
    0 if index % model.window_every else model.window
    for index in range(model.layers)
  ]


def embed(
  model: config.ModelConfig,
  d: Dims,
  weights: Weights,
  ids: mtf.Tensor,
  positions: mtf.Tensor,
) -> mtf.Tensor:
  """Token embeddings, [*ids.shape, d_model], with learned positions if any."""
  x = ops.embed(ids, weights["embedding"], d.vocab)
  if SOFT_PROMPT in weights:
    x = _with_soft_prompt(d, weights[SOFT_PROMPT], x, positions)
  if model.scale_embedding:
    x *= model.d_model**0.5
  if model.positions == "learned":
    x += ops.embed(positions, weights["position_embedding"], d.positions)
  return x


def _with_soft_prompt(
  d: Dims, table: mtf.Tensor, x: mtf.Tensor, positions: mtf.Tensor
) -> mtf.Tensor:
  """Positions 1 to the prompt's length take its vectors instead of theirs."""
  prompt = table.shape.dims[0]

  def at(positions):
    return tf.clip_by_value(positions - 1, 0, prompt.size - 1)

  def choose(x, soft, positions):
    inside = (positions >= 1) & (positions <= prompt.size)
    return tf.where(inside[:, :, tf.newaxis], soft, x)

  rows = ops.local(at, [positions], positions.shape, [d.batch], name="prompt")
  soft = ops.embed(rows, table, prompt)
  splittable = [d.batch, d.d_model]
  return ops.local(choose, [x, soft, positions], x.shape, splittable)


def at_columns(d: Dims, hidden: mtf.Tensor, columns: mtf.Tensor) -> mtf.Tensor:
  """Some columns of [batch, length, d_model], int32 [batch, n] says which.

  Returns:
    [batch, n, d_model].
  """
  return ops.local(
    lambda x, at: tf.gather(x, at, batch_dims=1),
    [hidden, columns],
    mtf.Shape([*columns.shape, d.d_model]),
    [d.batch],
    name="at_columns",
  )


def log_probs(
  model: config.ModelConfig,
  d: Dims,
  weights: Weights,
  hidden: mtf.Tensor,
  targets: mtf.Tensor,
) -> mtf.Tensor:
  """log p(target) from what `hidden_states` gives: float32 [batch, length]."""
  table = output_table(weights)
  return ops.token_log_probs(hidden, table, targets, d.vocab, head_of(model))


def head_of(model: config.ModelConfig) -> ops.Head:
  """What happens to the output's logits."""
  return ops.Head(pieces=model.pieces, cap=model.logit_cap)


def block(
  model: config.ModelConfig,
  d: Dims,
  w: Weights,
  x: mtf.Tensor,
  attend: Attend,
) -> mtf.Tensor:
  """One layer: x + attention(norm(x)), then x + mlp(norm(x))."""
  y = norm(model, d, x, w, "attention/norm")
  q = _product(y, w, "attention/q", d.per_head)
  k = _product(y, w, "attention/k", d.per_kv_head)
  v = _product(y, w, "attention/v", d.per_kv_head)
  y = _product(attend(q, k, v), w, "attention/o", d.hidden)
  x += norm(model, d, y, w, "attention/post_norm") if model.post_norms else y
  y = norm(model, d, x, w, "mlp/norm")
  y = _product(_mlp_inner(model, d, w, y), w, "mlp/out", d.hidden)
  return x + (norm(model, d, y, w, "mlp/post_norm") if model.post_norms else y)


def _product(
  x: mtf.Tensor, w: Weights, name: str, shape: mtf.Shape
) -> mtf.Tensor:
  """x times a weight, plus what LoRA adds to it, plus its bias, if any."""
  y = mtf.einsum([x, w[name]], shape)
  low = w.get(f"{name}/lora_a")
  if low is not None:
    rank = mtf.Shape([*x.shape.dims[:2], low.shape.dims[-1]])
    inner = mtf.einsum([x, low], rank)
    y += mtf.einsum([inner, w[f"{name}/lora_b"]], shape)
  bias = w.get(f"{name}_bias")
  return y if bias is None else mtf.add(y, bias, output_shape=shape)


def norm(
  model: config.ModelConfig, d: Dims, x: mtf.Tensor, w: Weights, name: str
) -> mtf.Tensor:
  """RMSNorm (Zhang and Sennrich 2019, eq. 4) or LayerNorm, in float32."""

  def on_core(x, scale, *bias):
    y = tf.cast(x, tf.float32)
    if bias:
      y -= tf.reduce_mean(y, axis=-1, keepdims=True)
    mean_square = tf.reduce_mean(tf.square(y), axis=-1, keepdims=True)
    y *= tf.math.rsqrt(mean_square + model.norm_epsilon)
    y *= tf.cast(scale, tf.float32)
    for more in bias:
      y += tf.cast(more, tf.float32)
    return tf.cast(y, x.dtype)

  inputs = [x, w[name]]
  if model.norm == "layer":
    inputs.append(w[f"{name}_bias"])
  splittable = [dim for dim in x.shape if dim != d.d_model]
  return ops.local(on_core, inputs, x.shape, splittable, name="norm")


def packed_attention(
  model: config.ModelConfig,
  d: Dims,
  mask: mtf.Tensor,
  positions: mtf.Tensor,
  bias: mtf.Tensor | None = None,
) -> Attend:
  """Attention within the segments of packed rows."""

  rates = attention.frequencies(model)

  def on_core(q, k, v, mask, positions, bias=None):
    if model.positions == "rotary":
      q = attention.rotate(q, positions, rates)
      k = attention.rotate(k, positions, rates)
    return attention.attend(
      q, k, v, mask, bias, model.query_scale, model.attention_cap
    )

  def attend(q, k, v):
    inputs = [q, k, v, mask, positions, *([] if bias is None else [bias])]
    return ops.local(
      on_core, inputs, d.per_head, [d.batch, d.heads], name="attention"
    )

  return attend


def _relative_bias(
  model: config.ModelConfig, d: Dims, weights: Weights
) -> mtf.Tensor:
  """[heads, length, memory]."""

  def on_core(table):
    distance = attention.causal_distance(d.length.size)
    return attention.relative_bias(table, distance, model.relative_max_distance)

  return ops.local(
    on_core,
    [weights["relative_bias"]],
    mtf.Shape([d.heads, d.length, d.memory]),
    splittable=[d.heads],
    dtype=tf.float32,
    name="relative_bias",
  )


def _mlp_inner(
  model: config.ModelConfig, d: Dims, w: Weights, y: mtf.Tensor
) -> mtf.Tensor:
  """[batch, length, d_ff]: the activation, times the gated input if any."""
  shape = mtf.Shape([*y.shape.dims[:-1], d.d_ff])
  activation = _ACTIVATIONS[model.mlp]
  inner = _product(y, w, "mlp/in", shape)
  if not gated(model):
    return ops.local(activation, [inner], shape, shape.dims, name="activation")
  gate = _product(y, w, "mlp/gate", shape)
  return ops.local(
    lambda gate, x: activation(gate) * x,
    [gate, inner],
    shape,
    shape.dims,
    name="gate",
  )
