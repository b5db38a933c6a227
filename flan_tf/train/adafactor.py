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

from collections.abc import Mapping

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
  found = {}
  for name, grad in grads.items():
    square = mtf.square(grad)
    for slot, shape in _slot_shapes(name, grad.shape).items():
      found[slot] = mtf.reduce_mean(square, output_shape=shape)
  return found


def global_norm(grads: Tensors, means: Tensors) -> mtf.Tensor:
  """The norm of all gradients together, from their `moments`."""
  sums = []
  for name, grad in grads.items():
    slot, shape = next(iter(_slot_shapes(name, grad.shape).items()))
    sums.append(means[slot] * float(grad.shape.size // shape.size))
  return mtf.sqrt(ops.total(sums))


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
  new_weights, new_slots = {}, {}
  for name, weight in weights.items():
    new = _new_slots(name, weight.shape, means, grad_scale, slots, decay)
    new_slots.update(new)
    change = _normalized(name, grads[name], grad_scale, new)
    rate = learning_rate / mtf.maximum(_rms(change) / _CLIP, 1.0)
    if parameter_scale:
      rate *= mtf.maximum(_rms(weight), _SMALLEST_SCALE)
    if weight_decay and weight.shape.ndims > 1:
      weight *= 1.0 - learning_rate * weight_decay
    new_weights[name] = weight - change * rate
  return new_weights, new_slots


def _new_slots(name, shape, means, scale, slots, decay) -> Tensors:
  """R and C of the docstring, or V."""
  scale = mtf.square(scale)
  return {
    slot: slots[slot] * decay + (means[slot] * scale + _EPSILON) * (1.0 - decay)
    for slot in _slot_shapes(name, shape)
  }


def _normalized(name, grad, scale, slots) -> mtf.Tensor:
  """U of the docstring, before clipping."""
  factors = _factored_dims(grad.shape)
  if not factors:
    return grad * (mtf.rsqrt(slots[f"{name}/v"]) * scale)
  row, _ = factors
  by_row, by_column = slots[f"{name}/row"], slots[f"{name}/column"]
  by_row /= mtf.reduce_mean(by_row, reduced_dim=row)
  return grad * (mtf.rsqrt(by_row) * scale) * mtf.rsqrt(by_column)


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


def _rms(x: mtf.Tensor) -> mtf.Tensor:
  return mtf.sqrt(ops.sum_of_squares([x]) * (1.0 / x.size))
