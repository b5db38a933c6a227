"""Tensors and metadata of a GGUF file."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import gguf
import numpy as np

from flan_tf.bridges.model_source import Shape, SourceError
from flan_tf.bridges.settings import check_supported

# The most values in a header, some 250 bytes of memory each. A vocabulary of
# 260,000 pieces has a million.
_MOST_VALUES = 8_000_000


class _StoredTensor(NamedTuple):
  """Place and type of a tensor in a GGUF file.

  Attributes:
    quantization: GGUF's type of the tensor.
    offset: first byte in the file.
    dtype: type of the stored numbers; uint8 for quantized blocks.
    stored_shape: shape of the stored numbers.
    shape: shape of the tensor that they stand for.
  """

  quantization: gguf.GGMLQuantizationType
  offset: int
  dtype: np.dtype
  stored_shape: Shape
  shape: Shape


class _BoundedFile(gguf.GGUFReader):
  """A file whose header ends before the file does.

  The library reads an array value by value, and reads nothing at all after the
  end of a file: a damaged length would keep it busy for ever.
  """

  _count = 0

  def _get(self, offset, dtype, count=1, override_order=None):
    self._count += 1
    if self._count > _MOST_VALUES:
      raise ValueError(f"it has more than {_MOST_VALUES:,} values")
    end = int(offset) + int(count) * np.dtype(dtype).itemsize
    if end > len(self.data):
      raise ValueError(f"byte {end:,} is needed, and it has {len(self.data):,}")
    return super()._get(offset, dtype, count, override_order)


class GgufReader:
  """Reads the tensors of a file (see `tensor_mapping.TensorReader`).

  Attributes:
    path: the file.
    metadata: values of the file's metadata, by key.

  Raises:
    SourceError: there is no such file, it is damaged, or it has tensors of a
      type that cannot be dequantized.
  """

  def __init__(self, path: str):
    self.path = path
    if not os.path.isfile(path):
      raise SourceError(f"There is no file {path}.")
    try:
      # The library maps the file into memory. The map is closed at the end of
      # this block, or the pages of all tensors that are read later would count
      # as memory of this process.
      file = _BoundedFile(path)
      self.metadata: dict[str, Any] = {
        name: field.contents() for name, field in file.fields.items()
      }
      self._tensors = {
        tensor.name: _StoredTensor(
          quantization=tensor.tensor_type,
          offset=int(tensor.data_offset),
          dtype=tensor.data.dtype,
          stored_shape=tuple(map(int, tensor.data.shape)),
          # GGUF names the fastest-changing dimension first.
          shape=tuple(int(size) for size in reversed(tensor.shape)),
        )
        for tensor in file.tensors
      }
    # The library raises errors of NumPy for other files and for cut ones.
    except Exception as error:
      raise SourceError(
        f"{path} is no GGUF file, or is damaged or cut short"
        f" ({type(error).__name__}: {error})."
      ) from error
    self._check_types()

  def shapes(self) -> Mapping[str, Shape]:
    return {name: tensor.shape for name, tensor in self._tensors.items()}

  def read(
    self, name: str, columns: tuple[int, int] | None = None
  ) -> np.ndarray:
    tensor = self._tensors[name]
    count = int(np.prod(tensor.stored_shape))
    stored = np.fromfile(self.path, tensor.dtype, count, offset=tensor.offset)
    if len(stored) != count:
      raise SourceError(
        f"{self.path} ends within {name}. It was changed or cut short after it"
        " was opened."
      )
    value = gguf.quants.dequantize(
      stored.reshape(tensor.stored_shape), tensor.quantization
    )
    return value if columns is None else value[..., slice(*columns)]

  def _check_types(self) -> None:
    """Refuses types that cannot be dequantized, before a tensor is read."""
    unsupported = []
    for quantization in {t.quantization for t in self._tensors.values()}:
      _, block_bytes = gguf.GGML_QUANT_SIZES[quantization]
      try:
        gguf.quants.dequantize(np.zeros(block_bytes, np.uint8), quantization)
      except NotImplementedError:
        unsupported.append(f"tensors of type {quantization.name}")
    check_supported(self.path, sorted(unsupported))
