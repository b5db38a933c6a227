"""Tensors of a KerasHub preset, from its h5 file or shards.

An h5 file can say that the numbers of a tensor lie in another file, anywhere,
or that they unpack to much more than the file holds. Both are refused.
"""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import h5py
import ml_dtypes
import numpy as np

from flan_tf.bridges.keras_hub import preset_files
from flan_tf.bridges.model_source import Shape, SourceError, group_layers

# Compressed weights are never this much smaller than the weights.
_MOST_EXPANSION = 20


class _StoredTensor(NamedTuple):
  """Place of a tensor: a file and the name in it."""

  path: str
  name: str
  shape: Shape


class H5TensorReader:
  """Reads the tensors of a preset (see `tensor_mapping.RowReader`).

  Attributes:
    path: the preset's folder.
    files: paths of all files that have tensors.

  Raises:
    SourceError: there are no weights, a file is missing or damaged, or it has
      tensors that are not floating-point numbers.
  """

  def __init__(self, folder: str):
    self.path = folder
    self.files: list[str] = []
    self._tensors: dict[str, _StoredTensor] = {}
    if os.path.exists(os.path.join(folder, preset_files.WEIGHTS)):
      names = [preset_files.WEIGHTS]
    elif os.path.exists(os.path.join(folder, preset_files.SHARD_INDEX)):
      index = preset_files.read_json(folder, preset_files.SHARD_INDEX)
      names = preset_files.shard_files(index)
    else:
      raise SourceError(
        f"{folder} has no weights: neither {preset_files.WEIGHTS} nor"
        f" {preset_files.SHARD_INDEX}."
      )
    for name in names:
      self.files.append(os.path.join(folder, name))
      self._add(self.files[-1])

  def shapes(self) -> Mapping[str, Shape]:
    return {name: tensor.shape for name, tensor in self._tensors.items()}

  def read(
    self, name: str, columns: tuple[int, int] | None = None
  ) -> np.ndarray:
    return self._read(name, (..., slice(*columns)) if columns else ())

  def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
    return self._read(name, (slice(begin, end),))

  def _read(self, name: str, index: tuple) -> np.ndarray:
    tensor = self._tensors[name]
    with _open(tensor.path) as file:
      try:
        data = file[tensor.name]
        value = data[index]
        if _dtype(data) == "bfloat16":
          value = value.view(ml_dtypes.bfloat16)
      except Exception as error:
        raise _damaged(tensor.path, error) from error
    return value

  def _add(self, path: str) -> None:
    others = []

    def add(stored_name: str, item: Any) -> None:
      if not isinstance(item, h5py.Dataset):
        return
      # The first versions of Keras 3 gave the group of layers another name.
      name = re.sub(r"^_layer_checkpoint_dependencies/", "layers/", stored_name)
      _check_storage(path, stored_name, item)
      self._tensors[name] = _StoredTensor(path, stored_name, item.shape)
      if not _dtype(item).startswith(("float", "bfloat")):
        others.append(f"{name} ({_dtype(item)})")

    with _open(path) as file:
      try:
        file.visititems(add)
      except SourceError:
        raise
      # The library raises errors of many kinds for damaged files.
      except Exception as error:
        raise _damaged(path, error) from error
    if others:
      raise SourceError(
        f"{path} is quantized, or holds more than weights; only floating-point"
        " tensors can be read: " + "; ".join(group_layers(others))
      )


def _check_storage(path: str, name: str, data: h5py.Dataset) -> None:
  """Refuses tensors whose numbers are not in the file itself."""
  if data.external or data.is_virtual:
    raise SourceError(
      f"{path}: the numbers of {name!r} lie in another file. Expected all"
      " tensors in the files of the preset."
    )
  stored = data.id.get_storage_size()
  if data.nbytes > _MOST_EXPANSION * stored:
    raise SourceError(
      f"{path}: {name!r} {list(data.shape)} needs {data.nbytes:,} bytes, but"
      f" the file holds {stored:,} for it. The file is damaged or was made to"
      " fill the memory."
    )


def _dtype(data: Any) -> str:
  """Returns a tensor's type; h5 has no name for bfloat16, an attribute does."""
  return str(data.attrs.get("dtype", data.dtype))


def _open(path: str) -> h5py.File:
  try:
    return h5py.File(path, "r")
  except FileNotFoundError as error:
    raise SourceError(f"There is no file {path}.") from error
  except OSError as error:
    raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> SourceError:
  return SourceError(f"{path} is damaged or cut short: {error}.")
