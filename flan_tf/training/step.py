"""One training step on every core: loss, gradients and Adafactor's update."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import program, state
from flan_tf.mesh.collective_trace import CollectiveTrace
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices
from flan_tf.mesh.layout import Layout
from flan_tf.model import adapters, dims
from flan_tf.model.decoder import Decoder
from flan_tf.model.packed_attention import PackedAttention, PackedTokens
from flan_tf.model.remat import Remat
from flan_tf.model.weights import (
  ModelWeights,
  cast_tables,
  cast_weights,
  weight_specs,
)
from flan_tf.training import adafactor

Tensors = dict[str, mtf.Tensor]

# Names of the int32 and float32 [batch, length] arrays of a batch, in the order
# in which the programs take them.
FEATURES = ("inputs", "targets", "segment_ids", "positions", "loss_weights")


@dataclasses.dataclass(frozen=True)
class StepMetrics:
  """Measurements of one training step.

  Attributes:
    loss: mean negative log-likelihood of the scored tokens, in nats.
    grad_norm: global norm of the gradient of `loss`, before clipping.
    tokens: number of scored tokens.
  """

  loss: float
  grad_norm: float
  tokens: float


class TrainStep:
  """The training step of one run, on its devices.

  With several microbatches, one program accumulates the gradients of each of
  them, and another one applies the sums. Otherwise one program does everything.

  Args:
    devices: devices to run on.
    layout: the mesh, and how tensors are split over it.
    run: configuration of the run; `run.model.vocab` must be set.

  Attributes:
    weights: the weights that are trained: the model's, or adapters.
    slots: the optimizer's tensors.
    frozen: the model's weights if adapters are trained, in the precision of the
      matrix products; else None.
  """

  def __init__(
    self,
    devices: Devices,
    layout: Layout,
    run: config.RunConfig,
  ):
    self._run = run
    dims.check_length(run.model, run.data.length)
    microbatch_rows = run.train.batch // run.train.microbatches
    self._dims = dims.dims_for(
      run.model, microbatch_rows, run.data.length, layout=layout
    )
    layout.check(self._dims.tokens)
    layout.check(mtf.Shape([self._dims.batch, self._dims.stream]))
    specs = weight_specs(run.model, self._dims)
    # Frozen weights have neither gradients nor slots.
    self.frozen: state.State | None = None
    if adapter_specs := adapters.adapter_specs(
      run.model, run.adapter, self._dims
    ):
      precision = tf.as_dtype(run.mesh.precision)
      self.frozen = state.State(devices, layout, specs, precision)
      specs = adapter_specs
    self.weights = state.State(devices, layout, specs)
    self.slots = state.State(devices, layout, adafactor.slot_specs(specs))
    if run.train.microbatches == 1:
      self._program = program.Program(devices, layout, self._train_on_batch)
    else:
      sums = _accumulator_specs(specs)
      self._sums = state.State(devices, layout, sums)
      self._accumulate = program.Program(
        devices, layout, self._accumulate_microbatch
      )
      self._program = program.Program(devices, layout, self._apply_sums)

  @property
  def trace(self) -> CollectiveTrace:
    """Collectives of the program that updates the weights, once it has run."""
    return self._program.trace

  def programs(self) -> list[program.ProgramSpec]:
    """Returns the programs of a step and their inputs, for flan_tf.tpu_plan."""
    shape = self.weights.layout.shard_shape(self._dims.tokens)
    features = [tf.TensorSpec(shape, tf.int32, name) for name in FEATURES[:-1]]
    features.append(tf.TensorSpec(shape, tf.float32, FEATURES[-1]))
    scalars = [tf.TensorSpec([], tf.float32, name) for name in ("step", "rate")]
    microbatches = self._run.train.microbatches
    if microbatches == 1:
      return [program.ProgramSpec(self._program, (*features, *scalars))]
    return [
      program.ProgramSpec(self._accumulate, tuple(features), microbatches),
      program.ProgramSpec(self._program, tuple(scalars)),
    ]

  def __call__(
    self, batch: Mapping[str, np.ndarray], step: int, learning_rate: float
  ) -> StepMetrics:
    """Trains on one global batch.

    Args:
      batch: the arrays of FEATURES, each [batch, length].
      step: number of the step, counted from 1.
      learning_rate: learning rate of the step.
    """
    scalars = [
      self._program.replicate(np.float32(step)),
      self._program.replicate(np.float32(learning_rate)),
    ]
    if self._run.train.microbatches == 1:
      results = self._program(*self._shards(batch), *scalars)
    else:
      for microbatch in self._microbatches(batch):
        self._accumulate(*self._shards(microbatch))
      results = self._program(*scalars)
    loss, grad_norm, tokens = (float(x) for x in results[0])
    return StepMetrics(loss, grad_norm, tokens)

  def run_steps(
    self,
    batches: Sequence[Mapping[str, np.ndarray]],
    first: int,
    rates: Sequence[float],
  ) -> list[StepMetrics]:
    """Takes several steps, in one loop on the device where that is possible.

    Args:
      batches: global batches, one for each step.
      first: number of the first step, counted from 1.
      rates: learning rate of each step.
    """
    one_program = self._run.train.microbatches == 1
    if len(batches) == 1 or not one_program or not self._program.can_loop:
      return [
        self(batch, first + i, rate)
        for i, (batch, rate) in enumerate(zip(batches, rates, strict=True))
      ]
    steps_dim = mtf.Dimension("steps", len(batches))
    scalars, tokens = (
      mtf.Shape([steps_dim]),
      mtf.Shape([steps_dim, *self._dims.tokens]),
    )
    inputs = [
      self._program.shard(np.stack([batch[name] for batch in batches]), tokens)
      for name in FEATURES
    ]
    steps = np.arange(first, first + len(batches), dtype=np.float32)
    inputs.append(self._program.shard(steps, scalars))
    inputs.append(self._program.shard(np.array(rates, np.float32), scalars))
    return [
      StepMetrics(*map(float, row))
      for row in self._program.run_steps(3, *inputs)
    ]

  def _microbatches(
    self, batch: Mapping[str, np.ndarray]
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yields the rows of a batch, one microbatch after another."""
    rows = self._dims.batch.size
    for start in range(0, self._run.train.batch, rows):
      yield {name: batch[name][start : start + rows] for name in FEATURES}

  def _shards(self, batch: Mapping[str, np.ndarray]) -> list:
    """Gives each core its shards of a batch or a microbatch."""
    return [
      self._program.shard(batch[name], self._dims.tokens) for name in FEATURES
    ]

  def _train_on_batch(self, core: program.CoreProgram, *args):
    """The program of a whole step, for a run without microbatches."""
    *features, step, rate = args
    weights = core.read(self.weights)
    loss, tokens = self._loss(core, weights, features)
    grads = _gradients(loss, weights)
    return self._apply(core, weights, grads, loss, tokens, step, rate)

  def _accumulate_microbatch(self, core: program.CoreProgram, *features):
    """The program that adds the gradients of a microbatch to the sums."""
    weights = core.read(self.weights)
    loss, tokens = self._loss(core, weights, features)
    grads = _gradients(loss, weights)
    terms = {f"grad/{name}": grad for name, grad in grads.items()}
    terms |= {"sum/loss": loss, "sum/tokens": tokens}
    sums = core.read(self._sums)
    new_sums = {name: sums[name] + x for name, x in terms.items()}
    core.lower()
    core.write(self._sums, new_sums)
    return core.value(new_sums["sum/loss"])

  def _apply_sums(self, core: program.CoreProgram, step, rate):
    """The program that updates the weights and sets the sums to zero."""
    weights, sums = core.read(self.weights), core.read(self._sums)
    grads = {name: sums[f"grad/{name}"] for name in weights}
    loss, tokens = sums["sum/loss"], sums["sum/tokens"]
    metrics = self._apply(core, weights, grads, loss, tokens, step, rate)
    with tf.control_dependencies(metrics):
      for name in sums:
        variable = self._sums.variable(name)
        variable.assign(tf.zeros_like(variable.read_value()))
    return metrics

  def _loss(
    self, core: program.CoreProgram, weights: Tensors, features: Sequence
  ) -> tuple[mtf.Tensor, mtf.Tensor]:
    """Computes the loss of packed rows.

    Returns:
      The sum of the negative log-likelihoods of the scored tokens, and the
      number of these tokens, both float32 scalars.
    """
    run, d = self._run, self._dims
    dtype = tf.as_dtype(run.mesh.precision)
    inputs, targets, segment_ids, positions, loss_weights = (
      core.feed(value, d.tokens) for value in features
    )
    tokens = PackedTokens(inputs, segment_ids, positions)
    if self.frozen:
      scaled = adapters.scale_lora(run.adapter, weights)
      weights = {**core.read(self.frozen), **scaled}
    # A model that recomputes its layers has no room for a second copy of all
    # weights: its layers cast their own.
    recompute = run.train.recompute
    cast = cast_tables if recompute == "layers" else cast_weights
    model_weights = ModelWeights.of(run.model, cast(weights, dtype))
    on_tpu = self.weights.devices.platform == "tpu"
    decoder = Decoder(run.model, d, Remat(recompute), fuse_qkv=on_tpu)
    attention = PackedAttention(run.model, d, model_weights, tokens)
    hidden, _ = decoder(model_weights, inputs, attention)
    log_probs = decoder.log_probs(model_weights, hidden, targets)
    loss = mtf.negative(mtf.reduce_sum(log_probs * loss_weights))
    return loss, mtf.reduce_sum(loss_weights)

  def _apply(
    self,
    core: program.CoreProgram,
    weights: Tensors,
    grads: Tensors,
    loss: mtf.Tensor,
    tokens: mtf.Tensor,
    step: tf.Tensor,
    rate: tf.Tensor,
  ) -> list[tf.Tensor]:
    """Updates weights and slots.

    Args:
      core: the program that is being built.
      weights: the weights by name.
      grads: gradients of `loss` by weight name.
      loss: sum of the negative log-likelihoods.
      tokens: number of scored tokens.
      step: float32 scalar, counted from 1.
      rate: float32 scalar, the learning rate.

    Returns:
      The mean loss, the norm of its gradient, and the number of scored tokens.
    """
    train = self._run.train
    # `loss` is a sum; this factor makes the gradient that of the mean.
    per_token = mtf.reciprocal(mtf.maximum(tokens, 1.0))
    means = adafactor.squared_means(grads)
    grad_norm = adafactor.global_norm(grads, means) * per_token
    grad_scale = per_token
    if train.clip_norm:
      clip = train.clip_norm / mtf.maximum(grad_norm, train.clip_norm)
      grad_scale *= clip
    new_weights, new_slots = adafactor.update(
      weights=weights,
      slots=core.read(self.slots),
      grads=grads,
      means=means,
      grad_scale=grad_scale,
      step=core.feed(step, mtf.Shape([])),
      learning_rate=core.feed(rate, mtf.Shape([])),
      parameter_scale=train.parameter_scale,
      weight_decay=train.weight_decay,
    )
    mean_loss = loss * per_token
    core.lower()
    core.write(self.weights, new_weights)
    core.write(self.slots, new_slots)
    return [core.value(x) for x in (mean_loss, grad_norm, tokens)]


def _accumulator_specs(
  weights: Mapping[str, state.StateSpec],
) -> dict[str, state.StateSpec]:
  """Returns the sums over the microbatches of a step: gradients and metrics."""
  shapes = {f"grad/{name}": spec.shape for name, spec in weights.items()}
  shapes |= {"sum/loss": mtf.Shape([]), "sum/tokens": mtf.Shape([])}
  return {
    name: state.StateSpec(shape, state.constant(0.0))
    for name, shape in shapes.items()
  }


def _gradients(loss: mtf.Tensor, weights: Tensors) -> Tensors:
  """Returns the gradients of a loss by weight name."""
  grads = mtf.gradients([loss], list(weights.values()))
  return dict(zip(weights, grads, strict=True))
