"""A checkpoint, loaded on a mesh, that scores and generates."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.data import vocabulary as vocabulary_lib
from flan_tf.eval import option_rows
from flan_tf.mesh import checkpoint, program, state
from flan_tf.mesh import layout as layout_lib
from flan_tf.mesh import strategy as strategy_lib
from flan_tf.mesh.compat import mtf
from flan_tf.model import adapters, decode, transformer
from flan_tf.model import dims as dims_lib

# Prompts are padded to one of few lengths, as each is a program of its own.
_SHORTEST_PROMPT = 32
# While decoding, how often to look whether all rows have ended.
_LOOK_EVERY = 8


@dataclasses.dataclass(frozen=True)
class Example:
  """Token ids whose last `scored` ones are given a probability."""

  ids: np.ndarray
  scored: int


class Model:
  """Weights on a mesh, with programs for scoring and for decoding.

  Args:
    run: the run that trained them; its mesh and precision are used.
    vocabulary: its vocabulary.
    batch: rows that are run at once.
    devices: where to run; opened for `run.mesh` if not given.

  Raises:
    ValueError: the mesh does not fit the model, or spans several hosts, of
      which each would see its own rows only.
  """

  def __init__(
    self,
    run: config.RunConfig,
    vocabulary: vocabulary_lib.AnyVocabulary,
    batch: int = 16,
    devices: strategy_lib.Devices | None = None,
  ):
    self.run, self.vocabulary = run, vocabulary
    mesh = run.mesh
    self._layout = layout_lib.parse(
      mesh.shape, mesh.layout, dims_lib.SPLITTABLE
    )
    self._devices = devices or strategy_lib.open_devices(
      self._layout.cores, mesh.platform
    )
    if self._devices.hosts > 1:
      raise ValueError(
        "Models are evaluated on one host; TF_CONFIG names"
        f" {self._devices.hosts}. Unset it."
      )
    self._batch = batch
    # What soft prompts take the place of.
    soft_prompt = run.adapter.soft_prompt
    self._before = np.full([soft_prompt], vocabulary.pad_id, np.int32)
    # A soft prompt is at positions 1, 2, ...: something must come before it.
    self._starts = vocabulary.has_start or soft_prompt > 0
    self._dtype = tf.as_dtype(mesh.precision)
    dims_lib.check_length(run.model, run.data.length)
    d = dims_lib.dims_for(run.model, batch, run.data.length)
    self._layout.check(d.tokens)
    specs = transformer.weight_specs(run.model, d)
    self.weights = state.State(self._devices, self._layout, specs)
    adapted = adapters.specs(run.model, run.adapter, d)
    self.adapters = state.State(self._devices, self._layout, adapted)
    self._scorers: dict[option_rows.Shape, tuple] = {}
    self._decoders: dict[tuple[int, int], tuple] = {}

  @classmethod
  def load(
    cls,
    path: str,
    mesh: config.MeshConfig | None = None,
    batch: int = 16,
    data: config.DataConfig | None = None,
  ) -> "Model":
    """Loads a checkpoint, or the newest one of a workdir.

    Args:
      path: a checkpoint or a workdir.
      mesh: where to run; by default one core in the run's precision.
      batch: rows that are run at once.
      data: lengths and separator to evaluate with; by default the run's.

    Raises:
      CheckpointError: there is none, or it is corrupt.
      ValueError: the mesh does not fit the model.
    """
    path = checkpoint.find(path)
    run = config.from_json(checkpoint.read_file(path, "run.json").decode())
    if mesh is None:
      mesh = dataclasses.replace(run.mesh, shape="")
    model = cls(
      dataclasses.replace(run, mesh=mesh, data=data or run.data),
      vocabulary_lib.from_bytes(
        checkpoint.read_file(path, "vocabulary.model"), where=path
      ),
      batch,
    )
    base = path
    if model.adapters.specs:
      base = json.loads(checkpoint.read_file(path, "data.json"))["base"]
      checkpoint.restore(path, [model.adapters])
    checkpoint.restore(checkpoint.find(base), [model.weights])
    return model

  def score(self, examples: list[Example]) -> np.ndarray:
    """Sum of the log-probabilities of each example's scored tokens.

    Examples share rows; that changes no score.

    Args:
      examples: each at most `run.data.length` tokens long, less those of a
        soft prompt.

    Returns:
      float64 [examples].

    Raises:
      ValueError: an example is empty or does not fit into a row.
    """
    found = self.score_options(
      [e.ids[: len(e.ids) - e.scored] for e in examples],
      [[e.ids[len(e.ids) - e.scored :]] for e in examples],
    )
    return np.array([log_prob for (log_prob,) in found])

  def score_options(
    self,
    prompts: Sequence[np.ndarray],
    options: Sequence[Sequence[np.ndarray]],
  ) -> list[np.ndarray]:
    """Log-probabilities of all options of each prompt.

    The model reads a prompt once for all of its options, where they fit into
    a row together. That changes no score.

    Args:
      prompts: token ids; a prompt and one option are at most `run.data.length`
        tokens long, less those of a soft prompt.
      options: the ids of each prompt's options.

    Returns:
      For each prompt float64 [options].

    Raises:
      ValueError: prompt and option are empty or do not fit into a row.
    """
    out = [np.zeros(len(of_prompt)) for of_prompt in options]
    calls = option_rows.plan(
      [self._trunk(ids) for ids in prompts],
      options,
      self.run.data.length,
      self._batch,
      self._layout.parts("batch"),
    )
    for call in calls:
      step, shapes = self._scorer(call.shape)
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

  def generate(
    self, prompts: list[np.ndarray], max_new: int, ends: Sequence[int] = ()
  ) -> list[np.ndarray]:
    """As `continuations`, without what ended them."""
    ends = tuple(ends) or (self.vocabulary.eos_id,)
    return [
      ids[:-1] if len(ids) and ids[-1] in ends else ids
      for ids in self.continuations(prompts, max_new, ends)
    ]

  def continuations(
    self, prompts: list[np.ndarray], max_new: int, ends: Sequence[int] = ()
  ) -> list[np.ndarray]:
    """The most likely continuations, up to their end or `max_new` tokens.

    Args:
      prompts: token ids.
      max_new: most new tokens.
      ends: ids that end a continuation; by default end-of-text.

    Returns:
      The new ids of each prompt, the one that ended them included.
    """
    ends = tuple(ends) or (self.vocabulary.eos_id,)
    out: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    prompts = [self._trunk(ids) for ids in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), self._batch):
      chosen = order[start : start + self._batch]
      longest = max(len(prompts[i]) for i in chosen)
      columns = _SHORTEST_PROMPT
      while columns < longest:
        columns *= 2
      new = self._decode([prompts[i] for i in chosen], columns, max_new, ends)
      for i, ids in zip(chosen, new, strict=False):
        ended = np.flatnonzero(np.isin(ids, ends))
        out[i] = ids[: ended[0] + 1] if len(ended) else ids
    return out

  def _read(self, core: program.CoreProgram):
    """The weights, and what adapters add, in the precision that computes."""
    added = adapters.scaled(self.run.adapter, core.read(self.adapters))
    weights = {**core.read(self.weights), **added}
    return transformer.cast_weights(weights, self._dtype)

  def _scorer(self, shape: option_rows.Shape):
    """A program for calls of a shape, and the shapes of what it takes."""
    if shape not in self._scorers:
      model = self.run.model
      d = dims_lib.dims_for(model, shape.rows, shape.length)
      scored = mtf.Shape([d.batch, mtf.Dimension("scored", shape.scored)])
      shapes = [d.tokens] * 4 + [scored] * 2

      def step(core: program.CoreProgram, *features):
        *tokens, columns, targets = (
          core.feed(x, dims) for x, dims in zip(features, shapes, strict=True)
        )
        weights = self._read(core)
        hidden = transformer.hidden_states(
          model, d, weights, transformer.Tokens(*tokens)
        )
        hidden = transformer.at_columns(d, hidden, columns)
        log_probs = transformer.log_probs(model, d, weights, hidden, targets)
        core.lower()
        return core.value(log_probs)

      made = program.Program(self._devices, self._layout, step)
      self._scorers[shape] = made, shapes
    return self._scorers[shape]

  def _trunk(self, prompt: np.ndarray) -> np.ndarray:
    """Inputs of a prompt, up to that of the first target behind it."""
    ids = np.concatenate([self._before, prompt])
    # What is scored needs some input before it.
    start = [self.vocabulary.bos_id] if self._starts or not len(ids) else []
    return np.concatenate([start, ids]).astype(np.int32)

  def _decode(self, prompts, columns: int, max_new: int, ends) -> np.ndarray:
    """int32 [batch, <= max_new], whatever comes after the end included."""
    if (columns, max_new) not in self._decoders:
      self._decoders[columns, max_new] = self._build_decoder(columns, max_new)
    first, more, d = self._decoders[columns, max_new]
    inputs = np.zeros([self._batch, columns], np.int32)
    start = np.full([self._batch], columns - 1, np.int32)
    for row, ids in enumerate(prompts):
      # The last prompt token is the input of the first new column.
      start[row] = columns - len(ids)
      inputs[row, start[row] :] = ids
    rows = mtf.Shape([d.batch])
    starts = first.split(start, rows)
    tokens, cache = first.start(first.split(inputs, d.tokens), starts)
    found, ended = [], np.zeros([self._batch], bool)
    for column in range(columns, columns + max_new):
      found.append(tokens)
      if len(found) % _LOOK_EVERY == 0 or len(found) == max_new:
        for ids in found[-_LOOK_EVERY:]:
          joined = first.join(first.local(ids), rows)
          ended |= np.isin(joined, ends)
        if ended[: len(prompts)].all() or len(found) == max_new:
          break
      tokens, cache = more.start(
        tokens, starts, more.everywhere(np.int32(column)), cache
      )
    return np.stack([first.join(first.local(x), rows) for x in found], axis=1)

  def _build_decoder(self, columns: int, max_new: int):
    model, memory = self.run.model, columns + max_new
    d = dims_lib.dims_for(model, self._batch, columns, memory)
    one = dims_lib.dims_for(model, self._batch, 1, memory)
    rows = mtf.Shape([d.batch])

    def values(core, tokens, cache):
      core.lower()
      return core.value(tokens), [core.value(x) for x in cache]

    def first_step(core: program.CoreProgram, inputs, start):
      feeds = core.feed(inputs, d.tokens), core.feed(start, rows)
      return values(core, *decode.prefill(model, d, self._read(core), *feeds))

    def next_step(core: program.CoreProgram, tokens, start, column, cache):
      out = decode.extend(
        model,
        one,
        self._read(core),
        core.feed(tokens[:, tf.newaxis], one.tokens),
        core.feed(start, rows),
        core.feed(column, mtf.Shape([])),
        [core.feed(x, one.cache) for x in cache],
      )
      return values(core, *out)

    return (
      program.Program(self._devices, self._layout, first_step),
      program.Program(self._devices, self._layout, next_step),
      d,
    )
