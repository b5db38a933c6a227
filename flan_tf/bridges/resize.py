"""Changes the vocabulary of a model: more pieces, or more rows for a mesh.

  rows of the embedding         their values
  one for each old piece        unchanged
  one for each new piece        the mean of the rows of all old pieces, so that
                                a new piece is, on average, no likelier than the
                                others (Hewitt 2021)
  up to the model's pieces      unchanged: rows without a piece
  padding, up to `vocab`        zeros; the model never predicts these

No row is read before it is needed, and the mean is computed in parts.

Hewitt, J. Initializing new word embeddings for pretrained language models.
https://nlp.stanford.edu/~johnhew/vocab-expansion.html
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from flan_tf import config
from flan_tf.bridges.model_source import (
  VOCABULARY_TABLES,
  ModelSource,
  SourceError,
  SourceTensor,
)
from flan_tf.model import dims

# Rows that are read at a time to compute the mean.
_MEAN_ROWS = 4096


class ResizeError(SourceError):
  """The vocabulary cannot be changed as asked; the message says why."""


def resize(
  source: ModelSource,
  vocab_rows: int = 0,
  new_pieces: Sequence[str] = (),
) -> ModelSource:
  """Returns a model with another number of rows in its embedding.

  The output layer gets the same number of rows.

  Args:
    source: the model.
    vocab_rows: number of rows of the result. 0 keeps the present number, or
      takes more if the new pieces need them.
    new_pieces: special pieces to add after those of the vocabulary.

  Raises:
    ResizeError: there are too few rows, or a new piece cannot be added.
  """
  model, vocabulary = source.model, source.vocabulary
  old_size = vocabulary.size
  if new_pieces:
    _check_pieces(new_pieces, vocabulary.pieces(range(old_size)))
    vocabulary = vocabulary.with_special_pieces(new_pieces)
  pieces = max(source.rows, vocabulary.size)
  default_rows = model.vocab
  if pieces > model.vocab:
    default_rows = dims.padded_vocab(pieces)
  rows = vocab_rows or default_rows
  if rows < pieces:
    raise ResizeError(
      f"--vocab={rows}: the model predicts {pieces} pieces"
      f" ({vocabulary.size} of them in its tokenizer), so that fewer rows would"
      f" change it. Expected {pieces} or more, e.g."
      f" {dims.padded_vocab(pieces)}."
    )
  _check_rows(source, rows)
  tensors = dict(source.tensors)
  for name in VOCABULARY_TABLES:
    if name in tensors:
      tensors[name] = _ResizedTable(
        tensors[name],
        used_rows=source.rows,
        old_pieces=old_size,
        new_pieces=len(new_pieces),
        rows=rows,
      ).source_tensor()
  changes = []
  if new_pieces:
    changes.append(f"{len(new_pieces)} pieces added")
  if rows != model.vocab:
    changes.append(f"{rows} rows instead of {model.vocab}")
  return dataclasses.replace(
    source,
    model=dataclasses.replace(model, vocab=rows, pieces=pieces),
    vocabulary=vocabulary,
    tensors=tensors,
    origin=", ".join([source.origin, *changes]),
  )


def _check_rows(source: ModelSource, rows: int) -> None:
  """Raises ResizeError if no embedding can have so many rows."""
  if rows > config.MOST_ROWS:
    tables = sum(name in source.tensors for name in VOCABULARY_TABLES)
    gigabytes = 4 * rows * source.model.d_model * tables / 1e9
    raise ResizeError(
      f"--vocab={rows}: expected {config.MOST_ROWS:,} rows or fewer. So many"
      f" rows would take {gigabytes:,.0f} GB; the source has"
      f" {source.model.vocab:,} rows."
    )


def _check_pieces(new_pieces: Sequence[str], old_pieces: Sequence[str]) -> None:
  """Raises ResizeError if a piece cannot be added."""
  known = set(old_pieces)
  empty = [piece for piece in new_pieces if not piece]
  existing = [piece for piece in new_pieces if piece in known]
  repeated = sorted({p for p in new_pieces if new_pieces.count(p) > 1})
  with_blanks = [p for p in new_pieces if p != "".join(p.split())]
  for refused, reason in (
    (empty, "a piece must not be empty"),
    (existing, "the vocabulary has these already"),
    (repeated, "these are named twice"),
    (with_blanks, "a piece must have no blanks in it"),
  ):
    if refused:
      names = ", ".join(map(repr, refused))
      raise ResizeError(f"--add_pieces: {reason}: {names}.")


@dataclasses.dataclass(frozen=True)
class _ResizedTable:
  """A weight [vocab, d_model] with other rows.

  Attributes:
    tensor: the weight as it was.
    used_rows: its rows without padding.
    old_pieces: its rows that belong to pieces; the mean is theirs.
    new_pieces: rows after those that become the mean.
    rows: rows of the result.
  """

  tensor: SourceTensor
  used_rows: int
  old_pieces: int
  new_pieces: int
  rows: int

  def source_tensor(self) -> SourceTensor:
    """Returns the result; it can read rows if the weight can."""
    return SourceTensor(
      (self.rows, *self.tensor.shape[1:]),
      self._read,
      self._read_rows if self.tensor.read_rows else None,
    )

  @functools.cached_property
  def _mean(self) -> np.ndarray:
    if self.tensor.read_rows is None:
      return self.tensor.read()[: self.old_pieces].mean(0, np.float64)
    total = np.zeros(self.tensor.shape[1:])
    for begin in range(0, self.old_pieces, _MEAN_ROWS):
      end = min(begin + _MEAN_ROWS, self.old_pieces)
      total += self.tensor.read_rows(begin, end).sum(0, np.float64)
    return total / self.old_pieces

  def _read(self) -> np.ndarray:
    return self._resized(self.tensor.read()[: self.used_rows], 0, self.rows)

  def _read_rows(self, begin: int, end: int) -> np.ndarray:
    assert self.tensor.read_rows
    last = min(end, self.used_rows)
    old_rows = np.zeros((0, *self.tensor.shape[1:]), np.float32)
    if begin < last:
      old_rows = self.tensor.read_rows(begin, last)
    return self._resized(old_rows, begin, end)

  def _resized(self, old_rows: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Returns the rows begin to end of the result.

    Args:
      old_rows: the weight's rows from `begin` on, as far as it has them.
      begin: first row.
      end: row after the last one.
    """
    result = np.zeros((end - begin, *self.tensor.shape[1:]), np.float32)
    result[: len(old_rows)] = old_rows
    first_new = max(begin, self.old_pieces)
    end_new = min(end, self.old_pieces + self.new_pieces)
    if first_new < end_new:
      result[first_new - begin : end_new - begin] = self._mean
    return result
