"""The compiled programs of generation: prefill, decode loop, and beam step."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from flan_tf.inference import beam_search
from flan_tf.inference.loaded_model import LoadedModel
from flan_tf.mesh import program
from flan_tf.mesh.compat import mtf
from flan_tf.model import kv_cache, next_token
from flan_tf.model.decoder import Decoder
from flan_tf.model.dims import Dims, dims_for
from flan_tf.model.weights import ModelWeights
from flan_tf.sampling import Sampling

# Most tokens that one call of the decode loop generates.
TOKENS_PER_CALL = 64


@dataclasses.dataclass(frozen=True)
class ProgramKey:
  """The sizes and settings that one pair of programs is compiled for.

  Attributes:
    rows: of a batch.
    columns: of the padded prompts.
    memory: columns of the cache, for prompts and new tokens.
    ends: number of ids that end a text.
    sampling: how tokens are chosen.
  """

  rows: int
  columns: int
  memory: int
  ends: int
  sampling: Sampling

  @property
  def candidates(self) -> int:
    """Tokens per beam to look at, enough for all beams to continue."""
    return beam_search.candidate_count(self.sampling.beams, self.ends)


class DecodeInputs(NamedTuple):
  """The inputs of the decode loop, on one core.

  Attributes:
    tokens: int32 [batch], the tokens of the last column.
    start: int32 [batch], each row's first column.
    column: int32 [], the column to fill first.
    steps: int32 [], how many tokens to generate.
    uniform: float32 [batch, TOKENS_PER_CALL], random numbers in [0, 1).
    ended: bool [batch], rows whose text has ended.
    ends: int32 [ends], ids that end a text.
    output_table: [d_model, vocab]; see `next_token.transposed_table`.
    cache: keys and values of all layers; see `kv_cache.Cache`.
  """

  tokens: Any
  start: Any
  column: Any
  steps: Any
  uniform: Any
  ended: Any
  ends: Any
  output_table: Any
  cache: Any


class BeamInputs(NamedTuple):
  """The inputs of one step of beam search, on one core.

  Attributes:
    tokens: int32 [batch], the token that each beam continues with.
    start: int32 [batch], each row's first column.
    column: int32 [], the column to fill.
    parents: int32 [batch], the beam of its group that each beam continues.
    cache: keys and values of all layers; see `kv_cache.Cache`.
  """

  tokens: Any
  start: Any
  column: Any
  parents: Any
  cache: Any


class DecodePrograms:
  """The programs of one model, each compiled at its first use.

  Args:
    model: the weights, on their mesh.

  Attributes:
    pieces: number of tokens to choose from.
  """

  def __init__(self, model: LoadedModel):
    self._model = model
    # Rows of the table beyond the vocabulary are not tokens to choose.
    self.pieces = model.run.model.pieces or model.vocabulary.size
    self._config = dataclasses.replace(model.run.model, pieces=self.pieces)
    self._prefill: dict[ProgramKey, program.Program] = {}
    self._decode: dict[ProgramKey, program.Program] = {}
    self._output_table = None

  def dims(self, key: ProgramKey) -> Dims:
    """Returns the dimensions of a program."""
    return dims_for(self._config, key.rows, key.columns, key.memory)

  def prefill(self, key: ProgramKey) -> program.Program:
    """Returns the program that runs prompts and begins the cache.

    It takes inputs int32 [batch, columns], start int32 [batch], and uniform
    float32 [batch]; it returns the choice of the first token, and the cache.
    """
    if key not in self._prefill:
      step = self._prefill_step(key)
      self._prefill[key] = self.compile(step, jit_compile=False)
    return self._prefill[key]

  def decode(self, key: ProgramKey) -> program.Program:
    """Returns the program that continues prompts.

    It takes `DecodeInputs` and returns the last tokens int32 [batch], all new
    tokens int32 [batch, TOKENS_PER_CALL], and the cache. With beams it takes
    `BeamInputs` and returns candidates and the cache.
    """
    key = dataclasses.replace(key, columns=1)
    if key not in self._decode:
      searches = key.sampling.beams > 1
      step = self._beam_step(key) if searches else self._decode_loop(key)
      self._decode[key] = self.compile(step, jit_compile=True)
    return self._decode[key]

  def decode_specs(self, key: ProgramKey) -> DecodeInputs:
    """Returns the types of the inputs of the decode loop, on one core."""
    d = self.dims(dataclasses.replace(key, columns=1))
    shard_shape = self._model.layout.shard_shape
    dtype = tf.as_dtype(self._model.run.mesh.precision)
    rows = shard_shape(mtf.Shape([d.batch]))
    cache = tf.TensorSpec(shard_shape(kv_cache.cache_shape(d)), dtype)
    return DecodeInputs(
      tokens=tf.TensorSpec(rows, tf.int32),
      start=tf.TensorSpec(rows, tf.int32),
      column=tf.TensorSpec([], tf.int32),
      steps=tf.TensorSpec([], tf.int32),
      uniform=tf.TensorSpec([*rows, TOKENS_PER_CALL], tf.float32),
      ended=tf.TensorSpec(rows, tf.bool),
      ends=tf.TensorSpec([key.ends], tf.int32),
      output_table=tf.TensorSpec(
        shard_shape(mtf.Shape([d.width, d.vocab])), dtype
      ),
      cache=[cache] * (2 * self._config.layers),
    )

  def output_table(self, d: Dims):
    """Returns the transposed output embedding, on the cores; computed once."""
    if self._output_table is None:

      def step(core: program.CoreProgram):
        table = next_token.transposed_table(d, self._model.read(core))
        core.lower()
        return core.value(table)

      run = self.compile(step, jit_compile=False)
      self._output_table = run.dispatch()
    return self._output_table

  def compile(self, step: Callable, jit_compile: bool) -> program.Program:
    """Returns a step function as a program on the cores of the model."""
    model = self._model
    return program.Program(model.devices, model.layout, step, jit_compile)

  # -- steps -------------------------------------------------------------------

  def _prefill_step(self, key: ProgramKey) -> Callable:
    d = self.dims(key)
    rows = mtf.Shape([d.batch])
    decoder = Decoder(self._config, d)

    def step(core: program.CoreProgram, inputs, start, uniform):
      weights = self._model.read(core)
      hidden, cache = kv_cache.prefill(
        decoder, weights, core.feed(inputs, d.tokens), core.feed(start, rows)
      )
      uniform = core.feed(uniform, rows)
      chosen = self._choose(key, d, weights, hidden, uniform)
      core.lower()
      return _values(core, chosen), [core.value(x) for x in cache]

    return step

  def _decode_loop(self, key: ProgramKey) -> Callable:
    d = self.dims(key)
    table_shape = mtf.Shape([d.width, d.vocab])

    def step(core: program.CoreProgram, inputs: DecodeInputs):
      named = self._model.read_named(core)
      table = core.feed(inputs.output_table, table_shape)
      core.lower()
      # Cast once, not for every token.
      matrices = {
        name: _Matrix(name, core.value(w), w.shape) for name, w in named.items()
      }
      table = _Matrix("output_table", core.value(table), table_shape)

      def next_column(index, tokens, generated, ended, cache):
        graph = core.new_graph()
        weights = ModelWeights.of(
          self._config, {name: m.feed(graph) for name, m in matrices.items()}
        )
        column = inputs._replace(tokens=tokens, cache=cache)
        tokens, cache = self._next_token(
          graph, key, weights, table.feed(graph), column, index
        )
        here = tf.range(TOKENS_PER_CALL) == index
        generated = tf.where(here, tokens[:, tf.newaxis], generated)
        is_end = tf.reduce_any(tokens[:, tf.newaxis] == inputs.ends, axis=1)
        return index + 1, tokens, generated, ended | is_end, cache

      def has_more(index, tokens, generated, ended, cache):
        del tokens, generated, cache
        return (index < inputs.steps) & ~tf.reduce_all(ended)

      rows = inputs.tokens.shape[0]
      generated = tf.zeros([rows, TOKENS_PER_CALL], tf.int32)
      state = (
        tf.constant(0),
        inputs.tokens,
        generated,
        inputs.ended,
        inputs.cache,
      )
      if self._model.layout.is_split:
        # Collectives hang in a loop: one token per call.
        state = next_column(*state)
      else:
        state = tf.while_loop(
          has_more, next_column, state, parallel_iterations=1
        )
      _, tokens, generated, _, cache = state
      return tokens, generated, cache

    return step

  def _next_token(
    self,
    graph: program.CoreProgram,
    key: ProgramKey,
    weights: ModelWeights,
    table: mtf.Tensor,
    inputs: DecodeInputs,
    index: tf.Tensor,
  ):
    """Runs one column; returns its tokens, int32 [batch], and the cache."""
    d = self.dims(key)
    rows, cache_shape = mtf.Shape([d.batch]), kv_cache.cache_shape(d)
    hidden, cache = kv_cache.decode_step(
      Decoder(self._config, d),
      weights,
      graph.feed(inputs.tokens[:, tf.newaxis], d.tokens),
      graph.feed(inputs.start, rows),
      graph.feed(inputs.column + index, mtf.Shape([])),
      [graph.feed(x, cache_shape) for x in inputs.cache],
    )
    uniform = graph.feed(inputs.uniform[:, index], rows)
    chosen = self._choose(key, d, weights, hidden, uniform, table)
    graph.lower()
    return graph.value(chosen), [graph.value(x) for x in cache]

  def _beam_step(self, key: ProgramKey) -> Callable:
    d = self.dims(key)
    rows, cache_shape = mtf.Shape([d.batch]), kv_cache.cache_shape(d)
    decoder = Decoder(self._config, d)

    def step(core: program.CoreProgram, inputs: BeamInputs):
      weights = self._model.read(core)
      cache = [core.feed(x, cache_shape) for x in inputs.cache]
      hidden, cache = kv_cache.decode_step(
        decoder,
        weights,
        core.feed(inputs.tokens[:, tf.newaxis], d.tokens),
        core.feed(inputs.start, rows),
        core.feed(inputs.column, mtf.Shape([])),
        kv_cache.reorder(
          d, cache, core.feed(inputs.parents, rows), key.sampling.beams
        ),
      )
      chosen = self._choose(key, d, weights, hidden)
      core.lower()
      return _values(core, chosen), [core.value(x) for x in cache]

    return step

  def _choose(
    self,
    key: ProgramKey,
    d: Dims,
    weights: ModelWeights,
    hidden: mtf.Tensor,
    uniform: mtf.Tensor | None = None,
    table: mtf.Tensor | None = None,
  ):
    """Returns the next tokens; with beams (log-probabilities, ids)."""
    logits = next_token.next_logits(self._config, d, weights, hidden, table)
    if key.sampling.beams > 1:
      return next_token.most_likely(d, logits, key.candidates)
    if key.sampling.draws:
      assert uniform is not None
      return next_token.draw(d, logits, uniform, key.sampling)
    return next_token.greedy(d, logits)


class _Matrix:
  """A weight outside of a loop, as a matrix where it has three dimensions.

  XLA on CPUs computes the product with a matrix that is reshaped inside a loop
  in a loop of one thread. The reshape inside the loop then undoes this one, and
  XLA removes both.

  Args:
    name: of the weight.
    value: one core's shard.
    shape: of the whole weight.
  """

  def __init__(self, name: str, value: tf.Tensor, shape: mtf.Shape):
    self._shard_shape, self._shape = value.shape, shape
    self._matrix = value
    if value.shape.rank == 3:
      rows_first = not name.endswith("/o")  # [heads, d_kv, d_model]
      self._matrix = tf.reshape(
        value, [value.shape[0], -1] if rows_first else [-1, value.shape[-1]]
      )

  def feed(self, graph: program.CoreProgram) -> mtf.Tensor:
    """Returns the weight as a tensor of a graph."""
    shard = tf.reshape(self._matrix, self._shard_shape)
    return graph.feed(shard, self._shape)


def _values(core: program.CoreProgram, chosen):
  if isinstance(chosen, mtf.Tensor):
    return core.value(chosen)
  return tuple(core.value(x) for x in chosen)
