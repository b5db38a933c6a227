"""A tiny model, packed rows and meshes of logical CPUs, for several tests."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import program, state
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices, open_devices
from flan_tf.mesh.layout import Layout, parse_layout
from flan_tf.model.decoder import Decoder
from flan_tf.model.dims import SPLITTABLE, Dims
from flan_tf.model.linear import gather_weight
from flan_tf.model.packed_attention import PackedAttention, PackedTokens
from flan_tf.model.weights import ModelWeights

CORES = 4
RULES = config.MeshConfig().layout

# d_model, d_ff and vocab are large enough for Adafactor to factor over them.
MODEL = config.ModelConfig(
  layers=2,
  d_model=32,
  heads=4,
  d_kv=8,
  d_ff=64,
  vocab=128,
  relative_buckets=8,
  relative_max_distance=16,
)

_MODERN = dataclasses.replace(
  MODEL,
  mlp="swiglu",
  positions="rotary",
  kv_heads=2,
  shared_embedding=False,
  scale_embedding=False,
)

# Tokens of batches; the rest of the vocabulary may be padding.
PIECES = 101

# The choices of the families that checkpoints come from, at toy size.
FAMILIES = {
  "gpt2": dataclasses.replace(
    MODEL,
    pieces=PIECES,
    mlp="gelu",
    mlp_bias=True,
    norm="layer",
    attention_bias="all",
    positions="learned",
    max_positions=64,
    scale_embedding=False,
  ),
  "llama3": dataclasses.replace(
    _MODERN,
    rotary_scaling="llama3",
    rotary_factor=4.0,
    rotary_original_length=16,
  ),
  "mistral": dataclasses.replace(_MODERN, window=5),
  "gemma2": dataclasses.replace(
    _MODERN,
    mlp="geglu",
    shared_embedding=True,
    scale_embedding=True,
    post_norms=True,
    attention_cap=2.0,
    logit_cap=3.0,
    query_scale=0.3,
    window=5,
    window_every=2,
  ),
  "qwen2": dataclasses.replace(_MODERN, attention_bias="qkv", pieces=PIECES),
}


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """The part of a vocabulary that a model asks for."""

  bos_id: int = 0
  has_start: bool = True
  eos_id: int = 1
  pad_id: int = 0
  size: int = MODEL.vocab


def run_config(mesh: str = "", **train) -> config.RunConfig:
  """A run of MODEL with rows of 16 tokens."""
  return config.RunConfig(
    data=config.DataConfig(length=16),
    model=MODEL,
    mesh=config.MeshConfig(shape=mesh, platform="cpu"),
    train=config.TrainConfig(**{"batch": 8, **train}),
  )


def open_cores() -> None:
  """Call first of all in a file that uses more than one core."""
  open_devices(CORES, "cpu")


def one_layer(model: config.ModelConfig) -> config.ModelConfig:
  """Returns the model with one layer, which has all choices of its family.

  Of gemma2 it has only one kind of two.
  """
  return dataclasses.replace(model, layers=1)


@contextlib.contextmanager
def unoptimized_graphs() -> Iterator[None]:
  """Runs graphs as they were traced.

  TensorFlow's optimizer takes seconds for the graph of a step on four cores.
  mesh_invariance_test.py trains, scores and generates with it.
  """
  set_options = tf.config.optimizer.set_experimental_options
  set_options({"disable_meta_optimizer": True})
  try:
    yield
  finally:
    set_options({"disable_meta_optimizer": False})


@functools.cache
def mesh(shape: str, rules: str = RULES) -> tuple[Devices, Layout]:
  """The same devices for the same shape of mesh."""
  layout = parse_layout(shape, rules, SPLITTABLE)
  return open_devices(layout.cores, "cpu"), layout


def batch(rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
  """Packed rows: segments of several lengths, padding, one row of it alone."""
  rng = np.random.default_rng(seed)
  made = {
    name: np.zeros([rows, length], np.int32)
    for name in ("inputs", "targets", "segment_ids", "positions")
  }
  made["loss_weights"] = np.zeros([rows, length], np.float32)
  for row in range(rows - 1):
    begin, segment = 0, 0
    while begin < length - 2:
      segment += 1
      end = min(length - row % 3, begin + int(rng.integers(2, length)))
      ids = rng.integers(2, PIECES, end - begin)
      made["inputs"][row, begin + 1 : end] = ids[:-1]
      made["targets"][row, begin:end] = ids
      made["segment_ids"][row, begin:end] = segment
      made["positions"][row, begin:end] = np.arange(end - begin)
      made["loss_weights"][row, (begin + end) // 2 : end] = 1
      begin = end
  return made


def assign(weights: state.State, values: Mapping[str, np.ndarray]) -> None:
  """Sets every slice of a state from whole tensors."""
  for name in weights.specs:
    weights.assign(name, values[name])


def random_weights(
  specs: Mapping[str, state.StateSpec], seed: int = 0, stddev: float = 0.3
) -> dict[str, np.ndarray]:
  """No weight is at its start: biases are not zero, scales not one."""
  rng = np.random.default_rng(seed)
  made = {}
  for name, spec in specs.items():
    values = stddev * rng.standard_normal(spec.shape.to_integer_list)
    made[name] = np.float32(values + ("norm" in name))
  return made


def hidden_states(
  model: config.ModelConfig,
  d: Dims,
  named: Mapping[str, mtf.Tensor],
  *tokens: mtf.Tensor,
) -> mtf.Tensor:
  """Runs packed rows through the model: [batch, length, d_model].

  Args:
    model: sizes and choices.
    d: the dimensions.
    named: the weights by name.
    *tokens: inputs, segment_ids and positions, each int32 [batch, length].
  """
  weights = ModelWeights.of(model, named)
  packed = PackedTokens(*tokens)
  attention = PackedAttention(model, d, weights, packed)
  hidden, _ = Decoder(model, d)(weights, packed.inputs, attention)
  return hidden


def output_table(
  model: config.ModelConfig, d: Dims, named: Mapping[str, mtf.Tensor]
) -> mtf.Tensor:
  """Returns the table that turns hidden states into logits: [vocab, width]."""
  return gather_weight(d, ModelWeights.of(model, named).output_embedding)


def run(
  shape: str,
  build: Callable[..., Sequence[mtf.Tensor]],
  feeds: Sequence[tuple[np.ndarray, Sequence[mtf.Dimension]]],
) -> tuple[list[np.ndarray], tuple]:
  """Runs Mesh-TF operations on a mesh.

  Args:
    shape: the mesh.
    build: takes one Mesh-TF tensor for each feed, returns the results.
    feeds: whole arrays and their dimensions.

  Returns:
    The whole results, and the collectives of a core.

  Raises:
    AssertionError: cores that hold the same slice differ.
  """
  devices, layout = mesh(shape)
  shapes = []

  def step(core: program.CoreProgram, *values):
    fed = [
      core.feed(value, mtf.Shape(dims))
      for value, (_, dims) in zip(values, feeds, strict=True)
    ]
    results = build(*fed)
    shapes[:] = [x.shape for x in results]
    core.lower()
    return [core.value(x) for x in results]

  on_cores = program.Program(devices, layout, step)
  fed = [on_cores.shard(x, mtf.Shape(dims)) for x, dims in feeds]
  with unoptimized_graphs():
    out = on_cores(*fed)
  whole = []
  for index, result in enumerate(shapes):
    parts = [np.asarray(values[index]) for values in out]
    joined = on_cores.assemble(parts, result)
    for core, part in enumerate(parts):
      at = tuple(slice(b, b + n) for b, n in layout.shard_range(result, core))
      np.testing.assert_array_equal(joined[at], part)
    whole.append(joined)
  return whole, on_cores.trace.calls
