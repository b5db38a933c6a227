"""Programs that give options their log-probabilities."""

from collections.abc import Sequence

import numpy as np

from flan_tf.eval import loaded, option_rows
from flan_tf.mesh import program
from flan_tf.mesh.compat import mtf
from flan_tf.model import dims as dims_lib
from flan_tf.model import transformer


class Scorer:
  """Scores options behind prompts, with a program for each shape of rows."""

  def __init__(self, model: loaded.LoadedModel):
    self._model = model
    self._programs: dict[option_rows.Shape, tuple] = {}

  def score(
    self,
    prompts: Sequence[np.ndarray],
    options: Sequence[Sequence[np.ndarray]],
  ) -> list[np.ndarray]:
    """See Model.score_options."""
    out = [np.zeros(len(of_prompt)) for of_prompt in options]
    calls = option_rows.plan(
      [self._model.trunk(ids) for ids in prompts],
      options,
      self._model.run.data.length,
      self._model.batch,
      self._model.layout.parts("batch"),
    )
    for call in calls:
      step, shapes = self._program(call.shape)
      features, places = call.fill()
      feeds = [
        step.split(feature, shape)
        for feature, shape in zip(features, shapes, strict=True)
      ]
      log_probs = step.join(step(*feeds), shapes[-1]).astype(np.float64)
      for place in places:
        found = log_probs[place.row, place.begin : place.end]
        out[place.prompt][place.option] = found.sum()
    return out

  def _program(self, shape: option_rows.Shape):
    """A program for calls of a shape, and the shapes of what it takes."""
    if shape not in self._programs:
      model = self._model.run.model
      d = dims_lib.dims_for(model, shape.rows, shape.length)
      scored = mtf.Shape([d.batch, mtf.Dimension("scored", shape.scored)])
      shapes = [d.tokens] * 4 + [scored] * 2

      def step(core: program.CoreProgram, *features):
        *tokens, columns, targets = (
          core.feed(x, dims) for x, dims in zip(features, shapes, strict=True)
        )
        weights = self._model.read(core)
        hidden = transformer.hidden_states(
          model, d, weights, transformer.Tokens(*tokens)
        )
        hidden = transformer.at_columns(d, hidden, columns)
        log_probs = transformer.log_probs(model, d, weights, hidden, targets)
        core.lower()
        return core.value(log_probs)

      made = program.Program(self._model.devices, self._model.layout, step)
      self._programs[shape] = made, shapes
    return self._programs[shape]
