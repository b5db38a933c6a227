"""Chooses the next token from logits, on any mesh.

Logits are split over cores like the vocabulary, and stay split: every choice
is made of sums and maxima over the tokens, which Mesh-TF computes over cores.
A limit such as "the k most likely tokens" is found bit by bit, as the largest
number t for which the tokens from t on still measure enough:

  top_k   by logit: the largest t with at least k logits >= t
  top_p   by logit: the largest t whose tokens have a share >= p
  a draw  by id: the largest t with share of ids < t <= a number in [0, 1)

No core needs the logits of another core, and the result is exact.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model import decoder
from flan_tf.model.dims import Dims
from flan_tf.model.linear import gather_weight
from flan_tf.model.weights import ModelWeights
from flan_tf.sampling import Sampling

_LOWEST, _HIGHEST = -(1 << 31), (1 << 31) - 1


def transposed_table(d: Dims, weights: ModelWeights) -> mtf.Tensor:
  """Returns the output embedding as [d_model, vocab].

  A loop over decode steps multiplies by this form faster.
  """
  return ops.local(
    tf.transpose,
    [gather_weight(d, weights.output_embedding)],
    mtf.Shape([d.width, d.vocab]),
    [d.vocab],
    name="columns",
  )


def next_logits(
  model: config.ModelConfig,
  d: Dims,
  weights: ModelWeights,
  hidden: mtf.Tensor,
  transposed: mtf.Tensor | None = None,
) -> mtf.Tensor:
  """Returns logits, float32 [batch, vocab].

  Args:
    model: sizes and choices.
    d: the dimensions.
    weights: of the model.
    hidden: [batch, d_model].
    transposed: the output embedding as `transposed_table` gives it; None to
      multiply by the output embedding itself.
  """
  head = decoder.output_head(model)
  table = transposed
  if table is None:
    table = gather_weight(d, weights.output_embedding)

  def on_core(hidden, table, ids):
    product = tf.matmul(hidden, table, transpose_b=transposed is None)
    return head.logits_from_product(product, ids)

  return ops.local(
    on_core,
    [hidden, table, _ids(hidden.mesh, d)],
    mtf.Shape([d.batch, d.vocab]),
    [d.batch, d.vocab],
    tf.float32,
    name="logits",
  )


def greedy(d: Dims, logits: mtf.Tensor) -> mtf.Tensor:
  """Returns the most likely token, int32 [batch]; the lowest id of equals."""
  top = mtf.reduce_max(logits, reduced_dim=d.vocab)
  ids_at_top = _per_token(
    d,
    lambda x, top, ids: tf.where(x == top[:, tf.newaxis], ids, _HIGHEST),
    [logits, top, _ids(logits.mesh, d)],
    tf.int32,
  )
  return mtf.reduce_min(ids_at_top, reduced_dim=d.vocab)


def draw(
  d: Dims,
  logits: mtf.Tensor,
  uniform: mtf.Tensor,
  sampling: Sampling,
) -> mtf.Tensor:
  """Draws a token, int32 [batch].

  Args:
    d: the dimensions.
    logits: float32 [batch, vocab].
    uniform: float32 [batch], random numbers in [0, 1).
    sampling: temperature, top_k and top_p.
  """
  mass = probability_masses(d, logits, sampling)
  total = mtf.reduce_sum(mass, reduced_dim=d.vocab)
  ids = _ids(logits.mesh, d)

  def mass_below(limit):
    return _per_token(
      d,
      lambda mass, ids, limit: tf.where(ids < limit[:, tf.newaxis], mass, 0.0),
      [mass, ids, limit],
    )

  drawn = _largest_limit(
    d,
    mass_below,
    lambda sums, goal: sums <= goal,
    total * uniform,
    d.vocab.size.bit_length(),
    0,
  )
  # Sums are rounded: a number near an end may lead to a token without mass.
  mass_of_drawn = _per_token(
    d,
    lambda mass, ids, at: tf.where(ids == at[:, tf.newaxis], mass, 0.0),
    [mass, ids, drawn],
  )
  return _per_row(
    d,
    lambda mass, drawn, top: tf.where(mass > 0, drawn, top),
    [
      mtf.reduce_sum(mass_of_drawn, reduced_dim=d.vocab),
      drawn,
      greedy(d, logits),
    ],
  )


def probability_masses(
  d: Dims, logits: mtf.Tensor, sampling: Sampling
) -> mtf.Tensor:
  """Returns the unnormalized probabilities of a draw: float32 [batch, vocab].

  They are 0 for tokens that top_k and top_p exclude. Of tokens with equal
  logits at a limit, all are included.
  """
  top = mtf.reduce_max(logits, reduced_dim=d.vocab)
  mass = _per_token(
    d,
    lambda x, top: tf.exp((x - top[:, tf.newaxis]) / sampling.temperature),
    [logits, top],
  )
  order = _per_token(d, lambda x, _: _integer_order(x), [logits, top], tf.int32)

  def from_limit(measure):
    return lambda limit: _per_token(
      d,
      lambda order, x, limit: tf.where(order >= limit[:, tf.newaxis], x, 0.0),
      [order, measure, limit],
      tf.float32,
    )

  def keep(mass, measure, goal):
    """Keeps the masses of the fewest tokens whose measure reaches the goal."""
    limit = _largest_limit(
      d,
      from_limit(measure),
      lambda sums, goal: sums >= goal,
      goal,
      32,
      _LOWEST,
    )
    return from_limit(mass)(limit)

  if sampling.top_k and sampling.top_k < d.vocab.size:
    one = _per_token(d, lambda x, _: tf.ones_like(x), [mass, top])
    mass = keep(mass, one, top * 0.0 + float(sampling.top_k))
  if sampling.top_p < 1:
    total = mtf.reduce_sum(mass, reduced_dim=d.vocab)
    mass = keep(mass, mass, total * sampling.top_p)
  return mass


def most_likely(
  d: Dims, logits: mtf.Tensor, number: int
) -> tuple[mtf.Tensor, mtf.Tensor]:
  """Returns the most likely tokens, best first.

  Returns:
    Log-probabilities, float32 [batch, number]; and ids, int32 [batch, number].
  """
  top = mtf.reduce_max(logits, reduced_dim=d.vocab)
  odds = _per_token(
    d, lambda x, top: tf.exp(x - top[:, tf.newaxis]), [logits, top]
  )
  norm = top + mtf.log(mtf.reduce_sum(odds, reduced_dim=d.vocab))
  values, tokens = [], []
  for _ in range(number):
    token = greedy(d, logits)
    top = mtf.reduce_max(logits, reduced_dim=d.vocab)
    values.append(top - norm)
    tokens.append(token)
    logits = _per_token(
      d,
      lambda x, ids, at: tf.where(
        ids == at[:, tf.newaxis], 2 * ops.MASKED_LOGIT, x
      ),
      [logits, _ids(logits.mesh, d), token],
    )
  best = mtf.Dimension("best", number)
  return mtf.stack(values, best.name, 1), mtf.stack(tokens, best.name, 1)


def _largest_limit(
  d: Dims,
  measured: Callable[[mtf.Tensor], mtf.Tensor],
  is_enough: Callable,
  goal: mtf.Tensor,
  bits: int,
  lowest: int,
) -> mtf.Tensor:
  """Returns the largest limit whose sum over the tokens reaches the goal.

  Args:
    d: the dimensions.
    measured: maps limits int32 [batch] to the terms of the sum [batch, vocab].
    is_enough: maps (sums, goal) to booleans; True for the limit `lowest`.
    goal: float32 [batch].
    bits: number of bits of a limit.
    lowest: the smallest limit; at most its highest bit is set.

  Returns:
    int32 [batch].
  """
  limit = _per_row(d, lambda x: tf.fill(x.shape, lowest), [goal], tf.int32)
  for bit in reversed(range(bits)):
    # The highest bit of an int32 is its sign: adding it wraps around to 0.
    step = 1 << bit if bit < 31 else _LOWEST
    raised = _per_row(d, lambda x, step=step: x + step, [limit])
    sums = mtf.reduce_sum(measured(raised), reduced_dim=d.vocab)
    limit = _per_row(
      d,
      lambda raised, limit, sums, goal: tf.where(
        is_enough(sums, goal), raised, limit
      ),
      [raised, limit, sums, goal],
    )
  return limit


def _integer_order(x: tf.Tensor) -> tf.Tensor:
  """Returns int32 numbers that have the order of the float32 numbers x."""
  bits = tf.bitcast(x + 0.0, tf.int32)  # No negative zero.
  return tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, _HIGHEST), bits)


def _ids(mesh: mtf.Mesh, d: Dims) -> mtf.Tensor:
  return mtf.range(mesh, d.vocab, tf.int32)


def _per_token(
  d: Dims,
  fn: Callable,
  inputs: Sequence[mtf.Tensor],
  dtype: tf.DType | None = None,
) -> mtf.Tensor:
  """Applies fn on each core; the result is [batch, vocab]."""
  shape = mtf.Shape([d.batch, d.vocab])
  return ops.local(fn, inputs, shape, shape.dims, dtype, name="choose")


def _per_row(
  d: Dims,
  fn: Callable,
  inputs: Sequence[mtf.Tensor],
  dtype: tf.DType | None = None,
) -> mtf.Tensor:
  """Applies fn on each core; the result is [batch]."""
  shape = mtf.Shape([d.batch])
  return ops.local(fn, inputs, shape, shape.dims, dtype, name="choose")
