"""Slices to disk and back, on any mesh.

TensorFlow's checkpoint format stores slices of tensors. Each core's slice is
written where it belongs in the whole, so that `tf.train.load_checkpoint` lists
whole tensors, and a core of any other mesh reads just the part that it needs.
No core ever holds a whole tensor.

  WORKDIR/checkpoints/step_00000100/
    state.index, state.data-*   the tensors
    *.json, vocabulary.model    what the caller gave as `files`
    COMPLETE                    written last: the sizes of all other files

A folder without COMPLETE is not a checkpoint. Nothing is renamed, as object
stores cannot.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from flan_tf.mesh import state as state_lib

_MARKER = "COMPLETE"
_NOTES = ".md"  # For people, who may change them.
_FOLDER = re.compile(r"step_(\d{8})$")


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
  states: Sequence[state_lib.State],
  files: Mapping[str, bytes],
  keep: int,
  barrier: Callable[[], object] = lambda: None,
) -> str:
  """Writes a checkpoint, then removes all but the newest `keep`.

  Args:
    workdir: of the run; may be a `gs://` path.
    step: its number.
    states: what to save; names must differ between them.
    files: small files to go with it, by name.
    keep: how many complete checkpoints stay.
    barrier: returns once all hosts have called it.

  Returns:
    The folder.
  """
  path = folder(workdir, step)
  devices = states[0].devices
  is_chief = devices.host == 0
  if is_chief and tf.io.gfile.exists(path):
    tf.io.gfile.rmtree(path)  # Left over from a run that was stopped.
  barrier()
  tf.io.gfile.makedirs(path)
  parts = [
    os.path.join(path, f"part-{host:05d}-of-{devices.hosts:05d}", "state")
    for host in range(devices.hosts)
  ]
  _write_slices(parts[devices.host], states)
  barrier()
  if is_chief:
    prefix = os.path.join(path, "state")
    # A host whose slices all belong to others has written none.
    parts = [part for part in parts if tf.io.gfile.exists(f"{part}.index")]
    tf.raw_ops.MergeV2Checkpoints(
      checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=True
    )
    finish(path, files)
    for old in steps(workdir)[:-keep]:
      # The marker goes first: a half-removed checkpoint is not one.
      tf.io.gfile.remove(os.path.join(folder(workdir, old), _MARKER))
      tf.io.gfile.rmtree(folder(workdir, old))
  barrier()
  return path


def finish(path: str, files: Mapping[str, bytes]) -> None:
  """Writes what goes with the tensors in a folder, and COMPLETE last of all."""
  for name, content in files.items():
    with tf.io.gfile.GFile(os.path.join(path, name), "wb") as f:
      f.write(content)
  names = [n for n in tf.io.gfile.listdir(path) if not n.endswith(_NOTES)]
  sizes = {name: _size(path, name) for name in names}
  with tf.io.gfile.GFile(os.path.join(path, _MARKER), "w") as f:
    f.write(json.dumps({k: v for k, v in sizes.items() if v >= 0}))


def restore(path: str, states: Sequence[state_lib.State]) -> None:
  """Sets every slice of the states from a checkpoint, whatever mesh wrote it.

  Raises:
    CheckpointError: a tensor is missing, has another shape, or is corrupt.
  """
  prefix = os.path.join(path, "state")
  try:
    shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    for state in states:
      _check_shapes(path, state, shapes)
      for name, spec in state.specs.items():
        for at, variables in state.slices(name):
          value = tf.raw_ops.RestoreV2(
            prefix=prefix,
            tensor_names=[name],
            shape_and_slices=[_slice_spec(spec.shape, at)],
            dtypes=[tf.float32],
          )[0]
          for variable in variables:
            variable.assign(value)
  except (tf.errors.OpError, RuntimeError) as error:
    raise CheckpointError(
      f"Checkpoint {path!r} cannot be read; a file of it is corrupt:"
      f" {str(error).splitlines()[0]}"
    ) from error


def _write_slices(prefix: str, states: Sequence[state_lib.State]) -> None:
  names, specs, values = [], [], []
  for state in states:
    devices = state.devices
    for name, spec in state.specs.items():
      for at, variables in state.slices(name):
        # Of the cores that hold the same slice, the first one writes it.
        owner = min(
          core
          for core in range(devices.cores)
          if state.layout.slice_of(spec.shape, core) == at
        )
        if owner in devices.local_cores:
          names.append(name)
          specs.append(_slice_spec(spec.shape, at))
          values.append(variables[0].read_value())
  if not names:
    return
  tf.io.gfile.makedirs(os.path.dirname(prefix))
  tf.raw_ops.SaveV2(
    prefix=prefix, tensor_names=names, shape_and_slices=specs, tensors=values
  )


def _slice_spec(shape, at: state_lib.Slice) -> str:
  """ "8 4 0,4:0,4": the whole shape, then (begin, size) of each dimension."""
  whole = shape.to_integer_list
  if all(pair == (0, size) for pair, size in zip(at, whole, strict=True)):
    return ""
  sizes = " ".join(str(size) for size in whole)
  return f"{sizes} {':'.join(f'{begin},{size}' for begin, size in at)}"


def _check_shapes(path, state: state_lib.State, shapes) -> None:
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
