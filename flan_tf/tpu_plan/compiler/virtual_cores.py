"""Virtual cores: CPU threads that run the HLO of a TPU program.

The classes that train, score and decode accept these devices like those of a
TPU. A program is lowered for a TPU when it is first called with arguments of
certain shapes, just as for a plan. The HLO then runs on one CPU device for each
core; the devices are threads of this process.

  devices = open_virtual_devices(8)
  step = TrainStep(devices, layout, run)
  step.weights.initialize(seed=0)
  step(batch, 1, rate)            # a TPU program, on eight threads

Only the worker's process can import this module. XLA reads the number of CPU
devices once, before it creates the first; see `reduced_run.MAX_CORES`.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from jaxlib import xla_client

from flan_tf.mesh.program import Program
from flan_tf.tpu_plan.compiler.abstract_devices import (
  AbstractDevices,
  AbstractStrategy,
  AbstractVariable,
)
from flan_tf.tpu_plan.compiler.compile import to_stablehlo
from flan_tf.tpu_plan.compiler.lower import LoweredProgram, lower_program


class PerCore:
  """One value for each core."""

  def __init__(self, values: Sequence):
    self.values = list(values)


class VirtualVariable(AbstractVariable):
  """A variable of which every core holds its own shard.

  Attributes:
    shards: the value on each core.
  """

  def __init__(
    self, name: str, shape: Sequence[int], dtype: tf.DType, cores: int
  ):
    super().__init__(name, shape, dtype)
    self.shards: list[Any] = [np.zeros(shape, dtype.as_numpy_dtype)] * cores


class _CoreVariable:
  """The part of a `VirtualVariable` that belongs to one core."""

  def __init__(self, variable: VirtualVariable, core: int):
    self._variable, self._core = variable, core

  def assign(self, value: np.ndarray) -> None:
    spec = self._variable.spec
    shard = np.array(value, spec.dtype.as_numpy_dtype)
    if shard.shape != tuple(spec.shape):
      raise ValueError(
        f"{self._variable.name}: a shard has shape {spec.shape}, but the value"
        f" to assign has {shard.shape}."
      )
    self._variable.shards[self._core] = shard

  def numpy(self) -> np.ndarray:
    return np.asarray(self._variable.shards[self._core])


class VirtualStrategy(AbstractStrategy):
  """An abstract strategy whose variables keep values between programs."""

  def __init__(self, cores: int):
    super().__init__()
    self._cores = cores

  def experimental_distribute_values_from_function(
    self, make: Callable
  ) -> PerCore:
    contexts = (
      tf.distribute.experimental.ValueContext(core, self._cores)
      for core in range(self._cores)
    )
    return PerCore([np.asarray(make(context)) for context in contexts])

  def experimental_local_results(self, value) -> tuple:
    if isinstance(value, VirtualVariable):
      return tuple(_CoreVariable(value, core) for core in range(self._cores))
    return tuple(value.values)


@dataclasses.dataclass(frozen=True)
class VirtualDevices(AbstractDevices):
  """CPU threads that take the place of TPU cores."""

  def new_shard(
    self, name: str, shape: Sequence[int], dtype: tf.DType
  ) -> VirtualVariable:
    variable = VirtualVariable(name, shape, dtype, self.cores)
    self.strategy.variables.append(variable)
    return variable

  def compile_program(self, program: Program, jit_compile: bool) -> Callable:
    del jit_compile  # XLA compiles every program here.
    return _Runner(self, program)


def open_virtual_devices(cores: int) -> VirtualDevices:
  """Returns a number of virtual cores.

  Raises:
    ValueError: XLA's CPU client has fewer devices.
  """
  available = len(_client().devices())
  if available < cores:
    raise ValueError(
      f"The mesh has {cores} cores, but XLA's client has {available} devices."
      " Set XLA_FLAGS, before jaxlib creates the client, to"
      f" --xla_force_host_platform_device_count={cores}."
    )
  return VirtualDevices(VirtualStrategy(cores), "tpu", cores)


class _Executable(NamedTuple):
  """A program for arguments of certain shapes.

  Attributes:
    lowered: the lowered program.
    loaded: the same program, compiled by XLA for CPU devices.
  """

  lowered: LoweredProgram
  loaded: Any


class _Runner:
  """Calls a program; compiles it once for each shape of its arguments."""

  def __init__(self, devices: VirtualDevices, program: Program):
    self._devices, self._program = devices, program
    self._executables: dict[Any, _Executable] = {}

  def __call__(self, *args):
    flat = tf.nest.flatten(list(args))
    specs = [tf.TensorSpec(x.values[0].shape, x.values[0].dtype) for x in flat]
    # All variables of the devices are arguments. If a state was created since
    # the last call, the program has more arguments.
    variables = len(self._devices.strategy.variables)
    key = (variables, *((tuple(spec.shape), spec.dtype) for spec in specs))
    if key not in self._executables:
      inputs = tf.nest.pack_sequence_as(list(args), specs)
      lowered = lower_program(self._devices, self._program, inputs)
      loaded = _load(lowered, self._devices.cores)
      self._executables[key] = _Executable(lowered, loaded)
    return self._run(self._executables[key], flat)

  def _run(self, executable: _Executable, inputs: list[PerCore]):
    """Runs the program, updates the variables, returns the outputs."""
    variables = self._devices.strategy.variables
    cores = range(self._devices.cores)
    arguments = [[np.array(core, np.int32) for core in cores]]
    arguments += [variable.shards for variable in variables]
    arguments += [x.values for x in inputs]
    results = [
      PerCore(x)
      for x in executable.loaded.execute_sharded(
        [_put(values) for values in arguments]
      ).disassemble_into_single_device_arrays()
    ]
    assigned = executable.lowered.assigned
    new_values, outputs = results[: len(assigned)], results[len(assigned) :]
    for index, new in zip(assigned, new_values, strict=True):
      variables[index].shards = new.values
    return tf.nest.pack_sequence_as(executable.lowered.outputs, outputs)


def _put(values: Sequence) -> list:
  """Copies one value to each device; arrays on devices stay where they are."""
  client = _client()
  devices = client.devices()[: len(values)]
  return [
    client.buffer_from_pyval(value, device)
    if isinstance(value, np.ndarray)
    else value
    for value, device in zip(values, devices, strict=True)
  ]


def _load(lowered: LoweredProgram, cores: int):
  """Compiles a program for CPU devices, one for each core."""
  options = xla_client.CompileOptions()
  options.num_replicas, options.num_partitions = cores, 1
  # These programs run only a few times, so compiling takes most of the time.
  debug = options.executable_build_options.debug_options
  debug.xla_backend_optimization_level = 0
  options.device_assignment = xla_client.DeviceAssignment.create(
    np.arange(cores).reshape(-1, 1)
  )
  devices = xla_client.DeviceList(tuple(_client().devices()[:cores]))
  return _client().compile_and_load(to_stablehlo(lowered), devices, options)


@functools.cache
def _client():
  return xla_client.make_cpu_client()
