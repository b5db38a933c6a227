"""Mappings from the tensors of a file to the weights of the model.

A format describes each weight by a `TensorMapping`; `bind` gives the weights
of a whole model, each of which is read from the file when it is asked for:

  the file's tensor        k_proj.weight [16, 32], the layer's [outputs, inputs]
  TensorMapping.to_weight  transposed [32, 16], then split [32, 2, 8]
  weight                   attention/k [d_model, kv_heads, d_kv]

`TensorMapping.to_stored` is the way back, for writers of the same format.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from flan_tf import config
from flan_tf.bridges.model_source import (
  VOCABULARY_TABLES,
  Shape,
  SourceTensor,
  check_names,
  weight_shapes,
)


class TensorReader(Protocol):
  """One or several files with named tensors.

  Attributes:
    path: the file or folder, for messages.
  """

  path: str

  def shapes(self) -> Mapping[str, Shape]:
    """Returns the shape of every tensor, by name."""
    ...

  def read(
    self, name: str, columns: tuple[int, int] | None = None
  ) -> np.ndarray:
    """Returns a tensor in the precision of the file.

    Args:
      name: the tensor's name in the file.
      columns: (begin, end) in the last dimension; None for all.
    """
    ...


@runtime_checkable
class RowReader(TensorReader, Protocol):
  """A reader that can read some rows of a tensor without the others."""

  def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
    """Returns the rows begin to end of the first dimension."""
    ...


@dataclasses.dataclass(frozen=True)
class TensorMapping:
  """The tensor of a file that holds a weight, and how the file stores it.

  Attributes:
    name: the tensor's name in the file.
    shape: the shape that the file's tensor must have.
    columns: (begin, end) of the weight in the last dimension of the tensor,
      where the tensor holds several weights side by side.
    rows: (begin, end) of the weight in the first dimension of the tensor,
      where the tensor holds several weights one above the other.
    interleaved_heads: number of heads where each head has the two halves that
      rotary positions turn together interleaved (rows 0 1 2 3 4 5 hold 0 3 1 4
      2 5 of the weight); 0 where the halves follow one another.
    transposed: whether the file has the first two dimensions in the other
      order, [outputs, inputs].
    weight_shape: shape of the weight, where the file joins dimensions that the
      weight keeps apart (heads and d_kv); None if nothing is joined.
    minus_one: whether the file holds the weight minus 1, as for the scales of
      Gemma's norms, which multiply by 1 + scale.
  """

  name: str
  shape: Shape
  columns: tuple[int, int] | None = None
  rows: tuple[int, int] | None = None
  interleaved_heads: int = 0
  transposed: bool = False
  weight_shape: Shape | None = None
  minus_one: bool = False

  @property
  def keeps_rows(self) -> bool:
    """True if each row of the weight is one row or column of the tensor."""
    changed = (
      self.columns
      or self.rows
      or self.interleaved_heads
      or self.weight_shape
      or self.minus_one
    )
    return not changed and not (self.transposed and len(self.shape) > 2)

  def to_weight(self, stored: np.ndarray) -> np.ndarray:
    """Converts what the file stores (the columns, if any) into the weight."""
    value = stored[slice(*self.rows)] if self.rows else stored
    if self.interleaved_heads:
      pairs = value.reshape(self.interleaved_heads, -1, 2, *value.shape[1:])
      value = pairs.swapaxes(1, 2).reshape(value.shape)
    if self.transposed:
      value = value.swapaxes(0, 1)
    if self.weight_shape:
      value = value.reshape(self.weight_shape)
    if self.minus_one:
      value = 1 + value.astype(np.float32)
    return value

  def to_stored(self, weight: np.ndarray) -> np.ndarray:
    """Converts a weight into the tensor of the file."""
    # No format that is written here needs the way back for these.
    assert not (self.columns or self.rows or self.interleaved_heads), self
    value = weight - 1 if self.minus_one else weight
    if self.weight_shape:
      first, *rest = self.shape
      # Joined dimensions, before the first two of them change places again.
      joined = (rest[0], first, *rest[1:]) if self.transposed else self.shape
      value = value.reshape(joined)
    if self.transposed:
      value = value.swapaxes(0, 1)
    assert value.shape == self.shape, (self, value.shape)
    return value


def bind(
  reader: TensorReader,
  model: config.ModelConfig,
  mappings: Mapping[str, TensorMapping],
  ignore: Callable[[str], bool] = lambda name: False,
) -> dict[str, SourceTensor]:
  """Returns the weights of a model, each read when it is asked for.

  The rows of VOCABULARY_TABLES that only pad the vocabulary are zeros.

  Args:
    reader: the file.
    model: sizes and options.
    mappings: the file's tensor for each weight, by the weight's name.
    ignore: whether a tensor of the file that has no mapping is no weight.

  Raises:
    SourceError: the file lacks tensors, has tensors of another shape, or has
      tensors without a mapping that are not ignored.
  """
  expected = {mapping.name: mapping.shape for mapping in mappings.values()}
  actual = {
    name: shape
    for name, shape in reader.shapes().items()
    if name in expected or not ignore(name)
  }
  check_names(reader.path, expected, actual)
  shapes = weight_shapes(model)
  return {
    # ModelSource refuses a weight that the model does not have.
    name: _BoundTensor(
      reader,
      mapping,
      shapes.get(name, mapping.shape),
      is_padded=name in VOCABULARY_TABLES,
    ).source_tensor()
    for name, mapping in mappings.items()
  }


@dataclasses.dataclass(frozen=True)
class _BoundTensor:
  """A weight, bound to the file that it is read from.

  Attributes:
    reader: the file.
    mapping: the tensor of the file.
    shape: shape of the weight.
    is_padded: whether the weight may have more rows than the file.
  """

  reader: TensorReader
  mapping: TensorMapping
  shape: Shape
  is_padded: bool

  def source_tensor(self) -> SourceTensor:
    """Returns the weight; it can read rows where file and mapping can."""
    by_rows = isinstance(self.reader, RowReader) and self.mapping.keeps_rows
    return SourceTensor(
      self.shape, self._read, self._read_rows if by_rows else None
    )

  def _read(self) -> np.ndarray:
    stored = self.reader.read(self.mapping.name, self.mapping.columns)
    # Converted before it becomes float32: the transposed copy of a bfloat16
    # tensor needs half the memory.
    value = self.mapping.to_weight(stored)
    if self.is_padded:
      return pad_rows(value, self.shape)
    assert value.shape == self.shape, (self.mapping, value.shape, self.shape)
    return np.ascontiguousarray(value, np.float32)

  def _read_rows(self, begin: int, end: int) -> np.ndarray:
    assert isinstance(self.reader, RowReader)
    shape = (end - begin, *self.shape[1:])
    stored_rows = self.mapping.shape[-1 if self.mapping.transposed else 0]
    last = min(end, stored_rows)
    if begin >= last:  # All of them are padding.
      return np.zeros(shape, np.float32)
    if self.mapping.transposed:
      return pad_rows(
        self.reader.read(self.mapping.name, (begin, last)).T, shape
      )
    return pad_rows(
      self.reader.read_rows(self.mapping.name, begin, last), shape
    )


def pad_rows(value: np.ndarray, shape: Shape) -> np.ndarray:
  """Returns contiguous float32 with rows of zeros appended up to `shape`."""
  if value.shape == shape:
    return np.ascontiguousarray(value, np.float32)
  padded = np.zeros(shape, np.float32)
  padded[: len(value)] = value
  return padded
