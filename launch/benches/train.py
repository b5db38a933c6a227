"""Tokens a second of a training step, ours and that of KerasHub's GPT-2.

`share_of_peak` is the share of what a large matrix product reaches here, in
the same precision and the same run.
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
  """A line for each precision; `steps` are those of a turn."""
  for precision in precisions:
    mesh = config.MeshConfig(precision=precision)
    yield _compare(dataclasses.replace(run, mesh=mesh), steps, rounds)


def run_of_size(
  layers: int, d_model: int, vocab: int, length: int, batch: int
) -> config.RunConfig:
  """Heads are 64 wide, the MLP four times as wide as the model."""
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


def _compare(run: config.RunConfig, steps: int, rounds: int) -> dict:
  precision, length = run.mesh.precision, run.data.length
  rows = run.train.batch
  ids = np.random.RandomState(0).randint(
    1, run.model.vocab, [rows, length + 1], np.int32
  )
  ours, parameters = _our_step(run, ids)
  peer, peer_parameters = _keras_hub_step(run, ids)
  seconds, peer_seconds = turns.in_turn(ours, peer, steps, rounds)
  tokens = rows * length
  # Forward and backward: 6 for each weight and token, and attention's part.
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


def peak_flops(precision: str, size: int = 2048) -> float:
  """FLOP/s of a large matrix product in a TensorFlow graph, best of five.

  A CPU's; on an accelerator the size would have to be larger.
  """
  import tensorflow as tf

  matrix = tf.cast(tf.random.stateless_normal([size, size], (0, 0)), precision)
  # One number comes back, so that no copy is timed.
  product = tf.function(lambda x: tf.matmul(x, x)[0, 0], autograph=False)
  product(matrix)
  best = min(turns.seconds(lambda: product(matrix).numpy()) for _ in range(5))
  return 2 * size**3 / best


def _our_step(run: config.RunConfig, ids: np.ndarray) -> tuple[turns.Step, int]:
  from flan_tf.model.run_mesh import open_run_mesh
  from flan_tf.training.step import TrainStep

  train_step = TrainStep(*open_run_mesh(config.MeshConfig()), run)
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
  number = iter(range(1, 1 << 30))

  def step():
    train_step(batch, next(number), 1e-3)

  return step, train_step.weights.parameters


def _keras_hub_step(
  run: config.RunConfig, ids: np.ndarray
) -> tuple[turns.Step, int]:
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
    # The step of `fit`, without its work for each epoch.
    language_model.train_on_batch(inputs, targets)

  return step, backbone.count_params()
