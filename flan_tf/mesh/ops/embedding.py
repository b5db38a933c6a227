"""Reads rows of a table by their ids."""

import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.ops.vocab_op import VocabOp


def embed(
  ids: mtf.Tensor, table: mtf.Tensor, vocab: mtf.Dimension
) -> mtf.Tensor:
  """Returns rows of a table.

  Mesh-TF's gather multiplies by a one-hot matrix. This operation reads the
  rows; if the vocabulary is split, each core contributes zeros for rows of
  other cores, and the results are summed over the cores.

  Args:
    ids: int32, any shape, values in [0, vocab).
    table: [vocab, d_model].
    vocab: the dimension that `ids` index.

  Returns:
    [*ids.shape, d_model].
  """
  return _EmbedOp(ids, table, vocab).outputs[0]


class _EmbedOp(VocabOp):
  def __init__(self, ids, table, vocab):
    super().__init__([ids, table], name="embed")
    self.vocab = vocab
    row_dims = [d for d in table.shape if d != vocab]
    self._outputs = [mtf.Tensor(self, ids.shape + row_dims, table.dtype)]

  def gradient(self, grad_ys):
    return [None, _EmbedGradientOp(self, grad_ys[0]).outputs[0]]

  def lower(self, lowering):
    ids, table = self._shards(lowering, self.inputs)
    local_ids, is_local = self._local_ids(lowering, ids, table)
    rows = tf.gather(table, tf.where(is_local, local_ids, 0))
    axes = self._vocab_axes(lowering)
    if axes:
      is_local = tf.expand_dims(is_local, -1)
      rows = tf.where(is_local, rows, tf.zeros([], rows.dtype))
    self._set_output(lowering, self.outputs[0], rows, sum_over=axes)


class _EmbedGradientOp(VocabOp):
  def __init__(self, forward: _EmbedOp, grad_y):
    ids, table = forward.inputs
    super().__init__([ids, table, grad_y], name="embed_gradient")
    self.vocab = forward.vocab
    self._outputs = [mtf.Tensor(self, table.shape, table.dtype)]

  @property
  def has_gradient(self):
    return False

  def lower(self, lowering):
    ids, table, grad_y = self._shards(lowering, self.inputs)
    local_ids, is_local = self._local_ids(lowering, ids, table)
    # unsorted_segment_sum drops negative segments.
    segments = tf.reshape(tf.where(is_local, local_ids, -1), [-1])
    # In float32, since the row of a frequent token sums many small numbers.
    grad_y = tf.cast(tf.reshape(grad_y, [-1, grad_y.shape[-1]]), tf.float32)
    grad = tf.math.unsorted_segment_sum(grad_y, segments, table.shape[0])
    grad = tf.cast(grad, table.dtype)
    axes = self._mesh_axes(lowering, self.inputs[0].shape)
    self._set_output(lowering, self.outputs[0], grad, sum_over=axes)
