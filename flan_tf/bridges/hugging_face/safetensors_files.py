"""The tensors of a folder of *.safetensors, read one at a time.

A file is opened anew for each tensor: an open one keeps every page that was
read in the process's memory, and the memory of the whole would grow to the size
of the model.
"""

import json
import os
from collections.abc import Callable, Mapping

import ml_dtypes  # noqa: F401  safetensors finds bfloat16 in NumPy by its name.
import numpy as np
import safetensors

from flan_tf.bridges import model_source

_FLOATS = ("F64", "F32", "F16", "BF16")


class SafetensorsReader:
  """The tensors of a folder; see source.Reader.

  Raises:
    SourceError: there are no such files, or one is missing or damaged.
  """

  def __init__(self, folder: str):
    self.where = folder
    self._files: dict[str, str] = {}
    self._shapes: dict[str, tuple[int, ...]] = {}
    self._others: dict[str, str] = {}
    indexed = _index(folder)
    for path in sorted(set(indexed.values())) if indexed else [_single(folder)]:
      self._add(path)
    missing = [
      name for name in indexed if self._files.get(name) != indexed[name]
    ]
    if missing:
      raise model_source.SourceError(
        f"{folder}: the index names tensors that are not in the file it says: "
        + "; ".join(model_source.grouped(missing))
      )

  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    return self._shapes

  def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
    with _opened(self._files[name]) as file:
      return file.get_slice(name)[begin:end]

  def check_floats(self, ignore: Callable[[str], bool]) -> None:
    """Raises SourceError if tensors are stored as something else."""
    others = [
      f"{name} ({kind})"
      for name, kind in self._others.items()
      if not ignore(name)
    ]
    if others:
      raise model_source.SourceError(
        f"{self.where} stores tensors in a form that is not known here (known:"
        f" {', '.join(_FLOATS)}): " + "; ".join(model_source.grouped(others))
      )

  def read(
    self, name: str, columns: tuple[int, int] | None = None
  ) -> np.ndarray:
    with _opened(self._files[name]) as file:
      if columns is None:
        return file.get_tensor(name)
      return file.get_slice(name)[..., slice(*columns)]

  def _add(self, path: str) -> None:
    with _opened(path) as file:
      for name in file.keys():
        part = file.get_slice(name)
        self._files[name] = path
        self._shapes[name] = tuple(part.get_shape())
        if part.get_dtype() not in _FLOATS:
          self._others[name] = part.get_dtype()


class _opened:
  """A safetensors file, open for one look; a damaged one is a SourceError."""

  def __init__(self, path: str):
    self._path = path

  def __enter__(self):
    try:
      self._file = safetensors.safe_open(self._path, framework="numpy")
      return self._file.__enter__()
    except FileNotFoundError as error:
      raise model_source.SourceError(
        f"There is no file {self._path}."
      ) from error
    except safetensors.SafetensorError as error:
      raise model_source.SourceError(
        f"{self._path} is damaged or cut short: {error}."
      ) from error

  def __exit__(self, *error):
    self._file.__exit__(*error)


def _index(folder: str) -> dict[str, str]:
  """The file of each tensor, if the folder says so."""
  path = os.path.join(folder, "model.safetensors.index.json")
  try:
    with open(path, encoding="utf-8") as file:
      files = json.load(file)["weight_map"]
  except FileNotFoundError:
    return {}
  except (KeyError, ValueError) as error:
    raise model_source.SourceError(
      f"{path} cannot be read: {error}."
    ) from error
  return {name: os.path.join(folder, file) for name, file in files.items()}


def _single(folder: str) -> str:
  path = os.path.join(folder, "model.safetensors")
  if os.path.exists(path):
    return path
  others = sorted(
    name
    for name in os.listdir(folder)
    if name.endswith((".bin", ".pt", ".pth"))
  )
  raise model_source.SourceError(
    f"{folder} has no model.safetensors"
    + (
      f", only {', '.join(others)}. Save it anew with"
      " `save_pretrained(..., safe_serialization=True)`."
      if others
      else " and no model.safetensors.index.json."
    )
  )
