"""Writes a model as a checkpoint that runs can start from.

One tensor after another is read, written and released, a large one in parts.
So memory stays near the size of the largest tensor, whatever the model's size:

  source.tensors[name].read() -> TARGET/parts/00007/state.*, one file after
                                 another
  MergeV2Checkpoints          -> TARGET/state.index, state.data-* (renamed)
  run.json, data.json, vocabulary.model, and last the file COMPLETE
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.bridges import source_digests
from flan_tf.bridges.model_source import (
  ModelSource,
  Shape,
  SourceTensor,
  check_value,
)
from flan_tf.bridges.target_folder import removed_on_error
from flan_tf.bridges.write_progress import WriteProgress, no_progress
from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.checkpoints.bundle import bundle_files

_PARTS = "parts"
# The most bytes of one file, which are in memory at once. Many small files
# would be slow to open on an object store.
_FILE_BYTES = 128 << 20


def write(
  source: ModelSource,
  target: str,
  progress: WriteProgress = no_progress,
  files: Mapping[str, bytes] | None = None,
) -> str:
  """Writes a checkpoint.

  Without `files`, the checkpoint says that its weights have seen no task of
  this project, and has the run that `converted_run` gives.

  Args:
    source: the model.
    target: a folder that does not exist, or is empty; may be a gs:// path.
    progress: called after each tensor.
    files: the small files of the checkpoint, by name.

  Returns:
    The checkpoint's folder.

  Raises:
    SourceError: there is something at `target`, or a tensor cannot be read.
      Nothing remains of what was written.
  """
  target = os.path.expanduser(target)
  with removed_on_error(target):
    prefixes = []
    for slices in _slices_by_file(source, progress):
      part = os.path.join(target, _PARTS, f"{len(prefixes):05d}")
      prefixes.append(checkpoint_dirs.tensor_prefix(part))
      tf.io.gfile.makedirs(part)
      _save(prefixes[-1], slices)
      slices.clear()  # Releases the memory before the next tensors are read.
    tf.raw_ops.MergeV2Checkpoints(
      checkpoint_prefixes=prefixes,
      destination_prefix=checkpoint_dirs.tensor_prefix(target),
      delete_old_dirs=True,
    )
    # On object stores, which have no folders, there is nothing left to remove.
    if tf.io.gfile.exists(os.path.join(target, _PARTS)):
      tf.io.gfile.rmtree(os.path.join(target, _PARTS))
    checkpoint_dirs.mark_complete(target, files or _side_files(source))
  return target


@dataclasses.dataclass(frozen=True)
class _TensorSlice:
  """Some rows of a tensor.

  Attributes:
    tensor: the tensor's name.
    position: shape of the tensor and position of the rows, as SaveV2 takes it:
      "8 4 0,2:-" for the first 2 of 8 rows of 4; empty for the whole tensor.
    value: the rows.
  """

  tensor: str
  position: str
  value: np.ndarray


def _save(prefix: str, slices: Sequence[_TensorSlice]) -> None:
  with tf.device("/cpu:0"):
    tf.raw_ops.SaveV2(
      prefix=prefix,
      tensor_names=[piece.tensor for piece in slices],
      shape_and_slices=[piece.position for piece in slices],
      tensors=[piece.value for piece in slices],
    )


def _slices_by_file(
  source: ModelSource, progress: WriteProgress
) -> Iterator[list[_TensorSlice]]:
  """Yields the content of one file after another."""
  total = sum(_bytes(tensor.shape) for tensor in source.tensors.values())
  slices: list[_TensorSlice] = []
  done = bytes_in_file = 0
  for name, tensor in source.tensors.items():
    for piece in _slices(name, tensor, source.origin):
      size = piece.value.nbytes
      if slices and bytes_in_file + size > _FILE_BYTES:
        yield slices
        slices, bytes_in_file = [], 0
      slices.append(piece)
      del piece  # The caller releases the memory; no name here may keep it.
      done, bytes_in_file = done + size, bytes_in_file + size
      progress(name, done, total)
  yield slices


def _slices(
  name: str, tensor: SourceTensor, origin: str
) -> Iterator[_TensorSlice]:
  """Yields a tensor in parts that fit into a file, each of them checked."""
  rows, *rest = tensor.shape
  step = max(1, _FILE_BYTES // _bytes((1, *rest)))
  if step >= rows:
    yield _checked_slice(name, "", tensor.read(), tensor.shape, origin)
    return
  whole = np.zeros(0) if tensor.read_rows else tensor.read()
  for begin in range(0, rows, step):
    end = min(begin + step, rows)
    sizes = " ".join(str(size) for size in tensor.shape)
    ranges = ":".join([f"{begin},{end - begin}", *("-" for _ in rest)])
    if tensor.read_rows:
      value = tensor.read_rows(begin, end)
    else:
      # A copy, since a view would keep the whole tensor in memory.
      value = whole[begin:end].copy()
    yield _checked_slice(
      name, f"{sizes} {ranges}", value, (end - begin, *rest), origin
    )
    del value


def _checked_slice(
  name: str, position: str, value: np.ndarray, shape: Shape, origin: str
) -> _TensorSlice:
  check_value(f"{origin}: {name}", value, shape)
  return _TensorSlice(name, position, value)


def _bytes(shape: Shape) -> int:
  return 4 * math.prod(shape)


def converted_run(source: ModelSource) -> config.RunConfig:
  """Returns the run of a model that was trained elsewhere.

  Its rows are as long as the model can read, up to a limit. Separator and chat
  template are those of the source.
  """
  target_length = max(source.row_length // 5, 1)
  return config.RunConfig(
    name="converted",
    data=config.DataConfig(
      input_length=max(source.row_length - target_length, 1),
      target_length=target_length,
      length=source.row_length,
      separator=source.separator,
    ),
    model=source.model,
    chat=source.chat,
  )


def _side_files(source: ModelSource) -> dict[str, bytes]:
  data = {
    "step": 0,
    "seen": {},
    "source": source.origin,
    "note": "Converted weights: what they saw before, nobody here knows.",
    source_digests.KEY: source_digests.sha256_by_name(source.files),
  }
  return bundle_files(converted_run(source), data, source.vocabulary)
