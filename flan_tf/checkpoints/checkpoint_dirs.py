"""Folders of checkpoints: their names, and which of them are complete.

  WORKDIR/checkpoints/step_00000100/
    state.index, state.data-*   the tensors, in TensorFlow's checkpoint format
    run.json, data.json, ...    small files; see flan_tf.checkpoints.bundle
    COMPLETE                    written last; see flan_tf.checkpoints.marker

A folder without a whole file COMPLETE is not a checkpoint. No folder is ever
renamed, because object stores cannot rename.
"""

import logging
import os
import re
from collections.abc import Mapping

import tensorflow as tf

from flan_tf import safe_files
from flan_tf.checkpoints import marker
from flan_tf.checkpoints.marker import CheckpointError as CheckpointError
from flan_tf.checkpoints.marker import Marker

# The tensors' names, shapes and checksums.
INDEX = "state.index"
_NOTES = ".md"  # Files for people, who may edit them: they are not checked.
_STEP_DIR = re.compile(r"step_(\d{8})$")

_log = logging.getLogger(__name__)
_logged: set[str] = set()  # Warnings that were logged.


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
  """Returns the steps of all complete checkpoints of a workdir, ascending.

  A checkpoint whose files were changed later is among them: `find` names it.
  """
  return [
    step for step in _steps(workdir) if is_complete(step_dir(workdir, step))
  ]


def is_complete(path: str) -> bool:
  """Returns whether a folder is a checkpoint that was written to its end."""
  file = os.path.join(path, marker.NAME)
  if not tf.io.gfile.exists(file):
    return False
  try:
    if Marker.parse(_read(file), file) is not None:
      return True
  except CheckpointError:
    return True  # It was whole; `find` says what is wrong with it.
  warn_once(
    f"{file} is empty or was cut short, so {path} is not a complete checkpoint"
    " and is not used.",
  )
  return False


def find(path: str) -> str:
  """Returns the folder of a checkpoint.

  Args:
    path: a checkpoint, or a workdir, of which the newest checkpoint is taken.

  Raises:
    CheckpointError: there is no checkpoint, or one of its files is missing or
      is not the one that was written.
  """
  written = _read_marker(path) if is_complete(path) else None
  if written:
    _check_files(path, written)
    return path
  steps = completed_steps(path)
  if steps:
    return find(step_dir(path, steps[-1]))
  raise CheckpointError(
    f"No complete checkpoint at {path!r}: expected a folder with a whole file"
    f" {marker.NAME}, or a workdir whose checkpoints/step_* have one."
  )


def read_file(path: str, name: str) -> bytes:
  """Reads one of the small files of a checkpoint.

  Raises:
    CheckpointError: the checkpoint has no such file, or its content is not what
      was written.
  """
  file = os.path.join(path, name)
  try:
    content = _read(file)
  except tf.errors.NotFoundError as error:
    raise CheckpointError(
      f"Checkpoint {path!r} has no file {name!r}."
    ) from error
  written = _read_marker(path)
  if written:  # Else the checkpoint is being written.
    _check_content(path, written, name, content)
  return content


def mark_complete(path: str, files: Mapping[str, bytes]) -> None:
  """Writes the small files beside the tensors, and COMPLETE last of all.

  Args:
    path: folder of the checkpoint, which already has the tensors.
    files: content of each file by its name.
  """
  for name, content in files.items():
    safe_files.write_bytes(os.path.join(path, name), content)
  names = [n for n in tf.io.gfile.listdir(path) if not n.endswith(_NOTES)]
  sizes = {name: _size(path, name) for name in names}
  sizes = {name: size for name, size in sizes.items() if size >= 0}
  for name in sizes.keys() - files.keys():
    safe_files.flush_to_disk(os.path.join(path, name))
  contents = {name: content for name, content in files.items() if name in sizes}
  if INDEX in sizes:
    contents[INDEX] = _read(os.path.join(path, INDEX))
  digests = {n: safe_files.sha256(content) for n, content in contents.items()}
  safe_files.write_bytes(
    os.path.join(path, marker.NAME), Marker(sizes, digests).to_bytes()
  )


def remove_old(workdir: str, keep: int) -> None:
  """Removes all complete checkpoints of a workdir but the newest `keep`."""
  for step in completed_steps(workdir)[:-keep]:
    # The marker goes first, so that a folder that is removed only in part is
    # never taken for a checkpoint.
    tf.io.gfile.remove(os.path.join(step_dir(workdir, step), marker.NAME))
    tf.io.gfile.rmtree(step_dir(workdir, step))


def remove_incomplete(workdir: str, before: int) -> None:
  """Removes what stopped runs left of checkpoints that they did not complete.

  To be called by the one process that writes to the workdir.

  Args:
    workdir: workdir of the run.
    before: step of a complete checkpoint; only earlier ones are removed.
  """
  for step in _steps(workdir):
    path = step_dir(workdir, step)
    if step < before and not is_complete(path):
      _log.info("Removing %s, which a stopped run left incomplete.", path)
      tf.io.gfile.rmtree(path)


def warn_of_incomplete(workdir: str) -> None:
  """Logs a warning if a workdir has incomplete checkpoints only."""
  steps = _steps(workdir)
  if steps and not completed_steps(workdir):
    _log.warning(
      "%s has no complete checkpoint, only incomplete ones of steps %s: the run"
      " starts again from step 0.",
      checkpoints_dir(workdir),
      ", ".join(map(str, steps)),
    )


def _steps(workdir: str) -> list[int]:
  """Returns the steps of all folders of checkpoints, ascending."""
  parent = checkpoints_dir(workdir)
  if not tf.io.gfile.isdir(parent):
    return []
  names = (name.rstrip("/") for name in tf.io.gfile.listdir(parent))
  matches = (_STEP_DIR.match(name) for name in names)
  return sorted(int(match[1]) for match in matches if match)


def _check_files(path: str, written: Marker) -> None:
  """Checks the sizes of all files, and the content of the tensors' index.

  Raises:
    CheckpointError: a file is missing or is not the one that was written.
  """
  if written.digests is None:
    warn_once(
      f"{path} was written before checkpoints had checksums of their small"
      " files: only sizes and tensors are checked.",
    )
  for name, size in written.sizes.items():
    file = os.path.join(path, name)
    actual = _size(path, name) if tf.io.gfile.exists(file) else None
    if actual != size:
      problem = "is missing" if actual is None else f"has {actual} bytes"
      raise CheckpointError(
        f"Checkpoint file {file!r} {problem}; {size} were written, says"
        f" {marker.NAME}. {_advice(path)}"
      )
  if INDEX in written.sizes:
    content = _read(os.path.join(path, INDEX))
    _check_content(path, written, INDEX, content)


def _check_content(
  path: str, written: Marker, name: str, content: bytes
) -> None:
  """Raises CheckpointError if a small file is not the one that was written."""
  digests = written.digests
  if digests is None:
    return
  file = os.path.join(path, name)
  if name not in digests:
    raise CheckpointError(
      f"{os.path.join(path, marker.NAME)} has no checksum of the checkpoint"
      f" file {file!r}. {_advice(path)}"
    )
  expected, actual = digests[name], safe_files.sha256(content)
  if actual != expected:
    raise CheckpointError(
      f"Checkpoint file {file!r} was changed after it was written: its SHA-256"
      f" is {actual[:16]}..., {marker.NAME} says {expected[:16]}..."
      f" {_advice(path)}"
    )


def _advice(path: str) -> str:
  return (
    "Restore the file from a copy, or remove the folder"
    f" {path!r} to continue from the checkpoint before it."
  )


def _read_marker(path: str) -> Marker | None:
  """Returns the marker of a folder; None if it has none.

  Raises:
    CheckpointError: the marker is corrupt, or was cut short.
  """
  file = os.path.join(path, marker.NAME)
  try:
    content = _read(file)
  except tf.errors.NotFoundError:
    return None
  found = Marker.parse(content, file)
  if found is None:
    raise CheckpointError(f"{file} is empty or was cut short.")
  return found


def _read(file: str) -> bytes:
  with tf.io.gfile.GFile(file, "rb") as f:
    return f.read()


def warn_once(line: str) -> None:
  """Logs a warning, unless this process has logged the same one before."""
  if line not in _logged:
    _logged.add(line)
    _log.warning("%s", line)


def _size(path: str, name: str) -> int:
  """Returns the bytes of a file, or -1 for a folder."""
  file = os.path.join(path, name)
  return -1 if tf.io.gfile.isdir(file) else tf.io.gfile.stat(file).length
