"""Functions of Mesh-TF tensors that are built once and called many times.

The layers of a model are alike. What they do is a function here, and each layer
calls it with its own weights:

  calls = Calls()
  for weights in layers:
    (x,) = calls.recompute("mlp", mlp, [x, *weights])

The function's graph is built at the first call. On a TPU it is traced and
lowered then, too, and never again; elsewhere every call is lowered into the
graph of its caller, since TensorFlow's collectives have keys of their own.
"""

from collections.abc import Callable, Hashable, Sequence

import tensorflow as tf

from flan_tf.mesh import mesh_impl, op
from flan_tf.mesh.compat import mtf

# Of any number of Mesh-TF tensors, on one mesh: None stands for no result.
Fn = Callable[..., Sequence[mtf.Tensor | None]]


class Calls:
  """The functions that one program calls, by name and shapes of their inputs.

  A name is anything hashable. Calls with the same name and inputs of the same
  shapes and types must mean the same function, which uses nothing but its
  arguments; it is taken from the first of them.
  """

  def __init__(self):
    self._known: dict[Hashable, _Function] = {}

  def __call__(
    self, name: Hashable, fn: Fn, inputs: Sequence[mtf.Tensor]
  ) -> list[mtf.Tensor | None]:
    """What fn returns, without a gradient."""
    return _Call(self._function(name, fn, inputs), inputs).results

  def recompute(
    self,
    name: Hashable,
    fn: Fn,
    inputs: Sequence[mtf.Tensor],
    together: bool = False,
  ) -> list[mtf.Tensor]:
    """Applies fn, and applies it again in the backward pass.

    What fn computes on the way is not kept. What it would compute again without
    need, as a product that ends it, the compiler leaves out. Unlike Mesh-TF's
    recompute_grad, the order of everything follows from `inputs`, so that every
    core issues the same collectives; and calls may be nested.

    Args:
      name: see the class.
      fn: what to apply.
      inputs: its arguments.
      together: whether, to a compiler, no gradient is there before all are.
        Nobody waits for those of weights. XLA leaves them to the end of the
        program, if it may, and keeps what they are made of for every layer:
        with 137B in parts of layers on 128 cores, 5.5 GiB a core. But where fn
        casts a weight, its gradient is then kept after the cast, not before.

    Returns:
      what fn returns, which must be tensors.
    """

    def backward(arguments, given, grads):
      inputs = [*arguments, *grads]
      function = self._function(
        (name, "backward", given), _backward(fn, given), inputs, together
      )
      return _Call(function, inputs).results

    function = self._function(name, fn, inputs)
    return list(_Recomputed(function, inputs, backward).outputs)

  def _function(self, name, fn, inputs, together=False) -> "_Function":
    key = name, *((*x.shape.dims, x.dtype) for x in inputs)
    if key not in self._known:
      self._known[key] = _Function(fn, inputs, together)
    return self._known[key]


def _backward(fn: Fn, given: Sequence[int]) -> Fn:
  """The gradients of fn: a function of its arguments and of known gradients.

  Args:
    fn: the function.
    given: of which of its results the gradients are known.
  """

  def backward(*inputs):
    grads = inputs[-len(given) :]
    # The second run waits for the gradient, so that it cannot be merged with
    # the first one or start before its time.
    arguments = _After(inputs[: -len(given)], grads[0]).outputs
    outputs = fn(*arguments)
    known = [outputs[i] for i in given]
    return mtf.gradients(known, arguments, grad_ys=list(grads))

  return backward


class _Function:
  """A graph of its own, from arguments to results.

  Attributes:
    results: of the first call, some of them None. Of use are their shapes.
    waiting: of each tensor of the results, the mesh axes over which it is still
      to be summed; set by `lower`.
  """

  def __init__(self, fn: Fn, inputs: Sequence[mtf.Tensor], together: bool):
    self._fn, self._inputs, self._together = fn, inputs, together
    _, self.results = self._build([None] * len(inputs))
    self.waiting: list[list[int]] = []

  def lower(
    self, core: mesh_impl.CoreMeshImpl, *slices: tf.Tensor
  ) -> list[tf.Tensor]:
    """What a core makes of its slices of the arguments."""
    # Built again: Mesh-TF makes TensorFlow's constants while it builds, and
    # they belong to the graph that is traced then.
    mesh, results = self._build(slices)
    lowering = core.lowering(mesh)
    made = [lowering.tensors[y] for y in results if y is not None]
    lazy = [isinstance(y, mtf.LazyAllreduceSum) for y in made]
    self.waiting = [
      list(y.mesh_axes) if waits else []
      for y, waits in zip(made, lazy, strict=True)
    ]
    values = [
      (y.laid_out_input if waits else y.to_laid_out_tensor()).one_slice
      for y, waits in zip(made, lazy, strict=True)
    ]
    return core.transport.together(values) if self._together else values

  def _build(self, values: Sequence[tf.Tensor | None]):
    mesh = mtf.Mesh(mtf.Graph(), "function")
    arguments = [
      _Argument(mesh, like, value).outputs[0]
      for like, value in zip(self._inputs, values, strict=True)
    ]
    return mesh, list(self._fn(*arguments))


class _Argument(op.CoreOp):
  """Stands for what a function is called with: a core's slice, or any."""

  def __init__(self, mesh: mtf.Mesh, like: mtf.Tensor, value: tf.Tensor | None):
    super().__init__([], mesh=mesh, name="argument")
    self._outputs = [mtf.Tensor(self, like.shape, like.dtype)]
    self._value = value

  def lower(self, lowering):
    assert self._value is not None
    self._set(lowering, self.outputs[0], self._value)


class _Call(op.CoreOp):
  def __init__(self, function: _Function, inputs: Sequence[mtf.Tensor]):
    super().__init__(list(inputs), name="call")
    self._function = function
    tensors = [y for y in function.results if y is not None]
    self._outputs = [
      mtf.Tensor(self, y.shape, y.dtype, index=i) for i, y in enumerate(tensors)
    ]

  @property
  def has_gradient(self):
    return False

  @property
  def results(self) -> list[mtf.Tensor | None]:
    """As the function returns them."""
    made = iter(self.outputs)
    return [None if y is None else next(made) for y in self._function.results]

  def lower(self, lowering):
    core = lowering.mesh_impl(self)
    slices = self._slices(lowering, self.inputs)
    made = core.call(self._function.lower, slices)
    for output, value, axes in zip(
      self.outputs, made, self._function.waiting, strict=True
    ):
      self._set(lowering, output, value, sum_over=axes)


class _Recomputed(_Call):
  def __init__(self, function, inputs, backward):
    super().__init__(function, inputs)
    self._backward = backward

  @property
  def has_gradient(self):
    return True

  def gradient(self, grad_ys):
    given = tuple(i for i, grad in enumerate(grad_ys) if grad is not None)
    grads = [grad_ys[i] for i in given]
    return self._backward(self.inputs, given, grads)


class _After(op.CoreOp):
  """Tensors as they are, but not before `other` is there."""

  def __init__(self, xs, other):
    super().__init__([*xs, other], name="after")
    self._outputs = [
      mtf.Tensor(self, x.shape, x.dtype, index=i) for i, x in enumerate(xs)
    ]

  def gradient(self, grad_ys):
    return [*grad_ys, None]

  def lower(self, lowering):
    *xs, other = self._slices(lowering, self.inputs)
    xs = lowering.mesh_impl(self).transport.after(xs, other)
    for output, x in zip(self.outputs, xs, strict=True):
      self._set(lowering, output, x)
