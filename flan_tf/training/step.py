"""One training step on every core: loss, gradients, Adafactor."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import program, state
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices
from flan_tf.mesh.layout import Layout
from flan_tf.model import adapters, decoder, dims
from flan_tf.training import adafactor

# The int32 and float32 [batch, length] arrays of a batch, in feeding order.
FEATURES = ("inputs", "targets", "segment_ids", "positions", "loss_weights")


@dataclasses.dataclass(frozen=True)
class StepMetrics:
  """What a step measured.

  Attributes:
    loss: mean negative log-likelihood of the scored tokens, in nats.
    grad_norm: global norm of the gradient, before clipping.
    tokens: number of scored tokens.
  """

  loss: float
  grad_norm: float
  tokens: float


class TrainStep:
  """The step of one run, on its devices.

  Args:
    devices: where to run.
    layout: the mesh.
    run: the run; `run.model.vocab` must be resolved.

  Attributes:
    weights: what trains: the model's weights, or adapters.
    slots: of the optimizer.
    frozen: the model's weights where adapters train, in the precision of
      products.
  """

  def __init__(
    self,
    devices: Devices,
    layout: Layout,
    run: config.RunConfig,
  ):
    self._run = run
    rows = run.train.batch // run.train.microbatches
    dims.check_length(run.model, run.data.length)
    length = run.data.length
    self._d = dims.dims_for(run.model, rows, length, layout=layout)
    layout.check(self._d.tokens)
    layout.check(mtf.Shape([self._d.batch, self._d.stream]))
    specs = decoder.weight_specs(run.model, self._d)
    # What does not train has no gradients and no slots.
    self.frozen: state.State | None = None
    if adapted := adapters.specs(run.model, run.adapter, self._d):
      precision = tf.as_dtype(run.mesh.precision)
      self.frozen = state.State(devices, layout, specs, precision)
      specs = adapted
    self.weights = state.State(devices, layout, specs)
    self.slots = state.State(devices, layout, adafactor.slot_specs(specs))
    if run.train.microbatches == 1:
      self._program = program.Program(devices, layout, self._whole_step)
    else:
      # The sums over the microbatches of a step.
      sums = {f"grad/{name}": spec for name, spec in specs.items()}
      zero = state.StateSpec(mtf.Shape([]), state.constant(0.0))
      sums |= {"sum/loss": zero, "sum/tokens": zero}
      sums = {
        name: dataclasses.replace(spec, initializer=state.constant(0.0))
        for name, spec in sums.items()
      }
      self._sums = state.State(devices, layout, sums)
      self._add = program.Program(devices, layout, self._add_microbatch)
      self._program = program.Program(devices, layout, self._apply_sums)

  @property
  def trace(self):
    """The collectives of the (last) program, once it has run."""
    return self._program.trace

  def programs(self) -> list[program.Fed]:
    """What a step runs, for those who want to look at it; see flan_tf.tpu_plan."""
    layout = self.weights.layout
    shape = layout.part_shape(self._d.tokens)
    features = [tf.TensorSpec(shape, tf.int32, name) for name in FEATURES[:-1]]
    features.append(tf.TensorSpec(shape, tf.float32, FEATURES[-1]))
    scalars = [tf.TensorSpec([], tf.float32, name) for name in ("step", "rate")]
    parts = self._run.train.microbatches
    if parts == 1:
      return [program.Fed(self._program, (*features, *scalars))]
    return [
      program.Fed(self._add, tuple(features), parts),
      program.Fed(self._program, tuple(scalars)),
    ]

  def __call__(
    self, batch: Mapping[str, np.ndarray], step: int, learning_rate: float
  ) -> StepMetrics:
    """Trains on one global batch; `step` counts from 1."""
    run = self._program
    scalars = [
      run.everywhere(np.float32(step)),
      run.everywhere(np.float32(learning_rate)),
    ]
    if self._run.train.microbatches == 1:
      out = run(*self._feeds(batch), *scalars)
    else:
      for part in self._microbatches(batch):
        self._add(*self._feeds(part))
      out = run(*scalars)
    loss, grad_norm, tokens = (float(x) for x in out[0])
    return StepMetrics(loss, grad_norm, tokens)

  def many(
    self,
    batches: Sequence[Mapping[str, np.ndarray]],
    first: int,
    rates: Sequence[float],
  ) -> list[StepMetrics]:
    """Takes steps one after another, in a loop on the device if there can be.

    Args:
      batches: global batches.
      first: the step of the first one, counted from 1.
      rates: the learning rate of each.
    """
    program = self._program
    whole = self._run.train.microbatches == 1
    if len(batches) == 1 or not whole or not program.can_loop:
      return [
        self(batch, first + i, rate)
        for i, (batch, rate) in enumerate(zip(batches, rates, strict=True))
      ]
    each = mtf.Dimension("steps", len(batches))
    tokens = mtf.Shape([each, *self._d.tokens])
    feeds = [
      program.split(np.stack([batch[name] for batch in batches]), tokens)
      for name in FEATURES
    ]
    steps = np.arange(first, first + len(batches), dtype=np.float32)
    feeds += [program.split(steps, mtf.Shape([each]))]
    feeds += [program.split(np.array(rates, np.float32), mtf.Shape([each]))]
    return [
      StepMetrics(*map(float, found)) for found in program.many(3, *feeds)
    ]

  def _microbatches(self, batch):
    rows = self._d.batch.size
    for start in range(0, self._run.train.batch, rows):
      yield {name: batch[name][start : start + rows] for name in FEATURES}

  def _feeds(self, batch) -> list:
    return [
      self._program.split(batch[name], self._d.tokens) for name in FEATURES
    ]

  def _whole_step(self, core: program.CoreProgram, *args):
    *features, step, rate = args
    weights = core.read(self.weights)
    loss, tokens = self._loss(core, weights, features)
    grads = _gradients(loss, weights)
    return self._apply(core, weights, grads, loss, tokens, step, rate)

  def _add_microbatch(self, core: program.CoreProgram, *features):
    weights = core.read(self.weights)
    loss, tokens = self._loss(core, weights, features)
    grads = _gradients(loss, weights)
    new = {f"grad/{name}": grad for name, grad in grads.items()}
    new |= {"sum/loss": loss, "sum/tokens": tokens}
    sums = core.read(self._sums)
    new = {name: sums[name] + x for name, x in new.items()}
    core.lower()
    core.write(self._sums, new)
    return core.value(new["sum/loss"])

  def _apply_sums(self, core: program.CoreProgram, step, rate):
    weights, sums = core.read(self.weights), core.read(self._sums)
    grads = {name: sums[f"grad/{name}"] for name in weights}
    loss, tokens = sums["sum/loss"], sums["sum/tokens"]
    out = self._apply(core, weights, grads, loss, tokens, step, rate)
    with tf.control_dependencies(out):
      for name in sums:
        variable = self._sums.variable(name)
        variable.assign(tf.zeros_like(variable.read_value()))
    return out

  def _loss(self, core: program.CoreProgram, weights, features):
    """Sum of the negative log-likelihoods, and number of scored tokens."""
    run, d = self._run, self._d
    dtype = tf.as_dtype(run.mesh.precision)
    fed = [core.feed(value, d.tokens) for value in features]
    inputs, targets, segment_ids, positions, loss_weights = fed
    tokens = decoder.PackedTokens(inputs, segment_ids, positions)
    if self.frozen:
      scaled = adapters.scaled(run.adapter, weights)
      weights = {**core.read(self.frozen), **scaled}
    # Whoever computes layers again has no room for all of them twice.
    whole_layers = run.train.recompute == "layers"
    cast_weights = decoder.cast_tables if whole_layers else decoder.cast_weights
    cast = cast_weights(weights, dtype)
    hidden = decoder.hidden_states(
      run.model,
      d,
      cast,
      tokens,
      run.train.recompute,
      at_once=self.weights.devices.platform == "tpu",
    )
    log_probs = decoder.log_probs(run.model, d, cast, hidden, targets)
    loss = mtf.negative(mtf.reduce_sum(log_probs * loss_weights))
    return loss, mtf.reduce_sum(loss_weights)

  def _apply(self, core, weights, grads, loss, tokens, step, rate):
    train = self._run.train
    # The gradient of the mean, from that of the sum.
    share = mtf.reciprocal(mtf.maximum(tokens, 1.0))
    means = adafactor.moments(grads)
    grad_norm = adafactor.global_norm(grads, means) * share
    scale = share
    if train.clip_norm:
      clip = train.clip_norm / mtf.maximum(grad_norm, train.clip_norm)
      scale *= clip
    new_weights, new_slots = adafactor.update(
      weights,
      core.read(self.slots),
      grads,
      means,
      scale,
      core.feed(step, mtf.Shape([])),
      core.feed(rate, mtf.Shape([])),
      train.parameter_scale,
      train.weight_decay,
    )
    mean_loss = loss * share
    core.lower()
    core.write(self.weights, new_weights)
    core.write(self.slots, new_slots)
    return [core.value(x) for x in (mean_loss, grad_norm, tokens)]


def _gradients(loss: mtf.Tensor, weights) -> dict[str, mtf.Tensor]:
  names = list(weights)
  grads = mtf.gradients([loss], [weights[name] for name in names])
  return dict(zip(names, grads, strict=True))
