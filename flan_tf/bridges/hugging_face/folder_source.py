"""A Hugging Face folder: config.json, *.safetensors, and a tokenizer.

Families: gpt2, llama (1 to 3, SmolLM2), mistral, gemma, gemma2, qwen2 (2, 2.5).
Our model has their options, so that a folder is a configuration and a table of
names.

  theirs, each [out, in]             ours
  layers.3.self_attn.q_proj.weight   layer_003/attention/q [in, heads, d_kv]
  layers.3.self_attn.o_proj.weight   layer_003/attention/o [heads, d_kv, out]
  layers.3.mlp.up_proj.weight        layer_003/mlp/in      [in, out]

GPT-2 stores its matrices [in, out], and q, k and v side by side in one.
Gemma's norms multiply by 1 + scale; ours multiply by scale.
"""

import functools
import os
import re
from collections.abc import Iterator

import numpy as np

from flan_tf import config
from flan_tf.bridges import chat_templates, model_source
from flan_tf.bridges.hugging_face import config_json, safetensors_files
from flan_tf.vocab import byte_pair
from flan_tf.vocab.vocabulary import Vocabulary, load_vocabulary

Part = model_source.TensorMapping

# What a tokenizer may be spread over.
TOKENIZER_FILES = (
  "tokenizer.model",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
  chat_templates.TEMPLATE_FILE,
)


def open_source(
  folder: str, vocabulary: Vocabulary | None = None
) -> model_source.ModelSource:
  """The model of a local folder; no tensor is read yet.

  Args:
    folder: with config.json and *.safetensors.
    vocabulary: instead of the folder's tokenizer.

  Raises:
    SourceError: there is no such folder or no model in it; the architecture or
      one of its options is not implemented; tensors are missing, unknown, of
      another shape or stored as integers; a file is damaged.
    VocabularyError: there is no tokenizer that can be read.
  """
  folder = os.path.expanduser(folder)
  settings = config_json.CheckedConfig(folder)
  model, context = config_json.model_of(settings)
  reader = safetensors_files.SafetensorsReader(folder)
  ignore = functools.partial(_ignored, model.shared_embedding)
  reader.check_floats(ignore)
  parts = dict(_parts(model, settings.model_type, reader))
  tensors = model_source.bind(reader, model, parts, ignore)
  note = f"Hugging Face folder {folder} ({settings.model_type})"
  if vocabulary is None:
    vocabulary = byte_pair.from_hugging_face(folder)
  return model_source.ModelSource(
    model,
    vocabulary,
    tensors,
    note,
    context,
    *chat_templates.of_folder(folder, vocabulary),
  )


def given_vocabulary(path: str) -> Vocabulary:
  """A vocabulary file of either kind, or the tokenizer of a folder.

  Raises:
    VocabularyError: there is none.
  """
  if os.path.isdir(os.path.expanduser(path)):
    return byte_pair.from_hugging_face(path)
  return load_vocabulary(path)


def _ignored(shared_embedding: bool, name: str) -> bool:
  """Tensors that are no weights: masks, frequencies, a shared embedding."""
  if name == "lm_head.weight":
    return shared_embedding
  return bool(re.search(r"\.attn\.(masked_)?bias$|rotary_emb\.inv_freq$", name))


def _parts(
  model: config.ModelConfig,
  family: str,
  reader: safetensors_files.SafetensorsReader,
) -> Iterator[tuple[str, Part]]:
  """Our name and what it is made of, for every weight."""
  names = reader.shapes()
  if family == "gpt2":
    prefix = "transformer."
    made = _gpt2_parts
  else:
    prefix = "model."
    made = functools.partial(_llama_parts, family=family)
  # A model without its output layer is saved without the prefix.
  if not any(name.startswith(prefix) for name in names):
    prefix = ""
  yield from made(model, prefix)
  if not model.shared_embedding:
    yield "unembedding", Part("lm_head.weight", (model.pieces, model.d_model))


def _gpt2_parts(
  model: config.ModelConfig, prefix: str
) -> Iterator[tuple[str, Part]]:
  d, f, heads, width = model.d_model, model.d_ff, model.heads, model.d_kv

  def norm(ours: str, theirs: str):
    yield ours, Part(f"{theirs}.weight", (d,))
    yield f"{ours}_bias", Part(f"{theirs}.bias", (d,))

  yield "embedding", Part(f"{prefix}wte.weight", (model.pieces, d))
  yield (
    "position_embedding",
    Part(f"{prefix}wpe.weight", (model.max_positions, d)),
  )
  for layer in range(model.layers):
    ours = functools.partial(model_source.layer_name, layer)
    theirs = f"{prefix}h.{layer}"
    yield from norm(ours("attention/norm"), f"{theirs}.ln_1")
    yield from norm(ours("mlp/norm"), f"{theirs}.ln_2")
    for index, name in enumerate("qkv"):
      columns = (index * d, (index + 1) * d)
      yield (
        ours(f"attention/{name}"),
        Part(
          f"{theirs}.attn.c_attn.weight",
          (d, 3 * d),
          _reshape(d, heads, width),
          columns,
        ),
      )
      yield (
        ours(f"attention/{name}_bias"),
        Part(
          f"{theirs}.attn.c_attn.bias",
          (3 * d,),
          _reshape(heads, width),
          columns,
        ),
      )
    yield (
      ours("attention/o"),
      Part(f"{theirs}.attn.c_proj.weight", (d, d), _reshape(heads, width, d)),
    )
    yield ours("attention/o_bias"), Part(f"{theirs}.attn.c_proj.bias", (d,))
    yield ours("mlp/in"), Part(f"{theirs}.mlp.c_fc.weight", (d, f))
    yield ours("mlp/in_bias"), Part(f"{theirs}.mlp.c_fc.bias", (f,))
    yield ours("mlp/out"), Part(f"{theirs}.mlp.c_proj.weight", (f, d))
    yield ours("mlp/out_bias"), Part(f"{theirs}.mlp.c_proj.bias", (d,))
  yield from norm("final_norm", f"{prefix}ln_f")


def _llama_parts(
  model: config.ModelConfig, prefix: str, family: str
) -> Iterator[tuple[str, Part]]:
  d, f, width = model.d_model, model.d_ff, model.d_kv
  heads, kv_heads = model.heads, model.kv_heads or model.heads
  scale = model_source.one_plus if family in ("gemma", "gemma2") else None

  def norm(ours: str, theirs: str):
    return ours, Part(f"{theirs}.weight", (d,), scale)

  yield "embedding", Part(f"{prefix}embed_tokens.weight", (model.pieces, d))
  for layer in range(model.layers):
    ours = functools.partial(model_source.layer_name, layer)
    theirs = f"{prefix}layers.{layer}"
    yield norm(ours("attention/norm"), f"{theirs}.input_layernorm")
    after = f"{theirs}.post_attention_layernorm"
    if model.post_norms:
      yield norm(ours("attention/post_norm"), after)
      yield norm(ours("mlp/norm"), f"{theirs}.pre_feedforward_layernorm")
      yield norm(ours("mlp/post_norm"), f"{theirs}.post_feedforward_layernorm")
    else:
      yield norm(ours("mlp/norm"), after)
    for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
      part = f"{theirs}.self_attn.{name}_proj"
      yield (
        ours(f"attention/{name}"),
        Part(f"{part}.weight", (count * width, d), _transpose(d, count, width)),
      )
      if model.attention_bias != "none":
        yield (
          ours(f"attention/{name}_bias"),
          Part(f"{part}.bias", (count * width,), _reshape(count, width)),
        )
    part = f"{theirs}.self_attn.o_proj"
    yield (
      ours("attention/o"),
      Part(f"{part}.weight", (d, heads * width), _transpose(heads, width, d)),
    )
    if model.attention_bias == "all":
      yield ours("attention/o_bias"), Part(f"{part}.bias", (d,))
    for name, part, fan_in, fan_out in (
      ("gate", "gate_proj", d, f),
      ("in", "up_proj", d, f),
      ("out", "down_proj", f, d),
    ):
      part = f"{theirs}.mlp.{part}"
      yield (
        ours(f"mlp/{name}"),
        Part(f"{part}.weight", (fan_out, fan_in), np.transpose),
      )
      if model.mlp_bias:
        yield ours(f"mlp/{name}_bias"), Part(f"{part}.bias", (fan_out,))
  yield norm("final_norm", f"{prefix}norm")


def _reshape(*shape: int):
  return lambda x: x.reshape(shape)


def _transpose(*shape: int):
  return lambda x: x.T.reshape(shape)
