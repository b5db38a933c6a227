"""The slices of states as TensorFlow's checkpoint files, and back.

A slice is read and written where it is: by the TensorFlow server of the worker
whose core holds it. So no slice goes over the network but to storage, and on a
pod all workers write at the same time.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import tensorflow as tf

from flan_tf.mesh.state import ShardRange, State, StateSpec

_READ_AT_ONCE = 2**28  # Bytes; so much more memory than the state it takes.
_HERE = "/job:localhost/replica:0/task:0/device:CPU:0"
_S = TypeVar("_S")
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class _Held:
  """A slice on one core of this process.

  `place` is "8 4 0,4:0,4": the whole shape, then (begin, size) of each
  dimension; empty for a whole tensor.
  """

  name: str
  place: str
  variables: list[tf.Variable]

  @property
  def bytes(self) -> int:
    """In the file."""
    return self.variables[0].shape.num_elements() * tf.float32.size


class Share:
  """The slices that one worker writes.

  Attributes:
    device: the worker's CPU; empty for where Python runs.
    names: of the tensors, one for each slice.
  """

  def __init__(self, device: str, held: Sequence[_Held]):
    self.device, self.names = device, [one.name for one in held]
    self._places = [one.place for one in held]
    self._variables = [one.variables[0] for one in held]
    self.copy = on(device, self._copy)
    self._save = on(device, self._save_values)

  def write(self, prefix: str, values: Sequence[tf.Tensor]) -> None:
    """Writes what `copy` gave to PREFIX.index and PREFIX.data-*."""
    self._save(tf.constant(prefix), list(values))

  def _copy(self) -> list[tf.Tensor]:
    return [variable.read_value() for variable in self._variables]

  def _save_values(self, prefix: tf.Tensor, values: list[tf.Tensor]) -> None:
    tf.raw_ops.SaveV2(
      prefix=prefix,
      tensor_names=self.names,
      shape_and_slices=self._places,
      tensors=values,
    )


def shares(states: Sequence[State]) -> list[Share]:
  """Deals out the slices of states, all on the same devices, to the workers.

  Of the cores that hold the same slice one writes it, each in its turn, so that
  all workers have about as much to write.
  """
  devices = states[0].devices
  turn = 0
  held: dict[str, list[_Held]] = {w: [] for w in devices.cores_by_worker}
  for state in states:
    for name, spec in state.specs.items():
      local = _local_variables(state, name)
      for at, cores in _holders(state, spec).items():
        core = cores[turn % len(cores)]
        turn += 1
        if core in local:
          one = _Held(name, _place(spec, at), [local[core]])
          held[devices.host_device(core)].append(one)
  return [Share(worker, mine) for worker, mine in held.items()]


def restore(prefix: str, state: State) -> None:
  """Sets every slice of a state from checkpoint files of any mesh.

  Each worker reads what its own cores hold.
  """
  devices = state.devices

  def read(worker: str) -> None:
    cores = devices.cores_by_worker[worker]
    for group in _groups(_wanted(state, cores)):

      def load(group=group) -> None:
        values = tf.raw_ops.RestoreV2(
          prefix=prefix,
          tensor_names=[one.name for one in group],
          shape_and_slices=[one.place for one in group],
          dtypes=[tf.float32] * len(group),
        )
        for one, value in zip(group, values, strict=True):
          value = tf.cast(value, one.variables[0].dtype)
          for variable in one.variables:
            variable.assign(value)

      on(worker, load)()

  on_each(list(devices.cores_by_worker), read)


def on(device: str, work: Callable[..., _T]) -> Callable[..., _T]:
  """`work`, on a worker, so that a call returns when it is done.

  Operations that are called one by one on another process's devices have only
  begun when the call returns, and an error of theirs comes out of whatever is
  called next. So they are a function, called here.
  """
  if not device:
    return work

  def there(*args):
    with tf.device(device):
      return work(*args)

  function = tf.function(there, autograph=False)

  def call(*args):
    with tf.device(_HERE):
      return function(*args)

  return call


def on_each(items: Sequence[_S], work: Callable[[_S], _T]) -> list[_T]:
  """Calls `work` for each worker, or what stands for it, all at a time."""
  if len(items) == 1:
    return [work(items[0])]
  with concurrent.futures.ThreadPoolExecutor(len(items)) as pool:
    return list(pool.map(work, items))


def _wanted(state: State, cores: Sequence[int]) -> Iterator[_Held]:
  """The slices on some cores, each with all variables that hold it there."""
  for name, spec in state.specs.items():
    local = _local_variables(state, name)
    by_slice: dict[ShardRange, list[tf.Variable]] = {}
    for core in cores:
      at = state.layout.slice_of(spec.shape, core)
      by_slice.setdefault(at, []).append(local[core])
    for at, variables in by_slice.items():
      yield _Held(name, _place(spec, at), variables)


def _groups(wanted: Iterator[_Held]) -> Iterator[list[_Held]]:
  """Slices that are read together: opening a file on object storage is slow."""
  group, size = [], 0
  for one in wanted:
    if group and size + one.bytes > _READ_AT_ONCE:
      yield group
      group, size = [], 0
    group.append(one)
    size += one.bytes
  if group:
    yield group


def _holders(state: State, spec: StateSpec) -> dict[ShardRange, list[int]]:
  """All cores that hold each slice of a tensor, of all hosts."""
  holders: dict[ShardRange, list[int]] = {}
  for core in range(state.devices.cores):
    at = state.layout.slice_of(spec.shape, core)
    holders.setdefault(at, []).append(core)
  return holders


def _local_variables(state: State, name: str) -> dict[int, tf.Variable]:
  """The variable of a tensor's slice on each core of this process."""
  devices = state.devices
  local = devices.strategy.experimental_local_results(state.variable(name))
  return dict(zip(devices.local_cores, local, strict=True))


def _place(spec: StateSpec, at: ShardRange) -> str:
  whole = spec.shape.to_integer_list
  if all(pair == (0, size) for pair, size in zip(at, whole, strict=True)):
    return ""
  sizes = " ".join(str(size) for size in whole)
  return f"{sizes} {':'.join(f'{begin},{size}' for begin, size in at)}"
