"""Chooses the next token from logits, on any mesh.

Logits are split as the vocabulary is, and stay so: every choice is made of
sums and maxima over the tokens, which Mesh-TF adds up over cores. A limit such
as "the k most likely" is found bit by bit: the largest number t such that the
tokens from t on still measure enough,

  top_k   by logit: the largest t with at least k logits >= t
  top_p   by logit: the largest t whose tokens have a share >= p
  a draw  by id: the largest t with share of ids < t <= a number in [0, 1)

so no core needs another's logits, and the result is exact.
"""

from collections.abc import Callable

import tensorflow as tf

from flan_tf import config, sampling
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model import decoder
from flan_tf.model.dims import Dims

COLUMNS = "columns"

_LOWEST, _HIGHEST = -(1 << 31), (1 << 31) - 1


def columns(d: Dims, weights: decoder.Weights) -> mtf.Tensor:
  """The output table as [d_model, vocab], which a loop multiplies faster by."""
  return ops.local(
    tf.transpose,
    [decoder.output_table(d, weights)],
    mtf.Shape([d.width, d.vocab]),
    [d.vocab],
    name="columns",
  )


def logits(
  model: config.ModelConfig,
  d: Dims,
  weights: decoder.Weights,
  hidden: mtf.Tensor,
) -> mtf.Tensor:
  """float32 [batch, vocab] of hidden states [batch, d_model].

  Weights may have what `columns` makes of them, as COLUMNS.
  """
  head = decoder.head_of(model)
  table = weights.get(COLUMNS, decoder.output_table(d, weights))

  def on_core(hidden, table, ids):
    product = tf.matmul(hidden, table, transpose_b=COLUMNS not in weights)
    return head.of_product(product, ids)

  return ops.local(
    on_core,
    [hidden, table, _ids(hidden.mesh, d)],
    mtf.Shape([d.batch, d.vocab]),
    [d.batch, d.vocab],
    tf.float32,
    name="logits",
  )


def greedy(d: Dims, logits: mtf.Tensor) -> mtf.Tensor:
  """The most likely token, int32 [batch]; the lowest id of equals."""
  top = mtf.reduce_max(logits, reduced_dim=d.vocab)
  at_top = _local(
    d,
    lambda x, top, ids: tf.where(x == top[:, tf.newaxis], ids, _HIGHEST),
    [logits, top, _ids(logits.mesh, d)],
    tf.int32,
  )
  return mtf.reduce_min(at_top, reduced_dim=d.vocab)


def draw(
  d: Dims,
  logits: mtf.Tensor,
  uniform: mtf.Tensor,
  how: sampling.Sampling,
) -> mtf.Tensor:
  """A token by chance, int32 [batch].

  Args:
    d: the dimensions.
    logits: float32 [batch, vocab].
    uniform: float32 [batch], in [0, 1): chance itself.
    how: temperature, top_k and top_p.
  """
  mass = masses(d, logits, how)
  total = mtf.reduce_sum(mass, reduced_dim=d.vocab)
  ids = _ids(logits.mesh, d)

  def below(limit):
    return _local(
      d,
      lambda mass, ids, limit: tf.where(ids < limit[:, tf.newaxis], mass, 0.0),
      [mass, ids, limit],
    )

  drawn = _search(
    d,
    below,
    lambda sums, goal: sums <= goal,
    total * uniform,
    d.vocab.size.bit_length(),
    0,
  )
  # Sums are rounded: a number near an end may lead to a token that is out.
  of_drawn = _local(
    d,
    lambda mass, ids, at: tf.where(ids == at[:, tf.newaxis], mass, 0.0),
    [mass, ids, drawn],
  )
  return _rows(
    d,
    lambda mass, drawn, top: tf.where(mass > 0, drawn, top),
    [mtf.reduce_sum(of_drawn, reduced_dim=d.vocab), drawn, greedy(d, logits)],
  )


def masses(d: Dims, logits: mtf.Tensor, how: sampling.Sampling) -> mtf.Tensor:
  """What tokens are drawn in proportion to: float32 [batch, vocab].

  0 for those that top_k and top_p leave out. Equal logits at a limit are all
  in.
  """
  top = mtf.reduce_max(logits, reduced_dim=d.vocab)
  mass = _local(
    d,
    lambda x, top: tf.exp((x - top[:, tf.newaxis]) / how.temperature),
    [logits, top],
  )
  order = _local(d, lambda x, _: _ordered(x), [logits, top], tf.int32)

  def from_limit(measured):
    return lambda limit: _local(
      d,
      lambda order, x, limit: tf.where(order >= limit[:, tf.newaxis], x, 0.0),
      [order, measured, limit],
      tf.float32,
    )

  def keep(mass, measured, goal):
    """The masses of the fewest tokens that measure that much."""
    enough = from_limit(measured)
    reached = lambda sums, goal: sums >= goal  # noqa: E731
    limit = _search(d, enough, reached, goal, 32, _LOWEST)
    return from_limit(mass)(limit)

  if how.top_k and how.top_k < d.vocab.size:
    one = _local(d, lambda x, _: tf.ones_like(x), [mass, top])
    mass = keep(mass, one, top * 0.0 + float(how.top_k))
  if how.top_p < 1:
    total = mtf.reduce_sum(mass, reduced_dim=d.vocab)
    mass = keep(mass, mass, total * how.top_p)
  return mass


def best(
  d: Dims, logits: mtf.Tensor, number: int
) -> tuple[mtf.Tensor, mtf.Tensor]:
  """The most likely tokens, best first.

  Returns:
    float32 [batch, number], log-probabilities; int32 [batch, number], ids.
  """
  top = mtf.reduce_max(logits, reduced_dim=d.vocab)
  odds = _local(d, lambda x, top: tf.exp(x - top[:, tf.newaxis]), [logits, top])
  norm = top + mtf.log(mtf.reduce_sum(odds, reduced_dim=d.vocab))
  values, tokens = [], []
  for _ in range(number):
    token = greedy(d, logits)
    top = mtf.reduce_max(logits, reduced_dim=d.vocab)
    values.append(top - norm)
    tokens.append(token)
    logits = _local(
      d,
      lambda x, ids, at: tf.where(ids == at[:, tf.newaxis], 2 * ops.NEVER, x),
      [logits, _ids(logits.mesh, d), token],
    )
  several = mtf.Dimension("best", number)
  return mtf.stack(values, several.name, 1), mtf.stack(tokens, several.name, 1)


def _search(
  d: Dims,
  parts: Callable[[mtf.Tensor], mtf.Tensor],
  holds: Callable,
  goal: mtf.Tensor,
  bits: int,
  lowest: int,
) -> mtf.Tensor:
  """The largest limit for which sums over the tokens reach their goal.

  Args:
    d: the dimensions.
    parts: of limits int32 [batch] what is to be summed, [batch, vocab].
    holds: (sums, goal) -> whether a limit is still good; for `lowest` it is.
    goal: float32 [batch].
    bits: of the limits.
    lowest: the least limit, of which nothing but the highest bit may be set.

  Returns:
    int32 [batch].
  """
  limit = _rows(d, lambda x: tf.fill(x.shape, lowest), [goal], tf.int32)
  for bit in reversed(range(bits)):
    # The highest bit of an int32 is its sign: adding it wraps around to 0.
    step = 1 << bit if bit < 31 else _LOWEST
    more = _rows(d, lambda x, step=step: x + step, [limit])
    sums = mtf.reduce_sum(parts(more), reduced_dim=d.vocab)
    limit = _rows(
      d,
      lambda more, limit, sums, goal: tf.where(holds(sums, goal), more, limit),
      [more, limit, sums, goal],
    )
  return limit


def _ordered(x: tf.Tensor) -> tf.Tensor:
  """int32 in the order of float32."""
  bits = tf.bitcast(x + 0.0, tf.int32)  # No negative zero.
  return tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, _HIGHEST), bits)


def _ids(mesh: mtf.Mesh, d: Dims) -> mtf.Tensor:
  return mtf.range(mesh, d.vocab, tf.int32)


def _local(d: Dims, fn: Callable, inputs, dtype=None) -> mtf.Tensor:
  shape = mtf.Shape([d.batch, d.vocab])
  return ops.local(fn, inputs, shape, shape.dims, dtype, name="choose")


def _rows(d: Dims, fn: Callable, inputs, dtype=None) -> mtf.Tensor:
  shape = mtf.Shape([d.batch])
  return ops.local(fn, inputs, shape, shape.dims, dtype, name="choose")
