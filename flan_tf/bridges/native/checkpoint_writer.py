"""Writes a source as a checkpoint that runs start from.

One tensor after another is read, written and let go, a large one in parts, so
that memory stays near the size of the largest one, whatever the model's:

  source.tensors[name].read() -> TARGET/parts/00007/state.*  -> the next one
  MergeV2Checkpoints          -> TARGET/state.index, state.data-*   (renamed)
  run.json, data.json, vocabulary.model, and COMPLETE last of all
"""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.bridges import model_source
from flan_tf.checkpoints import store
from flan_tf.training import session

_PARTS = "parts"
# What is held at once, and how large a file is at most. Thousands of tiny files
# would be slow to open on an object store.
_FILE_BYTES = 128 << 20


def write(
  source: model_source.ModelSource,
  target: str,
  progress: Callable[[str, int, int], object] = lambda name, done, all: None,
  files: Mapping[str, bytes] | None = None,
) -> str:
  """Writes a checkpoint; returns its folder.

  The checkpoint saw no task of ours. Its run reads rows as long as the model
  can, and puts nothing between prompt and answer, as the model was trained
  without our separator. The source's chat wrapper goes with it, for those who
  ask for it.

  Args:
    source: the model.
    target: a folder that does not exist, or is empty; may be a `gs://` path.
    progress: called with each tensor's name, and the bytes done and in all.
    files: what goes with the tensors, if not what is said above.

  Raises:
    SourceError: there is something at `target`, or a tensor cannot be read.
      Nothing remains of what was written.
  """
  target = os.path.expanduser(target)
  model_source.check_free(target)
  with _removed_on_error(target):
    prefixes = []
    for pieces in _files(source, progress):
      part = os.path.join(target, _PARTS, f"{len(prefixes):05d}")
      prefixes.append(os.path.join(part, "state"))
      tf.io.gfile.makedirs(part)
      with tf.device("/cpu:0"):
        tf.raw_ops.SaveV2(
          prefix=prefixes[-1],
          tensor_names=[piece.name for piece in pieces],
          shape_and_slices=[piece.place for piece in pieces],
          tensors=[piece.value for piece in pieces],
        )
      pieces.clear()  # Before the next ones are read.
    tf.raw_ops.MergeV2Checkpoints(
      checkpoint_prefixes=prefixes,
      destination_prefix=os.path.join(target, "state"),
      delete_old_dirs=True,
    )
    # Object stores have no folders that could be left over.
    if tf.io.gfile.exists(os.path.join(target, _PARTS)):
      tf.io.gfile.rmtree(os.path.join(target, _PARTS))
    store.finish(target, files or _side_files(source))
  return target


@dataclasses.dataclass(frozen=True)
class _Piece:
  """Some rows of a tensor; `place` says which, as SaveV2 wants it."""

  name: str
  place: str
  value: np.ndarray


def _files(
  source: model_source.ModelSource, progress: Callable[[str, int, int], object]
) -> Iterator[list[_Piece]]:
  """What goes into one file after another."""
  total = sum(_bytes(tensor.shape) for tensor in source.tensors.values())
  pieces: list[_Piece] = []
  done = held = 0
  for name, tensor in source.tensors.items():
    for place, shape, value in _parts(tensor):
      model_source.check_value(f"{source.note}: {name}", value, shape)
      size = _bytes(shape)
      if pieces and held + size > _FILE_BYTES:
        yield pieces
        pieces, held = [], 0
      pieces.append(_Piece(name, place, value))
      del value  # The caller lets go of it; so must this.
      done, held = done + size, held + size
      progress(name, done, total)
  yield pieces


def _parts(
  tensor: model_source.SourceTensor,
) -> Iterator[tuple[str, tuple[int, ...], np.ndarray]]:
  """A tensor in parts that fit a file: where each lies, its shape, itself."""
  rows, *rest = tensor.shape
  step = max(1, _FILE_BYTES // _bytes((1, *rest)))
  if step >= rows:
    yield "", tensor.shape, tensor.read()
    return
  whole = np.zeros(0) if tensor.read_rows else tensor.read()
  for begin in range(0, rows, step):
    end = min(begin + step, rows)
    # "8 4 0,4:-": the whole shape, then (begin, size) of each dimension.
    at = ":".join([f"{begin},{end - begin}", *("-" for _ in rest)])
    place = f"{' '.join(str(size) for size in tensor.shape)} {at}"
    if tensor.read_rows:
      yield place, (end - begin, *rest), tensor.read_rows(begin, end)
    else:
      # A copy: a part that waits for its file must not hold the whole.
      yield place, (end - begin, *rest), whole[begin:end].copy()


def _bytes(shape: tuple[int, ...]) -> int:
  return 4 * math.prod(shape)


def run_of(source: model_source.ModelSource) -> config.RunConfig:
  """The run that a model from elsewhere is given; see `write`."""
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


def _side_files(source: model_source.ModelSource) -> dict[str, bytes]:
  data = {
    "step": 0,
    "seen": {},
    "source": source.note,
    "note": "Converted weights: what they saw before, nobody here knows.",
  }
  return {
    session.RUN_FILE: config.to_json(run_of(source)).encode(),
    session.DATA_FILE: json.dumps(data, indent=2).encode(),
    session.VOCABULARY_FILE: source.vocabulary.model,
  }


@contextlib.contextmanager
def _removed_on_error(path: str) -> Iterator[None]:
  try:
    yield
  except BaseException:  # An interrupt, too, must leave nothing half-written.
    with contextlib.suppress(tf.errors.NotFoundError):
      tf.io.gfile.rmtree(path)
    raise
