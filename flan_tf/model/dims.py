"""Every axis of the model, named once. Layout rules refer to these names."""

import dataclasses

from flan_tf import config
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.layout import Layout

# The dimensions that `mesh.layout` may split.
SPLITTABLE = (
  "batch",
  "length",
  "stream",
  "d_model",
  "heads",
  "d_ff",
  "vocab",
)

# A dimension for broadcasting, as in masks [batch, one, length, memory].
ONE = mtf.Dimension("one", 1)

_VOCAB_MULTIPLE = 128


@dataclasses.dataclass(frozen=True)
class Dims:
  """The dimensions of one model and one shape of batch.

  Attributes:
    batch: rows.
    length: query positions. A layout splits it for long rows: each core then
      gathers the keys and values of the other cores (Li et al. 2023, with a
      gather instead of their ring). Only training splits it; elsewhere the
      dimension is named "columns".
    memory: key positions; as many as `length` in training.
    stream: the positions of the residual stream, between the products. Where
      a layout splits it, each core normalizes and keeps some positions only,
      gathers the others for its heads, and passes on parts of sums
      (Korthikanti et al. 2022, section 4.2.2).
    d_model: width of the residual stream, in weights. Where a layout splits
      it, each core keeps a part of each weight and gathers the other parts
      when it needs them (Rajbhandari et al. 2020, section 5.3).
    width: the same size in activations, where it is never split.
    heads: attention heads.
    kv_heads: heads of keys and values. The dimension is named "heads" too, so
      that a layout splits both: a core holds query heads and the heads of keys
      that they share.
    d_kv: width of a head.
    d_ff: width of the MLP.
    vocab: rows of the embedding, a multiple of 128 so that it splits well.
    buckets: buckets of relative positions.
    positions: rows of the table of learned positions.
    length_is_split: whether the layout splits `length`. A core then does not
      know, before the program runs, which positions its queries have.
  """

  batch: mtf.Dimension
  length: mtf.Dimension
  memory: mtf.Dimension
  stream: mtf.Dimension
  d_model: mtf.Dimension
  width: mtf.Dimension
  heads: mtf.Dimension
  kv_heads: mtf.Dimension
  d_kv: mtf.Dimension
  d_ff: mtf.Dimension
  vocab: mtf.Dimension
  buckets: mtf.Dimension
  positions: mtf.Dimension
  length_is_split: bool = False

  @property
  def tokens(self) -> mtf.Shape:
    """[batch, length]."""
    return mtf.Shape([self.batch, self.length])

  @property
  def hidden(self) -> mtf.Shape:
    """[batch, length, d_model]."""
    return mtf.Shape([self.batch, self.length, self.width])

  @property
  def per_head(self) -> mtf.Shape:
    """[batch, length, heads, d_kv], the order that a projection gives."""
    return mtf.Shape([self.batch, self.length, self.heads, self.d_kv])

  @property
  def per_kv_head(self) -> mtf.Shape:
    """[batch, length, kv_heads, d_kv]."""
    return mtf.Shape([self.batch, self.length, self.kv_heads, self.d_kv])

  @property
  def keys(self) -> mtf.Shape:
    """[batch, memory, kv_heads, d_kv]."""
    return mtf.Shape([self.batch, self.memory, self.kv_heads, self.d_kv])


def padded_vocab(size: int) -> int:
  """Returns the smallest multiple of 128 that holds a vocabulary."""
  return -(-size // _VOCAB_MULTIPLE) * _VOCAB_MULTIPLE


def check_length(model: config.ModelConfig, length: int) -> None:
  """Raises ValueError if a model has too few learned positions for a row."""
  if model.positions == "learned" and length > model.max_positions:
    raise ValueError(
      f"data.length is {length}, but the model has learned positions for"
      f" {model.max_positions} tokens. Set --config.data.length (and"
      " input_length, target_length) to no more."
    )


def dims_for(
  model: config.ModelConfig,
  batch: int = 1,
  length: int = 1,
  memory: int = 0,
  replicated: bool = False,
  layout: Layout | None = None,
) -> Dims:
  """Returns the dimensions for rows of `length` tokens.

  Args:
    model: sizes and choices.
    batch: rows.
    length: query positions.
    memory: key positions; 0 for as many as query positions.
    replicated: gives every core all rows, whatever the layout says.
    layout: that of training, which may split `length` and `stream`; None for
      all other programs.

  Raises:
    ValueError: `model.vocab` has not been resolved from a vocabulary yet.
  """
  if not model.vocab:
    raise ValueError("model.vocab is 0: resolve it from the vocabulary first.")
  name = "length" if layout else "columns"
  return Dims(
    batch=mtf.Dimension("replicated" if replicated else "batch", batch),
    length=mtf.Dimension(name, length),
    memory=mtf.Dimension("memory", memory or length),
    stream=mtf.Dimension("stream" if layout else name, length),
    d_model=mtf.Dimension("d_model", model.d_model),
    width=mtf.Dimension("width", model.d_model),
    heads=mtf.Dimension("heads", model.heads),
    kv_heads=mtf.Dimension("heads", model.kv_heads or model.heads),
    d_kv=mtf.Dimension("d_kv", model.d_kv),
    d_ff=mtf.Dimension("d_ff", model.d_ff),
    vocab=mtf.Dimension("vocab", model.vocab),
    buckets=mtf.Dimension("buckets", model.relative_buckets),
    positions=mtf.Dimension("positions", max(model.max_positions, 1)),
    length_is_split=layout is not None and layout.num_shards("length") > 1,
  )
