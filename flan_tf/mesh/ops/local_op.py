"""Any TensorFlow function as a Mesh-TF operation that runs on each core."""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.op import CoreOp


def local(
  fn: Callable,
  inputs: Sequence[mtf.Tensor],
  output_shape: mtf.Shape,
  splittable: Sequence[mtf.Dimension] = (),
  dtype: tf.DType | None = None,
  name: str = "local",
  pass_barrier: bool = False,
) -> mtf.Tensor:
  """Applies a TensorFlow function to the shards of the inputs on each core.

  The gradient is TensorFlow's. An input that is not split over a mesh axis that
  splits the output (a norm's scale, for example) gets its gradient summed over
  that axis.

  Args:
    fn: takes one tensor for each input and returns one tensor.
    inputs: the arguments of `fn`.
    output_shape: global shape of the result.
    splittable: dimensions that may be split without changing the result. If the
      layout splits any other dimension, lowering raises a ValueError.
    dtype: type of the result; by default that of the first input.
    name: name of the operation, for error messages.
    pass_barrier: if True, `fn` also gets the keyword argument `barrier`, which
      is `Transport.optimization_barrier` of its core.
  """
  dtype = dtype or inputs[0].dtype
  names = frozenset(dim.name for dim in splittable)
  shape = mtf.Shape(output_shape)
  op = _LocalOp(fn, inputs, shape, names, dtype, name, pass_barrier)
  return op.outputs[0]


class _LocalOp(CoreOp):
  def __init__(
    self, fn, inputs, output_shape, splittable, dtype, name, pass_barrier
  ):
    super().__init__(list(inputs), name=name)
    self._fn, self._splittable = fn, splittable
    self._pass_barrier = pass_barrier
    self._outputs = [mtf.Tensor(self, output_shape, dtype)]
    # The shards that `fn` was traced with and its result, set by `lower`.
    self.traced: tuple[list[tf.Tensor], tf.Tensor]

  def gradient(self, grad_ys):
    return _LocalGradientOp(self, grad_ys[0]).results

  def lower(self, lowering):
    impl = lowering.mesh_impl(self)
    for tensor in (*self.inputs, *self.outputs):
      layout = impl.tensor_layout(tensor).tensor_axis_to_mesh_axis
      for dim, axis in zip(tensor.shape, layout, strict=True):
        if axis is not None and dim.name not in self._splittable:
          raise ValueError(
            f"{self.name}: dimension {dim.name!r} is split over mesh axis"
            f" {impl.shape[axis].name!r}, but only"
            f" {sorted(self._splittable)} may be. Change mesh.layout."
          )
    # Identities, so that the gradient stops at these inputs even if one of them
    # was computed from another one.
    xs = [tf.identity(x) for x in self._shards(lowering, self.inputs)]
    fn = self._fn
    if self._pass_barrier:
      fn = functools.partial(fn, barrier=impl.transport.optimization_barrier)
    y = fn(*xs)
    self.traced = (xs, y)
    self._set_output(lowering, self.outputs[0], y)


class _LocalGradientOp(CoreOp):
  def __init__(self, forward: _LocalOp, grad_y: mtf.Tensor):
    super().__init__([*forward.inputs, grad_y], name="local_gradient")
    self._forward = forward
    differentiable = [x for x in forward.inputs if x.dtype.is_floating]
    self._outputs = [
      mtf.Tensor(self, x.shape, x.dtype, index=i)
      for i, x in enumerate(differentiable)
    ]

  @property
  def results(self) -> list[mtf.Tensor | None]:
    """One gradient for each input of the forward operation, None for ints."""
    grads = iter(self.outputs)
    return [
      next(grads) if x.dtype.is_floating else None for x in self._forward.inputs
    ]

  @property
  def has_gradient(self):
    return False

  def lower(self, lowering):
    xs, y = self._forward.traced
    differentiable = [x for x in xs if x.dtype.is_floating]
    (grad_y,) = self._shards(lowering, self.inputs[-1:])
    grads = tf.gradients(
      y,
      differentiable,
      grad_y,
      unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    axes = self._mesh_axes(lowering, self._forward.outputs[0].shape)
    for output, grad in zip(self.outputs, grads, strict=True):
      missing = axes - self._mesh_axes(lowering, output.shape)
      self._set_output(lowering, output, grad, sum_over=missing)
