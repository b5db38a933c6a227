"""Runs one step function on every core.

def step(core, tokens):                # traced once for each core
  weights = core.read(state)           # Mesh-TF tensors
  tokens = core.feed(tokens, shape)
  loss = ...                           # Mesh-TF operations
  core.lower()                         # Mesh-TF -> TensorFlow
  core.write(state, new_weights)
  return core.value(loss)

run = Program(devices, layout, step)
losses = run(tokens)                   # one value for each local core
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.distribute_utils import regroup

from flan_tf.mesh import mesh_impl, transport
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices
from flan_tf.mesh.layout import Layout, parse_layout
from flan_tf.mesh.state import State


class CoreProgram:
  """What a step function builds with: one Mesh-TF graph for one core."""

  def __init__(self, impl: mesh_impl.CoreMeshImpl):
    self.mesh = mtf.Mesh(mtf.Graph(), "mesh")
    self._impl = impl
    self._lowering: mtf.Lowering  # Set by `lower`.

  def another(self) -> "CoreProgram":
    """A graph of its own for the same core: that of a loop's body."""
    return CoreProgram(self._impl)

  def feed(self, value: tf.Tensor, shape: mtf.Shape) -> mtf.Tensor:
    """This core's slice of a tensor of that (global) shape."""
    laid_out = self._impl.LaidOutTensor([tf.convert_to_tensor(value)])
    return mtf.import_laid_out_tensor(self.mesh, laid_out, mtf.Shape(shape))

  def read(self, state: State) -> dict[str, mtf.Tensor]:
    """All tensors of a state."""
    return {
      name: self.feed(state.variable(name).read_value(), spec.shape)
      for name, spec in state.specs.items()
    }

  def lower(self) -> None:
    """Turns the graph into TensorFlow operations."""
    self._lowering = self._impl.lowering(self.mesh)

  def value(self, x: mtf.Tensor) -> tf.Tensor:
    """This core's slice of a lowered tensor."""
    return self._lowering.tensors[x].to_laid_out_tensor().one_slice

  def write(self, state: State, tensors: Mapping[str, mtf.Tensor]) -> None:
    """Assigns lowered tensors to the state's variables."""
    # Read all before the first assignment: nothing may see a half-new state.
    values = {name: self.value(x) for name, x in tensors.items()}
    with tf.control_dependencies(list(values.values())):
      for name, value in values.items():
        state.variable(name).assign(value)


class Program:
  """A step function, compiled for all cores of a mesh at its first call.

  Args:
    devices: where to run.
    layout: the mesh.
    step: see the module's docstring; returns a nest of tensors.
    fused: let XLA compile it, which takes seconds and pays where it runs often.
      On a split mesh of CPUs or GPUs it is not: their collectives are not
      XLA's.
  """

  def __init__(
    self,
    devices: Devices,
    layout: Layout,
    step: Callable,
    fused: bool = False,
  ):
    if devices.cores != layout.cores:
      raise ValueError(f"{devices.cores} devices for {layout.cores} cores.")
    self._devices, self._layout, self._step = devices, layout, step
    # The function that the strategy runs, and that a plan lowers.
    self.core_step = self._run_core
    self.trace: transport.CollectiveTrace  # Set while tracing.
    self._token = None
    if layout.is_split and devices.platform != "tpu":
      with devices.strategy.scope():
        self._token = tf.Variable(
          tf.zeros([]),
          trainable=False,
          synchronization=tf.VariableSynchronization.ON_READ,
          aggregation=tf.VariableAggregation.NONE,
        )
    self._run = devices.compiled(self, fused and not layout.is_split)
    self._run_many: Callable | None = None  # Made at the first call of `many`.

  def __call__(self, *args) -> list:
    """Runs the step; returns one result for each core of this host.

    Args:
      *args: nests of per-core values, made by `split` or `everywhere`.
    """
    return self.local(self.start(*args))

  @property
  def can_loop(self) -> bool:
    """Whether `many` works here.

    Collectives of CPUs and GPUs hang in a loop whose cores share a graph.
    """
    return self._devices.platform == "tpu" or not self._layout.is_split

  def many(self, results: int, *args) -> np.ndarray:
    """Runs the step many times between two returns to Python.

    Args:
      results: how many float32 scalars the step returns.
      *args: as for a call, but each with a first axis of as many as there are
        steps.

    Returns:
      float32 [steps, results], of this host's first core.
    """
    run = self._run_many or tf.function(
      functools.partial(self._run_steps, results), autograph=False
    )
    self._run_many = run
    return run(*args).numpy()

  def start(self, *args):
    """Like a call, but leaves the results on the cores, to be fed again."""
    return self._run(*args)

  def local(self, out) -> list:
    """What `start` returned: one nest for each core of this host."""
    local = self._devices.strategy.experimental_local_results
    flat = [local(x) for x in tf.nest.flatten(out)]
    return [tf.nest.pack_sequence_as(out, x) for x in zip(*flat, strict=True)]

  def split(self, value: np.ndarray, dims: mtf.Shape):
    """Gives each core its slice of a global array of these dimensions."""
    value = np.asarray(value)
    if value.shape != tuple(mtf.Shape(dims).to_integer_list):
      raise ValueError(f"An array of shape {value.shape} is not {dims}.")

    def slice_for(context):
      core = int(context.replica_id_in_sync_group)
      at = self._layout.slice_of(mtf.Shape(dims), core)
      mine = value[tuple(slice(b, b + n) for b, n in at)]
      return self._devices.put(core, lambda: tf.constant(mine))

    return self._devices.strategy.experimental_distribute_values_from_function(
      slice_for
    )

  def everywhere(self, value):
    """Gives each core the same value."""

    def value_for(context):
      core = int(context.replica_id_in_sync_group)
      return self._devices.put(core, lambda: tf.convert_to_tensor(value))

    return self._devices.strategy.experimental_distribute_values_from_function(
      value_for
    )

  def join(self, per_core: list, dims: mtf.Shape) -> np.ndarray:
    """The global array of which `per_core` holds this host's slices."""
    shape = mtf.Shape(dims)
    first = np.asarray(per_core[0])
    out = np.zeros(shape.to_integer_list, first.dtype)
    for core, value in zip(self._devices.local_cores, per_core, strict=True):
      at = self._layout.slice_of(shape, core)
      out[tuple(slice(b, b + n) for b, n in at)] = np.asarray(value)
    return out

  def run_all(self, *args):
    """What a call does, to be traced: the step on every core."""
    self.trace = transport.CollectiveTrace()
    out = self._devices.strategy.run(self.core_step, args)
    self.trace.check()
    return out

  def _run_steps(self, results: int, *args) -> tf.Tensor:
    """The loop of `many`: on a TPU, the host that drives a core runs it."""
    local = self._devices.strategy.experimental_local_results
    flat = [local(x) for x in tf.nest.flatten(args)]
    steps = flat[0][0].shape[0]

    def step(index, found):
      mine = [regroup(tuple(x[index] for x in of_cores)) for of_cores in flat]
      out = self.run_all(*tf.nest.pack_sequence_as(args, mine))
      first = tf.stack([local(x)[0] for x in tf.nest.flatten(out)])
      return index + 1, found.write(index, first)

    found = tf.TensorArray(tf.float32, steps, element_shape=[results])
    _, found = tf.while_loop(
      lambda index, _: index < steps, step, (0, found), parallel_iterations=1
    )
    return found.stack()

  def _run_core(self, *args):
    core = tf.distribute.get_replica_context().replica_id_in_sync_group
    static = tf.get_static_value(core)
    core = core if static is None else int(static)
    impl = mesh_impl.CoreMeshImpl(self._layout, core, self._transport(core))
    return self._step(CoreProgram(impl), *args)

  def _transport(self, core) -> transport.Transport:
    if self._devices.platform == "tpu":
      self.trace.start(0)
      return transport.TpuTransport(self.trace)
    if not self._layout.is_split:
      return transport.SingleCoreTransport()
    self.trace.start(core)
    local = self._devices.strategy.experimental_local_results(self._token)
    token = local[core - self._devices.local_cores.start].handle
    return transport.CollectiveTransport(
      core, self._layout.cores, token, self.trace
    )


class Fed(NamedTuple):
  """A program, what one core feeds it with, and how often that is done.

  `feeds` is a nest of TensorSpecs; see flan_tf.tpu_plan.
  """

  program: Program
  feeds: Sequence
  times: int = 1


class Agreement:
  """Adds up a number over all cores; returns once every host has called it.

  On one host nothing is exchanged.
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
    total, *_ = self._sum(self._sum.everywhere(np.array([value], np.float32)))
    return float(np.asarray(total))
