"""Programs that give options their log-probabilities."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flan_tf.inference import loaded_model, prefix_trees
from flan_tf.mesh import program
from flan_tf.mesh.compat import mtf
from flan_tf.model import decoder, prefix_tree
from flan_tf.model.dims import Dims, dims_for


class _Kept(NamedTuple):
  """What stands before the rows of calls, read once and left on the cores."""

  ids: np.ndarray
  states: Any
  count: Any


class Scorer:
  """Scores options behind prompts, with a program for each shape of rows."""

  def __init__(self, model: loaded_model.LoadedModel):
    self._model = model
    self._programs: dict[prefix_trees.TreeBatchShape, tuple] = {}
    self._readers: dict[int, tuple] = {}

  def score(
    self,
    prompts: Sequence[np.ndarray],
    options: Sequence[Sequence[np.ndarray]],
  ) -> list[np.ndarray]:
    """See Model.score_options."""
    out = [np.zeros(len(of_prompt)) for of_prompt in options]
    calls = prefix_trees.pack_trees(
      [self._model.trunk(ids) for ids in prompts],
      options,
      self._model.run.data.length,
      self._model.batch,
      self._model.layout.parts("batch"),
    )
    kept: _Kept | None = None
    for call in calls:
      if kept is None or not np.array_equal(kept.ids, call.before):
        kept = self._read(call.before, call.shape.kept)
      step, shapes = self.program_for(call.shape)
      features, places = call.fill()
      feeds = [
        step.split(feature, shape)
        for feature, shape in zip(features, shapes, strict=True)
      ]
      found = step(kept.states, kept.count, *feeds)
      log_probs = step.join(found, shapes[-1]).astype(np.float64)
      for place in places:
        found = log_probs[place.row, place.begin : place.end]
        out[place.prompt][place.option] = found.sum()
    return out

  def program_for(self, shape: prefix_trees.TreeBatchShape):
    """A program for calls of a shape, and the shapes of what it takes."""
    if shape not in self._programs:
      model = self._model.run.model
      memory = shape.kept + shape.length
      d = dims_for(model, shape.rows, shape.length, memory)
      scored = mtf.Shape([d.batch, mtf.Dimension("scored", shape.scored)])
      shapes = [d.tokens] * 3 + [scored] * 2

      def step(core: program.CoreProgram, states, count, *features):
        *tokens, columns, targets = (
          core.feed(x, dims) for x, dims in zip(features, shapes, strict=True)
        )
        before = None
        if shape.kept:
          dims = _kept_dims(model, shape.kept).cache
          states = [core.feed(x, dims) for x in states]
          before = prefix_tree.SharedPrefix(
            states, core.feed(count, mtf.Shape([]))
          )
        weights = self._model.read(core)
        hidden = prefix_tree.hidden_states(
          model, d, weights, prefix_tree.TreeTokens(*tokens), before
        )
        hidden = decoder.at_columns(d, hidden, columns)
        log_probs = decoder.log_probs(model, d, weights, hidden, targets)
        core.lower()
        return core.value(log_probs)

      self._programs[shape] = self._made(step), shapes
    return self._programs[shape]

  def _read(self, ids: np.ndarray, kept: int) -> _Kept:
    """Reads what stands before rows."""
    if not kept:
      return _Kept(ids, [], [])
    if kept not in self._readers:
      model = self._model.run.model
      d = _kept_dims(model, kept)

      def step(core: program.CoreProgram, *features):
        tokens = prefix_tree.TreeTokens(
          *(core.feed(x, d.tokens) for x in features)
        )
        states = prefix_tree.states(model, d, self._model.read(core), tokens)
        core.lower()
        return [core.value(x) for x in states]

      self._readers[kept] = self._made(step), d
    step, d = self._readers[kept]
    tokens = np.zeros([3, 1, kept], np.int32)
    tokens[:, 0, : len(ids)] = ids, np.arange(len(ids)), [len(ids)] * len(ids)
    feeds = [step.split(feature, d.tokens) for feature in tokens]
    return _Kept(ids, step.start(*feeds), step.everywhere(np.int32(len(ids))))

  def _made(self, step) -> program.Program:
    return program.Program(self._model.devices, self._model.layout, step)


def _kept_dims(model, kept: int) -> Dims:
  """Of a row that all cores read, however they share the others."""
  return dims_for(model, 1, kept, whole=True)
