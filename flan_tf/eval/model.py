"""A checkpoint, loaded on a mesh, that scores and generates."""

import dataclasses
import json

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.data import packing
from flan_tf.data import vocabulary as vocabulary_lib
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
    self._dtype = tf.as_dtype(mesh.precision)
    d = dims_lib.dims_for(run.model, batch, run.data.length)
    self._layout.check(d.tokens)
    specs = transformer.weight_specs(run.model, d)
    self.weights = state.State(self._devices, self._layout, specs)
    adapted = adapters.specs(run.model, run.adapter, d)
    self.adapters = state.State(self._devices, self._layout, adapted)
    self._score = program.Program(
      self._devices, self._layout, self._score_step(d)
    )
    self._score_dims = d
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
    d, out = self._score_dims, np.zeros(len(examples))
    if not examples:
      return out
    examples = [
      dataclasses.replace(e, ids=np.concatenate([self._before, e.ids]))
      for e in examples
    ]
    lengths = np.array([len(example.ids) for example in examples])
    rows = packing.plan_rows(lengths, d.length.size)
    for start in range(0, len(rows), self._batch):
      of_batch = rows[start : start + self._batch]
      features, places = self._fill(examples, of_batch)
      feeds = [self._score.split(f, d.tokens) for f in features]
      log_probs = self._score.join(self._score(*feeds), d.tokens)
      for index, row, end in places:
        scored = log_probs[row, end - examples[index].scored : end]
        out[index] = scored.astype(np.float64).sum()
    return out

  def generate(
    self, prompts: list[np.ndarray], max_new: int
  ) -> list[np.ndarray]:
    """The most likely continuations, up to end-of-text or `max_new` tokens.

    Args:
      prompts: token ids.
      max_new: most new tokens.

    Returns:
      The new ids of each prompt, without end-of-text.
    """
    out: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    prompts = [np.concatenate([self._before, ids]) for ids in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), self._batch):
      chosen = order[start : start + self._batch]
      longest = max(1 + len(prompts[i]) for i in chosen)  # BOS comes first.
      columns = _SHORTEST_PROMPT
      while columns < longest:
        columns *= 2
      new = self._decode([prompts[i] for i in chosen], columns, max_new)
      for i, ids in zip(chosen, new, strict=False):
        ends = np.flatnonzero(ids == self.vocabulary.eos_id)
        out[i] = ids[: ends[0]] if len(ends) else ids
    return out

  def _read(self, core: program.CoreProgram):
    """The weights, and what adapters add, in the precision that computes."""
    added = adapters.scaled(self.run.adapter, core.read(self.adapters))
    weights = {**core.read(self.weights), **added}
    return transformer.cast_weights(weights, self._dtype)

  def _score_step(self, d):
    def step(core: program.CoreProgram, *features):
      fed = [core.feed(x, d.tokens) for x in features]
      inputs, targets, segment_ids, positions = fed
      weights = self._read(core)
      tokens = transformer.Tokens(inputs, segment_ids, positions)
      hidden = transformer.hidden_states(self.run.model, d, weights, tokens)
      log_probs = transformer.log_probs(
        self.run.model, d, weights, hidden, targets
      )
      core.lower()
      return core.value(log_probs)

    return step

  def _fill(self, examples, rows):
    """Packed inputs, targets, segment_ids, positions; and who is where."""
    shape = [self._batch, self._score_dims.length.size]
    inputs, targets, segment_ids, positions = np.zeros([4, *shape], np.int32)
    places = []
    for row, indices in enumerate(rows):
      begin = 0
      for segment, index in enumerate(indices, start=1):
        ids = examples[index].ids
        end = begin + len(ids)
        targets[row, begin:end] = ids
        inputs[row, begin] = self.vocabulary.bos_id
        inputs[row, begin + 1 : end] = ids[:-1]
        segment_ids[row, begin:end] = segment
        positions[row, begin:end] = np.arange(len(ids))
        if not self._starts(examples[index]):
          segment_ids[row, begin] = 0
          positions[row, begin + 1 : end] -= 1
        places.append((index, row, end))
        begin = end
    return (inputs, targets, segment_ids, positions), places

  def _starts(self, example: Example) -> bool:
    """Whether its first input is BOS: what is scored needs some input."""
    return self.vocabulary.has_start or example.scored == len(example.ids)

  def _decode(self, prompts, columns: int, max_new: int) -> np.ndarray:
    """int32 [batch, <= max_new], whatever comes after the end included."""
    if (columns, max_new) not in self._decoders:
      self._decoders[columns, max_new] = self._build_decoder(columns, max_new)
    first, more, d = self._decoders[columns, max_new]
    inputs = np.zeros([self._batch, columns], np.int32)
    start = np.full([self._batch], columns - 1, np.int32)
    for row, ids in enumerate(prompts):
      # The last prompt token is the input of the first new column.
      begin = columns - 1 - len(ids)
      inputs[row, begin] = self.vocabulary.bos_id
      inputs[row, begin + 1 :] = ids
      no_start = len(ids) and not self.vocabulary.has_start
      start[row] = begin + 1 if no_start else begin
    rows = mtf.Shape([d.batch])
    starts = first.split(start, rows)
    tokens, cache = first.start(first.split(inputs, d.tokens), starts)
    found, ended = [], np.zeros([self._batch], bool)
    for column in range(columns, columns + max_new):
      found.append(tokens)
      if len(found) % _LOOK_EVERY == 0 or len(found) == max_new:
        for ids in found[-_LOOK_EVERY:]:
          joined = first.join(first.local(ids), rows)
          ended |= joined == self.vocabulary.eos_id
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
