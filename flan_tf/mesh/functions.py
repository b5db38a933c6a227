"""Functions of Mesh-TF tensors that are built once and called many times.

The layers of a model are alike: each of them calls the same functions with its
own weights.

  functions = Functions()
  for weights in layers:
    x = functions.recompute(mlp, x, weights)

The graph of a function is built at its first call. On a TPU the function is
also traced and lowered only then. On CPUs and GPUs every call is lowered into
the graph of its caller, because each of TensorFlow's collectives there needs
an instance key of its own.

Arguments and results may be nested: tuples, lists, dicts and dataclasses of
Mesh-TF tensors and of constants. A function may itself be a dataclass with a
`__call__`; the tensors in its fields are then arguments as well.
"""

import dataclasses
import typing
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from flan_tf.mesh import op
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.mesh_impl import CoreMeshImpl


class Functions:
  """The functions that one program calls.

  Two calls share a graph if their functions and constants are equal and their
  tensors have equal shapes and types. A function must use no tensors besides
  its arguments.
  """

  def __init__(self):
    self._built: dict[Hashable, _Function] = {}

  def __call__(self, fn: Callable, *args: Any) -> Any:
    """Returns fn(*args); the result has no gradient."""
    tensors, structure = _flatten((args, fn))
    return _Call(self._function(_Flat(structure), tensors), tensors).results

  def recompute(self, fn: Callable, *args: Any, barrier: bool = False) -> Any:
    """Returns fn(*args), whose backward pass computes fn once more.

    Intermediate results of fn are not kept for the backward pass. What the
    gradients do not need, such as a product that ends fn, the compiler leaves
    out of the second computation. Unlike Mesh-TF's recompute_grad, the order
    of operations follows from the arguments alone, so that every core issues
    the same collectives in the same order. Calls may be nested.

    Args:
      fn: a function of Mesh-TF tensors whose results are all tensors.
      *args: its arguments.
      barrier: makes the compiler compute all gradients of one call before any
        of them is used. Otherwise XLA moves the gradients of weights to the
        end of the program and keeps their inputs alive for every layer: 5.5
        GiB a core for 137B parameters on 128 cores. The price is that where fn
        casts a weight, the gradient is kept after the cast, not before.
    """
    tensors, structure = _flatten((args, fn))
    flat = _Flat(structure)

    def backward(arguments, given, grads):
      inputs = [*arguments, *grads]
      function = self._function(_Backward(flat, given), inputs, barrier)
      return _Call(function, inputs).results

    return _Recomputed(self._function(flat, tensors), tensors, backward).results

  def _function(
    self,
    fn: Callable,
    tensors: Sequence[mtf.Tensor],
    barrier: bool = False,
  ) -> "_Function":
    types = tuple((*x.shape.dims, x.dtype) for x in tensors)
    key = fn, barrier, types
    if key not in self._built:
      self._built[key] = _Function(fn, tensors, barrier)
    return self._built[key]


# -- nested arguments ----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Constant:
  """The place of a value that is not a tensor."""

  value: Hashable


@dataclasses.dataclass(frozen=True)
class _Nested:
  """A container: its type, the names of its fields or keys, and its items."""

  kind: type
  names: tuple[str, ...]
  items: tuple[Hashable, ...]


_TENSOR = _Constant("tensor")  # The place of a tensor.


def _flatten(value: Any) -> tuple[list[mtf.Tensor], Hashable]:
  """Splits a nested value into its tensors and a hashable structure."""
  if isinstance(value, mtf.Tensor):
    return [value], _TENSOR
  names: tuple[str, ...] = ()
  is_dataclass = dataclasses.is_dataclass(value) and not isinstance(value, type)
  if is_dataclass:
    names = tuple(field.name for field in dataclasses.fields(value))
    items = [getattr(value, name) for name in names]
  elif isinstance(value, dict):
    names, items = tuple(value), list(value.values())
  elif isinstance(value, (list, tuple)):
    items = list(value)
  else:
    return [], _Constant(value)
  tensors, structures = [], []
  for item in items:
    found, structure = _flatten(item)
    tensors += found
    structures.append(structure)
  if is_dataclass and not tensors:
    return [], _Constant(typing.cast(Hashable, value))
  return tensors, _Nested(type(value), names, tuple(structures))


def _unflatten(structure: Hashable, tensors: Iterator[mtf.Tensor]) -> Any:
  """Puts tensors back into their places; undoes `_flatten`."""
  if structure is _TENSOR:
    return next(tensors)
  if isinstance(structure, _Constant):
    return structure.value
  assert isinstance(structure, _Nested)
  items = [_unflatten(item, tensors) for item in structure.items]
  if structure.names:
    return structure.kind(**dict(zip(structure.names, items, strict=True)))
  if hasattr(structure.kind, "_fields"):  # A NamedTuple.
    return structure.kind(*items)
  return structure.kind(items)


@dataclasses.dataclass(frozen=True)
class _Flat:
  """A function with its constant arguments, as a function of its tensors."""

  structure: Hashable  # of (arguments, function)

  def __call__(self, *tensors: mtf.Tensor) -> Any:
    args, fn = _unflatten(self.structure, iter(tensors))
    return fn(*args)


@dataclasses.dataclass(frozen=True)
class _Backward:
  """The gradients of a function, from its arguments and known gradients.

  Attributes:
    forward: the function.
    given: the numbers of the results whose gradients are known.
  """

  forward: _Flat
  given: tuple[int, ...]

  def __call__(self, *inputs: mtf.Tensor) -> list[mtf.Tensor | None]:
    count = len(self.given)
    arguments, grads = inputs[:-count], inputs[-count:]
    # The second computation waits for the gradient. Otherwise the compiler
    # merges it with the first one, or starts it too early.
    arguments = _After(arguments, grads[0]).outputs
    outputs, _ = _flatten(self.forward(*arguments))
    known = [outputs[i] for i in self.given]
    return mtf.gradients(known, arguments, grad_ys=list(grads))


# -- operations ----------------------------------------------------------------


class _Function:
  """The graph of a function, from argument tensors to result tensors.

  Attributes:
    results: the tensors of the first build; their shapes and types count.
    structure: the nested structure of the results.
    waiting: for each result, the mesh axes over which it must still be summed.
      Set by `lower`.
  """

  def __init__(self, fn: Callable, inputs: Sequence[mtf.Tensor], barrier: bool):
    self._fn, self._inputs, self._barrier = fn, inputs, barrier
    _, self.results, self.structure = self._build([None] * len(inputs))
    self.waiting: list[list[int]] = []

  def lower(self, core: CoreMeshImpl, *shards: tf.Tensor) -> list[tf.Tensor]:
    """Computes one core's shards of the results from those of the inputs."""
    # Built again: Mesh-TF creates TensorFlow's constants while it builds, and
    # they belong to the graph that is traced at that time.
    mesh, results, _ = self._build(shards)
    lowering = core.lowering(mesh)
    lowered = [lowering.tensors[y] for y in results]
    lazy = [isinstance(y, mtf.LazyAllreduceSum) for y in lowered]
    self.waiting = [
      list(y.mesh_axes) if waits else []
      for y, waits in zip(lowered, lazy, strict=True)
    ]
    values = [
      (y.laid_out_input if waits else y.to_laid_out_tensor()).one_slice
      for y, waits in zip(lowered, lazy, strict=True)
    ]
    return (
      core.transport.optimization_barrier(values) if self._barrier else values
    )

  def _build(self, values: Sequence[tf.Tensor | None]):
    mesh = mtf.Mesh(mtf.Graph(), "function")
    arguments = [
      _Argument(mesh, like, value).outputs[0]
      for like, value in zip(self._inputs, values, strict=True)
    ]
    return mesh, *_flatten(self._fn(*arguments))


class _Argument(op.CoreOp):
  """The placeholder of an argument: one core's shard, or nothing yet."""

  def __init__(self, mesh: mtf.Mesh, like: mtf.Tensor, value: tf.Tensor | None):
    super().__init__([], mesh=mesh, name="argument")
    self._outputs = [mtf.Tensor(self, like.shape, like.dtype)]
    self._value = value

  def lower(self, lowering):
    assert self._value is not None
    self._set_output(lowering, self.outputs[0], self._value)


class _Call(op.CoreOp):
  """A call of a function; has no gradient."""

  def __init__(self, function: _Function, inputs: Sequence[mtf.Tensor]):
    super().__init__(list(inputs), name="call")
    self._function = function
    self._outputs = [
      mtf.Tensor(self, y.shape, y.dtype, index=i)
      for i, y in enumerate(function.results)
    ]

  @property
  def has_gradient(self):
    return False

  @property
  def results(self) -> Any:
    """The results, nested as the function returns them."""
    return _unflatten(self._function.structure, iter(self.outputs))

  def lower(self, lowering):
    core = lowering.mesh_impl(self)
    shards = self._shards(lowering, self.inputs)
    values = core.call_function(self._function.lower, shards)
    for output, value, axes in zip(
      self.outputs, values, self._function.waiting, strict=True
    ):
      self._set_output(lowering, output, value, sum_over=axes)


class _Recomputed(_Call):
  """A call whose gradient computes the function once more."""

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
  """Passes tensors on unchanged, but not before `other` has been computed."""

  def __init__(self, xs, other):
    super().__init__([*xs, other], name="after")
    self._outputs = [
      mtf.Tensor(self, x.shape, x.dtype, index=i) for i, x in enumerate(xs)
    ]

  def gradient(self, grad_ys):
    return [*grad_ys, None]

  def lower(self, lowering):
    *xs, other = self._shards(lowering, self.inputs)
    xs = lowering.mesh_impl(self).transport.wait_for(xs, other)
    for output, x in zip(self.outputs, xs, strict=True):
      self._set_output(lowering, output, x)
