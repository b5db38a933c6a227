"""What an evaluation hangs on, in a few letters: weights, rows, wordings.

Equal fingerprints mean equal content, wherever it lies.
"""

import hashlib
import json
from collections.abc import Iterable

from flan_tf.checkpoints import store

# Of TensorFlow's format: names, shapes and a checksum of every tensor.
_INDEX = "state.index"
_FILES = (_INDEX, "run.json", "vocabulary.model")


def of_checkpoint(path: str) -> str:
  """Of a checkpoint's weights and vocabulary, and of those below adapters.

  Raises:
    CheckpointError: a file of it is missing.
  """
  parts = [store.read_file(path, name) for name in _FILES]
  base = json.loads(store.read_file(path, "data.json")).get("base")
  if base:
    parts.append(of_checkpoint(store.find(base)).encode())
  return _digest(parts)


def of_values(values: Iterable[object]) -> str:
  """Of plain values and frozen dataclasses of them, in their order."""
  return _digest(repr(value).encode() for value in values)


def _digest(parts: Iterable[bytes]) -> str:
  whole = hashlib.sha256()
  for part in parts:
    whole.update(hashlib.sha256(part).digest())
  return whole.hexdigest()[:16]
