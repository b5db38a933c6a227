"""The same run with smaller numbers: what is executed in a large one's place.

The mesh keeps its axes, the layout all of its rules, and the model its kinds of
layers, norms, positions and adapters. Each axis keeps two cores at least, and
each size as much as the layout divides. All is in float32, so that a difference
is the program's and not rounding's.

  137B on data:4;model:32   ->   2 layers, d_model 64, ... on data:4;model:4
"""

import dataclasses
import math

from flan_tf import config
from flan_tf.tpu_plan import mesh_sizes, request

# Threads that take the place of cores, at most.
MOST_CORES = 16
# Sizes at most, unless the layout wants more. Adafactor factors over dimensions
# of 32 and more.
_LAYERS, _HEADS, _GROUP, _ADAPTER = 2, 4, 2, 4
_D_MODEL, _D_KV, _D_FF, _VOCAB = 64, 32, 64, 256
# What is kept before rows has 64 tokens or more (flan_tf.inference.prefix_trees).
_LENGTH, _INPUT = 32, 96
_WINDOW, _BUCKETS, _DISTANCE = 8, 8, 16
# Rows of a core, and microbatches.
_ROWS, _PARTS = 2, 2


def shrunk(asked: request.CompileRequest) -> request.CompileRequest:
  """A request that a laptop executes.

  Raises:
    ValueError: the mesh cannot be made small enough.
  """
  run = asked.run
  shape = _shape(run.mesh)
  mesh = dataclasses.replace(run.mesh, shape=shape, precision="float32")
  parts = mesh_sizes.MeshSizes(mesh).parts
  data, train = run.data, run.train
  of_row = math.lcm(parts("length"), parts("stream"))
  target = _fit(data.target_length, _LENGTH, of_row)
  small = dataclasses.replace(
    run,
    mesh=mesh,
    data=dataclasses.replace(
      data,
      length=_fit(data.length, _LENGTH, of_row),
      input_length=_fit(data.input_length, _INPUT, of_row),
      target_length=target,
    ),
    model=_model(run.model, parts),
    adapter=dataclasses.replace(
      run.adapter,
      lora_rank=min(run.adapter.lora_rank, _ADAPTER),
      soft_prompt=min(run.adapter.soft_prompt, _ADAPTER),
    ),
  )
  microbatches = min(train.microbatches, _PARTS)
  rows = parts("batch")
  batch = _fit(train.batch // train.microbatches, _ROWS * rows, rows)
  return dataclasses.replace(
    asked,
    run=config.replace(
      small, "train", batch=batch * microbatches, microbatches=microbatches
    ),
    rows=_fit(asked.rows, _ROWS * rows, rows),
  )


def describe(asked: request.CompileRequest) -> str:
  """What is executed in its place, for people."""
  small = shrunk(asked)
  model, mesh = small.run.model, small.run.mesh
  rows = small.rows
  if asked.program == "train":
    rows = small.run.train.batch
  return (
    f"{model.layers} layers, d_model {model.d_model}, {model.heads} heads of"
    f" {model.d_kv}, d_ff {model.d_ff}, {model.vocab} tokens; {rows} rows of"
    f" {small.length}, float32; mesh {mesh.shape or 'one core'}"
  )


def cores(asked: request.CompileRequest) -> int:
  """Of the mesh that is executed."""
  return mesh_sizes.MeshSizes(shrunk(asked).run.mesh).cores


def _shape(mesh: config.MeshConfig) -> str:
  """The largest axis is divided by its smallest divisor until all fit."""
  axes = dict(mesh_sizes.MeshSizes(mesh).axes)
  while math.prod(axes.values()) > MOST_CORES:
    axis = max(axes, key=lambda name: axes[name] if _smaller(axes[name]) else 0)
    if not _smaller(axes[axis]):
      raise ValueError(
        f"--execute has {MOST_CORES} virtual cores, and mesh.shape"
        f" {mesh.shape!r} cannot be made so small: an axis keeps a divisor of"
        " its size, and two cores at least. Set --config.mesh.shape to sizes"
        " that are powers of two."
      )
    axes[axis] = _smaller(axes[axis])
  return ";".join(f"{name}:{size}" for name, size in axes.items())


def _smaller(size: int) -> int:
  """The largest divisor of an axis's size that is less; 0 if that is one."""
  return next((n for n in range(size // 2, 1, -1) if size % n == 0), 0)


def _model(model: config.ModelConfig, parts) -> config.ModelConfig:
  vocab = _fit(model.vocab, _VOCAB, parts("vocab"))
  # Some rows of the table are no tokens, where that is so in the large one.
  padding = 0 < model.pieces < model.vocab
  sizes = {
    "layers": min(model.layers, _LAYERS),
    "d_model": _fit(model.d_model, _D_MODEL, parts("d_model")),
    "d_kv": min(model.d_kv, _D_KV),
    "d_ff": _fit(model.d_ff, _D_FF, parts("d_ff")),
    "vocab": vocab,
    "pieces": vocab - 3 if padding else 0,
    "window": min(model.window, _WINDOW),
    "window_every": min(model.window_every, _LAYERS),
    "max_positions": min(model.max_positions, 2 * (_LENGTH + _INPUT)),
    "relative_buckets": min(model.relative_buckets, _BUCKETS),
    "relative_max_distance": min(model.relative_max_distance, _DISTANCE),
    "rotary_original_length": min(model.rotary_original_length, _DISTANCE),
  }
  if model.kv_heads:
    # As many query heads share a head of keys, up to two.
    sizes["kv_heads"] = _fit(model.kv_heads, _GROUP, parts("heads"))
    group = min(model.heads // model.kv_heads, _GROUP)
    sizes["heads"] = group * sizes["kv_heads"]
  else:
    sizes["heads"] = _fit(model.heads, _HEADS, parts("heads"))
  return dataclasses.replace(model, **sizes)


def _fit(size: int, most: int, parts: int) -> int:
  """A size that divides: of what is large, the first from `most` on."""
  return -(-min(size, most) // parts) * parts
