"""Benchmark of a training step against KerasHub's GPT-2.

`share_of_peak` is the share of the FLOP/s that a large matrix product reaches
on this machine, in the same precision and in the same run.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from flan_tf import config
from launch.benches import turns

PEER = "keras_hub"
ROUNDS = 5


def compare(
  run: config.RunConfig, precisions: Sequence[str], steps: int, rounds: int
) -> Iterator[dict]:
  """Yields a line for each precision.

  Args:
    run: sizes of the model and of a batch.
    precisions: number formats of the computation.
    steps: training steps in a turn.
    rounds: turns of each system.
  """
  for precision in precisions:
    mesh = config.MeshConfig(precision=precision)
    yield _compare(dataclasses.replace(run, mesh=mesh), steps, rounds)


def run_of_size(
  layers: int, d_model: int, vocab: int, length: int, batch: int
) -> config.RunConfig:
  """Returns a run with heads of 64 and an MLP of four times the width."""
  return config.RunConfig(
    data=config.DataConfig(length=length),
    model=config.ModelConfig(
      layers=layers,
      d_model=d_model,
      heads=d_model // 64,
      d_kv=64,
      d_ff=4 * d_model,
      vocab=vocab,
      mlp="gelu",
    ),
    train=config.TrainConfig(batch=batch, learning_rate=1e-3),
  )


def peak_flops(precision: str, size: int = 2048) -> float:
  """Returns the FLOP/s of a large matrix product on CPU, the best of five.

  An accelerator would need a larger size.
  """
  import tensorflow as tf

  matrix = tf.cast(tf.random.stateless_normal([size, size], (0, 0)), precision)
  # Only one number is returned, so that no copy is timed.
  product = tf.function(lambda x: tf.matmul(x, x)[0, 0], autograph=False)
  product(matrix)
  best = min(turns.time_step(lambda: product(matrix).numpy()) for _ in range(5))
  return 2 * size**3 / best


def _compare(run: config.RunConfig, steps: int, rounds: int) -> dict:
  precision, length = run.mesh.precision, run.data.length
  rows = run.train.batch
  ids = np.random.RandomState(0).randint(
    1, run.model.vocab, [rows, length + 1], np.int32
  )
  ours, parameters = _flan_step(run, ids)
  peer, peer_parameters = _keras_hub_step(run, ids)
  seconds, peer_seconds = turns.time_in_turns(ours, peer, steps, rounds)
  tokens = rows * length
  # Forward and backward pass: 6 for each weight and token, and attention.
  attention = 6 * run.model.layers * run.model.d_model * length
  flops = tokens * (6 * parameters + attention)
  peak = peak_flops(precision)
  return {
    "what": "train",
    "system": "flan_tf",
    "peer": "keras_hub GPT-2 train_on_batch, Adafactor",
    "value": tokens / seconds,
    "unit": "tokens/s",
    "peer_value": tokens / peer_seconds,
    "ratio_to_peer": peer_seconds / seconds,
    "share_of_peak": flops / seconds / peak,
    "peak_gflops": peak / 1e9,
    "precision": precision,
    "size": {
      "parameters": parameters,
      "peer_parameters": peer_parameters,
      "rows": rows,
      "length": length,
    },
  }


def _flan_step(
  run: config.RunConfig, ids: np.ndarray
) -> tuple[turns.Step, int]:
  """Returns (a training step of flan_tf, its number of parameters)."""
  from flan_tf.model.run_mesh import open_run_mesh
  from flan_tf.training.step import TrainStep

  devices, layout = open_run_mesh(run.mesh)
  train_step = TrainStep(devices, layout, run)
  train_step.weights.initialize(0)
  train_step.slots.initialize(0)
  shape = ids[:, 1:].shape
  batch = {
    "inputs": ids[:, :-1],
    "targets": ids[:, 1:],
    "segment_ids": np.ones(shape, np.int32),
    "positions": np.tile(np.arange(shape[1], dtype=np.int32), [shape[0], 1]),
    "loss_weights": np.ones(shape, np.float32),
  }
  step_numbers = iter(range(1, 1 << 30))

  def step():
    train_step(batch, next(step_numbers), 1e-3)

  return step, train_step.weights.parameters


def _keras_hub_step(
  run: config.RunConfig, ids: np.ndarray
) -> tuple[turns.Step, int]:
  """Returns (a training step of KerasHub, its number of parameters)."""
  import keras
  import keras_hub

  policy = "mixed_bfloat16" if run.mesh.precision == "bfloat16" else "float32"
  model = run.model
  backbone = keras_hub.models.GPT2Backbone(
    vocabulary_size=model.vocab,
    num_layers=model.layers,
    num_heads=model.heads,
    hidden_dim=model.d_model,
    intermediate_dim=model.d_ff,
    dropout=0.0,
    max_sequence_length=run.data.length,
    dtype=keras.dtype_policies.DTypePolicy(policy),
  )
  language_model = keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)
  language_model.compile(
    optimizer=keras.optimizers.Adafactor(1e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    weighted_metrics=[],
    jit_compile=False,
  )
  inputs = {
    "token_ids": ids[:, :-1],
    "padding_mask": np.ones_like(ids[:, :-1]),
  }
  targets = ids[:, 1:]

  def step():
    # The step of `fit`, without the work that `fit` does in each epoch.
    language_model.train_on_batch(inputs, targets)

  return step, backbone.count_params()
