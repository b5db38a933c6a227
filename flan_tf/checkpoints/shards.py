"""Reads and writes the shards of states in TensorFlow's checkpoint files.

A shard is read and written on the worker whose core holds it, by that worker's
TensorFlow server. So shards travel over the network only to and from storage,
and all workers of a pod write at the same time.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import tensorflow as tf

from flan_tf.mesh.layout import ShardRange
from flan_tf.mesh.state import State, StateSpec

# Bytes of shards that are read in one call. Reading needs this much memory
# beside the state.
_READ_BYTES = 2**28
_PYTHON_DEVICE = "/job:localhost/replica:0/task:0/device:CPU:0"
_S = TypeVar("_S")
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class _StoredShard:
  """A shard in a checkpoint file, and the variables that hold it.

  Attributes:
    name: name of the tensor.
    place: where the shard lies in the whole tensor, in TensorFlow's notation:
      "8 4 0,4:0,4" is the whole shape, then (begin, size) of each dimension.
      Empty for a whole tensor.
    variables: one variable for each core of this process that holds the shard.
  """

  name: str
  place: str
  variables: list[tf.Variable]

  @property
  def bytes(self) -> int:
    """Size in the file, where all tensors are float32."""
    return self.variables[0].shape.num_elements() * tf.float32.size


class WorkerShards:
  """The shards that one worker writes.

  Attributes:
    device: the worker's CPU; empty for the process that runs Python.
    names: name of the tensor of each shard.
  """

  def __init__(self, device: str, stored: Sequence[_StoredShard]):
    self.device, self.names = device, [shard.name for shard in stored]
    self._places = [shard.place for shard in stored]
    self._variables = [shard.variables[0] for shard in stored]
    self.copy = run_on(device, self._copy)
    self._save = run_on(device, self._save_values)

  def write(self, prefix: str, values: Sequence[tf.Tensor]) -> None:
    """Writes the result of `copy` to PREFIX.index and PREFIX.data-*."""
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


def assign_to_workers(states: Sequence[State]) -> list[WorkerShards]:
  """Decides which worker writes which shard.

  If several cores hold the same shard, one of them writes it. They take turns,
  so that all workers write about the same amount.

  Args:
    states: states on the same devices.
  """
  devices = states[0].devices
  turn = 0
  by_worker: dict[str, list[_StoredShard]] = {
    worker: [] for worker in devices.cores_by_worker
  }
  for state in states:
    for name, spec in state.specs.items():
      local = _local_variables(state, name)
      for at, cores in _cores_by_shard(state, spec).items():
        core = cores[turn % len(cores)]
        turn += 1
        if core in local:
          shard = _StoredShard(name, _place(spec, at), [local[core]])
          by_worker[devices.host_device(core)].append(shard)
  return [WorkerShards(worker, stored) for worker, stored in by_worker.items()]


def restore_shards(prefix: str, state: State) -> None:
  """Sets every shard of a state from checkpoint files.

  Each worker reads the shards of its own cores.

  Args:
    prefix: prefix of the files, which may have been written on any mesh.
    state: the state to set.
  """
  devices = state.devices

  def read(worker: str) -> None:
    cores = devices.cores_by_worker[worker]
    for group in _groups(_shards_of_cores(state, cores)):

      def load(group=group) -> None:
        values = tf.raw_ops.RestoreV2(
          prefix=prefix,
          tensor_names=[shard.name for shard in group],
          shape_and_slices=[shard.place for shard in group],
          dtypes=[tf.float32] * len(group),
        )
        for shard, value in zip(group, values, strict=True):
          value = tf.cast(value, shard.variables[0].dtype)
          for variable in shard.variables:
            variable.assign(value)

      run_on(worker, load)()

  for_each_worker(list(devices.cores_by_worker), read)


def run_on(device: str, fn: Callable[..., _T]) -> Callable[..., _T]:
  """Returns `fn` as a function that runs on a worker and waits for the end.

  Eager operations on the devices of another process return before they are
  done, and their errors are raised by the next operation. A `tf.function`
  that is called from this process does wait.

  Args:
    device: CPU of the worker; if empty, `fn` is returned as it is.
    fn: a function of TensorFlow operations.
  """
  if not device:
    return fn

  def on_worker(*args):
    with tf.device(device):
      return fn(*args)

  function = tf.function(on_worker, autograph=False)

  def call(*args):
    with tf.device(_PYTHON_DEVICE):
      return function(*args)

  return call


def for_each_worker(workers: Sequence[_S], fn: Callable[[_S], _T]) -> list[_T]:
  """Calls `fn` for all items at the same time, each in a thread of its own."""
  if len(workers) == 1:
    return [fn(workers[0])]
  with concurrent.futures.ThreadPoolExecutor(len(workers)) as pool:
    return list(pool.map(fn, workers))


def _shards_of_cores(
  state: State, cores: Sequence[int]
) -> Iterator[_StoredShard]:
  """Yields the distinct shards that some cores of this process hold."""
  for name, spec in state.specs.items():
    local = _local_variables(state, name)
    by_range: dict[ShardRange, list[tf.Variable]] = {}
    for core in cores:
      at = state.layout.shard_range(spec.shape, core)
      by_range.setdefault(at, []).append(local[core])
    for at, variables in by_range.items():
      yield _StoredShard(name, _place(spec, at), variables)


def _groups(stored: Iterator[_StoredShard]) -> Iterator[list[_StoredShard]]:
  """Groups shards that are read in one call.

  Opening a file on object storage is slow, so that a call for each shard would
  take long.
  """
  group, size = [], 0
  for shard in stored:
    if group and size + shard.bytes > _READ_BYTES:
      yield group
      group, size = [], 0
    group.append(shard)
    size += shard.bytes
  if group:
    yield group


def _cores_by_shard(
  state: State, spec: StateSpec
) -> dict[ShardRange, list[int]]:
  """Returns, for each distinct shard, all cores of all hosts that hold it."""
  cores: dict[ShardRange, list[int]] = {}
  for core in range(state.devices.cores):
    at = state.layout.shard_range(spec.shape, core)
    cores.setdefault(at, []).append(core)
  return cores


def _local_variables(state: State, name: str) -> dict[int, tf.Variable]:
  """Returns a tensor's variable on each core of this process."""
  devices = state.devices
  local = devices.strategy.experimental_local_results(state.variable(name))
  return dict(zip(devices.local_cores, local, strict=True))


def _place(spec: StateSpec, at: ShardRange) -> str:
  """Returns the place of a shard in TensorFlow's notation; see _StoredShard."""
  sizes = spec.shape.to_integer_list
  if all(pair == (0, size) for pair, size in zip(at, sizes, strict=True)):
    return ""
  shape = " ".join(str(size) for size in sizes)
  return f"{shape} {':'.join(f'{begin},{size}' for begin, size in at)}"
