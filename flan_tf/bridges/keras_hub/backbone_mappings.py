"""Names and layouts of the tensors of KerasHub backbones.

  KerasHub                                                weight
  layers/llama_transformer_decoder_3/                     layer_003/
    _self_attention_layer/_query_dense/vars/0 [in, h, k]    attention/q
    _feedforward_intermediate_dense/vars/0    [in, out]     mlp/in
  layers/gemma_decoder_block_3/                           layer_003/
    attention/query_dense/vars/0              [h, in, k]    attention/q,
                                                            transposed
    pre_attention_norm/vars/0                               attention/norm,
                                                            minus 1
  layers/reversible_embedding/vars/0 and 1                embedding, unembedding

Each mapping is used in both directions: to read presets and to write them.
"""

import functools
from collections.abc import Callable, Iterator

from flan_tf import config
from flan_tf.bridges.model_source import Shape, layer_name
from flan_tf.bridges.tensor_mapping import TensorMapping

_NamedMapping = tuple[str, TensorMapping]

EMBEDDING = "layers/reversible_embedding/vars/0"
UNEMBEDDING = "layers/reversible_embedding/vars/1"
_PROJECTIONS = {"q": "query", "k": "key", "v": "value"}


def backbone_mappings(
  backbone: str, model: config.ModelConfig
) -> dict[str, TensorMapping]:
  """Returns the tensor of a backbone for each weight, in the file's order.

  Args:
    backbone: the class's name, one of BACKBONES.
    model: sizes and options; `pieces` is the rows of the vocabulary.
  """
  return dict(_MAPPINGS[backbone](model))


def _numbered(name: str, index: int) -> str:
  """Returns a layer's name; Keras counts block, block_1, block_2, ..."""
  return f"layers/{name}_{index}" if index else f"layers/{name}"


def _variables(
  weight: str, layer: str, shape: Shape, bias_shape: Shape | None = None
) -> Iterator[_NamedMapping]:
  """Yields the mapping of a layer's weight, and of its bias if it has one."""
  yield weight, TensorMapping(f"{layer}/vars/0", shape)
  if bias_shape is not None:
    yield f"{weight}_bias", TensorMapping(f"{layer}/vars/1", bias_shape)


def _gpt2_mappings(model: config.ModelConfig) -> Iterator[_NamedMapping]:
  d_model = model.d_model
  yield "embedding", TensorMapping(EMBEDDING, (model.pieces, d_model))
  yield from _variables(
    "position_embedding",
    "layers/position_embedding",
    (model.max_positions, d_model),
  )
  for layer in range(model.layers):
    yield from _gpt2_layer(model, layer)
  yield from _variables(
    "final_norm", "layers/layer_normalization", (d_model,), (d_model,)
  )


def _gpt2_layer(
  model: config.ModelConfig, layer: int
) -> Iterator[_NamedMapping]:
  d_model, d_ff, heads, d_kv = (
    model.d_model,
    model.d_ff,
    model.heads,
    model.d_kv,
  )
  weight = functools.partial(layer_name, layer)
  block = _numbered("transformer_decoder", layer)
  attention = f"{block}/_self_attention_layer"
  feedforward = f"{block}/_feedforward"
  yield from _variables(
    weight("attention/norm"), f"{attention}_norm", (d_model,), (d_model,)
  )
  for short, name in _PROJECTIONS.items():
    yield from _variables(
      weight(f"attention/{short}"),
      f"{attention}/{name}_dense",
      (d_model, heads, d_kv),
      (heads, d_kv),
    )
  yield from _variables(
    weight("attention/o"),
    f"{attention}/output_dense",
    (heads, d_kv, d_model),
    (d_model,),
  )
  yield from _variables(
    weight("mlp/norm"), f"{feedforward}_layer_norm", (d_model,), (d_model,)
  )
  yield from _variables(
    weight("mlp/in"),
    f"{feedforward}_intermediate_dense",
    (d_model, d_ff),
    (d_ff,),
  )
  yield from _variables(
    weight("mlp/out"),
    f"{feedforward}_output_dense",
    (d_ff, d_model),
    (d_model,),
  )


def _llama_mappings(
  model: config.ModelConfig, block: str, final_norm: str
) -> Iterator[_NamedMapping]:
  """Yields the mappings of a Llama, Mistral or Qwen.

  Args:
    model: sizes and options.
    block: Keras' name of a layer, without its number.
    final_norm: Keras' name of the last norm.
  """
  d_model = model.d_model
  yield "embedding", TensorMapping(EMBEDDING, (model.pieces, d_model))
  if not model.shared_embedding:
    yield (
      "unembedding",
      TensorMapping(UNEMBEDDING, (d_model, model.pieces), transposed=True),
    )
  for layer in range(model.layers):
    yield from _llama_layer(model, layer, _numbered(block, layer))
  yield from _variables("final_norm", f"layers/{final_norm}", (d_model,))


def _llama_layer(
  model: config.ModelConfig, layer: int, block: str
) -> Iterator[_NamedMapping]:
  d_model, d_ff, heads, d_kv = (
    model.d_model,
    model.d_ff,
    model.heads,
    model.d_kv,
  )
  kv_heads = model.kv_heads or heads
  has_bias = model.attention_bias != "none"
  weight = functools.partial(layer_name, layer)
  attention = f"{block}/_self_attention"
  feedforward = f"{block}/_feedforward"
  yield from _variables(
    weight("attention/norm"), f"{attention}_layernorm", (d_model,)
  )
  for short, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
    yield from _variables(
      weight(f"attention/{short}"),
      f"{attention}_layer/_{_PROJECTIONS[short]}_dense",
      (d_model, count, d_kv),
      (count, d_kv) if has_bias else None,
    )
  yield from _variables(
    weight("attention/o"),
    f"{attention}_layer/_output_dense",
    (heads, d_kv, d_model),
  )
  yield from _variables(
    weight("mlp/norm"), f"{feedforward}_layernorm", (d_model,)
  )
  for name, stored, shape in (
    ("gate", "gate", (d_model, d_ff)),
    ("in", "intermediate", (d_model, d_ff)),
    ("out", "output", (d_ff, d_model)),
  ):
    yield from _variables(
      weight(f"mlp/{name}"), f"{feedforward}_{stored}_dense", shape
    )


def _gemma_mappings(model: config.ModelConfig) -> Iterator[_NamedMapping]:
  yield "embedding", TensorMapping(EMBEDDING, (model.pieces, model.d_model))
  for layer in range(model.layers):
    block = _numbered("gemma_decoder_block", layer)
    yield from _gemma_norms(model, layer, block)
    yield from _gemma_matrices(model, layer, block)
  yield "final_norm", _gemma_norm(model, "layers/rms_normalization")


def _gemma_norm(model: config.ModelConfig, layer: str) -> TensorMapping:
  return TensorMapping(f"{layer}/vars/0", (model.d_model,), minus_one=True)


def _gemma_norms(
  model: config.ModelConfig, layer: int, block: str
) -> Iterator[_NamedMapping]:
  names = {
    "attention/norm": "pre_attention_norm",
    "mlp/norm": "pre_ffw_norm",
  }
  if model.post_norms:
    names |= {
      "attention/post_norm": "post_attention_norm",
      "mlp/post_norm": "post_ffw_norm",
    }
  for name, stored in names.items():
    yield layer_name(layer, name), _gemma_norm(model, f"{block}/{stored}")


def _gemma_matrices(
  model: config.ModelConfig, layer: int, block: str
) -> Iterator[_NamedMapping]:
  d_model, d_ff, heads, d_kv = (
    model.d_model,
    model.d_ff,
    model.heads,
    model.d_kv,
  )
  kv_heads = model.kv_heads or heads
  weight = functools.partial(layer_name, layer)
  for short, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
    yield (
      weight(f"attention/{short}"),
      TensorMapping(
        f"{block}/attention/{_PROJECTIONS[short]}_dense/vars/0",
        (count, d_model, d_kv),
        transposed=True,
      ),
    )
  yield from _variables(
    weight("attention/o"),
    f"{block}/attention/output_dense",
    (heads, d_kv, d_model),
  )
  for name, stored, shape in (
    ("gate", "gating_ffw", (d_model, d_ff)),
    ("in", "gating_ffw_2", (d_model, d_ff)),
    ("out", "ffw_linear", (d_ff, d_model)),
  ):
    yield from _variables(weight(f"mlp/{name}"), f"{block}/{stored}", shape)


_LLAMA = functools.partial(
  _llama_mappings,
  block="llama_transformer_decoder",
  final_norm="llama_layer_norm",
)
_MAPPINGS: dict[
  str, Callable[[config.ModelConfig], Iterator[_NamedMapping]]
] = {
  "GPT2Backbone": _gpt2_mappings,
  "LlamaBackbone": _LLAMA,
  "Llama3Backbone": _LLAMA,
  "MistralBackbone": functools.partial(
    _llama_mappings,
    block="mistral_transformer_decoder",
    final_norm="mistral_layer_normalization",
  ),
  "GemmaBackbone": _gemma_mappings,
  "QwenBackbone": functools.partial(
    _llama_mappings,
    block="qwen_transformer_decoder",
    final_norm="qwen_layer_norm",
  ),
}
BACKBONES = tuple(_MAPPINGS)
