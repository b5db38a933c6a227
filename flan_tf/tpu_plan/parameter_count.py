"""The model's weights by named dimensions, and how many there are.

An account of its own beside `flan_tf.model.decoder.weight_specs`, which
imports TensorFlow, for which an answer from the cache should not wait; a test
holds the two together.
"""

import math

from flan_tf import config

# Of a weight: dimension -> size, in the names that a layout's rules use. What
# activations have for d_model, and vectors with it, is called "width".
Shapes = dict[str, dict[str, int]]


def parameters(model: config.ModelConfig) -> int:
  """Of a model, adapters left out."""
  return model.layers * count(of_layer(model)) + count(outside(model))


def matrix_parameters(model: config.ModelConfig) -> int:
  """Those that multiply: all but tables in which rows are only looked up."""
  tables = {"position_embedding"}
  if not model.shared_embedding:
    tables.add("embedding")
  shapes = outside(model)
  looked_up = {name: shapes[name] for name in tables & set(shapes)}
  return parameters(model) - count(looked_up)


def count(shapes: Shapes) -> int:
  return sum(math.prod(shape.values()) for shape in shapes.values())


def of_layer(model: config.ModelConfig) -> Shapes:
  """The weights of one layer."""
  d_model = {"d_model": model.d_model}
  queries = {"heads": model.heads, "d_kv": model.d_kv}
  keys = {"heads": model.kv_heads or model.heads, "d_kv": model.d_kv}
  ff = {"d_ff": model.d_ff}
  shapes = {
    "attention/q": {**d_model, **queries},
    "attention/k": {**d_model, **keys},
    "attention/v": {**d_model, **keys},
    "attention/o": {**queries, **d_model},
    "mlp/in": {**d_model, **ff},
    "mlp/out": {**ff, **d_model},
  }
  if model.mlp in ("geglu", "swiglu"):
    shapes["mlp/gate"] = {**d_model, **ff}
  if model.attention_bias != "none":
    shapes |= {f"attention/{x}_bias": keys for x in "kv"}
    shapes["attention/q_bias"] = queries
  if model.attention_bias == "all":
    shapes["attention/o_bias"] = {"width": model.d_model}
  if model.mlp_bias:
    shapes |= {"mlp/in_bias": ff, "mlp/out_bias": {"width": model.d_model}}
    if "mlp/gate" in shapes:
      shapes["mlp/gate_bias"] = ff
  norms = ("attention/norm", "mlp/norm")
  if model.post_norms:
    norms += ("attention/post_norm", "mlp/post_norm")
  for name in norms:
    shapes |= _norm(model, name)
  return shapes


def outside(model: config.ModelConfig) -> Shapes:
  """The weights that are not a layer's."""
  table = {"vocab": model.vocab, "d_model": model.d_model}
  shapes = {"embedding": table, **_norm(model, "final_norm")}
  if not model.shared_embedding:
    shapes["unembedding"] = table
  if model.positions == "learned":
    rows = {"positions": model.max_positions, "d_model": model.d_model}
    shapes["position_embedding"] = rows
  if model.positions == "t5":
    biases = {"heads": model.heads, "buckets": model.relative_buckets}
    shapes["relative_bias"] = biases
  return shapes


def _norm(model: config.ModelConfig, name: str) -> Shapes:
  scale = {"width": model.d_model}
  if model.norm == "layer":
    return {name: scale, f"{name}_bias": scale}
  return {name: scale}
