"""Log-probabilities of targets, without a tensor of all logits."""

from collections.abc import Iterator

import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.ops.logit_head import Head
from flan_tf.mesh.ops.vocab_op import VocabOp

# Largest number of logits that a core holds at a time. The planner's estimate
# of memory uses the same number (flan_tf.tpu_plan.planner.cost_model).
CHUNK_ELEMENTS = 1 << 22
# Every row of the table is a token, and logits have no cap.
_PLAIN_HEAD = Head()


def token_log_probs(
  hidden: mtf.Tensor,
  table: mtf.Tensor,
  targets: mtf.Tensor,
  vocab: mtf.Dimension,
  head: Head = _PLAIN_HEAD,
) -> mtf.Tensor:
  """Returns log p(target) for every position, in float32.

  Logits are computed for a chunk of positions at a time, and once more in the
  backward pass, so that [batch, length, vocab] is never held. The vocabulary
  may be split over cores.

  Args:
    hidden: [batch, length, d_model].
    table: [vocab, d_model], the output embedding.
    targets: int32 [batch, length].
    vocab: the dimension that `targets` index.
    head: padding and soft cap of the logits.

  Returns:
    [batch, length].
  """
  return _TokenLogProbsOp(hidden, table, targets, vocab, head).outputs[0]


class _TokenLogProbsOp(VocabOp):
  def __init__(self, hidden, table, targets, vocab, head):
    super().__init__([hidden, table, targets], name="token_log_probs")
    self.vocab, self.head = vocab, head
    self._outputs = [
      mtf.Tensor(self, targets.shape, tf.float32, index=0),
      mtf.Tensor(self, targets.shape, tf.float32, index=1),  # log partition
    ]

  def gradient(self, grad_ys):
    op = _TokenLogProbsGradientOp(self, grad_ys[0])
    return [*op.outputs, None]

  def lower(self, lowering):
    hidden, table, targets = self._shards(lowering, self.inputs)
    ids, is_local = self._local_ids(lowering, targets, table)
    maxima, sums, target_logits = [], [], []
    first_row = self._first_row(lowering, table)
    for h, i, local in _chunks(table.shape[0], hidden, ids, is_local):
      logits = self.head.logits(h, table, first_row)
      maximum = tf.reduce_max(logits, -1)
      maxima.append(maximum)
      sums.append(tf.reduce_sum(tf.exp(logits - maximum[:, tf.newaxis]), -1))
      target_logit = tf.gather(logits, tf.where(local, i, 0), batch_dims=1)
      target_logits.append(tf.where(local, target_logit, 0.0))
    shape = targets.shape
    maximum, total, target_logit = (
      tf.reshape(tf.concat(chunks, 0), shape)
      for chunks in (maxima, sums, target_logits)
    )
    axes = self._vocab_axes(lowering)
    if axes:
      global_maximum = self._allreduce(lowering, maximum, axes, "MAX")
      total *= tf.exp(maximum - global_maximum)
      maximum = global_maximum
      total = self._allreduce(lowering, total, axes, "SUM")
      target_logit = self._allreduce(lowering, target_logit, axes, "SUM")
    log_partition = maximum + tf.math.log(total)
    self._set_output(lowering, self.outputs[0], target_logit - log_partition)
    self._set_output(lowering, self.outputs[1], log_partition)


class _TokenLogProbsGradientOp(VocabOp):
  def __init__(self, forward: _TokenLogProbsOp, grad_y):
    hidden, table, _ = forward.inputs
    super().__init__(
      [*forward.inputs, forward.outputs[1], grad_y],
      name="token_log_probs_gradient",
    )
    self.vocab, self.head = forward.vocab, forward.head
    self._outputs = [
      mtf.Tensor(self, hidden.shape, hidden.dtype, index=0),
      mtf.Tensor(self, table.shape, table.dtype, index=1),
    ]

  @property
  def has_gradient(self):
    return False

  def lower(self, lowering):
    hidden, table, targets, log_partition, grad_y = self._shards(
      lowering, self.inputs
    )
    ids, is_local = self._local_ids(lowering, targets, table)
    rows, first_row = table.shape[0], self._first_row(lowering, table)
    grads_hidden = []
    grads_table = []  # Of the chunks up to each one, summed.
    chunks = _chunks(rows, hidden, ids, is_local, log_partition, grad_y)
    for h, i, local, partition, dy in chunks:
      # Chunks run one after another; otherwise the logits of all of them would
      # be held at the same time.
      if grads_table:
        transport = lowering.mesh_impl(self).transport
        (h,) = transport.wait_for([h], grads_table[-1])
      # d log p(t) / d logits = onehot(t) - softmax
      logits = self.head.logits(h, table, first_row)
      p = tf.exp(logits - partition[:, tf.newaxis])
      onehot = tf.one_hot(tf.where(local, i, -1), rows, dtype=tf.float32)
      d_logits = (onehot - p) * dy[:, tf.newaxis]
      if self.head.cap:
        d_logits *= self.head.cap_gradient(logits)
      d_logits = tf.cast(d_logits, h.dtype)
      grads_hidden.append(tf.matmul(d_logits, table))
      chunk_grad = tf.matmul(d_logits, h, transpose_a=True)
      chunk_grad = tf.cast(chunk_grad, tf.float32)
      if grads_table:
        chunk_grad = grads_table[-1] + chunk_grad
      grads_table.append(chunk_grad)
    grad_hidden = tf.reshape(tf.concat(grads_hidden, 0), hidden.shape)
    vocab_axes = self._vocab_axes(lowering)
    batch_axes = self._mesh_axes(lowering, self.inputs[2].shape)
    self._set_output(
      lowering, self.outputs[0], grad_hidden, sum_over=vocab_axes
    )
    grad_table = tf.cast(grads_table[-1], table.dtype)
    self._set_output(lowering, self.outputs[1], grad_table, sum_over=batch_axes)


def _chunks(rows, hidden, *per_token) -> Iterator[list[tf.Tensor]]:
  """Cuts tensors into the same chunks of positions.

  Args:
    rows: number of logits of a position on this core.
    hidden: [batch, length, d_model].
    *per_token: tensors [batch, length].

  Yields:
    [positions, d_model] of `hidden`, and [positions] of each of the others.
  """
  tokens = hidden.shape[0] * hidden.shape[1]
  number = -(-tokens * rows // CHUNK_ELEMENTS)
  size = -(-tokens // number)
  flat = [tf.reshape(hidden, [tokens, hidden.shape[-1]])]
  flat += [tf.reshape(x, [tokens]) for x in per_token]
  for start in range(0, tokens, size):
    yield [x[start : start + size] for x in flat]
