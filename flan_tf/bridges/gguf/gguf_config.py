"""Model configurations from the metadata of a GGUF file."""

from typing import Any

import numpy as np

from flan_tf import config
from flan_tf.bridges.gguf.gguf_reader import GgufReader
from flan_tf.bridges.settings import Settings
from flan_tf.model import dims, positions

# The tensor with the divisors of the rotary frequencies. GGUF has no metadata
# for the scaling of Llama 3.1 to 3.3, only these divisors, which follow from
# the constants below and a factor.
FREQUENCIES = "rope_freqs.weight"
# Of numbers that something is divided by.
_SMALLEST = 1e-6
_LLAMA3_ORIGINAL_LENGTH = 8192
_LLAMA3_LOW_FREQUENCY = 1.0
_LLAMA3_HIGH_FREQUENCY = 4.0


class ArchitectureMetadata(Settings):
  """Metadata of one architecture: "block_count" for "llama.block_count".

  Attributes:
    reader: the file.
  """

  def __init__(self, reader: GgufReader, architecture: str):
    super().__init__(reader.path, reader.metadata, f"{architecture}.")
    self.reader = reader

  def has_tensor(self, name: str) -> bool:
    """Returns whether the file has a tensor of this name."""
    return name in self.reader.shapes()

  @property
  def vocabulary_rows(self) -> int:
    """Rows of the embedding; 0 if it is missing, which `bind` reports."""
    return next(iter(self.reader.shapes().get("token_embd.weight", ())), 0)


def llama_model(metadata: ArchitectureMetadata) -> config.ModelConfig:
  """Returns the configuration of a llama file (Llama, Mistral, SmolLM2).

  What is not supported is noted in `metadata`.
  """
  d_model = metadata.size("embedding_length")
  heads = _heads(metadata, "attention.head_count")
  kv_heads = _heads(metadata, "attention.head_count_kv", default=heads)
  d_kv = metadata.size("attention.key_length", default=d_model // heads)
  if metadata.get("attention.value_length", d_kv) != d_kv:
    metadata.refuse("values of another size than keys")
  if metadata.get("rope.dimension_count", d_kv) != d_kv:
    metadata.refuse("rotary positions on a part of each head")
  if metadata.get("expert_count"):
    metadata.refuse("a mixture of experts")
  rows = metadata.vocabulary_rows
  return metadata.model(
    layers=metadata.layers("block_count"),
    d_model=d_model,
    heads=heads,
    kv_heads=0 if kv_heads == heads else kv_heads,
    d_kv=d_kv,
    d_ff=metadata.size("feed_forward_length"),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp="swiglu",
    norm="rms",
    attention_bias=_attention_bias(metadata),
    query_scale=metadata.number("attention.scale", 0.0),
    window=metadata.integer("attention.sliding_window", 0),
    positions="rotary",
    norm_epsilon=_shortest_float(
      metadata.number("attention.layer_norm_rms_epsilon", low=0)
    ),
    shared_embedding=not metadata.has_tensor("output.weight"),
    scale_embedding=False,
    **_rotary(metadata, d_kv),
  )


def gpt2_model(metadata: ArchitectureMetadata) -> config.ModelConfig:
  """Returns the configuration of a gpt2 file; see `llama_model`."""
  d_model = metadata.size("embedding_length")
  heads = _heads(metadata, "attention.head_count")
  rows = metadata.vocabulary_rows
  return metadata.model(
    layers=metadata.layers("block_count"),
    d_model=d_model,
    heads=heads,
    d_kv=d_model // heads,
    d_ff=metadata.size("feed_forward_length"),
    vocab=dims.padded_vocab(rows),
    pieces=rows,
    mlp="gelu",
    mlp_bias=True,
    norm="layer",
    attention_bias="all",
    positions="learned",
    max_positions=metadata.size("context_length"),
    norm_epsilon=_shortest_float(
      metadata.number("attention.layer_norm_epsilon", low=0)
    ),
    shared_embedding=not metadata.has_tensor("output.weight"),
    scale_embedding=False,
  )


def _heads(metadata: ArchitectureMetadata, name: str, **default: int) -> int:
  """Returns a number of heads; `default=NUMBER` if it may be absent."""
  if isinstance(metadata.get(name), list):
    metadata.refuse(f"{name} with numbers of heads that differ by layer")
    return next(iter(metadata.integers(name, low=1)), 1)
  return metadata.size(name, **default)


def _attention_bias(metadata: ArchitectureMetadata) -> str:
  """Returns the attention's biases, which only the names of tensors tell."""
  if not metadata.has_tensor("blk.0.attn_q.bias"):
    return "none"
  return "all" if metadata.has_tensor("blk.0.attn_output.bias") else "qkv"


def _shortest_float(value: float) -> float:
  """Rounds a float32 as a person writes it: 1e-5, not 9.999999747378752e-06."""
  return float(str(np.float32(value)))


def _rotary(metadata: ArchitectureMetadata, d_kv: int) -> dict[str, Any]:
  """Returns the rotary options of the configuration."""
  options: dict[str, Any] = {
    "rotary_base": _shortest_float(
      metadata.number("rope.freq_base", 10_000.0, low=_SMALLEST)
    )
  }
  scaling = metadata.text("rope.scaling.type", "none")
  factor = metadata.number("rope.scaling.factor", 1.0, low=_SMALLEST)
  # Files from before October 2023 have the factor only, by this name.
  factor = metadata.number("rope.scale_linear", factor, low=_SMALLEST)
  if metadata.has_tensor(FREQUENCIES):
    options |= _llama3_scaling(metadata, options, d_kv)
  elif scaling not in ("none", "linear"):
    metadata.refuse(f"rope.scaling.type {scaling!r}")
  elif factor != 1.0 and scaling == "linear":
    options |= {
      "rotary_scaling": "linear",
      "rotary_factor": _shortest_float(factor),
    }
  return options


def _llama3_scaling(
  metadata: ArchitectureMetadata, base_options: dict[str, Any], d_kv: int
) -> dict[str, Any]:
  """Returns the options that give the file's divisors of frequencies.

  Args:
    metadata: the file; divisors that the scaling of Llama 3 does not give are
      noted as not supported.
    base_options: rotary options without scaling.
    d_kv: size of a head.
  """
  divisors = metadata.reader.read(FREQUENCIES).reshape(-1)
  if len(divisors) != d_kv // 2:
    metadata.refuse(f"{len(divisors)} {FREQUENCIES} for heads of size {d_kv}")
    return {}
  scaling = {
    "rotary_scaling": "llama3",
    "rotary_factor": float(np.round(divisors.max(), 4)),
    "rotary_low_frequency": _LLAMA3_LOW_FREQUENCY,
    "rotary_high_frequency": _LLAMA3_HIGH_FREQUENCY,
    "rotary_original_length": _LLAMA3_ORIGINAL_LENGTH,
  }
  unscaled = metadata.model(positions="rotary", d_kv=d_kv, **base_options)
  scaled = metadata.model(
    positions="rotary", d_kv=d_kv, **base_options, **scaling
  )
  expected = positions.rotary_frequencies(
    unscaled
  ) / positions.rotary_frequencies(scaled)
  if np.allclose(expected, divisors, rtol=1e-3):
    return scaling
  metadata.refuse(
    f"{FREQUENCIES} that are not those of Llama 3.1"
    f" ({_LLAMA3_ORIGINAL_LENGTH} tokens, {_LLAMA3_LOW_FREQUENCY} to"
    f" {_LLAMA3_HIGH_FREQUENCY})"
  )
  return {}
