"""Restores states from checkpoints that may have been written on any mesh."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from flan_tf.checkpoints import checkpoint_dirs, shards
from flan_tf.checkpoints.checkpoint_dirs import CheckpointError
from flan_tf.mesh import tf_errors
from flan_tf.mesh.state import State


def restore_states(path: str, states: Sequence[State]) -> None:
  """Sets every shard of the states from a checkpoint.

  The checkpoint may hold more tensors than the states have.

  Args:
    path: folder of the checkpoint.
    states: the states to set, on any mesh.

  Raises:
    CheckpointError: a tensor is missing, has another shape, or is corrupt.
  """
  prefix = checkpoint_dirs.tensor_prefix(path)
  try:
    shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    for state in states:
      _check_shapes(path, state, shapes)
      shards.restore_shards(prefix, state)
  except (tf.errors.OpError, RuntimeError) as error:
    raise CheckpointError(
      f"Checkpoint {path!r} cannot be read; one of its files is corrupt:"
      f" {tf_errors.error_summary(error)}"
    ) from error


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
