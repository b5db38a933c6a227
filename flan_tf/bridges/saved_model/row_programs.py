"""The programs of an exported model: ids in, ids or log-probabilities out.

Mesh-TF knows no open sizes. So there is a program for each of a few shapes:
one row or `ROWS` of them, padded on the left to one of some lengths (64, 256,
..., the longest that the run allows). A batch of any size is ordered by length
and taken in parts of so many rows, each at the length that it needs:

  columns   0 1 2 3       ids 5 6 7 and 8 in rows of 4 columns
            . 5 6 7
            . . . 8

Padding changes no result. Each program is the transformer of `flan_tf.model`,
on a mesh of one core, in float32.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import layout, mesh_impl, ops, program, transport
from flan_tf.mesh.compat import mtf
from flan_tf.model import decoder, dims, kv_cache, next_token

# Rows that are run at once where there are several.
ROWS = 8
_SHORTEST = 64  # columns of the shortest program
_NONE = -1  # no target; also what the rows that fill a part up have

_Ragged: Any = tf.RaggedTensor  # Its methods have no type hints.
_IDS = tf.RaggedTensorSpec([None, None], tf.int32)


class RowPrograms(tf.Module):
  """Weights, with graphs that continue and score rows of ids.

  Attributes:
    continuations: (ragged ids, int32 []) -> ragged: the most likely new ids of
      each row, at most so many, with the one that ended them.
    log_probs: (ragged ids, ragged ids) -> float32 [n]: the sum over the second
      ones, behind the first ones.

  Args:
    run: the run that trained the weights.
    weights: by name, float32: see `weight_shapes`.
    ends: ids that end an answer.
    prompt: most ids before an answer.
    answer: most ids of an answer.
    both: most ids of both.
  """

  def __init__(
    self,
    run: config.RunConfig,
    weights: Mapping[str, tf.Variable],
    ends: Sequence[int],
    prompt: int,
    answer: int,
    both: int,
  ):
    super().__init__(name="rows")
    self.weights = dict(weights)  # What is named here is saved.
    self._run, self._end_ids, self._longest = run, tuple(ends), answer
    self._layout = layout.parse_layout("", run.mesh.layout, dims.SPLITTABLE)
    self._prompt_columns = _columns(prompt)
    self._score_columns = _columns(both - 1)  # The last one is no input.
    # Each is one graph that several signatures share.
    self.continuations = tf.function(
      self._continue_ids,
      input_signature=[_IDS, tf.TensorSpec([], tf.int32)],
      autograph=False,
    )
    self.log_probs = tf.function(
      self._score_ids, input_signature=[_IDS, _IDS], autograph=False
    )

  def ends(self, ids: Any) -> Any:
    """Whether an id ends an answer, of ids of any shape."""
    ends = tf.constant(self._end_ids, tf.int32)
    return tf.reduce_any(ids[..., tf.newaxis] == ends, axis=-1)

  def _continue_ids(self, asked, most) -> Any:
    """The new ids behind ragged ids, with what ended them: ragged too."""
    counts = tf.fill([asked.nrows(tf.int32)], most)
    made = self._in_parts(
      self._decode,
      self._prompt_columns,
      asked,
      counts,
      [self._longest],
    )
    ends = tf.cast(self.ends(made), tf.int32)
    kept = tf.cumsum(ends, axis=1, exclusive=True) == 0
    kept &= tf.range(self._longest) < most
    return tf.ragged.boolean_mask(made, kept)

  def _score_ids(self, asked, answers) -> Any:
    """Sums of log-probabilities of ragged answers behind ragged ids."""
    whole = tf.concat([asked, answers], axis=1)
    targets, _ = _on_the_right(answers, self._longest, _NONE)
    return self._in_parts(
      self._score, self._score_columns, whole[:, :-1], targets, []
    )

  def _in_parts(
    self,
    run: Callable[[int, int, Any, Any], Any],
    columns: Sequence[int],
    ids: Any,
    more: Any,
    shape: Sequence[int],
  ) -> Any:
    """Runs rows of ids, those of like length together.

    Args:
      run: takes a number of rows and of columns, ids of so many rows and what
        `more` has for them; returns [rows, *shape].
      columns: the lengths that there are.
      ids: ragged int32 [n, None].
      more: int32 [n, ...]; rows that only fill a part up have _NONE.
      shape: of one row's result.

    Returns:
      [n, *shape].
    """

    def several(rows: int) -> Any:
      count = ids.nrows(tf.int32)
      parts = -(-count // rows)
      filler = parts * rows - count
      order = tf.argsort(ids.row_lengths(), stable=True)
      ordered = tf.gather(ids, order)
      lengths = tf.pad(ordered.row_lengths(), [[0, filler]])
      ordered = _Ragged.from_row_lengths(ordered.values, lengths)
      rest = [[0, 0]] * (more.shape.rank - 1)
      ordered_more = tf.pad(
        tf.gather(more, order), [[0, filler], *rest], constant_values=_NONE
      )

      def one_part(part):
        here = slice(part * rows, (part + 1) * rows)
        ids_here, more_here = ordered[here], ordered_more[here]
        longest = tf.reduce_max(ids_here.row_lengths())
        at_length = [
          functools.partial(_apart(run, rows, size), ids_here, more_here)
          for size in columns
        ]
        shorter = longest > tf.constant(columns, tf.int64)
        return tf.switch_case(
          tf.reduce_sum(tf.cast(shorter, tf.int32)), at_length
        )

      found = tf.map_fn(
        one_part,
        tf.range(parts),
        parallel_iterations=1,
        fn_output_signature=tf.TensorSpec([rows, *shape], dtype),
      )
      found = tf.reshape(found, [parts * rows, *shape])
      return tf.gather(found, tf.argsort(order))

    dtype = tf.int32 if shape else tf.float32
    return tf.cond(ids.nrows() == 1, lambda: several(1), lambda: several(ROWS))

  # -- programs: all sizes are known -------------------------------------------

  def _core(self) -> tuple[program.CoreProgram, dict[str, mtf.Tensor]]:
    """One core, and the weights on it."""
    core = program.CoreProgram(
      mesh_impl.CoreMeshImpl(self._layout, 0, transport.SingleCoreTransport())
    )
    weights = {}
    for name, shape in weight_shapes(self._run).items():
      weights[name] = core.feed(self.weights[name].read_value(), shape)
    return core, weights

  def _score(self, rows: int, columns: int, ids, targets) -> Any:
    """float32 [rows]: the sums over the targets of each row.

    Args:
      rows: how many.
      columns: that ids are padded to.
      ids: ragged [rows, None], all inputs.
      targets: int32 [rows, longest], of the last inputs; _NONE where there is
        none.
    """
    model = self._run.model
    inputs, at = _on_the_right(ids, columns)
    last = min(self._longest, columns)
    targets = tf.reshape(targets[:, -last:], [rows, last])
    d = dims.dims_for(model, rows, columns)
    at_end = dims.dims_for(model, rows, last)
    core, weights = self._core()
    features = inputs, tf.cast(at >= 0, tf.int32), tf.maximum(at, 0)
    tokens = decoder.PackedTokens(
      *(core.feed(tf.reshape(x, [rows, columns]), d.tokens) for x in features)
    )
    hidden = ops.local(
      lambda x: x[:, -last:],
      [decoder.hidden_states(model, d, weights, tokens)],
      at_end.hidden,
      [d.batch],
      name="last",
    )
    fed = core.feed(tf.maximum(targets, 0), at_end.tokens)
    log_probs = decoder.log_probs(model, at_end, weights, hidden, fed)
    core.lower()
    found = tf.where(targets == _NONE, 0.0, core.value(log_probs))
    return tf.cast(tf.reduce_sum(tf.cast(found, tf.float64), 1), tf.float32)

  def _decode(self, rows: int, columns: int, ids, counts) -> Any:
    """int32 [rows, longest]: new ids, whatever comes after the end included.

    Args:
      rows: how many.
      columns: that ids are padded to.
      ids: ragged [rows, None], the inputs before the first new one.
      counts: int32 [rows], most new ids.
    """
    model = self._run.model
    memory = columns + self._longest
    d = dims.dims_for(model, rows, columns, memory)
    one = dims.dims_for(model, rows, 1, memory)
    inputs, at = _on_the_right(ids, columns)
    inputs = tf.reshape(inputs, [rows, columns])
    starts = tf.reshape(columns - 1 - at[:, -1], [rows])
    row = mtf.Shape([d.batch])

    def values(core, weights, hidden, cache):
      logits = next_token.logits(model, d, weights, hidden)
      tokens = next_token.greedy(d, logits)
      core.lower()
      return core.value(tokens), [core.value(x) for x in cache]

    core, weights = self._core()
    fed = core.feed(inputs, d.tokens), core.feed(starts, row)
    tokens, cache = values(
      core, weights, *kv_cache.prefill(model, d, weights, *fed)
    )

    def more(step, tokens, found, ended, cache):
      del tokens, found, cache
      return (step < tf.reduce_max(counts)) & ~tf.reduce_all(ended)

    def take(step, tokens, found, ended):
      here = tf.range(self._longest) == step
      found = tf.where(here, tokens[:, tf.newaxis], found)
      return step + 1, tokens, found, ended | self.ends(tokens)

    def extend(step, tokens, found, ended, cache):
      core, weights = self._core()
      out = kv_cache.extend(
        model,
        one,
        weights,
        core.feed(tokens[:, tf.newaxis], one.tokens),
        core.feed(starts, row),
        core.feed(columns - 1 + step, mtf.Shape([])),
        [core.feed(x, kv_cache.cache_shape(one)) for x in cache],
      )
      tokens, cache = values(core, weights, *out)
      return *take(step, tokens, found, ended), cache

    found = tf.fill([rows, self._longest], _NONE)
    ended = tf.reshape(counts == _NONE, [rows])
    begun = take(tf.constant(0), tokens, found, ended)
    _, _, found, *_ = tf.while_loop(
      more, extend, [*begun, cache], parallel_iterations=1
    )
    return found


def weight_shapes(run: config.RunConfig) -> dict[str, mtf.Shape]:
  """What a run's model is made of, with its soft prompt, if it has one."""
  d = dims.dims_for(run.model)
  specs = dict(decoder.weight_specs(run.model, d))
  shapes = {name: spec.shape for name, spec in specs.items()}
  if run.adapter.soft_prompt:
    prompt = mtf.Dimension("prompt", run.adapter.soft_prompt)
    shapes[decoder.SOFT_PROMPT] = mtf.Shape([prompt, d.d_model])
  return shapes


def _columns(longest: int) -> list[int]:
  """The lengths that there is a program for: 64, 256, ..., the longest."""
  found = []
  size = _SHORTEST
  while size <= longest // 2:
    found.append(size)
    size *= 4
  return [*found, longest]


def _apart(run: Callable, rows: int, columns: int) -> Callable:
  """A program as a function that TensorFlow does not put into its callers.

  It would prepare all of them at the first call, though one is to run.
  """
  return tf.function(
    functools.partial(run, rows, columns),
    autograph=False,
    experimental_attributes={"_noinline": True},
  )


def _on_the_right(ids: Any, columns: int, filler: int = 0) -> tuple[Any, Any]:
  """Rows [[5 6 7] [8]] in 4 columns, and the place of each in its row.

  0 5 6 7     -1  0  1  2
  0 0 0 8     -3 -2 -1  0
  """
  lengths = tf.cast(ids.row_lengths(), tf.int32)
  at = tf.range(columns) - columns + lengths[:, tf.newaxis]
  left = ids.to_tensor(shape=[None, columns])
  found = tf.gather(left, tf.maximum(at, 0), batch_dims=1)
  return tf.where(at >= 0, found, filler), at
