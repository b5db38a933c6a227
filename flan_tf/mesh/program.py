"""Runs one step function on every core.

def step(core, tokens):                # traced once for each core
  weights = core.read(state)           # Mesh-TF tensors
  tokens = core.feed(tokens, shape)
  loss = ...                           # Mesh-TF operations
  core.lower()                         # Mesh-TF -> TensorFlow
  core.write(state, new_weights)
  return core.value(loss)

program = Program(devices, layout, step)
losses = program(program.shard(tokens, shape))  # one value for each local core
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.distribute_utils import regroup

from flan_tf.mesh.collective_trace import CollectiveTrace
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices
from flan_tf.mesh.layout import Layout, numpy_index, parse_layout
from flan_tf.mesh.mesh_impl import CoreMeshImpl
from flan_tf.mesh.state import State
from flan_tf.mesh.tpu_transport import TpuTransport
from flan_tf.mesh.transport import (
  CollectiveTransport,
  SingleCoreTransport,
  Transport,
)


class CoreProgram:
  """One core's Mesh-TF graph while a step function builds it.

  Attributes:
    mesh: the Mesh-TF mesh with its graph.
  """

  def __init__(self, impl: CoreMeshImpl):
    self.mesh = mtf.Mesh(mtf.Graph(), "mesh")
    self._impl = impl
    self._lowering: mtf.Lowering  # Set by `lower`.

  def new_graph(self) -> "CoreProgram":
    """Returns an empty graph for the same core, e.g. for the body of a loop."""
    return CoreProgram(self._impl)

  def feed(self, value: tf.Tensor, shape: mtf.Shape) -> mtf.Tensor:
    """Imports this core's shard of a tensor.

    Args:
      value: the shard.
      shape: global shape of the tensor.
    """
    laid_out = self._impl.LaidOutTensor([tf.convert_to_tensor(value)])
    return mtf.import_laid_out_tensor(self.mesh, laid_out, mtf.Shape(shape))

  def read(self, state: State) -> dict[str, mtf.Tensor]:
    """Reads all tensors of a state, by name."""
    return {
      name: self.feed(state.variable(name).read_value(), spec.shape)
      for name, spec in state.specs.items()
    }

  def lower(self) -> None:
    """Turns the graph into TensorFlow operations."""
    self._lowering = self._impl.lowering(self.mesh)

  def value(self, x: mtf.Tensor) -> tf.Tensor:
    """Returns this core's shard of a lowered tensor."""
    return self._lowering.tensors[x].to_laid_out_tensor().one_slice

  def write(self, state: State, tensors: Mapping[str, mtf.Tensor]) -> None:
    """Assigns lowered tensors to the state's variables, by name."""
    # All values are computed before the first assignment, so that none of them
    # depends on a variable that has already changed.
    values = {name: self.value(x) for name, x in tensors.items()}
    with tf.control_dependencies(list(values.values())):
      for name, value in values.items():
        state.variable(name).assign(value)


class Program:
  """A step function, compiled for all cores of a mesh at its first call.

  Args:
    devices: devices to run on.
    layout: the mesh.
    step: see the module's docstring; returns a nest of tensors.
    jit_compile: whether XLA compiles the step. That takes seconds, and pays for
      steps that run often. Ignored on a split mesh of CPUs or GPUs, whose
      collectives are not XLA's.

  Attributes:
    replica_fn: the function that the strategy runs on every core.
    trace: collectives of the program, once it has been traced.
  """

  def __init__(
    self,
    devices: Devices,
    layout: Layout,
    step: Callable,
    jit_compile: bool = False,
  ):
    if devices.cores != layout.cores:
      raise ValueError(
        f"The layout has {layout.cores} cores, but {devices.cores} devices are"
        " open."
      )
    self._devices, self._layout, self._step = devices, layout, step
    self.replica_fn = self._run_core
    self.trace: CollectiveTrace  # Set while tracing.
    self._ordering_token = None
    if layout.is_split and devices.platform != "tpu":
      with devices.strategy.scope():
        self._ordering_token = tf.Variable(
          tf.zeros([]),
          trainable=False,
          synchronization=tf.VariableSynchronization.ON_READ,
          aggregation=tf.VariableAggregation.NONE,
        )
    self._run = devices.compile_program(
      self, jit_compile and not layout.is_split
    )
    self._run_loop: Callable | None = None  # Set by `run_steps`.

  def __call__(self, *args) -> list:
    """Runs the step.

    Args:
      *args: nests of per-core values from `shard` or `replicate`.

    Returns:
      One result for each core of this host.
    """
    return self.local_results(self.dispatch(*args))

  def dispatch(self, *args) -> Any:
    """Runs the step; the results stay on the cores, to be fed again.

    Args:
      *args: nests of per-core values.

    Returns:
      A nest of per-core values.
    """
    return self._run(*args)

  def local_results(self, results: Any) -> list:
    """Returns results of `dispatch` as one nest for each core of this host."""
    local = self._devices.strategy.experimental_local_results
    flat = [local(x) for x in tf.nest.flatten(results)]
    return [
      tf.nest.pack_sequence_as(results, values)
      for values in zip(*flat, strict=True)
    ]

  @property
  def can_loop(self) -> bool:
    """True if `run_steps` works on these devices.

    On a split mesh of CPUs or GPUs, collectives hang in a loop whose cores
    share a graph.
    """
    return self._devices.platform == "tpu" or not self._layout.is_split

  def run_steps(self, results: int, *args) -> np.ndarray:
    """Runs the step several times before control returns to Python.

    Args:
      results: number of float32 scalars that the step returns.
      *args: as for a call, but with an additional first axis: one entry for
        each step.

    Returns:
      float32 [steps, results], of the first core of this host.
    """
    run = self._run_loop or tf.function(
      functools.partial(self._trace_steps, results), autograph=False
    )
    self._run_loop = run
    return run(*args).numpy()

  def shard(self, value: np.ndarray, dims: mtf.Shape):
    """Gives each core its shard of a global array.

    Args:
      value: the array; every host passes the same.
      dims: its dimensions.
    """
    value, shape = np.asarray(value), mtf.Shape(dims)
    if value.shape != tuple(shape.to_integer_list):
      raise ValueError(
        f"An array of shape {value.shape} does not have the shape {shape}."
      )

    def shard_for(context):
      core = int(context.replica_id_in_sync_group)
      shard = value[numpy_index(self._layout.shard_range(shape, core))]
      return self._devices.create_beside(core, lambda: tf.constant(shard))

    return self._devices.strategy.experimental_distribute_values_from_function(
      shard_for
    )

  def replicate(self, value):
    """Gives each core the same value."""

    def value_for(context):
      core = int(context.replica_id_in_sync_group)
      return self._devices.create_beside(
        core, lambda: tf.convert_to_tensor(value)
      )

    return self._devices.strategy.experimental_distribute_values_from_function(
      value_for
    )

  def assemble(self, per_core: list, dims: mtf.Shape) -> np.ndarray:
    """Assembles a global array from the shards of this host's cores.

    Args:
      per_core: one shard for each core of this host.
      dims: dimensions of the global array.
    """
    shape = mtf.Shape(dims)
    dtype = np.asarray(per_core[0]).dtype
    whole = np.zeros(shape.to_integer_list, dtype)
    for core, shard in zip(self._devices.local_cores, per_core, strict=True):
      at = self._layout.shard_range(shape, core)
      whole[numpy_index(at)] = np.asarray(shard)
    return whole

  def run_replicas(self, *args):
    """Runs the step on every core; traced by `Devices.compile_program`."""
    self.trace = CollectiveTrace()
    results = self._devices.strategy.run(self.replica_fn, args)
    self.trace.check()
    return results

  def _trace_steps(self, results: int, *args) -> tf.Tensor:
    """Builds the loop of `run_steps`; on a TPU a core's host runs it."""
    local = self._devices.strategy.experimental_local_results
    flat = [local(x) for x in tf.nest.flatten(args)]
    steps = flat[0][0].shape[0]

    def step(index, rows):
      inputs = [regroup(tuple(x[index] for x in per_core)) for per_core in flat]
      out = self.run_replicas(*tf.nest.pack_sequence_as(args, inputs))
      row = tf.stack([local(x)[0] for x in tf.nest.flatten(out)])
      return index + 1, rows.write(index, row)

    rows = tf.TensorArray(tf.float32, steps, element_shape=[results])
    _, rows = tf.while_loop(
      lambda index, _: index < steps, step, (0, rows), parallel_iterations=1
    )
    return rows.stack()

  def _run_core(self, *args):
    """Builds and runs the step on the core of the current replica context."""
    core = tf.distribute.get_replica_context().replica_id_in_sync_group
    static = tf.get_static_value(core)
    core = core if static is None else int(static)
    impl = CoreMeshImpl(self._layout, core, self._transport(core))
    return self._step(CoreProgram(impl), *args)

  def _transport(self, core) -> Transport:
    """Returns the collectives of a core."""
    if self._devices.platform == "tpu":
      self.trace.begin(0)
      return TpuTransport(self.trace)
    if not self._layout.is_split:
      return SingleCoreTransport()
    self.trace.begin(core)
    tokens = self._devices.strategy.experimental_local_results(
      self._ordering_token
    )
    token = tokens[core - self._devices.local_cores.start].handle
    return CollectiveTransport(core, self._layout.cores, token, self.trace)


class ProgramSpec(NamedTuple):
  """A program with a description of its inputs; see flan_tf.tpu_plan.

  Attributes:
    program: the program.
    feeds: a nest of TensorSpecs: the inputs of one core.
    times: how often it runs in one step.
  """

  program: Program
  feeds: Sequence
  times: int = 1


class HostSum:
  """Sums a number over the cores of all hosts, which must all call it.

  Each core counts with the value of its host. A call returns once every host
  has called it, so that it is a barrier as well. With one host nothing is
  exchanged, and a call returns its argument.

  Args:
    devices: the devices of all hosts.
  """

  def __init__(self, devices: Devices):
    self._devices = devices
    cores = mtf.Shape([mtf.Dimension("batch", devices.cores)])

    def step(core: CoreProgram, value):
      total = mtf.reduce_sum(core.feed(value, cores))
      core.lower()
      return core.value(total)

    layout = parse_layout(f"data:{devices.cores}", "batch:data", ("batch",))
    self._sum = Program(devices, layout, step) if devices.hosts > 1 else None

  def __call__(self, value: float = 0.0) -> float:
    if self._sum is None:
      return value
    total, *_ = self._sum(self._sum.replicate(np.array([value], np.float32)))
    return float(np.asarray(total))
