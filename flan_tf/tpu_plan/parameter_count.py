"""Shapes and numbers of a model's weights, without TensorFlow.

`flan_tf.model` has the authoritative table of weights but imports TensorFlow,
which takes seconds. This second table lets a plan from the cache appear at
once; a test keeps the two tables equal.
"""

import math

from flan_tf import config

# Weight name -> dimension name -> size, with the dimension names of layout
# rules. "width" is the name of d_model in activations, and in vectors that are
# added to or multiplied with them.
WeightShapes = dict[str, dict[str, int]]


def count_parameters(model: config.ModelConfig) -> int:
  """Returns the number of parameters of a model without adapters."""
  in_layers = model.layers * count_elements(layer_weight_shapes(model))
  return in_layers + count_elements(other_weight_shapes(model))


def count_matmul_parameters(model: config.ModelConfig) -> int:
  """Returns the number of parameters that take part in matrix products.

  Tables in which rows are only looked up take no part in products.
  """
  tables = {"position_embedding"}
  if not model.shared_embedding:
    tables.add("embedding")
  shapes = other_weight_shapes(model)
  looked_up = {name: shapes[name] for name in tables & set(shapes)}
  return count_parameters(model) - count_elements(looked_up)


def count_elements(shapes: WeightShapes) -> int:
  """Returns the number of elements of all given weights."""
  return sum(math.prod(shape.values()) for shape in shapes.values())


def layer_weight_shapes(model: config.ModelConfig) -> WeightShapes:
  """Returns the shapes of the weights of one layer."""
  d_model = {"d_model": model.d_model}
  queries = {"heads": model.heads, "d_kv": model.d_kv}
  keys = {"heads": model.kv_heads or model.heads, "d_kv": model.d_kv}
  d_ff = {"d_ff": model.d_ff}
  shapes = {
    "attention/q": {**d_model, **queries},
    "attention/k": {**d_model, **keys},
    "attention/v": {**d_model, **keys},
    "attention/o": {**queries, **d_model},
    "mlp/in": {**d_model, **d_ff},
    "mlp/out": {**d_ff, **d_model},
  }
  if model.mlp in ("geglu", "swiglu"):
    shapes["mlp/gate"] = {**d_model, **d_ff}
  if model.attention_bias != "none":
    shapes |= {f"attention/{x}_bias": keys for x in "kv"}
    shapes["attention/q_bias"] = queries
  if model.attention_bias == "all":
    shapes["attention/o_bias"] = {"width": model.d_model}
  if model.mlp_bias:
    shapes |= {"mlp/in_bias": d_ff, "mlp/out_bias": {"width": model.d_model}}
    if "mlp/gate" in shapes:
      shapes["mlp/gate_bias"] = d_ff
  norms = ("attention/norm", "mlp/norm")
  if model.post_norms:
    norms += ("attention/post_norm", "mlp/post_norm")
  for name in norms:
    shapes |= _norm_shapes(model, name)
  return shapes


def other_weight_shapes(model: config.ModelConfig) -> WeightShapes:
  """Returns the shapes of the weights outside of the layers."""
  table = {"vocab": model.vocab, "d_model": model.d_model}
  shapes = {"embedding": table, **_norm_shapes(model, "final_norm")}
  if not model.shared_embedding:
    shapes["unembedding"] = table
  if model.positions == "learned":
    rows = {"positions": model.max_positions, "d_model": model.d_model}
    shapes["position_embedding"] = rows
  if model.positions == "t5":
    biases = {"heads": model.heads, "buckets": model.relative_buckets}
    shapes["relative_bias"] = biases
  return shapes


def _norm_shapes(model: config.ModelConfig, name: str) -> WeightShapes:
  scale = {"width": model.d_model}
  if model.norm == "layer":
    return {name: scale, f"{name}_bias": scale}
  return {name: scale}
