"""Tensors of a folder of *.safetensors, read one at a time.

A file is opened again for each tensor. An open file keeps every page that was
read in the memory of the process, which would grow to the size of the model.
The library compares the shapes in a file's header with the size of the file.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_dtypes  # noqa: F401  safetensors finds bfloat16 in NumPy by its name.
import numpy as np
import safetensors

from flan_tf import foreign_values
from flan_tf.bridges.model_source import Shape, SourceError, group_layers

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_FLOATS = ("F64", "F32", "F16", "BF16")


class SafetensorsReader:
  """Reads the tensors of a folder (see `tensor_mapping.RowReader`).

  Attributes:
    path: the folder.

  Raises:
    SourceError: there are no such files, or one is missing or damaged.
  """

  def __init__(self, folder: str):
    self.path = folder
    self._files: dict[str, str] = {}
    self._shapes: dict[str, Shape] = {}
    self._unsupported_types: dict[str, str] = {}
    names = read_index(folder)
    index = {name: os.path.join(folder, file) for name, file in names.items()}
    files = sorted(set(index.values())) if index else [_single_file(folder)]
    for file in files:
      self._add(file)
    missing = [name for name in index if self._files.get(name) != index[name]]
    if missing:
      raise SourceError(
        f"{folder}: {INDEX} names a file for these"
        " tensors, but the file does not have them: "
        + "; ".join(group_layers(missing))
      )

  @property
  def files(self) -> list[str]:
    """Paths of all files that have tensors."""
    return sorted(set(self._files.values()))

  def shapes(self) -> Mapping[str, Shape]:
    return self._shapes

  def read(
    self, name: str, columns: tuple[int, int] | None = None
  ) -> np.ndarray:
    with _opened(self._files[name]) as file:
      if columns is None:
        return file.get_tensor(name)
      return file.get_slice(name)[..., slice(*columns)]

  def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
    with _opened(self._files[name]) as file:
      return file.get_slice(name)[begin:end]

  def check_floats(self, ignore: Callable[[str], bool]) -> None:
    """Raises SourceError if tensors are not floating-point numbers.

    Args:
      ignore: whether a tensor is no weight, so that its type does not matter.
    """
    unsupported = [
      f"{name} ({dtype})"
      for name, dtype in self._unsupported_types.items()
      if not ignore(name)
    ]
    if unsupported:
      raise SourceError(
        f"{self.path} has tensors of a type that is not supported here"
        f" (supported: {', '.join(_FLOATS)}): "
        + "; ".join(group_layers(unsupported))
      )

  def _add(self, path: str) -> None:
    with _opened(path) as file:
      for name in file.keys():
        tensor = file.get_slice(name)
        self._files[name] = path
        self._shapes[name] = tuple(tensor.get_shape())
        if tensor.get_dtype() not in _FLOATS:
          self._unsupported_types[name] = tensor.get_dtype()


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
  """Opens a safetensors file; raises SourceError if it is damaged."""
  try:
    opened = safetensors.safe_open(path, framework="numpy")
  except FileNotFoundError as error:
    raise SourceError(f"There is no file {path}.") from error
  except safetensors.SafetensorError as error:
    raise SourceError(f"{path} is damaged or cut short: {error}.") from error
  with opened as file:
    yield file


def read_index(folder: str) -> dict[str, str]:
  """Returns the name of the file of each tensor; empty without an index.

  Raises:
    SourceError: the index cannot be read, or an entry is not the name of a
      file in its folder.
  """
  path = os.path.join(folder, INDEX)
  if not os.path.exists(path):
    return {}
  weight_map = foreign_values.read_json(path, SourceError).section("weight_map")
  files = {
    name: file
    for name in weight_map.names()
    for file in weight_map.file_names(name, ".safetensors")
  }
  if not files:
    raise SourceError(f"{path} names no tensors in 'weight_map'.")
  return files


def _single_file(folder: str) -> str:
  """Returns the path of the only file of a folder without an index."""
  path = os.path.join(folder, WEIGHTS)
  if os.path.exists(path):
    return path
  others = sorted(
    name
    for name in os.listdir(folder)
    if name.endswith((".bin", ".pt", ".pth"))
  )
  if others:
    raise SourceError(
      f"{folder} has no {WEIGHTS}, only {', '.join(others)}. Save the"
      " model again with `save_pretrained(..., safe_serialization=True)`."
    )
  raise SourceError(f"{folder} has neither {WEIGHTS} nor {INDEX}.")
