"""Folders of checkpoints: their names, and which of them are complete.

  WORKDIR/checkpoints/step_00000100/
    state.index, state.data-*   the tensors, in TensorFlow's checkpoint format
    run.json, data.json, ...    small files; see flan_tf.checkpoints.bundle
    COMPLETE                    written last: the sizes of all other files

A folder without the file COMPLETE is not a checkpoint. No folder is ever
renamed, because object stores cannot rename.
"""

import json
import os
import re
from collections.abc import Mapping

import tensorflow as tf

# The tensors' names, shapes and checksums.
INDEX = "state.index"
_MARKER = "COMPLETE"
_NOTES = ".md"  # Files for people, who may edit them: sizes are not checked.
_STEP_DIR = re.compile(r"step_(\d{8})$")


class CheckpointError(ValueError):
  """A checkpoint cannot be read or written; the message says why."""


def checkpoints_dir(workdir: str) -> str:
  """Returns the folder that holds all checkpoints of a workdir."""
  return os.path.join(workdir, "checkpoints")


def step_dir(workdir: str, step: int) -> str:
  """Returns the folder of the checkpoint of one step."""
  return os.path.join(checkpoints_dir(workdir), f"step_{step:08d}")


def tensor_prefix(path: str) -> str:
  """Returns the prefix of a checkpoint's tensor files."""
  return os.path.join(path, "state")


def completed_steps(workdir: str) -> list[int]:
  """Returns the steps of all complete checkpoints of a workdir, ascending."""
  parent = checkpoints_dir(workdir)
  if not tf.io.gfile.isdir(parent):
    return []
  steps = []
  for name in tf.io.gfile.listdir(parent):
    match = _STEP_DIR.match(name.rstrip("/"))
    if match and is_complete(step_dir(workdir, int(match.group(1)))):
      steps.append(int(match.group(1)))
  return sorted(steps)


def is_complete(path: str) -> bool:
  """Returns whether a folder is a checkpoint that was written to its end."""
  return tf.io.gfile.exists(os.path.join(path, _MARKER))


def find(path: str) -> str:
  """Returns the folder of a checkpoint.

  Args:
    path: a checkpoint, or a workdir, of which the newest checkpoint is taken.

  Raises:
    CheckpointError: there is no checkpoint, or one of its files is missing or
      has another size than when it was written.
  """
  if is_complete(path):
    _check_sizes(path)
    return path
  steps = completed_steps(path)
  if steps:
    return find(step_dir(path, steps[-1]))
  raise CheckpointError(
    f"No complete checkpoint at {path!r}: expected a folder with a file"
    f" {_MARKER}, or a workdir whose checkpoints/step_* have one."
  )


def read_file(path: str, name: str) -> bytes:
  """Reads one of the small files of a checkpoint.

  Raises:
    CheckpointError: the checkpoint has no such file.
  """
  try:
    with tf.io.gfile.GFile(os.path.join(path, name), "rb") as f:
      return f.read()
  except tf.errors.NotFoundError as error:
    raise CheckpointError(
      f"Checkpoint {path!r} has no file {name!r}."
    ) from error


def mark_complete(path: str, files: Mapping[str, bytes]) -> None:
  """Writes the small files beside the tensors, and COMPLETE last of all.

  Args:
    path: folder of the checkpoint, which already has the tensors.
    files: content of each file by its name.
  """
  for name, content in files.items():
    with tf.io.gfile.GFile(os.path.join(path, name), "wb") as f:
      f.write(content)
  names = [n for n in tf.io.gfile.listdir(path) if not n.endswith(_NOTES)]
  sizes = {name: _size(path, name) for name in names}
  with tf.io.gfile.GFile(os.path.join(path, _MARKER), "w") as f:
    f.write(json.dumps({k: v for k, v in sizes.items() if v >= 0}))


def remove_old(workdir: str, keep: int) -> None:
  """Removes all complete checkpoints of a workdir but the newest `keep`."""
  for step in completed_steps(workdir)[:-keep]:
    # The marker goes first, so that a folder that is removed only in part is
    # never taken for a checkpoint.
    tf.io.gfile.remove(os.path.join(step_dir(workdir, step), _MARKER))
    tf.io.gfile.rmtree(step_dir(workdir, step))


def _check_sizes(path: str) -> None:
  """Raises CheckpointError unless all files have the sizes in COMPLETE."""
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
      problem = "is missing" if actual is None else f"has {actual} bytes"
      raise CheckpointError(
        f"Checkpoint file {file!r} {problem}; {size} were written. Remove the"
        f" folder {path!r} to continue from the checkpoint before it."
      )


def _size(path: str, name: str) -> int:
  """Returns the bytes of a file, or -1 for a folder."""
  file = os.path.join(path, name)
  return -1 if tf.io.gfile.isdir(file) else tf.io.gfile.stat(file).length
