"""Graphs of an exported model from token ids to token ids.

The programs run the model of `flan_tf.model` on a mesh of one core, in float32.
Each has a fixed number of rows and columns (`padded_rows`); padding does not
change results.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from flan_tf import config
from flan_tf.bridges.saved_model.padded_rows import (
  NONE,
  map_rows,
  pad_left,
  program_columns,
)
from flan_tf.mesh import layout, mesh_impl, ops, program, transport
from flan_tf.mesh.compat import mtf
from flan_tf.model import dims, kv_cache, next_token
from flan_tf.model.decoder import Decoder
from flan_tf.model.packed_attention import PackedAttention, PackedTokens
from flan_tf.model.weights import SOFT_PROMPT, ModelWeights, weight_specs

_IDS = tf.RaggedTensorSpec([None, None], tf.int32)


class RowPrograms(tf.Module):
  """The weights of a model, with graphs that continue and score rows of ids.

  Attributes:
    continuations: (ragged int32 prompts [n, None], int32 [] number of new
      tokens at most) -> ragged int32 [n, None]: the most likely new ids of each
      row, the one that ends the answer included.
    log_probs: (ragged prompts, ragged answers) -> float32 [n]: the sum of the
      log-probabilities of each answer's ids after its prompt.

  Args:
    run: the run that trained the weights.
    weights: float32 variables by name; see `weight_shapes`.
    end_ids: ids that end an answer.
    prompt_length: most ids before an answer.
    answer_length: most ids of an answer.
    row_length: most ids of both together.
  """

  def __init__(
    self,
    run: config.RunConfig,
    weights: Mapping[str, tf.Variable],
    end_ids: Sequence[int],
    prompt_length: int,
    answer_length: int,
    row_length: int,
  ):
    super().__init__(name="rows")
    self.weights = dict(weights)  # TensorFlow saves what an attribute holds.
    self.run = run
    self._end_ids = tuple(end_ids)
    self.answer_length = answer_length
    self._layout = layout.parse_layout("", run.mesh.layout, dims.SPLITTABLE)
    self._prompt_columns = program_columns(prompt_length)
    # The last id of a row is predicted, but no input.
    self._score_columns = program_columns(row_length - 1)
    # Each is one graph that several signatures share.
    self.continuations = tf.function(
      self._continue_rows,
      input_signature=[_IDS, tf.TensorSpec([], tf.int32)],
      autograph=False,
    )
    self.log_probs = tf.function(
      self._score_rows, input_signature=[_IDS, _IDS], autograph=False
    )

  def is_end(self, ids: Any) -> Any:
    """Returns whether ids end an answer: bool, in the shape of `ids`."""
    end_ids = tf.constant(self._end_ids, tf.int32)
    return tf.reduce_any(ids[..., tf.newaxis] == end_ids, axis=-1)

  def _continue_rows(self, prompts: Any, max_new: Any) -> Any:
    new_ids = map_rows(
      self._decode,
      self._prompt_columns,
      prompts,
      extra=tf.fill([prompts.nrows(tf.int32)], max_new),
      result_shape=[self.answer_length],
      result_type=tf.int32,
    )
    ends = tf.cast(self.is_end(new_ids), tf.int32)
    kept = tf.cumsum(ends, axis=1, exclusive=True) == 0
    kept &= tf.range(self.answer_length) < max_new
    return tf.ragged.boolean_mask(new_ids, kept)

  def _score_rows(self, prompts: Any, answers: Any) -> Any:
    rows = tf.concat([prompts, answers], axis=1)
    targets, _ = pad_left(answers, self.answer_length, NONE)
    return map_rows(
      self._score,
      self._score_columns,
      rows[:, :-1],
      extra=targets,
      result_shape=[],
      result_type=tf.float32,
    )

  def start_core(self) -> tuple[program.CoreProgram, ModelWeights]:
    """Begins the program of one core; returns it with the weights."""
    core = program.CoreProgram(
      mesh_impl.CoreMeshImpl(self._layout, 0, transport.SingleCoreTransport())
    )
    named = {
      name: core.feed(self.weights[name].read_value(), shape)
      for name, shape in weight_shapes(self.run).items()
    }
    return core, ModelWeights.of(self.run.model, named)

  def _score(self, rows: int, columns: int, ids: Any, targets: Any) -> Any:
    """Sums the log-probabilities of the targets of each row.

    Args:
      rows: number of rows.
      columns: number of columns.
      ids: ragged int32 [rows, None], all inputs.
      targets: int32 [rows, answer_length], the targets of the last inputs;
        NONE where there is none.

    Returns:
      float32 [rows].
    """
    model = self.run.model
    inputs, positions = pad_left(ids, columns)
    # Only the last columns have targets.
    last = min(self.answer_length, columns)
    targets = tf.reshape(targets[:, -last:], [rows, last])
    d = dims.dims_for(model, rows, columns)
    last_d = dims.dims_for(model, rows, last)
    core, weights = self.start_core()

    def feed(values: Any) -> mtf.Tensor:
      return core.feed(tf.reshape(values, [rows, columns]), d.tokens)

    tokens = PackedTokens(
      feed(inputs),
      feed(tf.cast(positions >= 0, tf.int32)),
      feed(tf.maximum(positions, 0)),
    )
    attention = PackedAttention(model, d, weights, tokens)
    hidden, _ = Decoder(model, d)(weights, tokens.inputs, attention)
    hidden = ops.local(
      lambda x: x[:, -last:], [hidden], last_d.hidden, [d.batch], name="last"
    )
    fed_targets = core.feed(tf.maximum(targets, 0), last_d.tokens)
    log_probs = Decoder(model, last_d).log_probs(weights, hidden, fed_targets)
    core.lower()
    values = tf.where(targets == NONE, 0.0, core.value(log_probs))
    return tf.cast(tf.reduce_sum(tf.cast(values, tf.float64), 1), tf.float32)

  def _decode(self, rows: int, columns: int, ids: Any, max_new: Any) -> Any:
    """Generates the most likely ids of each row, one after another.

    Args:
      rows: number of rows.
      columns: number of columns of the prompts.
      ids: ragged int32 [rows, None], the prompts.
      max_new: int32 [rows], number of new ids at most; NONE in rows that only
        complete the group.

    Returns:
      int32 [rows, answer_length]. Ids after the end of an answer mean nothing.
    """
    decoding = _Decoding(self, rows, columns)
    inputs, positions = pad_left(ids, columns)
    first_column = tf.reshape(columns - 1 - positions[:, -1], [rows])
    tokens, cache = decoding.prefill(
      tf.reshape(inputs, [rows, columns]), first_column
    )
    longest = tf.reduce_max(max_new)

    def is_unfinished(state: _DecodeState) -> Any:
      return (state.step < longest) & ~tf.reduce_all(state.ended)

    def decode(state: _DecodeState) -> tuple[_DecodeState]:
      tokens, cache = decoding.decode_step(state, first_column)
      return (decoding.append(state, tokens, cache),)

    state = _DecodeState(
      step=tf.constant(0),
      tokens=tokens,
      new_ids=tf.fill([rows, self.answer_length], NONE),
      ended=tf.reshape(max_new == NONE, [rows]),
      cache=cache,
    )
    (state,) = tf.while_loop(
      is_unfinished,
      decode,
      [decoding.append(state, tokens, cache)],
      parallel_iterations=1,
    )
    return state.new_ids


class _DecodeState(NamedTuple):
  """The state of a decode loop.

  Attributes:
    step: int32 [], number of new ids so far.
    tokens: int32 [rows], the last new id of each row.
    new_ids: int32 [rows, answer_length], the new ids; NONE after them.
    ended: bool [rows], whether the row's answer has ended.
    cache: keys and values of all layers; see `flan_tf.model.kv_cache`.
  """

  step: Any
  tokens: Any
  new_ids: Any
  ended: Any
  cache: list[Any]


class _Decoding:
  """The programs of a decode loop with fixed shapes.

  Args:
    programs: the model.
    rows: number of rows.
    columns: number of columns of the prompts.
  """

  def __init__(self, programs: RowPrograms, rows: int, columns: int):
    self._programs = programs
    self._columns = columns
    self._answer_length = programs.answer_length
    self._model = programs.run.model
    memory = columns + self._answer_length
    self._dims = dims.dims_for(self._model, rows, columns, memory)
    self._step_dims = dims.dims_for(self._model, rows, 1, memory)
    self._rows_shape = mtf.Shape([self._dims.batch])

  def prefill(self, inputs: Any, first_column: Any) -> tuple[Any, list[Any]]:
    """Runs the prompts; returns the first new ids [rows] and the cache.

    Args:
      inputs: int32 [rows, columns].
      first_column: int32 [rows], the column where each prompt starts.
    """
    core, weights = self._programs.start_core()
    hidden, cache = kv_cache.prefill(
      Decoder(self._model, self._dims),
      weights,
      core.feed(inputs, self._dims.tokens),
      core.feed(first_column, self._rows_shape),
    )
    return self._choose(core, weights, hidden, cache)

  def decode_step(
    self, state: _DecodeState, first_column: Any
  ) -> tuple[Any, list[Any]]:
    """Runs one more column; returns the next ids [rows] and the cache."""
    core, weights = self._programs.start_core()
    cache_shape = kv_cache.cache_shape(self._step_dims)
    hidden, cache = kv_cache.decode_step(
      Decoder(self._model, self._step_dims),
      weights,
      core.feed(state.tokens[:, tf.newaxis], self._step_dims.tokens),
      core.feed(first_column, self._rows_shape),
      core.feed(self._columns - 1 + state.step, mtf.Shape([])),
      [core.feed(values, cache_shape) for values in state.cache],
    )
    return self._choose(core, weights, hidden, cache)

  def _choose(
    self,
    core: program.CoreProgram,
    weights: ModelWeights,
    hidden: mtf.Tensor,
    cache: kv_cache.Cache,
  ) -> tuple[Any, list[Any]]:
    """Returns the most likely ids and the cache as TensorFlow tensors."""
    logits = next_token.next_logits(self._model, self._dims, weights, hidden)
    tokens = next_token.greedy(self._dims, logits)
    core.lower()
    return core.value(tokens), [core.value(values) for values in cache]

  def append(
    self, state: _DecodeState, tokens: Any, cache: list[Any]
  ) -> _DecodeState:
    """Returns the state after a step.

    Args:
      state: before the step.
      tokens: int32 [rows], the new ids.
      cache: the new cache.
    """
    is_here = tf.range(self._answer_length) == state.step
    return _DecodeState(
      state.step + 1,
      tokens,
      tf.where(is_here, tokens[:, tf.newaxis], state.new_ids),
      state.ended | self._programs.is_end(tokens),
      cache,
    )


def weight_shapes(run: config.RunConfig) -> dict[str, mtf.Shape]:
  """Returns the shape of each weight, and of the soft prompt, by name."""
  d = dims.dims_for(run.model)
  shapes = {
    name: spec.shape for name, spec in weight_specs(run.model, d).items()
  }
  if run.adapter.soft_prompt:
    prompt = mtf.Dimension("prompt", run.adapter.soft_prompt)
    shapes[SOFT_PROMPT] = mtf.Shape([prompt, d.d_model])
  return shapes
