"""What cores send to one another, recorded as it is traced.

Three collectives, each within groups of cores:

  allreduce      every core gets the sum, or the maximum, of all
  allgather      every core gets all parts, one behind the other
  reducescatter  every core gets its part of the sum

On a TPU they are XLA's. On CPUs and GPUs all of them are made of TensorFlow's
all-reduce, which needs three things that this file takes care of:

* an ordering token per core, or the step hangs;
* a group key that no other set of devices in the process uses, and an instance
  key that no other collective uses, or every later collective fails;
* the same collectives in the same order on every core. `CollectiveTrace` records them
  and `CollectiveTrace.check` compares the cores once all are traced: a mismatch would
  hang, or add up different tensors, with no error.
"""

import dataclasses
import itertools
import math
import typing
from collections.abc import Callable, Hashable, Sequence

import tensorflow as tf

# TensorFlow's strategies count their own keys up from 1.
_FIRST_KEY = 1_000_000
_KEYS_PER_TRACE = 100_000
_group_keys: dict[tuple[int, tuple[int, ...]], int] = {}
_instance_bases = itertools.count(_FIRST_KEY, _KEYS_PER_TRACE)

Groups = tuple[tuple[int, ...], ...]

ADD, MAX, GATHER, SCATTER = KINDS = ("Add", "Max", "Gather", "Scatter")


@dataclasses.dataclass(frozen=True)
class CollectiveCall:
  """One collective as one core issues it; `kind` is one of KINDS."""

  kind: str
  groups: Groups
  shape: tuple[int, ...]
  dtype: str

  @property
  def bytes(self) -> int:
    """Bytes that the core hands over."""
    return math.prod(self.shape) * tf.as_dtype(self.dtype).size


class CollectiveTrace:
  """The collectives of one traced program, core by core."""

  def __init__(self):
    self._base = next(_instance_bases)
    self._calls: dict[int, list[CollectiveCall]] = {}

  def start(self, core: int) -> None:
    """Begins a core's list; a core that is traced again starts afresh."""
    self._calls[core] = []

  def add(self, core: int, call: CollectiveCall) -> int:
    """Notes a call; returns its instance key, the same on every core."""
    calls = self._calls.setdefault(core, [])
    calls.append(call)
    if len(calls) > _KEYS_PER_TRACE:
      raise ValueError(
        f"A program has more than {_KEYS_PER_TRACE} collectives."
      )
    return self._base + len(calls)

  @property
  def calls(self) -> tuple[CollectiveCall, ...]:
    """The collectives that each core issues, in order."""
    return tuple(next(iter(self._calls.values()), ()))

  @property
  def bytes(self) -> int:
    """Bytes that one core hands to its collectives in one run."""
    return sum(call.bytes for call in self.calls)

  def check(self) -> None:
    """Raises RuntimeError unless all cores issue the same collectives."""
    first_core, *others = sorted(self._calls) or [0]
    expected = self._calls.get(first_core, [])
    for core in others:
      pairs = itertools.zip_longest(expected, self._calls[core])
      for index, (want, got) in enumerate(pairs):
        if want != got:
          raise RuntimeError(
            f"Collective {index} of the program differs between cores:\n"
            f"  core {first_core}: {want}\n  core {core}: {got}\n"
            "The cores would wait for one another for ever."
          )


class Transport:
  """How one core reaches the others; axes count from 0, groups have an order.

  A subclass has `allreduce`; the rest can be made of it.
  """

  def allreduce(self, x: tf.Tensor, groups: Groups, kind: str) -> tf.Tensor:
    """Adds (ADD) or maximizes (MAX) x over the core's group."""
    raise NotImplementedError(f"No group to {kind} over.")

  def allgather(self, x: tf.Tensor, groups: Groups, axis: int) -> tf.Tensor:
    """The x of all cores of the group, one behind the other along an axis."""
    place, number = self._place(groups)
    shape = [1] * len(x.shape)
    shape.insert(axis, number)
    here = tf.reshape(tf.range(number) == place, shape)
    # Each core adds its part, in its place, to zeros.
    x = tf.where(here, tf.expand_dims(x, axis), tf.zeros([], x.dtype))
    return _merged(self.allreduce(x, groups, ADD), axis)

  def reducescatter(self, x: tf.Tensor, groups: Groups, axis: int) -> tf.Tensor:
    """The core's part along an axis of the sum of x over the group."""
    place, number = self._place(groups)
    return tf.split(self.allreduce(x, groups, ADD), number, axis)[place]

  def after(self, xs: Sequence[tf.Tensor], other: tf.Tensor) -> list:
    """Tensors as they are, but not before `other` is there."""
    with tf.control_dependencies([other]):
      return [tf.identity(x) for x in xs]

  def together(self, xs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Tensors as they are; to a compiler, none is there before all of them."""
    return list(xs)

  def call(
    self, key: Hashable, fn: Callable, xs: Sequence[tf.Tensor]
  ) -> list[tf.Tensor]:
    """fn(*xs), a list of tensors.

    Args:
      key: calls with an equal key and inputs of equal shapes may be traced once
        for all of them.
      fn: a function that uses nothing but its arguments.
      xs: its arguments.
    """
    del key
    return fn(*xs)

  def _place(self, groups: Groups) -> tuple[int, int]:
    """The core's number in its group, and the size of it."""
    raise NotImplementedError


def _sizes(x: tf.Tensor) -> list[int]:
  """A shape; all are known while tracing."""
  return typing.cast(list[int], x.shape.as_list())


def _merged(x: tf.Tensor, axis: int) -> tf.Tensor:
  """[..., a, b, ...] as [..., a b, ...]."""
  shape = _sizes(x)
  shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
  return tf.reshape(x, shape)


class SingleCoreTransport(Transport):
  """Transport of a single core, which has nothing to exchange."""


class CollectiveTransport(Transport):
  """Transport for CPUs and GPUs: TensorFlow's collective ops."""

  def __init__(
    self, core: int, cores: int, token: tf.Tensor, trace: CollectiveTrace
  ):
    self._core, self._cores = core, cores
    self._token, self._trace = token, trace

  def allreduce(self, x: tf.Tensor, groups: Groups, kind: str) -> tf.Tensor:
    call = CollectiveCall(kind, groups, tuple(_sizes(x)), x.dtype.name)
    instance = self._trace.add(self._core, call)
    group = next(g for g in groups if self._core in g)
    # Every process registers all groups in the same order, so that the hosts
    # of a cluster agree on the keys.
    keys = {g: _group_key(self._cores, g) for g in groups}
    return tf.raw_ops.CollectiveReduceV2(
      input=x,
      group_size=len(group),
      group_key=keys[group],
      instance_key=instance,
      ordering_token=[self._token],
      merge_op=kind,
      final_op="Id",
    )

  def _place(self, groups: Groups) -> tuple[int, int]:
    group = next(g for g in groups if self._core in g)
    return group.index(self._core), len(group)


class TpuTransport(Transport):
  """Transport for TPUs: XLA's collectives, in the tensor's own type."""

  def __init__(self, trace: CollectiveTrace):
    # Only here: other platforms need not have it.
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    self._trace, self._ops = trace, gen_xla_ops
    self._functions: dict[Hashable, tuple] = {}

  def allreduce(self, x: tf.Tensor, groups: Groups, kind: str) -> tf.Tensor:
    self._note(kind, x, groups)
    return self._ops.xla_all_reduce(
      x, group_assignment=groups, reduce_op=kind, mode="CrossReplica"
    )

  def allgather(self, x: tf.Tensor, groups: Groups, axis: int) -> tf.Tensor:
    self._note(GATHER, x, groups)
    shape = _sizes(x)
    shape[axis] *= len(groups[0])
    # TensorFlow has no operation that becomes XLA's all-gather.
    (whole,) = self._ops.xla_call_module(
      [x],
      version=9,
      module=_all_gather_module(x.dtype, _sizes(x), groups, axis),
      Sout=[shape],
      Tout=[x.dtype],
      platforms=["TPU"],
    )
    return whole

  def reducescatter(self, x: tf.Tensor, groups: Groups, axis: int) -> tf.Tensor:
    self._note(SCATTER, x, groups)
    # Of a tensor with a leading dimension of one, the compiler would make an
    # all-reduce, which sends twice as much.
    shape = _sizes(x)
    ones = next((i for i, size in enumerate(shape[:axis]) if size > 1), axis)
    part = self._ops.xla_reduce_scatter(
      tf.reshape(x, shape[ones:]),
      group_assignment=groups,
      scatter_dimension=axis - ones,
      reduce_op=ADD,
    )
    return tf.reshape(part, [*shape[:ones], *part.shape])

  def after(self, xs: Sequence[tf.Tensor], other: tf.Tensor) -> list:
    # XLA drops control dependencies; this it keeps.
    return self.together([*xs, other])[:-1]

  def together(self, xs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return list(self._ops.xla_optimization_barrier(xs))

  def call(
    self, key: Hashable, fn: Callable, xs: Sequence[tf.Tensor]
  ) -> list[tf.Tensor]:
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in xs]
    key = key, tuple(specs)
    if key in self._functions:
      function, issued = self._functions[key]
      for call in issued:
        self._trace.add(0, call)
    else:
      before = len(self._trace.calls)
      function = tf.function(fn, autograph=False).get_concrete_function(*specs)
      if function.captured_inputs:
        raise ValueError(
          f"{fn.__name__} uses {function.captured_inputs}, which are not among"
          " its arguments: give all that it uses to it."
        )
      self._functions[key] = function, self._trace.calls[before:]
    # A call would be lowered again each time; a branch is lowered once.
    return tf.raw_ops.StatelessCase(
      branch_index=0,
      input=list(xs),
      Tout=[y.dtype for y in function.outputs],
      branches=[function],
      output_shapes=[y.shape for y in function.outputs],
    )

  def _note(self, kind: str, x: tf.Tensor, groups: Groups) -> None:
    # All cores share one trace.
    call = CollectiveCall(kind, groups, tuple(_sizes(x)), x.dtype.name)
    self._trace.add(0, call)


_MLIR_TYPES = {"float32": "f32", "bfloat16": "bf16", "int32": "i32"}


def _all_gather_module(
  dtype: tf.DType, shape: list[int], groups: Groups, axis: int
) -> bytes:
  """One operation of StableHLO, as text."""

  def tensor(sizes, kind):
    return f"tensor<{'x'.join(map(str, [*sizes, kind]))}>"

  kind, whole = _MLIR_TYPES[dtype.name], list(shape)
  whole[axis] *= len(groups[0])
  part, whole = tensor(shape, kind), tensor(whole, kind)
  table = f"dense<{[list(group) for group in groups]}>"
  of_groups = tensor([len(groups), len(groups[0])], "i64")
  text = f"""module {{
    func.func public @main(%x: {part}) -> {whole} {{
      %y = "stablehlo.all_gather"(%x) {{
        all_gather_dim = {axis} : i64,
        replica_groups = {table} : {of_groups}
      }} : ({part}) -> {whole}
      return %y : {whole}
    }}
  }}"""
  return text.encode()


def _group_key(cores: int, group: tuple[int, ...]) -> int:
  key = (cores, group)
  return _group_keys.setdefault(key, _FIRST_KEY + len(_group_keys))
