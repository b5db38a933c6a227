"""Scores options: log-probabilities of completions after prompts."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.inference import finite_results
from flan_tf.inference.loaded_model import LoadedModel
from flan_tf.inference.prefix_trees import TreeBatchShape
from flan_tf.inference.tree_packing import pack_trees
from flan_tf.mesh import program
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.layout import Layout
from flan_tf.model.decoder import Decoder, select_columns
from flan_tf.model.dims import Dims, dims_for
from flan_tf.model.prefix_tree import (
  PrefixTreeAttention,
  SharedPrefix,
  TreeTokens,
)


class ScoreInputs(NamedTuple):
  """The inputs of a scoring program, on one core.

  Attributes:
    prefix: keys and values of the shared prefix, those of layer 0 first, each
      [1, prefix, kv_heads, d_kv]; empty without a prefix.
    prefix_count: int32 [], real columns of the prefix; [] without a prefix.
    ids: int32 [batch, length].
    positions: int32 [batch, length].
    ends: int32 [batch, length]; see `model.prefix_tree`.
    columns: int32 [batch, scored], the columns before the scored tokens.
    targets: int32 [batch, scored], the scored tokens.
  """

  prefix: Any
  prefix_count: Any
  ids: Any
  positions: Any
  ends: Any
  columns: Any
  targets: Any


class ScoreProgram(NamedTuple):
  """A compiled scoring program and the shapes of its last five inputs."""

  program: program.Program
  shapes: Sequence[mtf.Shape]

  def specs(self, layout: Layout) -> ScoreInputs:
    """Returns the types of the inputs on one core, without a prefix."""
    features = [
      tf.TensorSpec(layout.shard_shape(shape), tf.int32)
      for shape in self.shapes
    ]
    return ScoreInputs([], [], *features)


class _CachedPrefix(NamedTuple):
  """A shared prefix that was read once; keys and values are on the cores."""

  ids: np.ndarray
  keys_and_values: Any
  count: Any


class Scorer:
  """Scores options with one compiled program per shape of batch.

  Args:
    model: the weights, on their mesh.
  """

  def __init__(self, model: LoadedModel):
    self._model = model
    self._config = model.run.model
    self._programs: dict[TreeBatchShape, ScoreProgram] = {}
    self._prefix_programs: dict[int, program.Program] = {}

  def score(
    self,
    prompts: Sequence[np.ndarray],
    options: Sequence[Sequence[np.ndarray]],
  ) -> list[np.ndarray]:
    """Returns the log-probabilities of the options of each prompt.

    See `LanguageModel.score_options`, also for errors.
    """
    model = self._model
    scores = [np.zeros(len(choices)) for choices in options]
    batches = pack_trees(
      list(map(model.prompt_format.context_tokens, prompts)),
      options,
      model.run.data.length,
      model.batch,
      model.layout.num_shards("batch"),
    )
    prefix: _CachedPrefix | None = None
    for batch in batches:
      if prefix is None or not np.array_equal(prefix.ids, batch.prefix):
        prefix = self._read_prefix(batch.prefix, batch.shape.prefix)
      compiled = self.program_for(batch.shape)
      features, places = batch.fill()
      run = compiled.program
      shards = [
        run.shard(feature, shape)
        for feature, shape in zip(features, compiled.shapes, strict=True)
      ]
      inputs = ScoreInputs(prefix.keys_and_values, prefix.count, *shards)
      per_core = run(inputs)
      log_probs = run.assemble(per_core, compiled.shapes[-1])
      log_probs = log_probs.astype(np.float64)
      for place in places:
        option = log_probs[place.row, place.begin : place.end]
        scores[place.prompt][place.option] = option.sum()
    finite_results.check_scores(model, scores)
    return scores

  def program_for(self, shape: TreeBatchShape) -> ScoreProgram:
    """Returns the program for a shape; it is compiled at its first call."""
    if shape not in self._programs:
      memory = shape.prefix + shape.length
      d = dims_for(self._config, shape.rows, shape.length, memory)
      scored = mtf.Shape([d.batch, mtf.Dimension("scored", shape.scored)])
      shapes = [d.tokens] * 3 + [scored] * 2
      step = self._score_step(d, shapes, shape.prefix)
      self._programs[shape] = ScoreProgram(self._compile(step), shapes)
    return self._programs[shape]

  def _score_step(
    self, d: Dims, shapes: Sequence[mtf.Shape], prefix_length: int
  ) -> Callable:
    decoder = Decoder(self._config, d)

    def step(core: program.CoreProgram, inputs: ScoreInputs):
      ids, positions, ends, columns, targets = (
        core.feed(x, shape) for x, shape in zip(inputs[2:], shapes, strict=True)
      )
      prefix = None
      if prefix_length:
        keys = _prefix_dims(self._config, prefix_length).keys
        flat = [core.feed(x, keys) for x in inputs.prefix]
        count = core.feed(inputs.prefix_count, mtf.Shape([]))
        layers = list(zip(flat[::2], flat[1::2], strict=True))
        prefix = SharedPrefix(layers, count)
      weights = self._model.read(core)
      tokens = TreeTokens(ids, positions, ends)
      attention = PrefixTreeAttention(self._config, d, weights, tokens, prefix)
      hidden, _ = decoder(weights, ids, attention)
      hidden = select_columns(d, hidden, columns)
      log_probs = decoder.log_probs(weights, hidden, targets)
      core.lower()
      return core.value(log_probs)

    return step

  def _read_prefix(self, ids: np.ndarray, length: int) -> _CachedPrefix:
    """Runs a shared prefix and leaves its keys and values on the cores.

    Args:
      ids: int32 [n].
      length: columns of the prefix, n of them real; 0 for no prefix.
    """
    if not length:
      return _CachedPrefix(ids, [], [])
    d = _prefix_dims(self._config, length)
    if length not in self._prefix_programs:
      self._prefix_programs[length] = self._compile(self._prefix_step(d))
    run = self._prefix_programs[length]
    tokens = np.zeros([3, 1, length], np.int32)
    tokens[:, 0, : len(ids)] = ids, np.arange(len(ids)), [len(ids)] * len(ids)
    shards = [run.shard(feature, d.tokens) for feature in tokens]
    count = run.replicate(np.int32(len(ids)))
    return _CachedPrefix(ids, run.dispatch(*shards), count)

  def _prefix_step(self, d: Dims) -> Callable:
    decoder = Decoder(self._config, d)

    def step(core: program.CoreProgram, *features):
      tokens = TreeTokens(*(core.feed(x, d.tokens) for x in features))
      weights = self._model.read(core)
      attention = PrefixTreeAttention(self._config, d, weights, tokens)
      _, kept = decoder(weights, tokens.inputs, attention)
      core.lower()
      flat = [x for keys_and_values in kept for x in keys_and_values]
      return [core.value(x) for x in flat]

    return step

  def _compile(self, step: Callable) -> program.Program:
    return program.Program(self._model.devices, self._model.layout, step)


def _prefix_dims(model: config.ModelConfig, length: int) -> Dims:
  """Returns the dimensions of a shared prefix: one row, on every core."""
  return dims_for(model, 1, length, replicated=True)
