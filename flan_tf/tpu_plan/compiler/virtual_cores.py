"""Virtual cores: a TPU program's HLO, run by XLA's client for CPUs.

The classes that train, score and decode take these devices as they would take
a TPU's. Each program is lowered for a TPU at its first call with arguments of
some shapes, as a plan lowers it, and what was lowered runs on as many devices
as there are cores, all of them threads of this process:

  devices = virtual.devices(8)
  step = TrainStep(devices, layout, run)
  step.weights.initialize(seed=0)
  step(batch, 1, rate)                # a program for TPUs, on eight threads

Imported by the worker alone. XLA reads how many devices there are once in a
process, before the first: see `MOST_CORES`.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from jaxlib import xla_client

from flan_tf.mesh import program
from flan_tf.tpu_plan.compiler import abstract_devices, compile, lower


class PerCore:
  """A value for each core."""

  def __init__(self, values: Sequence):
    self.values = list(values)


class VirtualVariable(abstract_devices.AbstractVariable):
  """A slice of which every core holds a value."""

  def __init__(
    self, name: str, shape: Sequence[int], dtype: tf.DType, cores: int
  ):
    super().__init__(name, shape, dtype)
    self.parts: list[Any] = [np.zeros(shape, dtype.as_numpy_dtype)] * cores


class _Part:
  """What stands for the variable of one core."""

  def __init__(self, held: VirtualVariable, core: int):
    self._held, self._core = held, core

  def assign(self, value: np.ndarray) -> None:
    part = np.array(value, self._held.spec.dtype.as_numpy_dtype)
    if part.shape != tuple(self._held.spec.shape):
      raise ValueError(
        f"{self._held.name} is {self._held.spec.shape}, not {part.shape}."
      )
    self._held.parts[self._core] = part

  def numpy(self) -> np.ndarray:
    return np.asarray(self._held.parts[self._core])


class VirtualStrategy(abstract_devices.AbstractStrategy):
  """An abstract strategy whose slices have values between the programs."""

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
      return tuple(_Part(value, core) for core in range(self._cores))
    return tuple(value.values)


@dataclasses.dataclass(frozen=True)
class VirtualDevices(abstract_devices.AbstractDevices):
  """Threads that take the place of a TPU's cores."""

  def new_slice(
    self, name: str, shape: Sequence[int], dtype: tf.DType
  ) -> VirtualVariable:
    made = VirtualVariable(name, shape, dtype, self.cores)
    self.strategy.slices.append(made)
    return made

  def compiled(self, made: program.Program, fused: bool) -> Callable:
    del fused  # All is.
    return _Runner(self, made)


def open_virtual_devices(cores: int) -> VirtualDevices:
  """So many cores.

  Raises:
    ValueError: XLA's client has fewer devices.
  """
  have = len(_client().devices())
  if have < cores:
    raise ValueError(
      f"The mesh has {cores} cores, but XLA's client has {have} devices. Before"
      " jaxlib makes it, XLA_FLAGS must have"
      f" --xla_force_host_platform_device_count={cores}."
    )
  return VirtualDevices(VirtualStrategy(cores), "tpu", cores)


class _Runner:
  """A program, lowered and compiled once for each shape of its arguments."""

  def __init__(self, on: VirtualDevices, made: program.Program):
    self._devices, self._made = on, made
    self._executables: dict[Any, tuple] = {}

  def __call__(self, *args):
    flat = tf.nest.flatten(list(args))
    specs = [tf.TensorSpec(x.values[0].shape, x.values[0].dtype) for x in flat]
    # The devices' slices are arguments, too: another state, another program.
    held = len(self._devices.strategy.slices)
    key = held, *((tuple(spec.shape), spec.dtype) for spec in specs)
    if key not in self._executables:
      feeds = tf.nest.pack_sequence_as(list(args), specs)
      lowered = lower.lower(self._devices, self._made, feeds)
      self._executables[key] = lowered, _executable(lowered, self._devices)
    lowered, executable = self._executables[key]
    return self._run(lowered, executable, flat)

  def _run(self, lowered: lower.Lowered, executable, flat: list[PerCore]):
    slices = self._devices.strategy.slices
    cores = range(self._devices.cores)
    numbers = [np.array(core, np.int32) for core in cores]
    values = [numbers, *(held.parts for held in slices)]
    values += [x.values for x in flat]
    out = executable.execute_sharded([_put(value) for value in values])
    out = [PerCore(x) for x in out.disassemble_into_single_device_arrays()]
    changed = len(lowered.changed)
    for number, new in zip(lowered.changed, out[:changed], strict=True):
      slices[number].parts = new.values
    return tf.nest.pack_sequence_as(lowered.results, out[changed:])


def _put(values: Sequence) -> list:
  """One value on each device; what already lies there stays."""
  client = _client()
  devices = client.devices()[: len(values)]
  return [
    client.buffer_from_pyval(value, device)
    if isinstance(value, np.ndarray)
    else value
    for value, device in zip(values, devices, strict=True)
  ]


def _executable(lowered: lower.Lowered, on: VirtualDevices):
  options = xla_client.CompileOptions()
  options.num_replicas, options.num_partitions = on.cores, 1
  # These programs run a few times: compiling them is what takes long.
  debug = options.executable_build_options.debug_options
  debug.xla_backend_optimization_level = 0
  options.device_assignment = xla_client.DeviceAssignment.create(
    np.arange(on.cores).reshape(-1, 1)
  )
  chosen = tuple(_client().devices()[: on.cores])
  return _client().compile_and_load(
    compile.stablehlo(lowered), xla_client.DeviceList(chosen), options
  )


@functools.cache
def _client():
  return xla_client.make_cpu_client()
