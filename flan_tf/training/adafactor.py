"""Adafactor (Shazeer and Stern, 2018) with factors along named dimensions.

A matrix of second moments is as large as the weights. Adafactor keeps the means
of its rows and columns instead and multiplies them: v_ij ~ r_i c_j / mean(r).
Here "row" and "column" are the two largest *named* dimensions of a weight, so
that [d_model, heads, d_kv] is factored over d_model and one of the others. The
factors are split over the mesh like the weight itself.

For a weight X with gradient G at step t, counted from 1 (algorithm 4 of the
paper):

  beta  = 1 - t^-0.8
  R     = beta R + (1 - beta) mean over columns of (G^2 + 1e-30)
  C     = beta C + (1 - beta) mean over rows    of (G^2 + 1e-30)
  U     = G / sqrt(R C / mean(R))
  U     = U / max(1, RMS(U))                            update clipping
  X     = X - learning_rate max(1e-3, RMS(X)) U         parameter scaling

A weight with fewer than two dimensions of 32 or more keeps all of V, the moving
mean of G^2, instead of R and C.

The optimizer's tensors are called slots. Their names are "WEIGHT/row" and
"WEIGHT/column" for R and C, or "WEIGHT/v" for V.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from flan_tf.mesh import ops, state
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.functions import Functions

_DECAY_EXPONENT = 0.8
_EPSILON = 1e-30
_UPDATE_CLIP = 1.0
_SMALLEST_PARAMETER_SCALE = 1e-3
_SMALLEST_FACTORED = 32

Tensors = dict[str, mtf.Tensor]


def slot_specs(
  weights: Mapping[str, state.StateSpec],
) -> dict[str, state.StateSpec]:
  """Returns names, shapes and initial values of the slots of some weights."""
  specs = {}
  for name, spec in weights.items():
    for slot, shape in _slot_shapes(name, spec.shape).items():
      specs[slot] = state.StateSpec(shape, state.constant(0.0))
  return specs


def squared_means(grads: Tensors) -> Tensors:
  """Returns the mean of the squared gradients for each slot, by slot name.

  The gradients are not yet scaled at this point. So these means also give the
  gradients' norm, on which the scale depends, and no second pass over all
  gradients is needed.
  """
  reductions: dict[str, tuple[mtf.Tensor, mtf.Shape]] = {}
  for name, grad in grads.items():
    for slot, shape in _slot_shapes(name, grad.shape).items():
      reductions[slot] = grad, shape
  means = _means(list(reductions.values()), tf.square)
  return dict(zip(reductions, means, strict=True))


def global_norm(grads: Tensors, means: Tensors) -> mtf.Tensor:
  """Returns the norm of all gradients, from their `squared_means`."""
  terms, scalar = [], mtf.Shape([])
  for name, grad in grads.items():
    slot, shape = next(iter(_slot_shapes(name, grad.shape).items()))
    terms.append(means[slot] * float(grad.shape.size // shape.size))
  sums = ops.reduce_sums(terms, [scalar] * len(terms))
  return mtf.sqrt(mtf.add_n(sums))


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
  """Computes new weights and new slots.

  Scalars are multiplied into the small factors, not into the weights, since one
  pass over a weight takes about as long as all of its arithmetic.

  Args:
    weights: float32 weights by name.
    slots: slots by name; see `slot_specs`.
    grads: float32 gradients by weight name, before scaling.
    means: result of `squared_means(grads)`.
    grad_scale: float32 scalar; the gradient G is `grad_scale * grads`.
    step: float32 scalar, counted from 1.
    learning_rate: float32 scalar.
    parameter_scale: if True, updates are relative to RMS(weight).
    weight_decay: factor of the learning rate by which matrices shrink.

  Returns:
    The new weights and the new slots.
  """
  # t^-0.8 by logarithms, since Mesh-TF has no power of two tensors.
  new_share = mtf.exp(mtf.log(step) * -_DECAY_EXPONENT)
  decay = 1.0 - new_share
  functions = Functions()  # Most weights have the same shape as some others.
  new_slots: Tensors = {}
  for name, weight in weights.items():
    names = list(_slot_shapes(name, weight.shape))
    new_values = functions(
      _new_slots,
      grad_scale,
      decay,
      new_share,
      [slots[slot] for slot in names],
      [means[slot] for slot in names],
    )
    new_slots.update(zip(names, new_values, strict=True))
  updates = _unclipped_updates(functions, grads, grad_scale, new_slots)
  update_rms = _root_mean_squares(updates)
  weight_rms = _root_mean_squares(weights) if parameter_scale else {}
  apply = _ApplyUpdate(weight_decay)
  new_weights = {
    name: functions(
      apply,
      weight,
      updates[name],
      learning_rate,
      update_rms[name],
      weight_rms.get(name),
    )
    for name, weight in weights.items()
  }
  return new_weights, new_slots


def _new_slots(
  grad_scale: mtf.Tensor,
  decay: mtf.Tensor,
  new_share: mtf.Tensor,
  slots: Sequence[mtf.Tensor],
  means: Sequence[mtf.Tensor],
) -> list[mtf.Tensor]:
  """Computes R and C of the module's docstring, or V."""
  square_scale = mtf.square(grad_scale)
  return [
    slot * decay + (mean * square_scale + _EPSILON) * new_share
    for slot, mean in zip(slots, means, strict=True)
  ]


@dataclasses.dataclass(frozen=True)
class _ApplyUpdate:
  """Subtracts an update from a weight, with clipping and weight decay."""

  weight_decay: float

  def __call__(
    self,
    weight: mtf.Tensor,
    update: mtf.Tensor,
    rate: mtf.Tensor,
    update_rms: mtf.Tensor,
    weight_rms: mtf.Tensor | None,
  ) -> mtf.Tensor:
    if self.weight_decay and weight.shape.ndims > 1:
      weight *= rate * -self.weight_decay + 1.0
    rate /= mtf.maximum(update_rms / _UPDATE_CLIP, 1.0)
    if weight_rms is not None:
      rate *= mtf.maximum(weight_rms, _SMALLEST_PARAMETER_SCALE)
    return weight - update * rate


def _unclipped_updates(
  functions: Functions, grads: Tensors, grad_scale: mtf.Tensor, slots: Tensors
) -> Tensors:
  """Computes U of the module's docstring, before clipping."""
  row_dims = {
    name: factors[0]
    for name, grad in grads.items()
    if (factors := _factored_dims(grad.shape))
  }
  rows = {name: slots[f"{name}/row"] for name in row_dims}
  row_means = dict(
    zip(
      row_dims,
      _means([(rows[n], rows[n].shape - dim) for n, dim in row_dims.items()]),
      strict=True,
    )
  )
  updates = {}
  for name, grad in grads.items():
    if name in row_dims:
      updates[name] = functions(
        _factored_update,
        grad,
        grad_scale,
        rows[name],
        slots[f"{name}/column"],
        row_means[name],
      )
    else:
      updates[name] = functions(
        _full_update, grad, grad_scale, slots[f"{name}/v"]
      )
  return updates


def _factored_update(grad, grad_scale, row, column, row_mean) -> mtf.Tensor:
  """Computes G / sqrt(R C / mean(R))."""
  row_factor = mtf.rsqrt(row / row_mean) * grad_scale
  return grad * row_factor * mtf.rsqrt(column)


def _full_update(grad, grad_scale, v) -> mtf.Tensor:
  """Computes G / sqrt(V)."""
  return grad * (mtf.rsqrt(v) * grad_scale)


def _slot_shapes(name: str, shape: mtf.Shape) -> dict[str, mtf.Shape]:
  """Returns the shape of each slot of a weight, by slot name."""
  factors = _factored_dims(shape)
  if not factors:
    return {f"{name}/v": shape}
  row, column = factors
  return {f"{name}/row": shape - column, f"{name}/column": shape - row}


def _factored_dims(
  shape: mtf.Shape,
) -> tuple[mtf.Dimension, mtf.Dimension] | None:
  """Returns the two largest dimensions, or None if they are too small.

  Of dimensions with equal sizes, the first one comes first.
  """
  if shape.ndims < 2:
    return None
  row, column = sorted(shape.dims, key=lambda dim: -dim.size)[:2]
  return (row, column) if column.size >= _SMALLEST_FACTORED else None


def _root_mean_squares(tensors: Tensors) -> Tensors:
  """Returns RMS(X) of each tensor, by name."""
  reductions = [(x, mtf.Shape([])) for x in tensors.values()]
  means = _means(reductions, tf.square)
  return {name: mtf.sqrt(x) for name, x in zip(tensors, means, strict=True)}


def _means(
  reductions: Sequence[tuple[mtf.Tensor, mtf.Shape]],
  fn: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> list[mtf.Tensor]:
  """Returns means of `fn` of tensors.

  Args:
    reductions: pairs of a tensor and the shape of its mean, which lacks the
      dimensions to average over.
    fn: applied to the elements before they are averaged.
  """
  if not reductions:
    return []
  tensors, shapes = zip(*reductions, strict=True)
  sums = ops.reduce_sums(tensors, shapes, fn)
  return [
    total * (shape.size / x.shape.size)
    for x, shape, total in zip(tensors, shapes, sums, strict=True)
  ]
