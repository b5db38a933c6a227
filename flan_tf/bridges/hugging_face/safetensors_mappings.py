"""Names and layouts of the tensors of a Hugging Face folder.

  folder, each [outputs, inputs]      weight
  layers.3.self_attn.q_proj.weight    layer_003/attention/q [in, heads, d_kv]
  layers.3.self_attn.o_proj.weight    layer_003/attention/o [heads, d_kv, out]
  layers.3.mlp.up_proj.weight         layer_003/mlp/in      [in, out]

GPT-2 stores its matrices [inputs, outputs], with q, k and v side by side in
one. Gemma's norms multiply by 1 + scale; the model here multiplies by scale.
"""

import functools
import re
from collections.abc import Iterable, Iterator

from flan_tf import config
from flan_tf.bridges.model_source import Shape, layer_name
from flan_tf.bridges.tensor_mapping import TensorMapping

_NamedMapping = tuple[str, TensorMapping]


def mappings(
  model: config.ModelConfig, family: str, names: Iterable[str]
) -> dict[str, TensorMapping]:
  """Returns the tensor of a folder for each weight.

  Args:
    model: sizes and options.
    family: one of `config_json.FAMILIES`.
    names: the names of the folder's tensors.
  """
  is_gpt2 = family == "gpt2"
  prefix = "transformer." if is_gpt2 else "model."
  # A model without its output layer is saved without the prefix.
  if not any(name.startswith(prefix) for name in names):
    prefix = ""
  if is_gpt2:
    result = dict(_gpt2_mappings(model, prefix))
  else:
    norms_minus_one = family in ("gemma", "gemma2")
    result = dict(_llama_mappings(model, prefix, norms_minus_one))
  if not model.shared_embedding:
    result["unembedding"] = TensorMapping(
      "lm_head.weight", (model.pieces, model.d_model)
    )
  return result


def is_no_weight(shared_embedding: bool, name: str) -> bool:
  """Returns whether a tensor is a mask, a frequency, or a second embedding."""
  if name == "lm_head.weight":
    return shared_embedding
  return bool(re.search(r"\.attn\.(masked_)?bias$|rotary_emb\.inv_freq$", name))


def _gpt2_mappings(
  model: config.ModelConfig, prefix: str
) -> Iterator[_NamedMapping]:
  d_model = model.d_model
  yield (
    "embedding",
    TensorMapping(f"{prefix}wte.weight", (model.pieces, d_model)),
  )
  yield (
    "position_embedding",
    TensorMapping(f"{prefix}wpe.weight", (model.max_positions, d_model)),
  )
  for layer in range(model.layers):
    yield from _gpt2_layer(model, layer, f"{prefix}h.{layer}")
  yield from _with_bias("final_norm", f"{prefix}ln_f", (d_model,))


def _with_bias(
  weight: str, stored: str, shape: Shape, weight_shape: Shape | None = None
) -> Iterator[_NamedMapping]:
  """Yields a weight and its bias, which has the last dimension of `shape`."""
  yield (
    weight,
    TensorMapping(f"{stored}.weight", shape, weight_shape=weight_shape),
  )
  yield f"{weight}_bias", TensorMapping(f"{stored}.bias", shape[-1:])


def _gpt2_layer(
  model: config.ModelConfig, layer: int, block: str
) -> Iterator[_NamedMapping]:
  d_model, d_ff, heads, d_kv = (
    model.d_model,
    model.d_ff,
    model.heads,
    model.d_kv,
  )
  weight = functools.partial(layer_name, layer)
  yield from _with_bias(weight("attention/norm"), f"{block}.ln_1", (d_model,))
  yield from _with_bias(weight("mlp/norm"), f"{block}.ln_2", (d_model,))
  joined = f"{block}.attn.c_attn"
  for index, name in enumerate("qkv"):
    columns = index * d_model, (index + 1) * d_model
    yield (
      weight(f"attention/{name}"),
      TensorMapping(
        f"{joined}.weight",
        (d_model, 3 * d_model),
        columns=columns,
        weight_shape=(d_model, heads, d_kv),
      ),
    )
    yield (
      weight(f"attention/{name}_bias"),
      TensorMapping(
        f"{joined}.bias",
        (3 * d_model,),
        columns=columns,
        weight_shape=(heads, d_kv),
      ),
    )
  yield from _with_bias(
    weight("attention/o"),
    f"{block}.attn.c_proj",
    (d_model, d_model),
    weight_shape=(heads, d_kv, d_model),
  )
  yield from _with_bias(weight("mlp/in"), f"{block}.mlp.c_fc", (d_model, d_ff))
  yield from _with_bias(
    weight("mlp/out"), f"{block}.mlp.c_proj", (d_ff, d_model)
  )


def _llama_mappings(
  model: config.ModelConfig, prefix: str, norms_minus_one: bool
) -> Iterator[_NamedMapping]:
  d_model = model.d_model
  yield (
    "embedding",
    TensorMapping(f"{prefix}embed_tokens.weight", (model.pieces, d_model)),
  )
  for layer in range(model.layers):
    block = f"{prefix}layers.{layer}"
    yield from _llama_norms(model, layer, block, norms_minus_one)
    yield from _llama_attention(model, layer, block)
    yield from _llama_mlp(model, layer, block)
  yield (
    "final_norm",
    TensorMapping(
      f"{prefix}norm.weight", (d_model,), minus_one=norms_minus_one
    ),
  )


def _llama_norms(
  model: config.ModelConfig, layer: int, block: str, minus_one: bool
) -> Iterator[_NamedMapping]:
  names = {
    "attention/norm": "input_layernorm",
    "mlp/norm": "post_attention_layernorm",
  }
  if model.post_norms:
    names = {
      "attention/norm": "input_layernorm",
      "attention/post_norm": "post_attention_layernorm",
      "mlp/norm": "pre_feedforward_layernorm",
      "mlp/post_norm": "post_feedforward_layernorm",
    }
  for weight, stored in names.items():
    yield (
      layer_name(layer, weight),
      TensorMapping(
        f"{block}.{stored}.weight", (model.d_model,), minus_one=minus_one
      ),
    )


def _matrix(
  name: str, inputs: int, outputs: int, weight_shape: Shape | None = None
) -> TensorMapping:
  """Returns the mapping of a matrix that is stored [outputs, inputs]."""
  return TensorMapping(
    name, (outputs, inputs), transposed=True, weight_shape=weight_shape
  )


def _llama_attention(
  model: config.ModelConfig, layer: int, block: str
) -> Iterator[_NamedMapping]:
  d_model, heads, d_kv = model.d_model, model.heads, model.d_kv
  kv_heads = model.kv_heads or heads
  weight = functools.partial(layer_name, layer)
  for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
    projection = f"{block}.self_attn.{name}_proj"
    yield (
      weight(f"attention/{name}"),
      _matrix(
        f"{projection}.weight", d_model, count * d_kv, (d_model, count, d_kv)
      ),
    )
    if model.attention_bias != "none":
      yield (
        weight(f"attention/{name}_bias"),
        TensorMapping(
          f"{projection}.bias", (count * d_kv,), weight_shape=(count, d_kv)
        ),
      )
  output = f"{block}.self_attn.o_proj"
  yield (
    weight("attention/o"),
    _matrix(f"{output}.weight", heads * d_kv, d_model, (heads, d_kv, d_model)),
  )
  if model.attention_bias == "all":
    yield (
      weight("attention/o_bias"),
      TensorMapping(f"{output}.bias", (d_model,)),
    )


def _llama_mlp(
  model: config.ModelConfig, layer: int, block: str
) -> Iterator[_NamedMapping]:
  d_model, d_ff = model.d_model, model.d_ff
  for name, stored, inputs, outputs in (
    ("gate", "gate_proj", d_model, d_ff),
    ("in", "up_proj", d_model, d_ff),
    ("out", "down_proj", d_ff, d_model),
  ):
    matrix = f"{block}.mlp.{stored}"
    weight = layer_name(layer, f"mlp/{name}")
    yield weight, _matrix(f"{matrix}.weight", inputs, outputs)
    if model.mlp_bias:
      yield f"{weight}_bias", TensorMapping(f"{matrix}.bias", (outputs,))
