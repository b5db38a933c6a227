"""A KerasHub preset: config.json, model.weights.h5 (or shards), a tokenizer.

Backbones: GPT2, Llama, Llama3, Mistral, Gemma (1 and 2), Qwen (2 and 2.5). The
tensors are read straight from the h5 file; no Keras model is ever made.

A preset is a local folder, or any name that KerasHub downloads from: a built-in
preset, "kaggle://...", "hf://...". Of those only the files are fetched, by
KerasHub's own `get_file`, which needs the network and, for some models, an
account; then they are a local folder too. A folder or a name may also hold a
Hugging Face model, as for KerasHub's `from_preset`.

  theirs                                                  ours
  layers/llama_transformer_decoder_3/                     layer_003/
    _self_attention_layer/_query_dense/vars/0 [in, h, k]    attention/q
    _feedforward_intermediate_dense/vars/0    [in, out]     mlp/in
  layers/gemma_decoder_block_3/                           layer_003/
    attention/query_dense/vars/0              [h, in, k]    attention/q, turned
    pre_attention_norm/vars/0                               attention/norm, + 1
  layers/reversible_embedding/vars/0 and 1                the embeddings

What a preset's configuration says counts, also where KerasHub 0.32 does not
heed it: `rope_position_scaling_factor` of Llama, `query_head_dim_normalize` of
Gemma, `layer_norm_epsilon` in Gemma's blocks. And KerasHub writes 1e-6 as
`layer_norm_epsilon` of every Llama that it takes from a Hugging Face folder:
convert such a folder here, not the preset that KerasHub made of it.
"""

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from flan_tf import config, name_lists
from flan_tf.bridges import model_source
from flan_tf.bridges.hugging_face import folder_source
from flan_tf.bridges.keras_hub import preset_files
from flan_tf.model import dims
from flan_tf.vocab.vocabulary import Vocabulary

Part = model_source.TensorMapping
_EMBEDDINGS = "layers/reversible_embedding/vars"


def open_source(
  preset: str, vocabulary: Vocabulary | None = None
) -> model_source.ModelSource:
  """The model of a preset; no tensor is read yet.

  Args:
    preset: a local folder, or a name that KerasHub knows.
    vocabulary: instead of the preset's tokenizer.

  Raises:
    SourceError: there is no such preset; the architecture or one of its options
      is not implemented; tensors are missing, unknown, of another shape or
      quantized; a file is damaged.
    VocabularyError: there is no tokenizer that can be read.
  """
  folder = os.path.expanduser(preset)
  if not os.path.isdir(folder):
    folder = fetch(preset)
  settings = preset_files.read_json(folder, "config.json")
  if "model_type" in settings:
    return folder_source.open_source(folder, vocabulary)
  where = f"KerasHub preset {preset}"
  family = str(settings.get("class_name"))
  if family not in _BACKBONES:
    raise model_source.SourceError(
      f"{where}: " + name_lists.unknown_name("backbone", family, _BACKBONES)
    )
  reader = preset_files.H5TensorReader(folder)
  model_of, parts_of = _BACKBONES[family]
  model, context = model_of(_Settings(where, settings["config"]), reader)
  tensors = model_source.bind(reader, model, dict(parts_of(model)))
  if vocabulary is None:
    vocabulary = preset_files.read_vocabulary(folder)
  note = f"{where} ({family})"
  return model_source.ModelSource(
    model, vocabulary, tensors, note, context, no_chat="presets carry none"
  )


def fetch(preset: str) -> str:
  """Downloads the files of a preset, not its model; returns their folder.

  Raises:
    SourceError: nobody knows that name, or it cannot be reached.
  """
  from keras_hub.src.utils import preset_utils

  def get(name: str) -> str:
    return preset_utils.get_file(preset, name)

  def try_to_get(*names: str) -> None:
    for name in names:
      if preset_utils.check_file_exists(preset, name):
        get(name)

  try:
    folder = os.path.dirname(get("config.json"))
    if "model_type" in preset_files.read_json(folder, "config.json"):
      weights, shards = "model.safetensors", "model.safetensors.index.json"
      try_to_get(*folder_source.TOKENIZER_FILES)
    else:
      weights, shards = preset_files.WEIGHTS, preset_files.SHARDS
      names = ("tokenizer.json", preset_files.VOCABULARY)
      try_to_get(*names, *preset_files.ASSETS)
    if preset_utils.check_file_exists(preset, weights):
      get(weights)
    else:
      with open(get(shards), encoding="utf-8") as file:
        files = json.load(file)["weight_map"]
        for name in preset_files.files_of(files):
          get(name)
  # Each of the hubs has errors of its own.
  except Exception as error:
    raise model_source.SourceError(
      f"{preset!r} is no local folder, and KerasHub cannot get it:"
      f" {str(error).strip() or type(error).__name__}"
    ) from error
  return folder


def parts_of(backbone: str, model: config.ModelConfig) -> dict[str, Part]:
  """By our name, what each tensor is made of, or becomes on the way out.

  Args:
    backbone: "LlamaBackbone", ...
    model: sizes and choices; `pieces` is the rows of the vocabulary.
  """
  _, parts = _BACKBONES[backbone]
  return dict(parts(model))


# -- configurations ------------------------------------------------------------


class _Settings:
  """The configuration of a backbone."""

  def __init__(self, where: str, values: Mapping[str, Any]):
    self.where, self._values = where, values

  def need(self, name: str) -> Any:
    if self._values.get(name) is None:
      raise model_source.SourceError(
        f"{self.where}: config.json has no {name!r}."
      )
    return self._values[name]

  def get(self, name: str, default: Any = None) -> Any:
    value = self._values.get(name)
    return default if value is None else value


def _gpt2(settings: _Settings, reader: preset_files.H5TensorReader):
  del reader
  heads, width = settings.need("num_heads"), settings.need("hidden_dim")
  context = settings.need("max_sequence_length")
  model = config.ModelConfig(
    **_sizes(settings, heads, width // heads),
    mlp="gelu",
    mlp_bias=True,
    norm="layer",
    attention_bias="all",
    positions="learned",
    max_positions=context,
    norm_epsilon=1e-5,
    shared_embedding=True,
    scale_embedding=False,
  )
  return model, context


def _llama(
  settings: _Settings,
  reader: preset_files.H5TensorReader,
  attention_bias: str = "none",
):
  heads = settings.need("num_query_heads")
  head_dim = settings.get("head_dim", settings.need("hidden_dim") // heads)
  # KerasHub 0.32 does not write down whether a Llama's embedding is shared.
  tied = f"{_EMBEDDINGS}/1" not in reader.shapes()
  window = settings.get("sliding_window", 0)
  if settings.get("use_sliding_window_attention", False):
    window = settings.need("sliding_window_size")
  model = config.ModelConfig(
    **_sizes(settings, heads, head_dim),
    mlp="swiglu",
    norm="rms",
    attention_bias=attention_bias,
    window=window,
    positions="rotary",
    rotary_base=float(settings.get("rope_max_wavelength", 10_000)),
    norm_epsilon=float(settings.get("layer_norm_epsilon", 1e-6)),
    shared_embedding=bool(settings.get("tie_word_embeddings", tied)),
    scale_embedding=False,
    **_rotary_scaling(settings),
  )
  return model, 0


def _gemma(settings: _Settings, reader: preset_files.H5TensorReader):
  del reader
  heads, head_dim = settings.need("num_query_heads"), settings.need("head_dim")
  post = {
    bool(settings.get(f"use_post_{part}_norm", False))
    for part in ("ffw", "attention")
  }
  if len(post) > 1:
    model_source.refuse(settings.where, ["one post norm of the two"])
  # As Gemma 2 27B has it: by the share of a head in d_model.
  scale = (settings.need("hidden_dim") // heads) ** -0.5
  if settings.get("query_head_dim_normalize", True):
    scale = 0.0
  slides = settings.get("use_sliding_window_attention", False)
  sizes = _sizes(settings, heads, head_dim)
  model = config.ModelConfig(
    # KerasHub counts the gate and its partner together.
    **(sizes | {"d_ff": sizes["d_ff"] // 2}),
    mlp="geglu",
    norm="rms",
    post_norms=post.pop(),
    query_scale=scale,
    attention_cap=float(settings.get("attention_logit_soft_cap", 0)),
    logit_cap=float(settings.get("final_logit_soft_cap", 0)),
    window=settings.get("sliding_window_size", 4096) if slides else 0,
    window_every=2 if slides else 1,
    positions="rotary",
    rotary_base=10_000.0,
    norm_epsilon=float(settings.get("layer_norm_epsilon", 1e-6)),
    shared_embedding=True,
    scale_embedding=True,
  )
  return model, 0


def _sizes(settings: _Settings, heads: int, head_dim: int) -> dict[str, Any]:
  rows = settings.need("vocabulary_size")
  kv_heads = settings.get("num_key_value_heads", heads)
  return {
    "layers": settings.need("num_layers"),
    "d_model": settings.need("hidden_dim"),
    "heads": heads,
    "kv_heads": 0 if kv_heads == heads else kv_heads,
    "d_kv": head_dim,
    "d_ff": settings.need("intermediate_dim"),
    "vocab": dims.padded_vocab(rows),
    "pieces": rows,
  }


def _rotary_scaling(settings: _Settings) -> dict[str, Any]:
  name = "rope_position_scaling_factor"
  linear = settings.get(name, settings.get("rope_scaling_factor", 1.0))
  factor = settings.get("rope_frequency_adjustment_factor")
  if factor is None:
    if linear == 1:
      return {}
    return {"rotary_scaling": "linear", "rotary_factor": float(linear)}
  if linear != 1:
    model_source.refuse(
      settings.where, [f"{name} beside rope_frequency_adjustment_factor"]
    )
  return {
    "rotary_scaling": "llama3",
    "rotary_factor": float(factor),
    "rotary_low_frequency": float(settings.need("rope_low_freq_factor")),
    "rotary_high_frequency": float(settings.need("rope_high_freq_factor")),
    "rotary_original_length": settings.need("rope_pretraining_sequence_length"),
  }


# -- names ---------------------------------------------------------------------

Parts = Iterator[tuple[str, Part]]


def _numbered(name: str, index: int) -> str:
  """Keras numbers layers of one kind: block, block_1, block_2, ..."""
  return f"layers/{name}_{index}" if index else f"layers/{name}"


def _gpt2_parts(model: config.ModelConfig) -> Parts:
  d, f, heads, width = model.d_model, model.d_ff, model.heads, model.d_kv

  def both(ours: str, theirs: str, *shapes: tuple[int, ...]) -> Parts:
    yield ours, Part(f"{theirs}/vars/0", shapes[0])
    yield f"{ours}_bias", Part(f"{theirs}/vars/1", shapes[-1])

  yield "embedding", Part(f"{_EMBEDDINGS}/0", (model.pieces, d))
  yield (
    "position_embedding",
    Part("layers/position_embedding/vars/0", (model.max_positions, d)),
  )
  for layer in range(model.layers):
    ours = functools.partial(model_source.layer_name, layer)
    theirs = _numbered("transformer_decoder", layer)
    at = f"{theirs}/_self_attention_layer"
    yield from both(ours("attention/norm"), f"{at}_norm", (d,))
    for short, name in (("q", "query"), ("k", "key"), ("v", "value")):
      shapes = (d, heads, width), (heads, width)
      yield from both(ours(f"attention/{short}"), f"{at}/{name}_dense", *shapes)
    shapes = (heads, width, d), (d,)
    yield from both(ours("attention/o"), f"{at}/output_dense", *shapes)
    at = f"{theirs}/_feedforward"
    yield from both(ours("mlp/norm"), f"{at}_layer_norm", (d,))
    yield from both(ours("mlp/in"), f"{at}_intermediate_dense", (d, f), (f,))
    yield from both(ours("mlp/out"), f"{at}_output_dense", (f, d), (d,))
  yield from both("final_norm", "layers/layer_normalization", (d,))


def _llama_parts(model: config.ModelConfig, block: str, norm: str) -> Parts:
  d, f, width = model.d_model, model.d_ff, model.d_kv
  heads, kv_heads = model.heads, model.kv_heads or model.heads
  yield "embedding", Part(f"{_EMBEDDINGS}/0", (model.pieces, d))
  if not model.shared_embedding:
    shape = d, model.pieces
    yield "unembedding", Part(f"{_EMBEDDINGS}/1", shape, np.transpose)
  for layer in range(model.layers):
    ours = functools.partial(model_source.layer_name, layer)
    theirs = _numbered(block, layer)
    at = f"{theirs}/_self_attention"
    yield ours("attention/norm"), Part(f"{at}_layernorm/vars/0", (d,))
    for short, name, count in (
      ("q", "query", heads),
      ("k", "key", kv_heads),
      ("v", "value", kv_heads),
    ):
      path = f"{at}_layer/_{name}_dense/vars"
      yield ours(f"attention/{short}"), Part(f"{path}/0", (d, count, width))
      if model.attention_bias != "none":
        yield ours(f"attention/{short}_bias"), Part(f"{path}/1", (count, width))
    path = f"{at}_layer/_output_dense/vars/0"
    yield ours("attention/o"), Part(path, (heads, width, d))
    at = f"{theirs}/_feedforward"
    yield ours("mlp/norm"), Part(f"{at}_layernorm/vars/0", (d,))
    yield ours("mlp/gate"), Part(f"{at}_gate_dense/vars/0", (d, f))
    yield ours("mlp/in"), Part(f"{at}_intermediate_dense/vars/0", (d, f))
    yield ours("mlp/out"), Part(f"{at}_output_dense/vars/0", (f, d))
  yield "final_norm", Part(f"layers/{norm}/vars/0", (d,))


def _gemma_parts(model: config.ModelConfig) -> Parts:
  d, f, width = model.d_model, model.d_ff, model.d_kv
  heads, kv_heads = model.heads, model.kv_heads or model.heads

  def norm(path: str) -> Part:
    return Part(f"{path}/vars/0", (d,), model_source.one_plus)

  yield "embedding", Part(f"{_EMBEDDINGS}/0", (model.pieces, d))
  for layer in range(model.layers):
    ours = functools.partial(model_source.layer_name, layer)
    theirs = _numbered("gemma_decoder_block", layer)
    yield ours("attention/norm"), norm(f"{theirs}/pre_attention_norm")
    yield ours("mlp/norm"), norm(f"{theirs}/pre_ffw_norm")
    if model.post_norms:
      yield ours("attention/post_norm"), norm(f"{theirs}/post_attention_norm")
      yield ours("mlp/post_norm"), norm(f"{theirs}/post_ffw_norm")
    for short, name, count in (
      ("q", "query", heads),
      ("k", "key", kv_heads),
      ("v", "value", kv_heads),
    ):
      path, shape = f"{theirs}/attention/{name}_dense/vars/0", (count, d, width)
      yield ours(f"attention/{short}"), Part(path, shape, _heads_second)
    path = f"{theirs}/attention/output_dense/vars/0"
    yield ours("attention/o"), Part(path, (heads, width, d))
    yield ours("mlp/gate"), Part(f"{theirs}/gating_ffw/vars/0", (d, f))
    yield ours("mlp/in"), Part(f"{theirs}/gating_ffw_2/vars/0", (d, f))
    yield ours("mlp/out"), Part(f"{theirs}/ffw_linear/vars/0", (f, d))
  yield "final_norm", norm("layers/rms_normalization")


def _heads_second(x: np.ndarray) -> np.ndarray:
  """[heads, d_model, d_kv] -> [d_model, heads, d_kv]."""
  return x.transpose(1, 0, 2)


_LLAMA_PARTS = functools.partial(
  _llama_parts, block="llama_transformer_decoder", norm="llama_layer_norm"
)
_BACKBONES: dict[str, tuple[Callable, Callable]] = {
  "GPT2Backbone": (_gpt2, _gpt2_parts),
  "LlamaBackbone": (_llama, _LLAMA_PARTS),
  "Llama3Backbone": (_llama, _LLAMA_PARTS),
  "MistralBackbone": (
    _llama,
    functools.partial(
      _llama_parts,
      block="mistral_transformer_decoder",
      norm="mistral_layer_normalization",
    ),
  ),
  "GemmaBackbone": (_gemma, _gemma_parts),
  "QwenBackbone": (
    functools.partial(_llama, attention_bias="qkv"),
    functools.partial(
      _llama_parts, block="qwen_transformer_decoder", norm="qwen_layer_norm"
    ),
  ),
}
