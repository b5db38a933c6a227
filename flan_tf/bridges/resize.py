"""A source with another vocabulary: more pieces, or more rows for a mesh.

  rows of the embedding      what is in them
  0 ... pieces of before     as they were
  one for each new piece     the mean of all of those (Hewitt 2021: a new piece
                             is then no likelier than the others on average)
  up to the model's pieces   as they were: rows that no piece has
  up to `vocab`              zeros, which are never predicted

Nothing is read before somebody asks for it, and then in parts.

Hewitt, J. Initializing new word embeddings for pretrained language models.
https://nlp.stanford.edu/~johnhew/vocab-expansion.html
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from flan_tf.bridges import model_source
from flan_tf.model import dims

# Rows of which the mean is taken at a time.
_ROWS = 4096


class ResizeError(model_source.SourceError):
  """A vocabulary that cannot be made so."""


def resized(
  source: model_source.ModelSource,
  vocab: int = 0,
  add_pieces: Sequence[str] = (),
) -> model_source.ModelSource:
  """The same model with other rows in its embedding and its output layer.

  Args:
    source: the model.
    vocab: rows wanted; 0 for as many as there are, or as the pieces need.
    add_pieces: special pieces to put behind those of the vocabulary.

  Raises:
    ResizeError: too few rows, or a piece that is there or cannot be one.
  """
  model, vocabulary = source.model, source.vocabulary
  old = vocabulary.size
  if add_pieces:
    _check(add_pieces, vocabulary.pieces(range(old)))
    vocabulary = vocabulary.with_special(add_pieces)
  pieces = max(model.pieces or model.vocab, vocabulary.size)
  enough = pieces <= model.vocab
  rows = vocab or (model.vocab if enough else dims.padded_vocab(pieces))
  if rows < pieces:
    raise ResizeError(
      f"--vocab={rows}: the model predicts {pieces} pieces"
      f" ({vocabulary.size} of them in its tokenizer), so that fewer rows would"
      f" change it. Expected {pieces} or more, e.g."
      f" {dims.padded_vocab(pieces)}."
    )
  before = model.pieces or model.vocab
  new = range(old, old + len(add_pieces))
  tensors = {
    name: _resized(tensor, before, old, new, rows)
    if name in model_source.OF_VOCABULARY
    else tensor
    for name, tensor in source.tensors.items()
  }
  changed = [f"{len(add_pieces)} pieces added"] if add_pieces else []
  changed += [f"{rows} rows instead of {model.vocab}"] * (rows != model.vocab)
  return dataclasses.replace(
    source,
    model=dataclasses.replace(model, vocab=rows, pieces=pieces),
    vocabulary=vocabulary,
    tensors=tensors,
    note=", ".join([source.note, *changed]),
  )


def _check(pieces: Sequence[str], known: Sequence[str]) -> None:
  there = [piece for piece in pieces if piece in set(known)]
  twice = sorted({piece for piece in pieces if pieces.count(piece) > 1})
  blank = [piece for piece in pieces if piece != "".join(piece.split())]
  empty = [piece for piece in pieces if not piece]
  for wrong, why in (
    (empty, "a piece is not empty"),
    (there, "the vocabulary has these already"),
    (twice, "these are named twice"),
    (blank, "a piece has no blanks in it"),
  ):
    if wrong:
      raise ResizeError(f"--add_pieces: {why}: {', '.join(map(repr, wrong))}.")


def _resized(
  tensor: model_source.SourceTensor,
  before: int,
  old: int,
  new: range,
  rows: int,
) -> model_source.SourceTensor:
  """A table [vocab, d_model] with other rows.

  Args:
    tensor: as it is.
    before: rows of it that are no padding.
    old: of these, those that pieces have: the mean is theirs.
    new: rows that become that mean.
    rows: wanted.
  """

  @functools.cache
  def mean() -> np.ndarray:
    if tensor.read_rows is None:
      return tensor.read()[:old].mean(0, np.float64)
    total = np.zeros(tensor.shape[1:])
    for begin in range(0, old, _ROWS):
      part = tensor.read_rows(begin, min(begin + _ROWS, old))
      total += part.sum(0, np.float64)
    return total / old

  def changed(value: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Rows from `begin` to `end`, of which `value` has the first ones."""
    out = np.zeros((end - begin, *tensor.shape[1:]), np.float32)
    out[: len(value)] = value
    here = range(max(begin, new.start), min(end, new.stop))
    if len(here):
      out[here.start - begin : here.stop - begin] = mean()
    return out

  def read() -> np.ndarray:
    return changed(tensor.read()[:before], 0, rows)

  def read_rows(begin: int, end: int) -> np.ndarray:
    assert tensor.read_rows
    last = min(end, before)
    none = np.zeros((0, *tensor.shape[1:]), np.float32)
    there = tensor.read_rows(begin, last) if begin < last else none
    return changed(there, begin, end)

  shape = (rows, *tensor.shape[1:])
  return model_source.SourceTensor(shape, read, tensor.read_rows and read_rows)
