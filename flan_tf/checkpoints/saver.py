"""Writes checkpoints in the background while training continues.

TensorFlow's checkpoint format stores shards of tensors. Each core's shard is
written with its place in the whole tensor, so that `tf.train.load_checkpoint`
lists whole tensors, and a core of any other mesh reads just its own shard. No
core ever holds a whole tensor. Each worker writes files of its own, and the
first host merges their indices.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import tensorflow as tf

from flan_tf.checkpoints import checkpoint_dirs, host_barrier, shards
from flan_tf.checkpoints.checkpoint_dirs import CheckpointError
from flan_tf.mesh import tf_errors
from flan_tf.mesh.devices import Devices
from flan_tf.mesh.state import State

_log = logging.getLogger(__name__)

_TIMEOUT = 1800.0  # Seconds that the first host waits for those after it.

# Waits until all hosts have called it; returns the sum of their arguments.
Barrier = Callable[[float], float]


def _single_host_barrier(value: float) -> float:
  return value


def save_checkpoint(
  workdir: str,
  step: int,
  states: Sequence[State],
  files: Mapping[str, bytes],
  keep: int,
  barrier: Barrier = _single_host_barrier,
) -> str:
  """Writes a checkpoint and waits until it is complete; see `Saver.save`."""
  saver = Saver(barrier)
  path = saver.save(workdir, step, states, files, keep)
  saver.wait()
  return path


class Saver:
  """Writes checkpoints in the background, one at a time.

  `save` copies the shards to the memory of their hosts and returns; a thread
  then writes the copies. So a host needs extra memory for the shards that it
  writes, which is at most one copy of the shards that it holds. (On CPUs a copy
  takes no memory until training replaces the shard.)

  The next `save`, `wait`, and the end of a `with` block wait for the thread and
  raise the error that occurred in it. A `with` block that ends by an exception
  waits too, but only logs the error of the thread.

  Hosts synchronize by collectives only in `save` and `wait`, where all of them
  are at the same step. The thread synchronizes by files instead; see
  `flan_tf.checkpoints.host_barrier`.

  Args:
    barrier: called by all hosts; returns the sum of their values once all have
      called it.
    timeout: seconds that the first host waits for the shards of the others.
    check_writer: called on the first host before a checkpoint becomes complete
      and before old ones are removed; raises an error if this process is no
      longer the one that writes to the workdir.
  """

  def __init__(
    self,
    barrier: Barrier = _single_host_barrier,
    timeout: float = _TIMEOUT,
    check_writer: Callable[[], object] = lambda: None,
  ):
    self._barrier, self._timeout = barrier, timeout
    self._check_writer = check_writer
    self._thread: threading.Thread | None = None
    self._path = ""
    # The states of the last checkpoint, and who writes which of their shards.
    self._assignment: tuple[list, list[shards.WorkerShards]] | None = None
    self._error: BaseException | None = None
    self._is_exiting = threading.Event()

  def save(
    self,
    workdir: str,
    step: int,
    states: Sequence[State],
    files: Mapping[str, bytes],
    keep: int,
  ) -> str:
    """Starts writing a checkpoint; old ones are removed once it is complete.

    Args:
      workdir: workdir of the run; may be a `gs://` path.
      step: number of the step.
      states: what to save; their tensors must have different names. They may
        change as soon as this returns.
      files: small files to save with the tensors, by name.
      keep: how many complete checkpoints to keep.

    Returns:
      The folder of the checkpoint.

    Raises:
      CheckpointError: the previous checkpoint could not be written.
    """
    self.wait()
    path = checkpoint_dirs.step_dir(workdir, step)
    devices = states[0].devices
    if devices.host == 0 and tf.io.gfile.exists(path):
      tf.io.gfile.rmtree(path)  # An incomplete one, of a run that was stopped.
    self._barrier(0.0)
    tf.io.gfile.makedirs(path)
    workers = self._assign_shards(states)
    copies = shards.for_each_worker(workers, lambda worker: worker.copy())

    def write() -> None:
      try:
        pairs = list(zip(workers, copies, strict=True))
        self._write(path, devices, pairs, files)
        if devices.host == 0:
          self._check_writer()
          checkpoint_dirs.remove_old(workdir, keep)
          checkpoint_dirs.remove_incomplete(workdir, before=step)
      except BaseException as error:
        self._error = error

    self._path = path
    self._thread = threading.Thread(target=write, daemon=True)
    self._thread.start()
    return path

  def wait(self) -> None:
    """Returns, on all hosts, once the checkpoint that was started is complete.

    Raises:
      CheckpointError: this host, or another one, could not write its shards.
    """
    if self._thread is None:
      return
    self._join()
    error, self._error = self._error, None
    failed_hosts = self._barrier(float(error is not None))
    if error is not None:
      raise _as_checkpoint_error(error, self._path)
    if failed_hosts:
      raise CheckpointError(
        f"Checkpoint {self._path!r} could not be written by another host; its"
        " log says why."
      )

  def __enter__(self) -> Self:
    return self

  def __exit__(self, error_type, error, trace) -> None:
    if error is None:
      self.wait()
      return
    self._is_exiting.set()  # Other hosts may have failed as well.
    self._join()
    if self._error is not None:
      _log.error("%s", _as_checkpoint_error(self._error, self._path))

  def _join(self) -> None:
    if self._thread is not None:
      self._thread.join()
      self._thread = None

  def _assign_shards(
    self, states: Sequence[State]
  ) -> list[shards.WorkerShards]:
    """Assigns shards to workers; kept, since on a pod this takes long."""
    if self._assignment is None or self._assignment[0] != list(states):
      self._assignment = list(states), shards.assign_to_workers(states)
    return self._assignment[1]

  def _write(
    self,
    path: str,
    devices: Devices,
    copies: list[tuple[shards.WorkerShards, list[tf.Tensor]]],
    files: Mapping[str, bytes],
  ) -> None:
    """Writes the shards of this process; the first host then finishes."""
    # There are either several hosts, or one host with several workers.
    number = devices.hosts * len(copies)
    prefixes = [
      checkpoint_dirs.tensor_prefix(
        os.path.join(path, host_barrier.part_name(index, number))
      )
      for index in range(number)
    ]

    def write(index: int) -> None:
      worker, values = copies[index]
      if values:
        prefix = prefixes[devices.host + index]
        tf.io.gfile.makedirs(os.path.dirname(prefix))
        worker.write(prefix, values)
      values.clear()  # Frees the memory.

    try:
      shards.for_each_worker(range(len(copies)), write)
    except BaseException as error:
      host_barrier.report(path, devices.host, devices.hosts, str(error))
      raise
    host_barrier.report(path, devices.host, devices.hosts)
    if devices.host:
      return
    host_barrier.wait_for_hosts(
      path, devices.hosts, self._timeout, self._is_exiting
    )
    # A worker has nothing to write if other workers hold the same shards.
    written = [p for p in prefixes if tf.io.gfile.exists(f"{p}.index")]
    tf.raw_ops.MergeV2Checkpoints(
      checkpoint_prefixes=written,
      destination_prefix=checkpoint_dirs.tensor_prefix(path),
      delete_old_dirs=True,
    )
    self._check_writer()
    checkpoint_dirs.mark_complete(path, files)


def check_shared_workdir(workdir: str, devices: Devices) -> None:
  """Checks that all workers of a TPU slice write to the same workdir.

  Raises:
    CheckpointError: a file that a worker writes to the workdir is not visible
      to this process.
  """
  if not devices.host_devices:
    return  # The only worker is this process.
  tf.io.gfile.makedirs(workdir)
  workers = list(devices.cores_by_worker)

  def check(worker: str) -> None:
    number = workers.index(worker)
    path = os.path.join(workdir, f"worker-{number:05d}.touched")

    def write() -> None:
      tf.io.write_file(path, b"")

    shards.run_on(worker, write)()
    if not tf.io.gfile.exists(path):
      raise CheckpointError(
        f"A file that the TPU worker {worker} wrote to {workdir!r} is not"
        " visible here. Each worker writes its shards of a checkpoint, so"
        " --workdir must be a place that all workers share, such as"
        " gs://BUCKET/RUN."
      )
    tf.io.gfile.remove(path)

  shards.for_each_worker(workers, check)


def _as_checkpoint_error(error: BaseException, path: str) -> BaseException:
  """Turns an error of the background thread into one with advice.

  Errors of lost devices and unknown errors are returned as they are: the
  training loop handles them by their type.
  """
  lost_devices = (tf.errors.UnavailableError, tf.errors.AbortedError)
  known = (tf.errors.OpError, host_barrier.HostBarrierError)
  if isinstance(error, lost_devices) or not isinstance(error, known):
    return error
  checkpoint_error = CheckpointError(
    f"Checkpoint {path!r} could not be written:"
    f" {tf_errors.error_summary(error)}\n"
    "Free some space, or choose a --workdir that can be written to: the run"
    " continues from the previous checkpoint."
  )
  checkpoint_error.__cause__ = error
  return checkpoint_error
