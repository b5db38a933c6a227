"""A strategy that runs nothing.

`Program` hands a function to `strategy.run`, and `State` keeps a variable for
each slice. Here `run` calls that very function, once, with a core number that
is not known, while a graph is traced; and a slice has a shape, but a value only
while that goes on. So a program of 137 billion parameters can be lowered where
no core and no weight exists:

  devices = abstract.devices(128)
  step = TrainStep(devices, layout, run)          # no memory is taken
  with devices.strategy.tracing(core, values):    # tensors, as arguments
    out = step.program.run_all(*feeds)
    new = devices.strategy.changed()
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from flan_tf.mesh.devices import Devices


class AbstractVariable:
  """Stands for the variable with a core's slice of a tensor."""

  def __init__(self, name: str, shape: Sequence[int], dtype: tf.DType):
    self.name = name
    self.spec = tf.TensorSpec(list(shape), dtype, name=name)
    self.value: tf.Tensor | None = None  # While a program is traced.
    self.is_changed = False

  def read_value(self) -> tf.Tensor:
    if self.value is None:
      raise RuntimeError(f"{self.name} has no value: nothing is being traced.")
    return self.value

  def assign(self, value: tf.Tensor) -> None:
    self.value, self.is_changed = value, True


class AbstractStrategy:
  """What `Program` and `State` need of a tf.distribute strategy."""

  def __init__(self):
    self.slices: list[AbstractVariable] = []
    self._core: tf.Tensor | None = None
    # Lends its contexts: they must belong to some strategy.
    self._lender = tf.distribute.OneDeviceStrategy("/cpu:0")

  def run(self, fn: Callable, args: Sequence = ()):
    """Traces the function that a real strategy would run on every core."""
    context = tf.distribute.ReplicaContext(
      self._lender, replica_id_in_sync_group=self._core
    )
    with context:
      return fn(*args)

  @contextlib.contextmanager
  def tracing(
    self, core: tf.Tensor, values: Sequence[tf.Tensor]
  ) -> Iterator[None]:
    """Gives the core number and all slices a value."""
    self._core = core
    for held, value in zip(self.slices, values, strict=True):
      held.value, held.is_changed = value, False
    try:
      yield
    finally:
      self._core = None
      for held in self.slices:
        held.value = None

  def changed(self) -> dict[int, tf.Tensor]:
    """New values of the slices that were assigned, by their number."""
    return {
      number: held.read_value()
      for number, held in enumerate(self.slices)
      if held.is_changed
    }


@dataclasses.dataclass(frozen=True)
class AbstractDevices(Devices):
  """Cores of a TPU slice of which only the programs are wanted."""

  def new_slice(
    self, name: str, shape: Sequence[int], dtype: tf.DType
  ) -> AbstractVariable:
    made = AbstractVariable(name, shape, dtype)
    self.strategy.slices.append(made)
    return made


def open_abstract_devices(cores: int) -> AbstractDevices:
  """So many TPU cores."""
  return AbstractDevices(AbstractStrategy(), "tpu", cores)
