"""An estimate by hand of a program's time and memory: what to compile first.

  seconds = FLOPs / peak + 0.82 bytes to and from memory / its speed
            + bytes on the wire / speed of the links
  memory  = weights, gradients, saved activations and one layer's work

It puts candidates in order, and stands in a table for what was not compiled.
What is shown is the compiler's, or says that it is by hand. Its few factors are
fitted to training steps on v3 and v4. Of those that the compiler answered for,
by hand over the compiler's:

                                            seconds     memory      on the wire
  24 with whole rows, 422M to 137B          0.91-1.08   0.76-1.24   0.64-1.21
  15 with rows cut into 2 to 8 parts        0.75-1.01   0.52-1.53   1.07-1.27
   7 with rows cut into more                0.54-0.77   0.94-1.12   1.19-1.31
   4 on v5e, v5p and v6e                    0.75-1.37   0.71-0.86   0.69-1.06

Since then attention keeps its weights once, rounded. By hand knows nothing of
that; of five answers with it:

   4 on v3 and v4, 8B to 137B               0.85-1.02   0.99-1.03   1.06-1.18
   1 on v5e                                 1.17        0.82        0.95

Bytes on the wire of a core, for a tensor of S bytes over n cores: an all-reduce
2 (n - 1) / n S, a reduce-scatter or an all-gather half of that.
"""

import dataclasses
import functools
import math

from flan_tf.tpu_plan import chips, mesh_sizes, parameter_count, request
from flan_tf.tpu_plan.planner import flop_counts

_BYTES = {"float32": 4, "bfloat16": 2}
# Forward and backward, and what is sent again for what is computed again.
_PASSES = {"nothing": 2.0, "inputs": 2.5, "light": 2.5, "layers": 3.0}
# How often parts of a layer go to and from memory for each pass over it: logits
# and weights of attention, what else it makes, and its own weights. Fitted.
_ATTENTION_TRAFFIC = 5
# Where rows are cut, keys behind a query are looked at, too.
_ATTENTION_OF_CUT_ROWS = 10
_MADE_TRAFFIC = 3
_WEIGHTS_TRAFFIC = 2
# And the residual stream, which is added to, and normed in float32.
_STREAM_TRAFFIC = 24
# Passes over a layer: attention is the most of it, and "light" has it again.
_OVER_LAYER = {"nothing": 2, "inputs": 2, "light": 3, "layers": 3}
# Of the seconds that memory takes: those that no product hides. Fitted.
_NOT_HIDDEN = 0.82
# Of attention's weights: those that are kept. Keys behind a block of queries
# have none.
_KEPT_WEIGHTS = 0.7
# Output logits are made in so many parts (flan_tf.mesh.ops).
_LOGIT_PARTS = 8
# Beside each parameter that trains: padding, the optimizer's work. Fitted.
_BESIDE_BYTES = 1
# How much of a core's memory a candidate may seem to need, and be tried among
# the first: the estimate is wrong by about as much.
_SLACK = 1.15


@dataclasses.dataclass(frozen=True)
class CostEstimate:
  """The estimate, of one core."""

  seconds: float
  hbm_bytes: float
  hbm_limit_bytes: int

  @property
  def fits(self) -> bool:
    return self.hbm_bytes <= self.hbm_limit_bytes * _SLACK

  @property
  def worth(self) -> tuple[bool, float, float]:
    """Sorts: those that may fit by time, then the others by memory."""
    if self.fits:
      return (False, self.seconds, self.hbm_bytes)
    return (True, self.hbm_bytes, self.seconds)


def sizes(asked: request.CompileRequest) -> dict[str, int]:
  """Of the dimensions that a layout may split, as far as a program has them."""
  run, model = asked.run, asked.run.model
  rows = asked.rows
  if asked.program == "train":
    rows = run.train.batch // run.train.microbatches
  return {
    "batch": rows,
    # Only training splits rows, and what it keeps of them.
    "length": asked.length if asked.program == "train" else 0,
    "stream": asked.length if asked.program == "train" else 0,
    "d_model": model.d_model,
    # Heads of keys and values are split with those of the queries.
    "heads": math.gcd(model.heads, model.kv_heads or model.heads),
    "d_ff": model.d_ff,
    "vocab": model.vocab,
  }


def by_hand(asked: request.CompileRequest) -> CostEstimate:
  """Estimates one request; its mesh must divide."""
  made = answer(asked)
  seconds = made.estimated_step_seconds + made.collective_seconds
  return CostEstimate(seconds, made.hbm_bytes_per_core, made.hbm_limit_bytes)


def answer(asked: request.CompileRequest) -> request.CompileReport:
  """The same in the form of the compiler's, as far as a hand can tell.

  Kinds of memory and of collectives are left out.
  """
  work = _Work(asked)
  where = chips.parse_topology(asked.topology)
  generation = where.generation
  multiplying = work.flops / generation.peak_flops
  streaming = work.streamed_bytes / generation.hbm_bandwidth
  memory = int(work.memory)
  return request.CompileReport(
    program=asked.program,
    parameters=parameter_count.parameters(asked.run.model),
    cores=where.cores,
    fits=memory <= generation.hbm_bytes,
    hbm_bytes_per_core=memory,
    hbm_limit_bytes=generation.hbm_bytes,
    flops_per_core=work.flops,
    bytes_accessed_per_core=work.streamed_bytes,
    # Never faster than memory is.
    estimated_step_seconds=max(
      multiplying + _NOT_HIDDEN * streaming, streaming
    ),
    collective_seconds=work.wire_bytes / generation.wire_bandwidth,
  )


class _Work:
  """FLOPs and bytes of one core in one run of a program."""

  def __init__(self, asked: request.CompileRequest):
    self._asked, self._run = asked, asked.run
    self._model, self._train = asked.run.model, asked.run.train
    self._mesh = mesh_sizes.MeshSizes(asked.run.mesh)
    self._training = asked.program == "train"
    self._bytes = _BYTES[asked.run.mesh.precision]

  @functools.cached_property
  def parameters(self) -> float:
    """Parameters that a core holds."""
    in_layer = self._held(parameter_count.of_layer(self._model))
    outside = self._held(parameter_count.outside(self._model))
    return self._model.layers * in_layer + outside

  @property
  def flops(self) -> float:
    """Products are split with the rows, and with heads and MLP."""
    total = flop_counts.model_flops(self._asked)
    if self._training and self._train.recompute == "layers":
      total *= 4 / 3
    if self._training and self._train.recompute == "light":
      total += flop_counts.attention_flops(self._asked)
    return total / self._mesh.parts("batch", "length", "d_ff")

  @property
  def streamed_bytes(self) -> float:
    """To and from memory: weights, what layers make, and caches."""
    is_cut = self._mesh.parts("length") > 1
    attention = _ATTENTION_OF_CUT_ROWS if is_cut else _ATTENTION_TRAFFIC
    made = attention * self._attention
    made += _MADE_TRAFFIC * (self._hidden + self._products)
    made += _WEIGHTS_TRAFFIC * self._layer_weights
    made += _STREAM_TRAFFIC * self._stream
    made *= self._model.layers
    if self._training:
      parts = self._train.microbatches
      passes = 3 * parts * self._bytes + 6 * _BYTES["float32"]
      made *= parts * _OVER_LAYER[self._train.recompute]
      return self.parameters * passes + made
    cache = 0.0 if self._asked.program == "score" else self._cache
    return self.parameters * self._bytes + made + cache

  @property
  def wire_bytes(self) -> float:
    """Sums of products over split dimensions, weights, and gradients."""
    mesh, layers = self._mesh, self._model.layers
    passes = _PASSES[self._train.recompute] if self._training else 1
    # An all-reduce, or a reduce-scatter and an all-gather, behind attention and
    # behind the MLP.
    sums = passes * layers * 2 * self._hidden * _ring(mesh.parts("heads"))
    # A split d_model: each pass gathers the weights, gradients are scattered.
    gathers = mesh.parts("d_model")
    whole = self.parameters * self._bytes * gathers
    moved = passes * whole * _ring(gathers) / 2
    if not self._training:
      return sums + moved
    groups, cuts = mesh.parts("batch"), mesh.parts("length")
    gradients = whole * _ring(groups) * (0.5 if gathers > 1 else 1)
    gradients += self.parameters * self._bytes * _ring(cuts)
    # Keys and values of a row's other parts: each pass gathers them, or
    # scatters their gradients.
    keys = passes * layers * self._keys * _ring(cuts) / 2
    return self._train.microbatches * (sums + moved + gradients + keys)

  @property
  def memory(self) -> float:
    """Bytes at the worst moment."""
    if not self._training:
      held = self.parameters * self._bytes
      rows = self._layer_bytes + self._logits
      cache = self._cache if self._asked.program == "decode" else 0.0
      return held + rows + cache
    # Clipping by the global norm keeps every gradient until the last is there.
    gradients = self._bytes
    if self._train.microbatches > 1:
      gradients += _BYTES["float32"]
    gradients = self.parameters * (gradients + _BESIDE_BYTES)
    held = self.parameters * _BYTES["float32"]
    stream = self._stream
    # What products with weights gave.
    light = 3 * stream + self._products
    of_layer = {
      "layers": stream,
      "light": light,
      "inputs": light + _KEPT_WEIGHTS * self._attention_weights,
      # And what was gathered for them, and weights in their precision.
      "nothing": light + 2 * self._hidden + self._layer_weights,
    }
    saved = self._model.layers * of_layer[self._train.recompute]
    working = self._layer_bytes + 2 * self._logits
    if self._train.recompute in ("inputs", "light"):
      # Gradients take the place of what was saved. Weights in their precision
      # are there all the while.
      held += self.parameters * self._bytes
      return held + max(gradients, saved) + working
    return held + gradients + saved + working

  def _held(self, shapes: parameter_count.Shapes) -> float:
    return sum(
      math.prod(shape.values()) / self._mesh.parts(*shape)
      for shape in shapes.values()
    )

  @property
  def _tokens(self) -> float:
    """Of one microbatch: those that a core works on."""
    rows = self._asked.tokens
    if self._training:
      rows //= self._train.microbatches
    return rows / self._mesh.parts("batch", "length")

  @property
  def _hidden(self) -> float:
    """Bytes of [batch, length, d_model]."""
    return self._tokens * self._model.d_model * self._bytes

  @property
  def _stream(self) -> float:
    """The same as the stream has it; where rows are split, it is no further."""
    if self._mesh.axis_of("stream") == self._mesh.axis_of("length"):
      return self._hidden
    return self._hidden / self._mesh.parts("stream")

  @property
  def _keys(self) -> float:
    """Bytes of a layer's keys and values, of whole rows."""
    model, mesh = self._model, self._mesh
    width = 2 * (model.kv_heads or model.heads) * model.d_kv
    tokens = self._tokens * mesh.parts("length")
    return tokens * width / mesh.parts("heads") * self._bytes

  @property
  def _layer_bytes(self) -> float:
    """What one layer makes on the way, and its weights as it multiplies."""
    made = 4 * self._hidden + self._products + self._attention
    return made + self._layer_weights

  @property
  def _attention(self) -> float:
    """Bytes of its logits in float32, and weights in products' precision."""
    return self._attention_weights * (4 + self._bytes) / self._bytes

  @property
  def _attention_weights(self) -> float:
    """Bytes of [batch, heads, length, length]."""
    heads = self._model.heads / self._mesh.parts("heads")
    return self._tokens * self._asked.length * heads * self._bytes

  @property
  def _layer_weights(self) -> float:
    """Bytes of a layer's weights as it multiplies with them."""
    held = self._held(parameter_count.of_layer(self._model))
    return held * self._mesh.parts("d_model") * self._bytes

  @property
  def _products(self) -> float:
    """Bytes of q, k, v and attention's output, and the MLP's two products."""
    mesh, model = self._mesh, self._model
    width = 4 * model.heads * model.d_kv / mesh.parts("heads")
    width += 2 * model.d_ff / mesh.parts("d_ff")
    return self._tokens * width * self._bytes

  @property
  def _logits(self) -> float:
    width = self._model.vocab / self._mesh.parts("vocab")
    return self._tokens * width * _BYTES["float32"] / _LOGIT_PARTS

  @property
  def _cache(self) -> float:
    """Bytes of all keys and values."""
    model, asked = self._model, self._asked
    width = 2 * (model.kv_heads or model.heads) * model.d_kv * model.layers
    whole = asked.rows * asked.length * width * self._bytes
    return whole / self._mesh.parts("batch", "heads")


def _ring(cores: int) -> float:
  """Of an all-reduce: what a core sends for each byte."""
  return 2 * (cores - 1) / cores
