"""Transport for TPUs: XLA's collectives."""

from collections.abc import Callable, Hashable, Sequence

import tensorflow as tf

from flan_tf.mesh.collective_trace import (
  ADD,
  GATHER,
  SCATTER,
  CollectiveCall,
  CollectiveTrace,
  Groups,
)
from flan_tf.mesh.transport import Transport, static_shape


class TpuTransport(Transport):
  """Transport for TPUs; tensors are sent in their own types.

  Args:
    trace: records the collectives.
  """

  def __init__(self, trace: CollectiveTrace):
    # Imported here, since builds for other platforms may lack this module.
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    self._trace, self._ops = trace, gen_xla_ops
    # Functions that have been traced, with the collectives that each issues.
    self._functions: dict[Hashable, tuple] = {}

  def allreduce(self, x: tf.Tensor, groups: Groups, kind: str) -> tf.Tensor:
    self._record(kind, x, groups)
    return self._ops.xla_all_reduce(
      x, group_assignment=groups, reduce_op=kind, mode="CrossReplica"
    )

  def allgather(self, x: tf.Tensor, groups: Groups, axis: int) -> tf.Tensor:
    self._record(GATHER, x, groups)
    shape = static_shape(x)
    shape[axis] *= len(groups[0])
    # TensorFlow has no operation that becomes XLA's all-gather.
    (gathered,) = self._ops.xla_call_module(
      [x],
      version=9,
      module=_all_gather_module(x.dtype, static_shape(x), groups, axis),
      Sout=[shape],
      Tout=[x.dtype],
      platforms=["TPU"],
    )
    return gathered

  def reducescatter(self, x: tf.Tensor, groups: Groups, axis: int) -> tf.Tensor:
    self._record(SCATTER, x, groups)
    # If the first dimension has size one, the compiler turns a reduce-scatter
    # into an all-reduce, which sends twice as much. So leading dimensions of
    # size one are removed here.
    shape = static_shape(x)
    ones = next((i for i, size in enumerate(shape[:axis]) if size > 1), axis)
    shard = self._ops.xla_reduce_scatter(
      tf.reshape(x, shape[ones:]),
      group_assignment=groups,
      scatter_dimension=axis - ones,
      reduce_op=ADD,
    )
    return tf.reshape(shard, [*shape[:ones], *shard.shape])

  def wait_for(self, xs: Sequence[tf.Tensor], other: tf.Tensor) -> list:
    # XLA ignores control dependencies, but not its own barrier.
    return self.optimization_barrier([*xs, other])[:-1]

  def optimization_barrier(self, xs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return list(self._ops.xla_optimization_barrier(xs))

  def call_function(
    self, key: Hashable, fn: Callable, xs: Sequence[tf.Tensor]
  ) -> list[tf.Tensor]:
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in xs]
    key = key, tuple(specs)
    if key in self._functions:
      function, collectives = self._functions[key]
      for call in collectives:
        self._trace.add(0, call)
    else:
      before = len(self._trace.calls)
      function = tf.function(fn, autograph=False).get_concrete_function(*specs)
      if function.captured_inputs:
        raise ValueError(
          f"{fn.__name__} uses tensors that are not among its arguments:"
          f" {function.captured_inputs}. Pass them as arguments."
        )
      self._functions[key] = function, self._trace.calls[before:]
    # XLA lowers a called function again for each call, but the branch of a
    # conditional only once.
    return tf.raw_ops.StatelessCase(
      branch_index=0,
      input=list(xs),
      Tout=[y.dtype for y in function.outputs],
      branches=[function],
      output_shapes=[y.shape for y in function.outputs],
    )

  def _record(self, kind: str, x: tf.Tensor, groups: Groups) -> None:
    """Records a collective; one trace, that of core 0, serves all cores."""
    call = CollectiveCall(kind, groups, tuple(static_shape(x)), x.dtype.name)
    self._trace.add(0, call)


_MLIR_TYPES = {"float32": "f32", "bfloat16": "bf16", "int32": "i32"}


def _all_gather_module(
  dtype: tf.DType, shape: list[int], groups: Groups, axis: int
) -> bytes:
  """Returns a StableHLO module, as text, with a single all-gather.

  Args:
    dtype: type of the tensor.
    shape: shape of one core's shard.
    groups: the groups of cores.
    axis: the tensor axis along which shards are concatenated.
  """

  def tensor_type(sizes, element):
    return f"tensor<{'x'.join(map(str, [*sizes, element]))}>"

  element, gathered_shape = _MLIR_TYPES[dtype.name], list(shape)
  gathered_shape[axis] *= len(groups[0])
  shard = tensor_type(shape, element)
  gathered = tensor_type(gathered_shape, element)
  table = f"dense<{[list(group) for group in groups]}>"
  table_type = tensor_type([len(groups), len(groups[0])], "i64")
  text = f"""module {{
    func.func public @main(%x: {shard}) -> {gathered} {{
      %y = "stablehlo.all_gather"(%x) {{
        all_gather_dim = {axis} : i64,
        replica_groups = {table} : {table_type}
      }} : ({shard}) -> {gathered}
      return %y : {gathered}
    }}
  }}"""
  return text.encode()
