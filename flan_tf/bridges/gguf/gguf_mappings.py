"""Names and layouts of the tensors of a GGUF file.

  GGUF, matrices [out, in]    weight
  token_embd.weight           embedding
  blk.3.attn_q.weight         layer_003/attention/q [in, heads, d_kv]
  blk.3.attn_output.weight    layer_003/attention/o [heads, d_kv, out]
  blk.3.ffn_up.weight         layer_003/mlp/in      [in, out]

Rotary positions of this project turn the first half of a head with the second
half. A llama file has the two halves interleaved in q and k: rows 0 1 2 3 4 5
of a head in the file are rows 0 3 1 4 2 5 here.
"""

import functools
from collections.abc import Iterator

from flan_tf import config
from flan_tf.bridges.model_source import Shape, layer_name
from flan_tf.bridges.tensor_mapping import TensorMapping

_NamedMapping = tuple[str, TensorMapping]


def llama_mappings(model: config.ModelConfig) -> dict[str, TensorMapping]:
  """Returns the tensor of a llama file for each weight."""
  mappings = dict(_outer_mappings(model))
  for layer in range(model.layers):
    mappings |= _llama_norms(model, layer)
    mappings |= _llama_attention(model, layer)
    mappings |= _llama_mlp(model, layer)
  return mappings


def gpt2_mappings(model: config.ModelConfig) -> dict[str, TensorMapping]:
  """Returns the tensor of a gpt2 file for each weight."""
  mappings = dict(_outer_mappings(model))
  mappings["final_norm_bias"] = TensorMapping(
    "output_norm.bias", (model.d_model,)
  )
  mappings["position_embedding"] = TensorMapping(
    "position_embd.weight", (model.max_positions, model.d_model)
  )
  for layer in range(model.layers):
    mappings |= _gpt2_norms(model, layer)
    mappings |= _gpt2_qkv(model, layer)
    mappings |= _gpt2_outputs_and_mlp(model, layer)
  return mappings


def _outer_mappings(model: config.ModelConfig) -> Iterator[_NamedMapping]:
  """Yields what lies outside the layers in files of both architectures."""
  table = (model.pieces, model.d_model)
  yield "embedding", TensorMapping("token_embd.weight", table)
  yield "final_norm", TensorMapping("output_norm.weight", (model.d_model,))
  if not model.shared_embedding:
    yield "unembedding", TensorMapping("output.weight", table)


def _matrix(
  name: str, inputs: int, outputs: int, weight_shape: Shape | None = None
) -> TensorMapping:
  """Returns the mapping of a matrix, which GGUF stores [outputs, inputs]."""
  return TensorMapping(
    name, (outputs, inputs), transposed=True, weight_shape=weight_shape
  )


def _llama_norms(
  model: config.ModelConfig, layer: int
) -> Iterator[_NamedMapping]:
  for name, stored in (("attention", "attn"), ("mlp", "ffn")):
    norm = TensorMapping(f"blk.{layer}.{stored}_norm.weight", (model.d_model,))
    yield layer_name(layer, f"{name}/norm"), norm


def _llama_attention(
  model: config.ModelConfig, layer: int
) -> Iterator[_NamedMapping]:
  d_model, heads, d_kv = model.d_model, model.heads, model.d_kv
  kv_heads = model.kv_heads or model.heads
  weight = functools.partial(layer_name, layer)
  block = f"blk.{layer}"
  for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
    interleaved_heads = 0 if name == "v" else count
    yield (
      weight(f"attention/{name}"),
      TensorMapping(
        f"{block}.attn_{name}.weight",
        (count * d_kv, d_model),
        interleaved_heads=interleaved_heads,
        transposed=True,
        weight_shape=(d_model, count, d_kv),
      ),
    )
    if model.attention_bias != "none":
      yield (
        weight(f"attention/{name}_bias"),
        TensorMapping(
          f"{block}.attn_{name}.bias",
          (count * d_kv,),
          interleaved_heads=interleaved_heads,
          weight_shape=(count, d_kv),
        ),
      )
  output = f"{block}.attn_output"
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
  model: config.ModelConfig, layer: int
) -> Iterator[_NamedMapping]:
  d_model, d_ff = model.d_model, model.d_ff
  weight = functools.partial(layer_name, layer)
  block = f"blk.{layer}"
  yield weight("mlp/gate"), _matrix(f"{block}.ffn_gate.weight", d_model, d_ff)
  yield weight("mlp/in"), _matrix(f"{block}.ffn_up.weight", d_model, d_ff)
  yield weight("mlp/out"), _matrix(f"{block}.ffn_down.weight", d_ff, d_model)


def _gpt2_norms(
  model: config.ModelConfig, layer: int
) -> Iterator[_NamedMapping]:
  for name, stored in (("attention", "attn"), ("mlp", "ffn")):
    norm = f"blk.{layer}.{stored}_norm"
    weight = layer_name(layer, f"{name}/norm")
    yield weight, TensorMapping(f"{norm}.weight", (model.d_model,))
    yield f"{weight}_bias", TensorMapping(f"{norm}.bias", (model.d_model,))


def _gpt2_qkv(model: config.ModelConfig, layer: int) -> Iterator[_NamedMapping]:
  """Yields q, k and v, which are one matrix, one above the other."""
  d_model, heads, d_kv = model.d_model, model.heads, model.d_kv
  joined = f"blk.{layer}.attn_qkv"
  for index, name in enumerate("qkv"):
    rows = index * d_model, (index + 1) * d_model
    weight = layer_name(layer, f"attention/{name}")
    yield (
      weight,
      TensorMapping(
        f"{joined}.weight",
        (3 * d_model, d_model),
        rows=rows,
        transposed=True,
        weight_shape=(d_model, heads, d_kv),
      ),
    )
    yield (
      f"{weight}_bias",
      TensorMapping(
        f"{joined}.bias",
        (3 * d_model,),
        rows=rows,
        weight_shape=(heads, d_kv),
      ),
    )


def _gpt2_outputs_and_mlp(
  model: config.ModelConfig, layer: int
) -> Iterator[_NamedMapping]:
  d_model, d_ff, heads, d_kv = (
    model.d_model,
    model.d_ff,
    model.heads,
    model.d_kv,
  )
  split_heads = (heads, d_kv, d_model)
  for name, stored, inputs, outputs, weight_shape in (
    ("attention/o", "attn_output", d_model, d_model, split_heads),
    ("mlp/in", "ffn_up", d_model, d_ff, None),
    ("mlp/out", "ffn_down", d_ff, d_model, None),
  ):
    matrix = f"blk.{layer}.{stored}"
    weight = layer_name(layer, name)
    yield weight, _matrix(f"{matrix}.weight", inputs, outputs, weight_shape)
    yield f"{weight}_bias", TensorMapping(f"{matrix}.bias", (outputs,))
