"""Adafactor (Shazeer and Stern, 2018) by named dimensions.

A matrix of second moments is as large as the weights. Adafactor keeps its row
and column means instead and multiplies them, v_ij ~ r_i c_j / mean(r). Here
"row" and "column" are the two largest *named* dimensions of a weight, so that
[d_model, heads, d_kv] is factored over d_model and one of the others, and the
factors are split over the mesh as the weight itself is.

For a weight X with gradient G at step t, counted from 1 (paper, algorithm 4):

  beta  = 1 - t^-0.8
  R     = beta R + (1 - beta) mean over columns of (G^2 + 1e-30)
  C     = beta C + (1 - beta) mean over rows    of (G^2 + 1e-30)
  U     = G / sqrt(R C / mean(R))
  U     = U / max(1, RMS(U))                            update clipping
  X     = X - learning_rate max(1e-3, RMS(X)) U         parameter scaling

Weights with fewer than two dimensions of 32 or more keep the whole of V.
"""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from flan_tf.mesh import functions, ops, state
from flan_tf.mesh.compat import mtf

_DECAY = 0.8
_EPSILON = 1e-30
_CLIP = 1.0
_SMALLEST_SCALE = 1e-3
_SMALLEST_FACTORED = 32

Tensors = dict[str, mtf.Tensor]


def slot_specs(
  weights: Mapping[str, state.StateSpec],
) -> dict[str, state.StateSpec]:
  """The optimizer's tensors for a set of weights: named and shaped."""
  specs = {}
  for name, spec in weights.items():
    for slot, shape in _slot_shapes(name, spec.shape).items():
      specs[slot] = state.StateSpec(shape, state.constant(0.0))
  return specs


def moments(grads: Tensors) -> Tensors:
  """What `update` needs of the squares of gradients, by slot: their means.

  They come before the gradients are scaled, so that the gradients' norm, which
  the scale hangs on, needs no pass over all gradients of its own.
  """
  found: dict[str, tuple[mtf.Tensor, mtf.Shape]] = {}
  for name, grad in grads.items():
    for slot, shape in _slot_shapes(name, grad.shape).items():
      found[slot] = grad, shape
  return dict(zip(found, _means(list(found.values()), tf.square), strict=True))


def global_norm(grads: Tensors, means: Tensors) -> mtf.Tensor:
  """The norm of all gradients together, from their `moments`."""
  parts, scalar = [], mtf.Shape([])
  for name, grad in grads.items():
    slot, shape = next(iter(_slot_shapes(name, grad.shape).items()))
    parts.append(means[slot] * float(grad.shape.size // shape.size))
  return mtf.sqrt(mtf.add_n(ops.sums(parts, [scalar] * len(parts))))


def update(
  weights: Tensors,
  slots: Tensors,
  grads: Tensors,
  means: Tensors,
  grad_scale: mtf.Tensor,
  step: mtf.Tensor,
  learning_rate: mtf.Tensor,
  parameter_scale: bool = True,
  weight_decay: float = 0.0,
) -> tuple[Tensors, Tensors]:
  """One step: new weights and new slots.

  Scalars are multiplied into the small factors rather than into the weights,
  since each pass over a weight costs about as much as all of its arithmetic.

  Args:
    weights: by name, float32.
    slots: as `slot_specs` names them.
    grads: by weight name, float32.
    means: their `moments`.
    grad_scale: float32 scalar; the gradient G is this times `grads`.
    step: float32 scalar, counted from 1.
    learning_rate: float32 scalar.
    parameter_scale: whether updates are relative to RMS(weight).
    weight_decay: matrices shrink by this times the learning rate.
  """
  # t^-0.8 by logarithms: Mesh-TF has no power of two tensors.
  fresh = mtf.exp(mtf.log(step) * -_DECAY)
  decay = 1.0 - fresh
  alike = functions.Calls()  # Most weights have the shape of some others.
  new_slots: Tensors = {}
  for name, weight in weights.items():
    names = list(_slot_shapes(name, weight.shape))
    old = [tensors[slot] for tensors in (slots, means) for slot in names]
    found = alike("slots", _new_slots, [grad_scale, decay, fresh, *old])
    new_slots.update(zip(names, found, strict=True))
  changes = _changes(alike, grads, grad_scale, new_slots)
  of_changes = _root_mean_squares(changes)
  of_weights = _root_mean_squares(weights) if parameter_scale else {}

  def new_weight(weight, change, rate, of_change, *of_weight):
    if weight_decay and weight.shape.ndims > 1:
      weight *= rate * -weight_decay + 1.0
    rate /= mtf.maximum(of_change / _CLIP, 1.0)
    for size in of_weight:
      rate *= mtf.maximum(size, _SMALLEST_SCALE)
    return [weight - change * rate]

  new_weights = {}
  for name, weight in weights.items():
    sizes = [of[name] for of in (of_changes, of_weights) if of]
    inputs = [weight, changes[name], learning_rate, *sizes]
    (new_weights[name],) = alike("weight", new_weight, inputs)
  return new_weights, new_slots


def _new_slots(scale, decay, fresh, *slots_and_means) -> list[mtf.Tensor]:
  """R and C of the docstring, or V."""
  half = len(slots_and_means) // 2
  scale = mtf.square(scale)
  return [
    slot * decay + (mean * scale + _EPSILON) * fresh
    for slot, mean in zip(
      slots_and_means[:half], slots_and_means[half:], strict=True
    )
  ]


def _changes(
  alike: functions.Calls, grads: Tensors, scale: mtf.Tensor, slots: Tensors
) -> Tensors:
  """U of the docstring, before clipping."""
  rows = {
    name: (slots[f"{name}/row"], factors[0])
    for name, grad in grads.items()
    if (factors := _factored_dims(grad.shape))
  }
  over = [(x, x.shape - row) for x, row in rows.values()]
  means = dict(zip(rows, _means(over), strict=True))

  def whole(grad, scale, v):
    return [grad * (mtf.rsqrt(v) * scale)]

  def factored(grad, scale, row, column, mean):
    return [grad * (mtf.rsqrt(row / mean) * scale) * mtf.rsqrt(column)]

  found = {}
  for name, grad in grads.items():
    fn, kinds = (
      (factored, ("row", "column")) if name in rows else (whole, ("v",))
    )
    of_slots = [slots[f"{name}/{kind}"] for kind in kinds]
    mean = [means[name]] if name in means else []
    inputs = [grad, scale, *of_slots, *mean]
    (found[name],) = alike(fn.__name__, fn, inputs)
  return found


def _slot_shapes(name: str, shape: mtf.Shape) -> dict[str, mtf.Shape]:
  factors = _factored_dims(shape)
  if not factors:
    return {f"{name}/v": shape}
  row, column = factors
  return {f"{name}/row": shape - column, f"{name}/column": shape - row}


def _factored_dims(
  shape: mtf.Shape,
) -> tuple[mtf.Dimension, mtf.Dimension] | None:
  """The two largest dimensions, the first of equals; None if too small."""
  if shape.ndims < 2:
    return None
  row, column = sorted(shape.dims, key=lambda dim: -dim.size)[:2]
  return (row, column) if column.size >= _SMALLEST_FACTORED else None


def _root_mean_squares(tensors: Tensors) -> Tensors:
  over = [(x, mtf.Shape([])) for x in tensors.values()]
  means = _means(over, tf.square)
  return {name: mtf.sqrt(x) for name, x in zip(tensors, means, strict=True)}


def _means(
  over: Sequence[tuple[mtf.Tensor, mtf.Shape]], fn: Callable = tf.identity
) -> list[mtf.Tensor]:
  """Of tensors, each over the dimensions that its shape lacks."""
  if not over:
    return []
  tensors, shapes = zip(*over, strict=True)
  return [
    total * (shape.size / x.shape.size)
    for x, shape, total in zip(
      tensors, shapes, ops.sums(tensors, shapes, fn), strict=True
    )
  ]
