"""A GGUF file: llama.cpp's format, quantized or not.

Architectures: llama (also Mistral and SmolLM2) and gpt2. Metadata give the
model and the tokenizer; tensors are read from the file one at a time, and
dequantized to float32.

  theirs, each [out, in]      ours
  token_embd.weight           embedding
  blk.3.attn_q.weight         layer_003/attention/q [in, heads, d_kv]
  blk.3.attn_output.weight    layer_003/attention/o [heads, d_kv, out]
  blk.3.ffn_up.weight         layer_003/mlp/in      [in, out]

Llama's rotary positions turn the two halves of a head together here; the file
has them side by side, so that rows 0 1 2 3 4 5 of a head of q and k are ours
0 3 1 4 2 5.
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gguf
import numpy as np

from flan_tf import config, name_lists
from flan_tf.bridges import chat_templates, model_source
from flan_tf.bridges.gguf import gguf_tokenizer
from flan_tf.model import attention, dims
from flan_tf.vocab.vocabulary import Vocabulary

Part = model_source.TensorMapping
# Rotary frequencies of Llama 3.1 to 3.3: stretched so much, for texts longer
# than so many tokens. The file has the outcome only.
_LLAMA3_LENGTH, _LLAMA3_LOW, _LLAMA3_HIGH = 8192, 1.0, 4.0
_FREQUENCIES = "rope_freqs.weight"


def open_source(
  path: str | os.PathLike,
  vocabulary: Vocabulary | None = None,
) -> model_source.ModelSource:
  """The model of a local file; no tensor is read yet.

  Args:
    path: the file.
    vocabulary: instead of the file's own.

  Raises:
    SourceError: there is no such file, it is no whole GGUF file, the
      architecture or an option of it or a type of its tensors is not known
      here, or tensors are missing or of another shape.
    VocabularyError: it has no tokenizer that is known here.
  """
  reader = Gguf(os.path.expanduser(os.fspath(path)))
  architecture = reader.metadata.get("general.architecture")
  if architecture not in _ARCHITECTURES:
    raise model_source.SourceError(
      f"{reader.where}: "
      + name_lists.unknown_name(
        "architecture", str(architecture), _ARCHITECTURES
      )
    )
  make_model, make_parts = _ARCHITECTURES[architecture]
  settings = _Settings(reader, architecture)
  model = make_model(settings)
  model_source.refuse(reader.where, settings.refused)
  parts = dict(make_parts(model))
  ignore = functools.partial(str.__eq__, _FREQUENCIES)
  tensors = model_source.bind(reader, model, parts, ignore)
  name = reader.metadata.get("general.name", "without a name")
  if vocabulary is None:
    vocabulary = gguf_tokenizer.read(reader.metadata, reader.where)
  return model_source.ModelSource(
    model,
    vocabulary,
    tensors,
    f"GGUF file {reader.where} ({architecture}, {name})",
    settings.get("context_length", 0),
    *chat_templates.of_template(
      reader.metadata.get("tokenizer.chat_template"),
      vocabulary,
      *gguf_tokenizer.special(reader.metadata),
    ),
  )


class Gguf:
  """The tensors of a file; see source.Reader.

  Attributes:
    where: its path.
    metadata: keys and values.
  """

  def __init__(self, path: str):
    self.where = path
    if not os.path.isfile(path):
      raise model_source.SourceError(f"There is no file {path}.")
    try:
      # It maps the file; it is let go below, or the pages of all tensors that
      # were read would count as this process's memory.
      file = gguf.GGUFReader(path)
      self.metadata: dict[str, Any] = {
        name: field.contents() for name, field in file.fields.items()
      }
      # Where each tensor lies: its type, offset, and bytes as they are stored.
      self._places = {
        t.name: (
          t.tensor_type,
          int(t.data_offset),
          t.data.dtype,
          tuple(map(int, t.data.shape)),
        )
        for t in file.tensors
      }
      self._shapes = {
        t.name: tuple(int(n) for n in reversed(t.shape)) for t in file.tensors
      }
    # What it raises for a file that is none, or ends too early, is NumPy's.
    except Exception as error:
      raise model_source.SourceError(
        f"{path} is no GGUF file, or is damaged or cut short"
        f" ({type(error).__name__}: {error})."
      ) from error
    self._check_types()

  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    return self._shapes

  def read(
    self, name: str, columns: tuple[int, int] | None = None
  ) -> np.ndarray:
    kind, offset, dtype, shape = self._places[name]
    count = int(np.prod(shape))
    stored = np.fromfile(self.where, dtype, count, offset=offset)
    if len(stored) != count:
      raise model_source.SourceError(f"{self.where} ends within {name}.")
    value = gguf.quants.dequantize(stored.reshape(shape), kind)
    return value if columns is None else value[..., slice(*columns)]

  def _check_types(self) -> None:
    """Refuses types that cannot be dequantized, before anything is read."""
    refused = []
    for kind in {kind for kind, *_ in self._places.values()}:
      _, size = gguf.GGML_QUANT_SIZES[kind]
      try:
        gguf.quants.dequantize(np.zeros(size, np.uint8), kind)
      except NotImplementedError:
        refused.append(f"tensors of type {kind.name}")
    model_source.refuse(self.where, sorted(refused))


class _Settings:
  """The metadata of an architecture: "llama.block_count" is "block_count"."""

  def __init__(self, reader: Gguf, architecture: str):
    self.reader, self._architecture = reader, architecture
    self.refused: list[str] = []

  def get(self, name: str, default: Any = None) -> Any:
    return self.reader.metadata.get(f"{self._architecture}.{name}", default)

  def need(self, name: str) -> Any:
    value = self.get(name)
    if value is None:
      raise model_source.SourceError(
        f"{self.reader.where} has no {self._architecture}.{name}."
      )
    return value

  def has(self, tensor: str) -> bool:
    return tensor in self.reader.shapes()

  def rows(self, tensor: str) -> int:
    """Rows of a tensor; 0 if it is not there, which `bind` will say."""
    return self.reader.shapes().get(tensor, (0,))[0]


def _llama_model(settings: _Settings) -> config.ModelConfig:
  width, heads = settings.need("embedding_length"), _heads(settings)
  kv_heads = settings.get("attention.head_count_kv", heads)
  if isinstance(kv_heads, list):
    settings.refused.append("numbers of kv heads that differ by layer")
    kv_heads = heads
  d_kv = settings.get("attention.key_length", width // heads)
  if settings.get("attention.value_length", d_kv) != d_kv:
    settings.refused.append("values of another size than keys")
  if settings.get("rope.dimension_count", d_kv) != d_kv:
    settings.refused.append("rotary positions on a part of each head")
  if settings.get("expert_count"):
    settings.refused.append("a mixture of experts")
  scale = settings.get("attention.scale", 0.0)
  attention_bias = "none"
  if settings.has("blk.0.attn_q.bias"):
    out = settings.has("blk.0.attn_output.bias")
    attention_bias = "all" if out else "qkv"
  rows = settings.rows("token_embd.weight")
  return config.ModelConfig(
    layers=settings.need("block_count"),
    d_model=width,
    heads=heads,
    kv_heads=0 if kv_heads == heads else kv_heads,
    d_kv=d_kv,
    d_ff=settings.need("feed_forward_length"),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp="swiglu",
    norm="rms",
    attention_bias=attention_bias,
    query_scale=float(scale),
    window=settings.get("attention.sliding_window") or 0,
    positions="rotary",
    norm_epsilon=_short(settings.need("attention.layer_norm_rms_epsilon")),
    shared_embedding=not settings.has("output.weight"),
    scale_embedding=False,
    **_rotary(settings, d_kv),
  )


def _gpt2_model(settings: _Settings) -> config.ModelConfig:
  width, heads = settings.need("embedding_length"), _heads(settings)
  rows = settings.rows("token_embd.weight")
  return config.ModelConfig(
    layers=settings.need("block_count"),
    d_model=width,
    heads=heads,
    d_kv=width // heads,
    d_ff=settings.need("feed_forward_length"),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp="gelu",
    mlp_bias=True,
    norm="layer",
    attention_bias="all",
    positions="learned",
    max_positions=settings.need("context_length"),
    norm_epsilon=_short(settings.need("attention.layer_norm_epsilon")),
    shared_embedding=not settings.has("output.weight"),
    scale_embedding=False,
  )


def _heads(settings: _Settings) -> int:
  heads = settings.need("attention.head_count")
  if isinstance(heads, list):
    settings.refused.append("numbers of heads that differ by layer")
    return heads[0]
  return heads


def _short(value: float) -> float:
  """A float32 as a person would write it: 1e-5, not 9.999999747378752e-06."""
  return float(str(np.float32(value)))


def _rotary(settings: _Settings, d_kv: int) -> dict[str, Any]:
  """The model's rotary settings."""
  base = _short(settings.get("rope.freq_base", 10_000.0))
  found: dict[str, Any] = {"rotary_base": base}
  kind = settings.get("rope.scaling.type", "none")
  factor = settings.get("rope.scaling.factor", 1.0)
  # Files of before 2023-10 name the factor only.
  factor = settings.get("rope.scale_linear", factor)
  if settings.has(_FREQUENCIES):
    found |= _llama3(settings, found, d_kv)
  elif kind not in ("none", "linear"):
    settings.refused.append(f"rope.scaling.type {kind!r}")
  elif factor != 1.0 and kind == "linear":
    found |= {"rotary_scaling": "linear", "rotary_factor": _short(factor)}
  return found


def _llama3(
  settings: _Settings, found: dict[str, Any], d_kv: int
) -> dict[str, Any]:
  """Settings that give the divisors of frequencies that the file has."""
  divisors = settings.reader.read(_FREQUENCIES).reshape(-1)
  stretched = {
    "rotary_scaling": "llama3",
    "rotary_factor": float(np.round(divisors.max(), 4)),
    "rotary_low_frequency": _LLAMA3_LOW,
    "rotary_high_frequency": _LLAMA3_HIGH,
    "rotary_original_length": _LLAMA3_LENGTH,
  }
  plain = config.ModelConfig(positions="rotary", d_kv=d_kv, **found)
  model = config.ModelConfig(
    positions="rotary", d_kv=d_kv, **found, **stretched
  )
  expected = attention.frequencies(plain) / attention.frequencies(model)
  if len(expected) == len(divisors) and np.allclose(
    expected, divisors, rtol=1e-3
  ):
    return stretched
  settings.refused.append(
    f"{_FREQUENCIES} that are not those of Llama 3.1 ({_LLAMA3_LENGTH} tokens,"
    f" {_LLAMA3_LOW} to {_LLAMA3_HIGH})"
  )
  return {}


def _llama_parts(model: config.ModelConfig) -> Iterator[tuple[str, Part]]:
  d, f, width = model.d_model, model.d_ff, model.d_kv
  heads, kv_heads = model.heads, model.kv_heads or model.heads
  yield from _outer(model)
  for layer in range(model.layers):
    ours = functools.partial(model_source.layer_name, layer)
    theirs = f"blk.{layer}."
    yield ours("attention/norm"), Part(f"{theirs}attn_norm.weight", (d,))
    yield ours("mlp/norm"), Part(f"{theirs}ffn_norm.weight", (d,))
    for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
      part = f"{theirs}attn_{name}"
      order = _plain if name == "v" else functools.partial(_unpermuted, count)
      yield (
        ours(f"attention/{name}"),
        Part(
          f"{part}.weight",
          (count * width, d),
          _then(order, _transpose(d, count, width)),
        ),
      )
      if model.attention_bias != "none":
        yield (
          ours(f"attention/{name}_bias"),
          Part(
            f"{part}.bias",
            (count * width,),
            _then(order, _reshape(count, width)),
          ),
        )
    part = f"{theirs}attn_output"
    yield (
      ours("attention/o"),
      Part(f"{part}.weight", (d, heads * width), _transpose(heads, width, d)),
    )
    if model.attention_bias == "all":
      yield ours("attention/o_bias"), Part(f"{part}.bias", (d,))
    yield (
      ours("mlp/gate"),
      Part(f"{theirs}ffn_gate.weight", (f, d), np.transpose),
    )
    yield ours("mlp/in"), Part(f"{theirs}ffn_up.weight", (f, d), np.transpose)
    yield (
      ours("mlp/out"),
      Part(f"{theirs}ffn_down.weight", (d, f), np.transpose),
    )


def _gpt2_parts(model: config.ModelConfig) -> Iterator[tuple[str, Part]]:
  d, f, heads, width = model.d_model, model.d_ff, model.heads, model.d_kv
  yield from _outer(model)
  yield "final_norm_bias", Part("output_norm.bias", (d,))
  table = Part("position_embd.weight", (model.max_positions, d))
  yield "position_embedding", table
  for layer in range(model.layers):
    ours = functools.partial(model_source.layer_name, layer)
    theirs = f"blk.{layer}."
    for name, part in (("attention", "attn"), ("mlp", "ffn")):
      part = f"{theirs}{part}_norm"
      yield ours(f"{name}/norm"), Part(f"{part}.weight", (d,))
      yield ours(f"{name}/norm_bias"), Part(f"{part}.bias", (d,))
    for index, name in enumerate("qkv"):
      # q, k and v are one matrix, one above the other.
      cut = functools.partial(_rows, index * d, (index + 1) * d)
      part = f"{theirs}attn_qkv"
      yield (
        ours(f"attention/{name}"),
        Part(
          f"{part}.weight", (3 * d, d), _then(cut, _transpose(d, heads, width))
        ),
      )
      yield (
        ours(f"attention/{name}_bias"),
        Part(f"{part}.bias", (3 * d,), _then(cut, _reshape(heads, width))),
      )
    for name, part, fan_in, fan_out, shape in (
      ("attention/o", "attn_output", d, d, (heads, width, d)),
      ("mlp/in", "ffn_up", d, f, (d, f)),
      ("mlp/out", "ffn_down", f, d, (f, d)),
    ):
      part = f"{theirs}{part}"
      yield (
        ours(name),
        Part(f"{part}.weight", (fan_out, fan_in), _transpose(*shape)),
      )
      yield ours(f"{name}_bias"), Part(f"{part}.bias", (fan_out,))


def _outer(model: config.ModelConfig) -> Iterator[tuple[str, Part]]:
  table = (model.pieces, model.d_model)
  yield "embedding", Part("token_embd.weight", table)
  yield "final_norm", Part("output_norm.weight", (model.d_model,))
  if not model.shared_embedding:
    yield "unembedding", Part("output.weight", table)


_ARCHITECTURES = {
  "gpt2": (_gpt2_model, _gpt2_parts),
  "llama": (_llama_model, _llama_parts),
}


def _unpermuted(heads: int, x: np.ndarray) -> np.ndarray:
  """Rows of each head with halves in a row again, not side by side."""
  pairs = x.reshape(heads, -1, 2, *x.shape[1:])
  return pairs.swapaxes(1, 2).reshape(x.shape)


def _plain(x: np.ndarray) -> np.ndarray:
  return x


def _rows(begin: int, end: int, x: np.ndarray) -> np.ndarray:
  return x[begin:end]


def _then(first: Callable, second: Callable) -> Callable:
  return lambda x: second(first(x))


def _reshape(*shape: int) -> Callable:
  return lambda x: x.reshape(shape)


def _transpose(*shape: int) -> Callable:
  return lambda x: x.T.reshape(shape)
