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

from flan_tf.mesh import ops, state
from flan_tf.mesh.compat import mtf

_DECAY = 0.8
_EPSILON = 1e-30
_CLIP = 1.0
_SMALLEST_SCALE = 1e-3
_SMALLEST_FACTORED = 32

Tensors = dict[str, mtf.Tensor]


def slot_specs(weights: Mapping[str, state.Spec]) -> dict[str, state.Spec]:
  """The optimizer's tensors for a set of weights: named and shaped."""
  specs = {}
  for name, spec in weights.items():
    for slot, shape in _slot_shapes(name, spec.shape).items():
      specs[slot] = state.Spec(shape, state.constant(0.0))
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
  decay = 1.0 - mtf.exp(mtf.log(step) * -_DECAY)
  new_slots: Tensors = {}
  for name, weight in weights.items():
    new = _new_slots(name, weight.shape, means, grad_scale, slots, decay)
    new_slots.update(new)
  changes = _normalized(grads, grad_scale, new_slots)
  of_changes = _root_mean_squares(changes)
  of_weights = _root_mean_squares(weights) if parameter_scale else {}
  new_weights = {}
  for name, weight in weights.items():
    rate = learning_rate / mtf.maximum(of_changes[name] / _CLIP, 1.0)
    if parameter_scale:
      rate *= mtf.maximum(of_weights[name], _SMALLEST_SCALE)
    if weight_decay and weight.shape.ndims > 1:
      weight *= 1.0 - learning_rate * weight_decay
    new_weights[name] = weight - changes[name] * rate
  return new_weights, new_slots


def _new_slots(name, shape, means, scale, slots, decay) -> Tensors:
  """R and C of the docstring, or V."""
  scale = mtf.square(scale)
  return {
    slot: slots[slot] * decay + (means[slot] * scale + _EPSILON) * (1.0 - decay)
    for slot in _slot_shapes(name, shape)
  }


def _normalized(grads: Tensors, scale, slots: Tensors) -> Tensors:
  """U of the docstring, before clipping."""
  factors = {name: _factored_dims(grad.shape) for name, grad in grads.items()}
  by_row = {
    name: (slots[f"{name}/row"], found[0])
    for name, found in factors.items()
    if found
  }
  over = [(x, x.shape - row) for x, row in by_row.values()]
  means = dict(zip(by_row, _means(over), strict=True))

  def normalized(name: str, grad: mtf.Tensor) -> mtf.Tensor:
    if not factors[name]:
      return grad * (mtf.rsqrt(slots[f"{name}/v"]) * scale)
    row = slots[f"{name}/row"] / means[name]
    return grad * (mtf.rsqrt(row) * scale) * mtf.rsqrt(slots[f"{name}/column"])

  return {name: normalized(name, grad) for name, grad in grads.items()}


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
