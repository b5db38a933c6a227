"""Slices to disk and back, on any mesh.

TensorFlow's checkpoint format stores slices of tensors. Each core's slice is
written where it belongs in the whole, so that `tf.train.load_checkpoint` lists
whole tensors, and a core of any other mesh reads just the part that it needs.
No core ever holds a whole tensor. Each worker writes files of its own, in the
background while training goes on (`Saver`), and the first host joins them.

  WORKDIR/checkpoints/step_00000100/
    state.index, state.data-*   the tensors
    *.json, vocabulary.model    what the caller gave as `files`
    COMPLETE                    written last: the sizes of all other files

A folder without COMPLETE is not a checkpoint. Nothing is renamed, as object
stores cannot.
"""

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import tensorflow as tf

from flan_tf.checkpoints import host_barrier, shards
from flan_tf.mesh import tf_errors
from flan_tf.mesh.devices import Devices
from flan_tf.mesh.state import State

_log = logging.getLogger(__name__)

_MARKER = "COMPLETE"
_NOTES = ".md"  # For people, who may change them.
_FOLDER = re.compile(r"step_(\d{8})$")

_PATIENCE = 1800.0  # Seconds that the first host waits for the others' parts.

Barrier = Callable[[float], float]


def _alone(value: float) -> float:
  return value


class CheckpointError(ValueError):
  """A checkpoint that cannot be used, and why."""


def root(workdir: str) -> str:
  return os.path.join(workdir, "checkpoints")


def folder(workdir: str, step: int) -> str:
  return os.path.join(root(workdir), f"step_{step:08d}")


def steps(workdir: str) -> list[int]:
  """The steps of all complete checkpoints of a workdir, ascending."""
  if not tf.io.gfile.isdir(root(workdir)):
    return []
  found = []
  for name in tf.io.gfile.listdir(root(workdir)):
    match = _FOLDER.match(name.rstrip("/"))
    if match and is_complete(folder(workdir, int(match.group(1)))):
      found.append(int(match.group(1)))
  return sorted(found)


def is_complete(path: str) -> bool:
  return tf.io.gfile.exists(os.path.join(path, _MARKER))


def find(path: str) -> str:
  """The checkpoint that a path means: itself, or a workdir's newest.

  Raises:
    CheckpointError: there is none, or a file of it is missing or cut short.
  """
  if is_complete(path):
    _check_sizes(path)
    return path
  done = steps(path)
  if done:
    return find(folder(path, done[-1]))
  raise CheckpointError(
    f"No complete checkpoint at {path!r}: expected a folder with a file"
    f" {_MARKER}, or a workdir whose checkpoints/step_* have one."
  )


def read_file(path: str, name: str) -> bytes:
  """One of the files that were saved with a checkpoint."""
  try:
    with tf.io.gfile.GFile(os.path.join(path, name), "rb") as f:
      return f.read()
  except tf.errors.NotFoundError as error:
    raise CheckpointError(
      f"Checkpoint {path!r} has no file {name!r}."
    ) from error


def save(
  workdir: str,
  step: int,
  states: Sequence[State],
  files: Mapping[str, bytes],
  keep: int,
  barrier: Barrier = _alone,
) -> str:
  """Writes a checkpoint and waits for it; see `Saver.save`."""
  saver = Saver(barrier)
  path = saver.save(workdir, step, states, files, keep)
  saver.wait()
  return path


class Saver:
  """Writes checkpoints in the background, one at a time.

  `save` copies the slices to the memory of their hosts and returns; a thread
  writes them. So a host needs memory for what it writes: at most once its
  slices, less those that others write. (On CPUs a copy takes nothing until
  training replaces the slice that it is of.) The next `save`, `wait`,
  and the end of a `with` block wait for it, and raise what went wrong in it. A
  block that ends by an error also waits, but only logs what went wrong.

  Hosts agree by collectives only where they are at the same step anyway, in
  `save` and `wait`; in the thread they do by files (`flan_tf.checkpoints.host_barrier`).

  Args:
    barrier: returns once all hosts have called it, with the sum of their
      values.
    patience: seconds that the first host waits for the others' parts.
  """

  def __init__(self, barrier: Barrier = _alone, patience: float = _PATIENCE):
    self._barrier, self._patience = barrier, patience
    self._thread: threading.Thread | None = None
    self._path = ""
    self._shared: tuple[list, list[shards.Share]] | None = None
    self._error: BaseException | None = None
    self._leaving = threading.Event()

  def save(
    self,
    workdir: str,
    step: int,
    states: Sequence[State],
    files: Mapping[str, bytes],
    keep: int,
  ) -> str:
    """Begins a checkpoint; when it is whole, all but the newest are removed.

    Args:
      workdir: of the run; may be a `gs://` path.
      step: its number.
      states: what to save; names must differ between them. They may change as
        soon as this returns.
      files: small files to go with it, by name.
      keep: how many complete checkpoints stay.

    Returns:
      The folder.

    Raises:
      CheckpointError: the checkpoint before could not be written.
    """
    self.wait()
    path, devices = folder(workdir, step), states[0].devices
    if devices.host == 0 and tf.io.gfile.exists(path):
      tf.io.gfile.rmtree(path)  # Left over from a run that was stopped.
    self._barrier(0.0)
    tf.io.gfile.makedirs(path)
    shares = self._shares_of(states)
    copies = shards.on_each(shares, lambda share: share.copy())

    def write() -> None:
      try:
        self._write(
          path, devices, list(zip(shares, copies, strict=True)), files
        )
        if devices.host == 0:
          _keep_newest(workdir, keep)
      except BaseException as error:
        self._error = error

    self._path = path
    self._thread = threading.Thread(target=write, daemon=True)
    self._thread.start()
    return path

  def wait(self) -> None:
    """Returns once what was saved is whole, on all hosts at the same time.

    Raises:
      CheckpointError: this host, or another one, could not write its part.
    """
    if self._thread is None:
      return
    self._join()
    error, self._error = self._error, None
    failed = self._barrier(float(error is not None))
    if error is not None:
      raise _explained(error, self._path)
    if failed:
      raise CheckpointError(
        f"Checkpoint {self._path!r} could not be written by another host; its"
        " log says why."
      )

  def __enter__(self) -> Self:
    return self

  def __exit__(self, kind, error, trace) -> None:
    if error is None:
      self.wait()
      return
    self._leaving.set()  # Other hosts may be gone.
    self._join()
    if self._error is not None:
      _log.error("%s", _explained(self._error, self._path))

  def _join(self) -> None:
    if self._thread is not None:
      self._thread.join()
      self._thread = None

  def _shares_of(self, states: Sequence[State]) -> list[shards.Share]:
    """Which worker writes what; found once, as it takes long on a pod."""
    if self._shared is None or self._shared[0] != list(states):
      self._shared = list(states), shards.shares(states)
    return self._shared[1]

  def _write(
    self,
    path: str,
    devices: Devices,
    copies: list[tuple[shards.Share, list[tf.Tensor]]],
    files: Mapping[str, bytes],
  ) -> None:
    # Either there are several hosts or several workers of the one host.
    number = devices.hosts * len(copies)
    prefixes = [
      os.path.join(path, host_barrier.part(k, number), "state")
      for k in range(number)
    ]

    def write(k: int) -> None:
      share, values = copies[k]
      if values:
        prefix = prefixes[devices.host + k]
        tf.io.gfile.makedirs(os.path.dirname(prefix))
        share.write(prefix, values)
      values.clear()  # Gives the memory back.

    try:
      shards.on_each(range(len(copies)), write)
    except BaseException as error:
      host_barrier.leave(path, devices.host, devices.hosts, str(error))
      raise
    host_barrier.leave(path, devices.host, devices.hosts)
    if devices.host:
      return
    host_barrier.collect(path, devices.hosts, self._patience, self._leaving)
    # Of a tensor that several hold not every worker has a slice to write.
    written = [p for p in prefixes if tf.io.gfile.exists(f"{p}.index")]
    tf.raw_ops.MergeV2Checkpoints(
      checkpoint_prefixes=written,
      destination_prefix=os.path.join(path, "state"),
      delete_old_dirs=True,
    )
    finish(path, files)


def check_shared(workdir: str, devices: Devices) -> None:
  """Raises CheckpointError if a worker of a TPU slice cannot write there."""
  if not devices.host_devices:
    return  # One worker, which is this process.
  tf.io.gfile.makedirs(workdir)
  workers = list(devices.cores_by_worker)

  def touch(worker: str) -> None:
    number = workers.index(worker)
    path = os.path.join(workdir, f"worker-{number:05d}.touched")

    def write() -> None:
      tf.io.write_file(path, b"")

    shards.on(worker, write)()
    if not tf.io.gfile.exists(path):
      raise CheckpointError(
        f"What the TPU worker {worker} writes to {workdir!r} cannot be seen"
        " here. Each worker writes its part of a checkpoint: --workdir must be"
        " a place that all share, such as gs://BUCKET/RUN."
      )
    tf.io.gfile.remove(path)

  shards.on_each(workers, touch)


def finish(path: str, files: Mapping[str, bytes]) -> None:
  """Writes what goes with the tensors in a folder, and COMPLETE last of all."""
  for name, content in files.items():
    with tf.io.gfile.GFile(os.path.join(path, name), "wb") as f:
      f.write(content)
  names = [n for n in tf.io.gfile.listdir(path) if not n.endswith(_NOTES)]
  sizes = {name: _size(path, name) for name in names}
  with tf.io.gfile.GFile(os.path.join(path, _MARKER), "w") as f:
    f.write(json.dumps({k: v for k, v in sizes.items() if v >= 0}))


def restore(path: str, states: Sequence[State]) -> None:
  """Sets every slice of the states from a checkpoint, whatever mesh wrote it.

  Raises:
    CheckpointError: a tensor is missing, has another shape, or is corrupt.
  """
  prefix = os.path.join(path, "state")
  try:
    shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    for state in states:
      _check_shapes(path, state, shapes)
      shards.restore(prefix, state)
  except (tf.errors.OpError, RuntimeError) as error:
    raise CheckpointError(
      f"Checkpoint {path!r} cannot be read; a file of it is corrupt:"
      f" {tf_errors.first_line(error)}"
    ) from error


def _keep_newest(workdir: str, keep: int) -> None:
  for old in steps(workdir)[:-keep]:
    # The marker goes first: a half-removed checkpoint is not one.
    tf.io.gfile.remove(os.path.join(folder(workdir, old), _MARKER))
    tf.io.gfile.rmtree(folder(workdir, old))


def _explained(error: BaseException, path: str) -> BaseException:
  """An error of the background, as one that a user can do something about."""
  gone = (tf.errors.UnavailableError, tf.errors.AbortedError)
  known = (tf.errors.OpError, host_barrier.HostBarrierError)
  if isinstance(error, gone) or not isinstance(error, known):
    return error
  made = CheckpointError(
    f"Checkpoint {path!r} could not be written: {tf_errors.first_line(error)}\n"
    "Make room, or choose a --workdir that can be written to: the run goes on"
    " from the checkpoint before."
  )
  made.__cause__ = error
  return made


def _check_shapes(path, state: State, shapes) -> None:
  for name, spec in state.specs.items():
    if name not in shapes:
      raise CheckpointError(
        f"Checkpoint {path!r} has no tensor {name!r}. It has"
        f" {len(shapes)} tensors, e.g. {sorted(shapes)[:3]}."
      )
    if list(shapes[name]) != spec.shape.to_integer_list:
      raise CheckpointError(
        f"Checkpoint {path!r}: tensor {name!r} has shape {shapes[name]}, but"
        f" the model wants {spec.shape.to_integer_list} ({spec.shape}). Model"
        " sizes and vocabulary must be those that it was trained with."
      )


def _check_sizes(path: str) -> None:
  try:
    sizes = json.loads(read_file(path, _MARKER))
  except ValueError as error:
    raise CheckpointError(
      f"{os.path.join(path, _MARKER)} is corrupt."
    ) from error
  for name, size in sizes.items():
    file = os.path.join(path, name)
    actual = _size(path, name) if tf.io.gfile.exists(file) else None
    if actual != size:
      what = "is missing" if actual is None else f"has {actual} bytes"
      raise CheckpointError(
        f"Checkpoint file {file!r} {what}; {size} were written. Remove the"
        f" folder {path!r} to go on from the checkpoint before it."
      )


def _size(path: str, name: str) -> int:
  """Bytes of a file; -1 for a folder."""
  file = os.path.join(path, name)
  return -1 if tf.io.gfile.isdir(file) else tf.io.gfile.stat(file).length
