"""Devices that hold no values and run nothing, for tracing programs.

`Program` passes a function to `strategy.run`, and `State` creates a variable
for each shard of a tensor. Here, `run` calls that function once, while a graph
is traced, with a symbolic core number. A shard has a shape, and has a value
only during tracing. This way a program of 137 billion parameters can be lowered
on a machine that has neither its cores nor its weights:

  devices = open_abstract_devices(128)
  step = TrainStep(devices, layout, run)                # allocates no weights
  with devices.strategy.tracing(core_number, values):   # symbolic tensors
    out = step.program.run_replicas(*inputs)
    new_values = devices.strategy.assigned()
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from flan_tf.mesh.devices import Devices


class AbstractVariable:
  """Takes the place of the variable that holds a core's shard of a tensor.

  Attributes:
    name: name of the variable.
    spec: shape and type of the shard.
    value: the symbolic value during tracing, else None.
    is_assigned: True if the traced program has assigned the variable.
  """

  def __init__(self, name: str, shape: Sequence[int], dtype: tf.DType):
    self.name = name
    self.spec = tf.TensorSpec(list(shape), dtype, name=name)
    self.value: tf.Tensor | None = None
    self.is_assigned = False

  def read_value(self) -> tf.Tensor:
    if self.value is None:
      raise RuntimeError(
        f"{self.name} was read outside of tracing. Abstract variables have a"
        " value only inside `AbstractStrategy.tracing`."
      )
    return self.value

  def assign(self, value: tf.Tensor) -> None:
    self.value, self.is_assigned = value, True


class AbstractStrategy:
  """The part of a tf.distribute strategy that `Program` and `State` use.

  Attributes:
    variables: the variables of all states, in the order of their creation.
  """

  def __init__(self):
    self.variables: list[AbstractVariable] = []
    self._core: tf.Tensor | None = None
    # A replica context must belong to a real strategy.
    self._real_strategy = tf.distribute.OneDeviceStrategy("/cpu:0")

  def run(self, fn: Callable, args: Sequence = ()):
    """Traces the function that a real strategy would run on every core."""
    context = tf.distribute.ReplicaContext(
      self._real_strategy, replica_id_in_sync_group=self._core
    )
    with context:
      return fn(*args)

  @contextlib.contextmanager
  def tracing(
    self, core: tf.Tensor, values: Sequence[tf.Tensor]
  ) -> Iterator[None]:
    """Gives the core number and all variables a value during tracing.

    Args:
      core: int32 scalar, the number of the core.
      values: one for each of `variables`.
    """
    self._core = core
    for variable, value in zip(self.variables, values, strict=True):
      variable.value, variable.is_assigned = value, False
    try:
      yield
    finally:
      self._core = None
      for variable in self.variables:
        variable.value = None

  def assigned(self) -> dict[int, tf.Tensor]:
    """Returns the new values of assigned variables, by index in `variables`."""
    return {
      index: variable.read_value()
      for index, variable in enumerate(self.variables)
      if variable.is_assigned
    }


@dataclasses.dataclass(frozen=True)
class AbstractDevices(Devices):
  """TPU cores for which programs can be traced but not run."""

  def new_shard(
    self, name: str, shape: Sequence[int], dtype: tf.DType
  ) -> AbstractVariable:
    variable = AbstractVariable(name, shape, dtype)
    self.strategy.variables.append(variable)
    return variable


def open_abstract_devices(cores: int) -> AbstractDevices:
  """Returns devices for a number of TPU cores."""
  return AbstractDevices(AbstractStrategy(), "tpu", cores)
