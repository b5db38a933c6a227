"""Operations that Mesh-TF lacks, or has too slow or too large.

local            any TensorFlow function, on each core's slices
join, part       tensors beside one another
resplit          the same tensor, one dimension split otherwise
embed            rows of a table, the table split over its rows if need be
token_log_probs  log p(target), never holding all logits
sums             of many tensors, in few exchanges
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.op import CoreOp

# Logits held at once by token_log_probs, in elements.
_CHUNK_ELEMENTS = 1 << 22
# The logit of a row that is no token.
NEVER = -1e30


# -- local ---------------------------------------------------------------------


def local(
  fn: Callable,
  inputs: Sequence[mtf.Tensor],
  output_shape: mtf.Shape,
  splittable: Sequence[mtf.Dimension] = (),
  dtype: tf.DType | None = None,
  name: str = "local",
  together: bool = False,
) -> mtf.Tensor:
  """Applies a TensorFlow function to each core's slices of the inputs.

  The gradient is TensorFlow's. Where an input is not split over an axis that
  splits the output (a norm's scale, say), its gradient is summed over it.

  Args:
    fn: takes one tensor for each input, returns one tensor.
    inputs: its inputs.
    output_shape: the shape of the result.
    splittable: dimensions that may be split without changing the result.
      Splitting another one is an error.
    dtype: of the result; by default that of the first input.
    name: of the operation.
    together: whether `fn` wants `Transport.together` as well, by this name.
  """
  dtype = dtype or inputs[0].dtype
  names = frozenset(dim.name for dim in splittable)
  shape = mtf.Shape(output_shape)
  op = _Local(fn, inputs, shape, names, dtype, name, together)
  return op.outputs[0]


class _Local(CoreOp):
  def __init__(self, fn, inputs, output_shape, splittable, dtype, name, wants):
    super().__init__(list(inputs), name=name)
    self._fn, self._splittable, self._wants_together = fn, splittable, wants
    self._outputs = [mtf.Tensor(self, output_shape, dtype)]
    self.traced: tuple[list[tf.Tensor], tf.Tensor]  # Set by `lower`.

  def gradient(self, grad_ys):
    return _LocalGradient(self, grad_ys[0]).results

  def lower(self, lowering):
    impl = lowering.mesh_impl(self)
    for tensor in (*self.inputs, *self.outputs):
      layout = impl.tensor_layout(tensor).tensor_axis_to_mesh_axis
      for dim, axis in zip(tensor.shape, layout, strict=True):
        if axis is not None and dim.name not in self._splittable:
          raise ValueError(
            f"{self.name}: dimension {dim.name!r} is split over mesh axis"
            f" {impl.shape[axis].name!r}, but only"
            f" {sorted(self._splittable)} may be. Change mesh.layout."
          )
    # Identities, so that the gradient stops here even where one input was
    # computed from another.
    xs = [tf.identity(x) for x in self._slices(lowering, self.inputs)]
    fn = self._fn
    if self._wants_together:
      fn = functools.partial(fn, together=impl.transport.together)
    y = fn(*xs)
    self.traced = (xs, y)
    self._set(lowering, self.outputs[0], y)


class _LocalGradient(CoreOp):
  def __init__(self, forward: _Local, grad_y: mtf.Tensor):
    super().__init__([*forward.inputs, grad_y], name="local_gradient")
    self._forward = forward
    self._wanted = [x for x in forward.inputs if x.dtype.is_floating]
    self._outputs = [
      mtf.Tensor(self, x.shape, x.dtype, index=i)
      for i, x in enumerate(self._wanted)
    ]

  @property
  def results(self) -> list[mtf.Tensor | None]:
    """One gradient for each input of the forward operation."""
    found = iter(self.outputs)
    floating = [x.dtype.is_floating for x in self._forward.inputs]
    return [next(found) if wanted else None for wanted in floating]

  @property
  def has_gradient(self):
    return False

  def lower(self, lowering):
    xs, y = self._forward.traced
    wanted = [x for x in xs if x.dtype.is_floating]
    (grad_y,) = self._slices(lowering, self.inputs[-1:])
    grads = tf.gradients(
      y, wanted, grad_y, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    axes = self._axes(lowering, self._forward.outputs[0].shape)
    for output, grad in zip(self.outputs, grads, strict=True):
      missing = axes - self._axes(lowering, output.shape)
      self._set(lowering, output, grad, sum_over=missing)


def join(xs: Sequence[mtf.Tensor], at: int) -> mtf.Tensor:
  """Tensors beside one another along their dimension number `at`.

  It must have the same name in all of them. Where it is split, each core has
  its own parts of all of them beside one another, as `part` expects.
  """
  dims = xs[0].shape.dims
  whole = sum(x.shape.dims[at].size for x in xs)
  dims[at] = mtf.Dimension(dims[at].name, whole)
  return local(
    lambda *parts: tf.concat(parts, at), xs, mtf.Shape(dims), dims, name="join"
  )


def part(x: mtf.Tensor, at: int, sizes: Sequence[int]) -> list[mtf.Tensor]:
  """Undoes `join` of tensors with these sizes."""
  dims, whole, begin, parts = x.shape.dims, sum(sizes), 0, []
  for size in sizes:
    dims[at] = mtf.Dimension(dims[at].name, size)

    def cut(x, begin=begin, size=size):
      mine = x.shape[at]
      edges = (begin * mine // whole, (begin + size) * mine // whole)
      return x[(slice(None),) * at + (slice(*edges),)]

    parts.append(local(cut, [x], mtf.Shape(dims), dims, name="part"))
    begin += size
  return parts


# -- resplit -------------------------------------------------------------------


def resplit(
  x: mtf.Tensor, before: mtf.Dimension, after: mtf.Dimension
) -> mtf.Tensor:
  """The same tensor, with another name for a dimension: it is split as that is.

    before   after
    split    not     each core gathers the parts of the others
    not      split   each core keeps its part; what is still to be summed over
                     the axis is sent only in parts (reduce-scatter)
    alike            nothing is sent, and what is to be summed may still wait

  The gradient goes the other way.

  Args:
    x: any tensor with the dimension `before`.
    before: its dimension.
    after: of the same size. Not both may be split, unless over the same axis.
  """
  if before == after:
    return x
  return _Resplit(x, before, after).outputs[0]


class _Resplit(CoreOp):
  def __init__(self, x, before, after):
    super().__init__([x], name="resplit")
    if before.size != after.size:
      raise ValueError(f"{before} cannot become {after}: the sizes differ.")
    self._before, self._after = before, after
    dims = [after if dim == before else dim for dim in x.shape]
    self._outputs = [mtf.Tensor(self, mtf.Shape(dims), x.dtype)]

  def gradient(self, grad_ys):
    return [resplit(grad_ys[0], self._after, self._before)]

  def lower(self, lowering):
    impl = lowering.mesh_impl(self)
    x, output = lowering.tensors[self.inputs[0]], self.outputs[0]
    at = self.inputs[0].shape.dims.index(self._before)
    before, after = (
      impl.tensor_layout(t).tensor_axis_to_mesh_axis[at]
      for t in (self.inputs[0], output)
    )
    waiting: list[int] = []  # Axes over which x is still to be summed.
    if isinstance(x, mtf.LazyAllreduceSum):
      x, waiting = x.laid_out_input, list(x.mesh_axes)
    if before == after:
      pass
    elif after is None:
      x = impl.allconcat(x, before, at)
    elif before is not None:
      raise ValueError(
        f"Dimension {self._before.name!r} is split over mesh axis"
        f" {impl.shape[before].name!r}, and {self._after.name!r} over"
        f" {impl.shape[after].name!r}: take one of them out of mesh.layout."
      )
    elif after in waiting:
      waiting.remove(after)
      x = impl.reducescatter(x, after, at)
    else:
      x = impl.allsplit(x, after, at)
    if waiting:
      x = mtf.LazyAllreduceSum(impl, x, waiting)
    lowering.set_tensor_lowering(output, x)


# -- embed ---------------------------------------------------------------------


def embed(
  ids: mtf.Tensor, table: mtf.Tensor, vocab: mtf.Dimension
) -> mtf.Tensor:
  """Rows of a table.

  Mesh-TF's gather multiplies by a one-hot matrix; this reads the rows, and
  adds them up over the cores where the vocabulary is split.

  Args:
    ids: int32, any shape, values in [0, vocab).
    table: [vocab, d_model].
    vocab: the dimension that ids index.

  Returns:
    [*ids.shape, d_model].
  """
  return _Embed(ids, table, vocab).outputs[0]


class _Embed(CoreOp):
  def __init__(self, ids, table, vocab):
    super().__init__([ids, table], name="embed")
    self.vocab = vocab
    rest = [d for d in table.shape if d != vocab]
    self._outputs = [mtf.Tensor(self, ids.shape + rest, table.dtype)]

  def gradient(self, grad_ys):
    return [None, _EmbedGradient(self, grad_ys[0]).outputs[0]]

  def lower(self, lowering):
    ids, table = self._slices(lowering, self.inputs)
    local_ids, here = _local_ids(self, lowering, ids, table)
    rows = tf.gather(table, tf.where(here, local_ids, 0))
    axes = self._axes(lowering, mtf.Shape([self.vocab]))
    if axes:
      rows = tf.where(tf.expand_dims(here, -1), rows, tf.zeros([], rows.dtype))
    self._set(lowering, self.outputs[0], rows, sum_over=axes)


class _EmbedGradient(CoreOp):
  def __init__(self, forward: _Embed, grad_y):
    ids, table = forward.inputs
    super().__init__([ids, table, grad_y], name="embed_gradient")
    self.vocab = forward.vocab
    self._outputs = [mtf.Tensor(self, table.shape, table.dtype)]

  @property
  def has_gradient(self):
    return False

  def lower(self, lowering):
    ids, table, grad_y = self._slices(lowering, self.inputs)
    local_ids, here = _local_ids(self, lowering, ids, table)
    # A negative segment is dropped.
    segments = tf.reshape(tf.where(here, local_ids, -1), [-1])
    # In float32: a frequent token adds up many small numbers.
    grad_y = tf.cast(tf.reshape(grad_y, [-1, grad_y.shape[-1]]), tf.float32)
    grad = tf.math.unsorted_segment_sum(grad_y, segments, table.shape[0])
    grad = tf.cast(grad, table.dtype)
    axes = self._axes(lowering, self.inputs[0].shape)
    self._set(lowering, self.outputs[0], grad, sum_over=axes)


def _local_ids(op, lowering, ids, table) -> tuple[tf.Tensor, tf.Tensor]:
  """Ids counted from the core's first row, and whether they are its rows."""
  rows = table.shape[0]
  local_ids = ids - _first_row(op, lowering, table)
  return local_ids, (local_ids >= 0) & (local_ids < rows)


# -- token_log_probs -----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Head:
  """What happens to logits, apart from the product that gives them.

  Attributes:
    pieces: rows of the table that are tokens; those beyond are padding, with a
      probability of 0. 0: all of them are.
    cap: logits x become cap tanh(x / cap); 0 for never.
  """

  pieces: int = 0
  cap: float = 0.0

  def logits(self, hidden, table, first_row) -> tf.Tensor:
    """float32 [tokens, rows] of a core whose rows begin with `first_row`."""
    product = tf.matmul(hidden, table, transpose_b=True)
    return self.of_product(product, first_row + tf.range(table.shape[0]))

  def of_product(self, product, ids) -> tf.Tensor:
    """float32 [tokens, rows] from hidden states times a core's rows `ids`."""
    logits = tf.cast(product, tf.float32)
    if self.cap:
      logits = self.cap * tf.tanh(logits / self.cap)
    if self.pieces:
      # Finite: a core may have nothing but padding.
      logits = tf.where(ids < self.pieces, logits, NEVER)
    return logits

  def slope(self, logits: tf.Tensor) -> tf.Tensor | float:
    """d logits / d product."""
    return 1.0 - tf.square(logits / self.cap) if self.cap else 1.0


def token_log_probs(
  hidden: mtf.Tensor,
  table: mtf.Tensor,
  targets: mtf.Tensor,
  vocab: mtf.Dimension,
  head: Head = Head(),
) -> mtf.Tensor:
  """log p(target) for every position, in float32.

  Logits are computed in chunks of positions, forward and again backward, so
  that [batch, length, vocab] never exists; the vocabulary may be split.

  Args:
    hidden: [batch, length, d_model].
    table: [vocab, d_model], the output embedding.
    targets: int32 [batch, length].
    vocab: the dimension that targets index.
    head: what happens to the logits.

  Returns:
    [batch, length].
  """
  return _TokenLogProbs(hidden, table, targets, vocab, head).outputs[0]


class _TokenLogProbs(CoreOp):
  def __init__(self, hidden, table, targets, vocab, head):
    super().__init__([hidden, table, targets], name="token_log_probs")
    self.vocab, self.head = vocab, head
    self._outputs = [
      mtf.Tensor(self, targets.shape, tf.float32, index=0),
      mtf.Tensor(self, targets.shape, tf.float32, index=1),  # log partition
    ]

  def gradient(self, grad_ys):
    op = _TokenLogProbsGradient(self, grad_ys[0])
    return [*op.outputs, None]

  def lower(self, lowering):
    hidden, table, targets = self._slices(lowering, self.inputs)
    ids, here = _local_ids(self, lowering, targets, table)
    maxima, sums, chosen = [], [], []
    first_row = _first_row(self, lowering, table)
    for h, i, at in _chunks(table.shape[0], hidden, ids, here):
      logits = self.head.logits(h, table, first_row)
      top = tf.reduce_max(logits, -1)
      maxima.append(top)
      sums.append(tf.reduce_sum(tf.exp(logits - top[:, tf.newaxis]), -1))
      picked = tf.gather(logits, tf.where(at, i, 0), batch_dims=1)
      chosen.append(tf.where(at, picked, 0.0))
    shape = targets.shape
    top, total, logit = (
      tf.reshape(tf.concat(xs, 0), shape) for xs in (maxima, sums, chosen)
    )
    axes = self._axes(lowering, mtf.Shape([self.vocab]))
    if axes:
      over_cores = self._allreduce(lowering, top, axes, "MAX")
      total *= tf.exp(top - over_cores)
      top = over_cores
      total = self._allreduce(lowering, total, axes, "SUM")
      logit = self._allreduce(lowering, logit, axes, "SUM")
    log_partition = top + tf.math.log(total)
    self._set(lowering, self.outputs[0], logit - log_partition)
    self._set(lowering, self.outputs[1], log_partition)


class _TokenLogProbsGradient(CoreOp):
  def __init__(self, forward: _TokenLogProbs, grad_y):
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
    hidden, table, targets, log_partition, grad_y = self._slices(
      lowering, self.inputs
    )
    ids, here = _local_ids(self, lowering, targets, table)
    rows, first_row = table.shape[0], _first_row(self, lowering, table)
    grads_h, grads_table = [], []  # The table's: sums up to each chunk.
    chunks = _chunks(rows, hidden, ids, here, log_partition, grad_y)
    for h, i, at, partition, dy in chunks:
      # One chunk after the other, or all of their logits live at once.
      if grads_table:
        after = lowering.mesh_impl(self).transport.after
        (h,) = after([h], grads_table[-1])
      # d log p(t) / d logits = onehot(t) - softmax
      logits = self.head.logits(h, table, first_row)
      p = tf.exp(logits - partition[:, tf.newaxis])
      onehot = tf.one_hot(tf.where(at, i, -1), rows, dtype=tf.float32)
      d_logits = (onehot - p) * dy[:, tf.newaxis]
      if self.head.cap:
        d_logits *= self.head.slope(logits)
      d_logits = tf.cast(d_logits, h.dtype)
      grads_h.append(tf.matmul(d_logits, table))
      chunk_grad = tf.matmul(d_logits, h, transpose_a=True)
      chunk_grad = tf.cast(chunk_grad, tf.float32)
      grads_table.append(
        grads_table[-1] + chunk_grad if grads_table else chunk_grad
      )
    grad_h = tf.reshape(tf.concat(grads_h, 0), hidden.shape)
    vocab_axes = self._axes(lowering, mtf.Shape([self.vocab]))
    batch_axes = self._axes(lowering, self.inputs[2].shape)
    self._set(lowering, self.outputs[0], grad_h, sum_over=vocab_axes)
    grad_table = tf.cast(grads_table[-1], table.dtype)
    self._set(lowering, self.outputs[1], grad_table, sum_over=batch_axes)


def _first_row(op, lowering, table) -> tf.Tensor:
  """The vocabulary's row that a core's slice of the table begins with."""
  impl = lowering.mesh_impl(op)
  part = impl.laid_out_slice_num(mtf.Shape([op.vocab])).one_slice
  return part * table.shape[0]


def _chunks(vocab, hidden, *others) -> Iterator[list[tf.Tensor]]:
  """Cuts [batch, length, ...] tensors into the same chunks of positions."""
  tokens = hidden.shape[0] * hidden.shape[1]
  number = -(-tokens * vocab // _CHUNK_ELEMENTS)
  size = -(-tokens // number)
  flat = [tf.reshape(hidden, [tokens, hidden.shape[-1]])]
  flat += [tf.reshape(x, [tokens]) for x in others]
  for start in range(0, tokens, size):
    yield [x[start : start + size] for x in flat]


# -- sums ----------------------------------------------------------------------


def sums(
  tensors: Sequence[mtf.Tensor],
  shapes: Sequence[mtf.Shape],
  fn: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> list[mtf.Tensor]:
  """Sums of many tensors, each over the dimensions that its shape lacks.

  What is to be summed over the same mesh axes goes into one all-reduce, so that
  a model of any depth needs no more than one for each set of axes.

  Args:
    tensors: any number of them.
    shapes: of the results, one for each tensor; the dimensions keep their
      order.
    fn: what is summed, element by element, in float32.

  Returns:
    float32, one for each tensor.
  """
  return list(_Sums(list(tensors), list(shapes), fn).outputs)


class _Sums(CoreOp):
  def __init__(self, tensors, shapes, fn):
    super().__init__(tensors, name="sums")
    self._fn = fn
    self._outputs = [
      mtf.Tensor(self, mtf.Shape(shape), tf.float32, index=i)
      for i, shape in enumerate(shapes)
    ]

  @property
  def has_gradient(self):
    return False

  def lower(self, lowering):
    # A tensor may come more than once: with a sum over rows, and over columns.
    made: dict[mtf.Tensor, tf.Tensor] = {}
    by_axes: dict[tuple[int, ...], list] = {}
    slices = self._slices(lowering, self.inputs)
    for x, value, output in zip(self.inputs, slices, self.outputs, strict=True):
      value = tf.cast(value, tf.float32)
      gone = [
        i for i, dim in enumerate(x.shape) if dim not in output.shape.dims
      ]
      axes = self._axes(lowering, mtf.Shape([x.shape.dims[i] for i in gone]))
      if self._fn is tf.square and not output.shape.dims:
        of_core = 2 * tf.nn.l2_loss(value)  # That is in one pass.
      else:
        if x not in made:
          made[x] = self._fn(value)
        of_core = tf.reduce_sum(made[x], gone) if gone else made[x]
      by_axes.setdefault(tuple(sorted(axes)), []).append((output, of_core))
    for axes, found in sorted(by_axes.items()):
      outputs, values = zip(*found, strict=True)
      for output, value in zip(
        outputs, self._together(lowering, values, axes), strict=True
      ):
        self._set(lowering, output, value)

  def _together(self, lowering, values, axes) -> Sequence[tf.Tensor]:
    """All of the values summed over mesh axes, in one exchange."""
    if not axes:
      return values
    flat = tf.concat([tf.reshape(value, [-1]) for value in values], 0)
    flat = self._allreduce(lowering, flat, axes, "SUM")
    shapes = [value.shape for value in values]
    parts = tf.split(flat, [shape.num_elements() for shape in shapes])
    return [
      tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)
    ]
