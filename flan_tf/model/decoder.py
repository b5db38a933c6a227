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
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import functions, ops, state
from flan_tf.mesh.compat import mtf
from flan_tf.model import attention
from flan_tf.model.dims import Dims

# Learned vectors before every example; see adapters.py.
SOFT_PROMPT = "soft_prompt"

Weights = Mapping[str, mtf.Tensor]
# (q, k, v, *context), the first three [batch, length, heads, d_kv] -> the same
# shape.
Attend = Callable[..., mtf.Tensor]
# (its name, fn, its arguments) -> what fn returns: `directly`, or
# `Calls.recompute`.
Apply = Callable[[Hashable, Callable, list[mtf.Tensor]], Sequence[mtf.Tensor]]

_QKV: tuple[str, ...] = ("attention/q", "attention/k", "attention/v")
_JOINED = "attention/qkv"  # All three beside one another.
_ACTIVATIONS = {
  "geglu": lambda x: tf.nn.gelu(x, approximate=True),
  "swiglu": tf.nn.silu,
  "gelu": lambda x: tf.nn.gelu(x, approximate=True),
  "relu": tf.nn.relu,
}


@dataclasses.dataclass(frozen=True)
class PackedTokens:
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


def weight_specs(
  model: config.ModelConfig, d: Dims
) -> dict[str, state.StateSpec]:
  """Every weight: its shape, and a start that keeps activations near one."""

  def matrix(*dims: mtf.Dimension, fan_in: int) -> state.StateSpec:
    return state.StateSpec(mtf.Shape(dims), state.normal(fan_in**-0.5))

  def bias(*dims: mtf.Dimension) -> state.StateSpec:
    return state.StateSpec(mtf.Shape(dims), state.constant(0.0))

  scale = state.StateSpec(mtf.Shape([d.width]), state.constant(1.0))
  into_ff = matrix(d.d_model, d.d_ff, fan_in=model.d_model)
  into_kv = matrix(d.d_model, d.kv_heads, d.d_kv, fan_in=model.d_model)
  of_layer = {
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
    shape = mtf.Shape([d.heads, d.buckets])
    specs["relative_bias"] = state.StateSpec(shape, state.constant(0.0))
  for layer in range(model.layers):
    for name in layer_names(model):
      specs[f"layer_{layer:03d}/{name}"] = of_layer[name]
  specs["final_norm"] = scale
  if model.norm == "layer":
    specs["final_norm_bias"] = bias(d.width)
  if not model.shared_embedding:
    specs["unembedding"] = embedding
  return specs


def cast_weights(weights: Weights, dtype: tf.DType) -> dict[str, mtf.Tensor]:
  """Weights in the precision of the computation."""
  return {name: mtf.cast(w, dtype) for name, w in weights.items()}


def cast_tables(weights: Weights, dtype: tf.DType) -> dict[str, mtf.Tensor]:
  """As `cast_weights`, without those of layers.

  A layer casts its own where it uses them, so that a model which recomputes its
  layers never holds all of them twice.
  """
  return {
    name: w if name.startswith("layer_") else mtf.cast(w, dtype)
    for name, w in weights.items()
  }


def whole(d: Dims, weight: mtf.Tensor) -> mtf.Tensor:
  """A weight with all of d_model, if it has any, wherever its parts lie."""
  if d.d_model not in weight.shape.dims:
    return weight
  return ops.resplit(weight, d.d_model, d.width)


def output_table(d: Dims, weights: Weights) -> mtf.Tensor:
  """[vocab, d_model]: what turns hidden states into logits."""
  return whole(d, weights.get("unembedding", weights["embedding"]))


def hidden_states(
  model: config.ModelConfig,
  d: Dims,
  weights: Weights,
  tokens: PackedTokens,
  recompute: str = "nothing",
  at_once: bool = False,
) -> mtf.Tensor:
  """The last layer's normalized output, [batch, length, d_model].

  Args:
    model: sizes and choices.
    d: the dimensions.
    weights: by name, in the precision of the computation.
    tokens: packed rows.
    recompute: what is not kept for the backward pass, as in config.TrainConfig.
    at_once: see `block`.
  """

  columns = mtf.range(tokens.inputs.mesh, d.length, tf.int32)

  def mask(window: int) -> mtf.Tensor:
    return ops.local(
      lambda queries, keys, columns: attention.packed_mask(
        queries, window, columns, keys
      ),
      [tokens.segment_ids, _keys(d, tokens.segment_ids), columns],
      mtf.Shape([d.batch, mtf.Dimension("one", 1), d.length, d.memory]),
      splittable=[d.batch, d.length],
      dtype=tf.float32,
      name="mask",
    )

  masks = {window: mask(window) for window in sorted(set(windows(model)))}
  # What every layer's attention reads besides q, k, v and its mask.
  shared = [tokens.positions]
  if model.positions == "t5":
    shared.append(_relative_bias(model, d, weights, columns))
  names = names_in_a_layer(weights)
  attend = packed_attention(model, d)
  again = functions.Calls().recompute
  apply_layer = again if recompute == "layers" else directly
  in_parts = functools.partial(again, together=True)
  apply_part = in_parts if recompute in ("inputs", "light") else directly
  apply_attention = in_parts if recompute == "light" else directly

  def layer(x, *rest):
    w = dict(zip(names, rest, strict=False))
    context = rest[len(names) :]
    applied = apply_part, apply_attention
    return [block(model, d, w, x, attend, context, *applied, at_once)]

  x = embed(model, d, weights, tokens.inputs, tokens.positions)
  for index, window in enumerate(windows(model)):
    of_layer = [weights[f"layer_{index:03d}/{name}"] for name in names]
    inputs = [x, *of_layer, masks[window], *shared]
    (x,) = apply_layer("layer", layer, inputs)
  x = norm(model, d, x, weights, "final_norm")
  return ops.resplit(x, d.stream, d.length)


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
  """Of tokens, with learned positions if any: [batch, stream, d_model]."""
  x = ops.embed(ids, whole(d, weights["embedding"]), d.vocab)
  if SOFT_PROMPT in weights:
    prompt = whole(d, weights[SOFT_PROMPT])
    x = _with_soft_prompt(d, prompt, x, positions)
  x = ops.resplit(x, d.length, d.stream)
  if model.scale_embedding:
    x *= model.d_model**0.5
  if model.positions == "learned":
    table = whole(d, weights["position_embedding"])
    at = ops.embed(positions, table, d.positions)
    x += ops.resplit(at, d.length, d.stream)
  return x


def _with_soft_prompt(
  d: Dims, table: mtf.Tensor, x: mtf.Tensor, positions: mtf.Tensor
) -> mtf.Tensor:
  """Positions 1 to the prompt's length take its vectors instead of theirs."""
  prompt = table.shape.dims[0]

  position_wise = [d.batch, d.length]

  def at(positions):
    return tf.clip_by_value(positions - 1, 0, prompt.size - 1)

  def choose(x, soft, positions):
    inside = (positions >= 1) & (positions <= prompt.size)
    return tf.where(inside[:, :, tf.newaxis], soft, x)

  rows = ops.local(
    at, [positions], positions.shape, position_wise, name="prompt"
  )
  soft = ops.embed(rows, table, prompt)
  return ops.local(choose, [x, soft, positions], x.shape, position_wise)


def at_columns(d: Dims, hidden: mtf.Tensor, columns: mtf.Tensor) -> mtf.Tensor:
  """Some columns of [batch, length, d_model], int32 [batch, n] says which.

  Returns:
    [batch, n, d_model].
  """
  return ops.local(
    lambda x, at: tf.gather(x, at, batch_dims=1),
    [hidden, columns],
    mtf.Shape([*columns.shape, d.width]),
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
  table = output_table(d, weights)
  return ops.token_log_probs(hidden, table, targets, d.vocab, head_of(model))


def head_of(model: config.ModelConfig) -> ops.Head:
  """What happens to the output's logits."""
  return ops.Head(pieces=model.pieces, cap=model.logit_cap)


def directly(
  name: Hashable, fn: Callable, inputs: list[mtf.Tensor]
) -> Sequence[mtf.Tensor]:
  """Calls fn, and what it computes is kept for the backward pass."""
  del name
  return fn(*inputs)


def block(
  model: config.ModelConfig,
  d: Dims,
  w: Weights,
  x: mtf.Tensor,
  attend: Attend,
  context: Sequence[mtf.Tensor] = (),
  apply: Apply = directly,
  apply_attention: Apply = directly,
  at_once: bool = False,
) -> mtf.Tensor:
  """One layer: x + attention(norm(x)), then x + mlp(norm(x)).

  Each half is cut behind its first products, and around attention. To apply
  such a part again takes no product with a weight: none is within one, and what
  ends it is not needed again.

  Args:
    model: sizes and choices.
    d: the dimensions.
    w: the layer's weights.
    x: [batch, stream, d_model].
    attend: from queries, keys and values, [batch, length, ...].
    context: what attention reads besides.
    apply: how each part is applied, but for attention.
    apply_attention: how that is.
    at_once: whether queries, keys and values are one product, of weights that
      are put beside one another for it. That pays on TPUs, not on CPUs.
  """

  def queries_keys_values(w, x):
    y = _at_all_positions(model, d, x, w, "attention/norm")
    of_keys = d.per_kv_head
    shapes = dict(zip(_QKV, (d.per_head, of_keys, of_keys), strict=True))
    if _JOINED in w:
      return _products(d, y, w, shapes)
    return [_product(d, y, w, name, shape) for name, shape in shapes.items()]

  def attended(*qkv_and_context):
    return [attend(*qkv_and_context)]

  def attention_output(w, y):
    y = _to_stream(d, y, w, "attention/o")
    return [_post_normed(model, d, y, w, "attention")]

  def mlp_inner(w, x):
    y = _at_all_positions(model, d, x, w, "mlp/norm")
    inner = mtf.Shape([*y.shape.dims[:-1], d.d_ff])
    names = ("mlp/gate", "mlp/in") if gated(model) else ("mlp/in",)
    return [_product(d, y, w, name, inner) for name in names]

  def mlp_output(w, *inner):
    y = _to_stream(d, _activated(model, *inner), w, "mlp/out")
    return [_post_normed(model, d, y, w, "mlp")]

  def part(fn, weights: tuple[str, ...], *inputs):
    names = tuple(name for name in w if name.startswith(weights))
    number = len(inputs)

    def flat(*arguments):
      given = dict(zip(names, arguments[number:], strict=True))
      return fn(given, *arguments[:number])

    of_part = [w[name] for name in names]
    return apply((fn.__name__, names), flat, [*inputs, *of_part])

  if at_once and not any(f"{name}/lora_a" in w for name in _QKV):
    joined = ops.join([mtf.cast(w[name], x.dtype) for name in _QKV], at=1)
    w = {name: weight for name, weight in w.items() if name not in _QKV}
    w[_JOINED] = joined
  qkv = part(queries_keys_values, ("attention/norm", *_QKV), x)
  (y,) = apply_attention("attended", attended, [*qkv, *context])
  (y,) = part(attention_output, ("attention/o", "attention/post_norm"), y)
  x += y
  inner = part(mlp_inner, ("mlp/norm", "mlp/gate", "mlp/in"), x)
  (y,) = part(mlp_output, ("mlp/out", "mlp/post_norm"), *inner)
  return x + y


def _at_all_positions(
  model: config.ModelConfig, d: Dims, x: mtf.Tensor, w: Weights, name: str
) -> mtf.Tensor:
  """The normalized residual stream, [batch, length, d_model]."""
  return ops.resplit(norm(model, d, x, w, name), d.stream, d.length)


def _post_normed(
  model: config.ModelConfig, d: Dims, y: mtf.Tensor, w: Weights, part: str
) -> mtf.Tensor:
  return norm(model, d, y, w, f"{part}/post_norm") if model.post_norms else y


def _product(
  d: Dims, x: mtf.Tensor, w: Weights, name: str, shape: mtf.Shape
) -> mtf.Tensor:
  """x times a weight, and its bias, if any."""
  return _biased(_times(d, x, w, name, shape), w, name)


def _products(
  d: Dims, x: mtf.Tensor, w: Weights, shapes: Mapping[str, mtf.Shape]
) -> list[mtf.Tensor]:
  """x times weights [d_model, heads, d_kv] at once, and their biases."""
  joined = whole(d, w[_JOINED])
  _, heads, d_kv = joined.shape
  y = mtf.einsum([x, joined], mtf.Shape([*x.shape.dims[:2], heads, d_kv]))
  parts = ops.part(y, 2, [shape.dims[2].size for shape in shapes.values()])
  return [_biased(y, w, name) for name, y in zip(shapes, parts, strict=True)]


def _to_stream(d: Dims, x: mtf.Tensor, w: Weights, name: str) -> mtf.Tensor:
  """The same, as the residual stream is split: [batch, stream, d_model]."""
  y = _times(d, x, w, name, d.hidden)
  return _biased(ops.resplit(y, d.length, d.stream), w, name)


def _times(
  d: Dims, x: mtf.Tensor, w: Weights, name: str, shape: mtf.Shape
) -> mtf.Tensor:
  """x times a weight, plus what LoRA adds to it."""

  def weight(of: str) -> mtf.Tensor:
    return whole(d, mtf.cast(w[of], x.dtype))

  y = mtf.einsum([x, weight(name)], shape)
  if f"{name}/lora_a" in w:
    low = weight(f"{name}/lora_a")
    rank = mtf.Shape([*x.shape.dims[:2], low.shape.dims[-1]])
    inner = mtf.einsum([x, low], rank)
    y += mtf.einsum([inner, weight(f"{name}/lora_b")], shape)
  return y


def _biased(y: mtf.Tensor, w: Weights, name: str) -> mtf.Tensor:
  bias = w.get(f"{name}_bias")
  if bias is None:
    return y
  return mtf.add(y, mtf.cast(bias, y.dtype), output_shape=y.shape)


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
  splittable = [dim for dim in x.shape if dim != d.width]
  return ops.local(on_core, inputs, x.shape, splittable, name="norm")


def packed_attention(model: config.ModelConfig, d: Dims) -> Attend:
  """Attention within the segments of packed rows.

  Its context: the mask, positions, and relative biases if the model has them.
  """

  rates = attention.frequencies(model)
  kinds = model.query_scale, model.attention_cap
  apply = attention.attend if d.length_is_split else attention.attend_to_earlier

  # Functions of their own, so that they are traced once for all layers.
  @functools.cache
  def traced(together):
    @functools.partial(tf.function, autograph=False)
    def attend(q, k, v, mask, positions, key_positions, bias=None):
      if model.positions == "rotary":
        q = attention.rotate(q, positions, rates)
        k = attention.rotate(k, key_positions, rates)
      return apply(q, k, v, mask, bias, *kinds, together)

    return attend

  def on_core(*inputs, together):
    return traced(together)(*inputs)

  def attend(q, k, v, mask, positions, *bias):
    keys, values, at = (_keys(d, x) for x in (k, v, positions))
    return ops.local(
      on_core,
      [q, keys, values, mask, positions, at, *bias],
      d.per_head,
      [d.batch, d.length, d.heads],
      name="attention",
      together=True,
    )

  return attend


def _keys(d: Dims, x: mtf.Tensor) -> mtf.Tensor:
  """What queries look at, [batch, memory, ...]: that of all cores of a row."""
  return ops.resplit(x, d.length, d.memory)


def _relative_bias(
  model: config.ModelConfig, d: Dims, weights: Weights, columns: mtf.Tensor
) -> mtf.Tensor:
  """float32 [heads, queries, keys].

  All of them where queries are not known, else see `attention.near_bias`.
  """
  length, far = d.length.size, model.relative_max_distance

  def of_all(table, columns):
    distance = columns[:, tf.newaxis] - tf.range(length)[tf.newaxis, :]
    return attention.relative_bias(table, distance, far)

  def of_a_block(table):
    return attention.near_bias(table, length, far)

  inputs = [weights["relative_bias"]]
  if d.length_is_split:
    fn, inputs = of_all, [*inputs, columns]
    queries, keys = d.length, d.memory
  else:
    fn, block = of_a_block, attention.block_of(length)
    queries = mtf.Dimension("queries", block)
    keys = mtf.Dimension("keys", min(length, block + far))
  return ops.local(
    fn,
    inputs,
    mtf.Shape([d.heads, queries, keys]),
    splittable=[d.heads, d.length],
    dtype=tf.float32,
    name="relative_bias",
  )


def _activated(model: config.ModelConfig, *inner: mtf.Tensor) -> mtf.Tensor:
  """[batch, length, d_ff]: the activation, times the gated input if any."""
  activation = _ACTIVATIONS[model.mlp]

  def on_core(x, *others):
    return activation(x) * others[0] if others else activation(x)

  shape = inner[0].shape
  return ops.local(on_core, inner, shape, shape.dims, name="activation")
