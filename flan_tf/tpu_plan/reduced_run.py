"""A small run with the structure of a large one, which a laptop can execute.

The mesh keeps its axes, the layout its rules, and the model its kinds of
layers, norms, positions and adapters. Each axis keeps at least two cores, and
each dimension a size that the layout divides. Everything is computed in
float32, so that a difference is an error of the program, not rounding.

  137B on data:4;model:32   ->   2 layers, d_model 64, ... on data:4;model:4
"""

import dataclasses
import math
from collections.abc import Callable

from flan_tf import config
from flan_tf.tpu_plan.mesh_sizes import MeshSizes
from flan_tf.tpu_plan.request import CompileRequest

# Number of CPU threads that act as cores.
MAX_CORES = 16
# Upper bounds of sizes; a size grows beyond its bound only until the layout
# divides it. Adafactor factors dimensions of 32 and more.
_LAYERS = 2
_HEADS = 4
_KV_HEADS = 2
_QUERY_HEADS_PER_KV_HEAD = 2
_ADAPTER_SIZE = 4
_D_MODEL = 64
_D_KV = 32
_D_FF = 64
_VOCAB = 256
_LENGTH = 32
# Prompts longer than this may share a prefix of 64 tokens or more, the shortest
# that flan_tf.inference.prefix_trees computes once for several rows.
_INPUT_LENGTH = 96
_WINDOW = 8
_RELATIVE_BUCKETS = 8
_MAX_DISTANCE = 16
_ROWS_PER_CORE = 2
_MICROBATCHES = 2

# Returns the number of shards of a tensor with these dimensions.
_Shards = Callable[..., int]


def reduce_request(request: CompileRequest) -> CompileRequest:
  """Returns the request with a run that a laptop can execute.

  Raises:
    ValueError: the mesh cannot be reduced to MAX_CORES.
  """
  run = request.run
  mesh = dataclasses.replace(
    run.mesh, shape=_reduced_mesh_shape(run.mesh), precision="float32"
  )
  shards = MeshSizes(mesh).shards
  reduced = dataclasses.replace(
    run,
    mesh=mesh,
    data=_reduced_data(run.data, shards),
    model=_reduced_model(run.model, shards),
    adapter=dataclasses.replace(
      run.adapter,
      lora_rank=min(run.adapter.lora_rank, _ADAPTER_SIZE),
      soft_prompt=min(run.adapter.soft_prompt, _ADAPTER_SIZE),
    ),
  )
  train = run.train
  microbatches = min(train.microbatches, _MICROBATCHES)
  row_shards = shards("batch")
  max_rows = _ROWS_PER_CORE * row_shards
  microbatch = _fit(train.batch // train.microbatches, max_rows, row_shards)
  return dataclasses.replace(
    request,
    run=config.replace(
      reduced,
      "train",
      batch=microbatch * microbatches,
      microbatches=microbatches,
    ),
    rows=_fit(request.rows, max_rows, row_shards),
  )


def describe_reduced_run(request: CompileRequest) -> str:
  """Returns the sizes of the reduced run in one line of text."""
  reduced = reduce_request(request)
  model, mesh = reduced.run.model, reduced.run.mesh
  rows = reduced.rows
  if request.program == "train":
    rows = reduced.run.train.batch
  return (
    f"{model.layers} layers, d_model {model.d_model}, {model.heads} heads of"
    f" {model.d_kv}, d_ff {model.d_ff}, {model.vocab} tokens; {rows} rows of"
    f" {reduced.length}, float32; mesh {mesh.shape or 'one core'}"
  )


def reduced_cores(request: CompileRequest) -> int:
  """Returns the number of cores in the mesh of the reduced run."""
  return MeshSizes(reduce_request(request).run.mesh).cores


def _reduced_mesh_shape(mesh: config.MeshConfig) -> str:
  """Divides the largest axis by its smallest divisor until MAX_CORES do."""
  axes = dict(MeshSizes(mesh).axes)
  while math.prod(axes.values()) > MAX_CORES:
    axis = max(
      axes, key=lambda name: axes[name] if _largest_divisor(axes[name]) else 0
    )
    if not _largest_divisor(axes[axis]):
      raise ValueError(
        f"--execute has {MAX_CORES} virtual cores, and mesh.shape"
        f" {mesh.shape!r} cannot be reduced to that number. The reduced size of"
        " each axis must be at least 2 and divide the size of the axis. Set"
        " --config.mesh.shape to sizes that are powers of two."
      )
    axes[axis] = _largest_divisor(axes[axis])
  return ";".join(f"{name}:{size}" for name, size in axes.items())


def _largest_divisor(size: int) -> int:
  """Returns the largest divisor between 2 and size - 1, 0 if there is none."""
  return next((n for n in range(size // 2, 1, -1) if size % n == 0), 0)


def _reduced_data(
  data: config.DataConfig, shards: _Shards
) -> config.DataConfig:
  length_shards = math.lcm(shards("length"), shards("stream"))
  return dataclasses.replace(
    data,
    length=_fit(data.length, _LENGTH, length_shards),
    input_length=_fit(data.input_length, _INPUT_LENGTH, length_shards),
    target_length=_fit(data.target_length, _LENGTH, length_shards),
  )


def _reduced_model(
  model: config.ModelConfig, shards: _Shards
) -> config.ModelConfig:
  vocab = _fit(model.vocab, _VOCAB, shards("vocab"))
  # If the embedding table has padding rows, the reduced one has some too.
  is_padded = 0 < model.pieces < model.vocab
  sizes = {
    "layers": min(model.layers, _LAYERS),
    "d_model": _fit(model.d_model, _D_MODEL, shards("d_model")),
    "d_kv": min(model.d_kv, _D_KV),
    "d_ff": _fit(model.d_ff, _D_FF, shards("d_ff")),
    "vocab": vocab,
    "pieces": vocab - 3 if is_padded else 0,
    "window": min(model.window, _WINDOW),
    "window_every": min(model.window_every, _LAYERS),
    "max_positions": min(model.max_positions, 2 * (_LENGTH + _INPUT_LENGTH)),
    "relative_buckets": min(model.relative_buckets, _RELATIVE_BUCKETS),
    "relative_max_distance": min(model.relative_max_distance, _MAX_DISTANCE),
    "rotary_original_length": min(model.rotary_original_length, _MAX_DISTANCE),
  }
  if model.kv_heads:
    sizes["kv_heads"] = _fit(model.kv_heads, _KV_HEADS, shards("heads"))
    group = min(model.heads // model.kv_heads, _QUERY_HEADS_PER_KV_HEAD)
    sizes["heads"] = group * sizes["kv_heads"]
  else:
    sizes["heads"] = _fit(model.heads, _HEADS, shards("heads"))
  return dataclasses.replace(model, **sizes)


def _fit(size: int, bound: int, shards: int) -> int:
  """Returns min(size, bound), rounded up to a multiple of `shards`."""
  return -(-min(size, bound) // shards) * shards
