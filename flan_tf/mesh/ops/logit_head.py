"""Logits from hidden states: padding of the vocabulary, and the soft cap."""

import dataclasses

import tensorflow as tf

# The logit of a row of the output table that is not a token. It is finite, so
# that a softmax over nothing but such rows is not NaN.
MASKED_LOGIT = -1e30


@dataclasses.dataclass(frozen=True)
class Head:
  """Computes logits from hidden states and rows of the output table.

  Attributes:
    pieces: number of rows of the table that are tokens. Rows from this one on
      are padding and get a probability of 0. If 0, all rows are tokens.
    cap: soft cap: logits x become cap tanh(x / cap). 0 disables it.
  """

  pieces: int = 0
  cap: float = 0.0

  def logits(self, hidden, table, first_row) -> tf.Tensor:
    """Returns logits for one core's shard of the output table.

    Args:
      hidden: [tokens, d_model].
      table: [rows, d_model], the shard.
      first_row: int32 scalar, the token id of its first row.

    Returns:
      float32 [tokens, rows].
    """
    product = tf.matmul(hidden, table, transpose_b=True)
    return self.logits_from_product(
      product, first_row + tf.range(table.shape[0])
    )

  def logits_from_product(self, product, ids) -> tf.Tensor:
    """Returns float32 logits from the product of hidden states and table.

    Args:
      product: [tokens, rows], hidden states times rows of the output table.
      ids: int32 [rows], the token id of each row.
    """
    logits = tf.cast(product, tf.float32)
    if self.cap:
      logits = self.cap * tf.tanh(logits / self.cap)
    if self.pieces:
      logits = tf.where(ids < self.pieces, logits, MASKED_LOGIT)
    return logits

  def cap_gradient(self, logits: tf.Tensor) -> tf.Tensor | float:
    """Returns the derivative of the capped logits by the uncapped ones."""
    return 1.0 - tf.square(logits / self.cap) if self.cap else 1.0
