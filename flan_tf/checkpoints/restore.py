"""Restores states from checkpoints that may have been written on any mesh."""

import os
import re
from collections.abc import Mapping, Sequence

import tensorflow as tf

from flan_tf.checkpoints import checkpoint_dirs, shards
from flan_tf.checkpoints.checkpoint_dirs import CheckpointError
from flan_tf.mesh import tf_errors
from flan_tf.mesh.state import State

# TensorFlow's name of a tensor file in an error: "... shard 3 (4096 bytes): ".
_SHARD = re.compile(r" shard (\d+) \(\d+ bytes\)")


def restore_states(path: str, states: Sequence[State]) -> None:
  """Sets every shard of the states from a checkpoint.

  The checkpoint may hold more tensors than the states have.

  Args:
    path: folder of the checkpoint.
    states: the states to set, on any mesh.

  Raises:
    CheckpointError: a tensor is missing, has another shape, or is corrupt.
  """
  shapes = stored_shapes(path)
  for state in states:
    _check_shapes(path, state, shapes)
    try:
      shards.restore_shards(checkpoint_dirs.tensor_prefix(path), state)
    except tf.errors.OpError as error:
      raise damaged_tensors(path, error) from error


def stored_shapes(path: str) -> dict[str, list[int]]:
  """Returns the name and shape of each tensor of a checkpoint.

  Raises:
    CheckpointError: the index of the tensors is corrupt.
  """
  prefix = checkpoint_dirs.tensor_prefix(path)
  try:
    reader = tf.train.load_checkpoint(prefix)
    return reader.get_variable_to_shape_map()
  # The reader raises IndexError and others for an index that it cannot read.
  except (tf.errors.OpError, RuntimeError, ValueError, LookupError) as error:
    raise damaged_tensors(path, error) from error


def damaged_tensors(path: str, error: BaseException) -> CheckpointError:
  """Returns an error that names the damaged file of a checkpoint.

  Args:
    path: folder of the checkpoint.
    error: what TensorFlow raised when it read a tensor or the index.
  """
  shard = _SHARD.search(str(error))
  name = checkpoint_dirs.INDEX
  if shard:
    prefix = checkpoint_dirs.tensor_prefix(path)
    pattern = f"{prefix}.data-{int(shard[1]):05d}-*"
    name = os.path.basename(next(iter(tf.io.gfile.glob(pattern)), pattern))
  return CheckpointError(
    f"Checkpoint {path!r} cannot be read; its file {name!r} is corrupt:"
    f" {tf_errors.error_summary(error)}"
  )


def _check_shapes(
  path: str, state: State, shapes: Mapping[str, Sequence[int]]
) -> None:
  """Raises CheckpointError unless a checkpoint has the tensors of a state."""
  for name, spec in state.specs.items():
    if name not in shapes:
      raise CheckpointError(
        f"Checkpoint {path!r} has no tensor {name!r}. It has"
        f" {len(shapes)} tensors, e.g. {sorted(shapes)[:3]}."
      )
    expected = spec.shape.to_integer_list
    if list(shapes[name]) != expected:
      raise CheckpointError(
        f"Checkpoint {path!r}: tensor {name!r} has shape {shapes[name]}, but"
        f" the model expects {expected} ({spec.shape}). Model sizes and"
        " vocabulary must be those that it was trained with."
      )
