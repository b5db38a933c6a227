"""Programs that continue prompts.

A batch takes a program that runs its prompts, and then one that makes several
tokens at a time in a loop on the device, compiled by XLA. On a split mesh that
is one token at a time: collectives hang in such a loop.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from flan_tf.inference import beam_search, loaded_model, stop_strings
from flan_tf.mesh import program
from flan_tf.mesh.compat import mtf
from flan_tf.model import dims, kv_cache, next_token
from flan_tf.sampling import Sampling

# Prompts and caches have one of few lengths, as each is a program of its own.
_SHORTEST = 32
# Tokens that the device makes at a time, at most.
AT_ONCE = 64
# The same where texts are looked at: for stop strings, and to be shown.
_LOOK_EVERY, _SHOW_EVERY = 8, 2

# Takes the number of a prompt, its new ids so far, and whether that is all.
Show = Callable[[int, list[int], bool], object]


@dataclasses.dataclass(frozen=True)
class GenerationRequest:
  """What to make of prompts.

  Attributes:
    max_new: most new tokens.
    ends: ids that end a continuation.
    sampling: how tokens are chosen.
    stops: texts that end a continuation.
    numbers: of the prompts; draws depend on them.
    show: if given, is told of new tokens.
  """

  max_new: int
  ends: tuple[int, ...]
  sampling: Sampling = Sampling()
  stops: tuple[str, ...] = ()
  numbers: Sequence[int] = ()
  show: Show | None = None

  def __post_init__(self):
    stop_strings.check_stops(self.stops)


@dataclasses.dataclass(frozen=True)
class ProgramKey:
  """What one pair of programs is made for; `ends` is how many there are."""

  rows: int
  columns: int
  memory: int
  ends: int
  sampling: Sampling


class Generator:
  """Continues prompts, with programs for each shape of them."""

  def __init__(self, model: loaded_model.LoadedModel):
    self._model = model
    # Rows of the table beyond the vocabulary are no tokens to choose.
    pieces = model.run.model.pieces or model.vocabulary.size
    self._config = dataclasses.replace(model.run.model, pieces=pieces)
    self._firsts: dict[ProgramKey, program.Program] = {}
    self._mores: dict[ProgramKey, program.Program] = {}
    self._table = None

  def continuations(
    self, prompts: list[np.ndarray], wanted: GenerationRequest
  ) -> list[np.ndarray]:
    """See Model.continuations."""
    out: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    prompts = [self._model.trunk(ids) for ids in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    width = wanted.sampling.beams
    parts = self._model.layout.parts("batch")
    size = self._model.batch
    if width > 1:  # Whole groups of beams on each core.
      size = max(size // width // parts, 1) * parts
    run = self._search if width > 1 else self._continue
    for start in range(0, len(order), size):
      chosen = order[start : start + size]
      columns = _length(max(len(prompts[i]) for i in chosen))
      kind = ProgramKey(
        size * width,
        columns,
        _length(columns + wanted.max_new),
        len(wanted.ends),
        dataclasses.replace(wanted.sampling, seed=0),
      )
      found = run([prompts[i] for i in chosen], chosen, kind, wanted)
      for i, ids in zip(chosen, found, strict=True):
        out[i] = np.array(ids, np.int32)
        if wanted.show:
          wanted.show(i, ids, True)
    return out

  def _continue(
    self, prompts, chosen, kind: ProgramKey, wanted: GenerationRequest
  ):
    """The new ids of one batch of prompts, `chosen` of all."""
    growing = [self._growing(wanted) for _ in prompts]
    chance = np.zeros([kind.rows, wanted.max_new], np.float32)
    if wanted.sampling.draws:
      for row, i in enumerate(chosen):
        chance[row] = stop_strings.chance(
          wanted.sampling.seed, wanted.numbers[i], wanted.max_new
        )
    for made in self._tokens(prompts, kind, chance, wanted):
      for row, ids in zip(growing, made, strict=False):
        row.add(ids)
      if wanted.show:
        for i, row in zip(chosen, growing, strict=True):
          wanted.show(i, row.ids, False)
      if all(row.over for row in growing):
        break
    return [row.ids for row in growing]

  def _tokens(
    self,
    prompts,
    kind: ProgramKey,
    chance: np.ndarray,
    wanted: GenerationRequest,
  ) -> Iterator[np.ndarray]:
    """Yields int32 [rows, some], whatever comes after an end included."""
    first, more, d = self.first(kind), self.more(kind), _dims(self, kind)
    rows = mtf.Shape([d.batch])
    starts, tokens, cache = self._begin(prompts, kind, first, chance[:, :1])
    made = first.join(first.local(tokens), rows)[:, np.newaxis]
    yield made
    several = mtf.Shape([d.batch, mtf.Dimension("several", AT_ONCE)])
    at, most = 1, chance.shape[1]
    at_once = 1 if self._model.layout.is_split else _pace(wanted)
    ends = np.array(wanted.ends, np.int32)
    over = np.isin(made, ends).any(1)
    over |= np.arange(kind.rows) >= len(prompts)
    while at < most:
      steps = min(at_once, most - at)
      fed = np.zeros([kind.rows, AT_ONCE], np.float32)
      fed[:, :steps] = chance[:, at : at + steps]
      tokens, found, cache = more.start(
        tokens,
        starts,
        more.everywhere(np.int32(kind.columns + at - 1)),
        more.everywhere(np.int32(steps)),
        more.split(fed, several),
        more.split(over, rows),
        more.everywhere(ends),
        self._columns(d),
        cache,
      )
      made = more.join(more.local(found), several)[:, :steps]
      yield made
      over |= np.isin(made, ends).any(1)
      at += steps

  def _search(
    self, prompts, chosen, kind: ProgramKey, wanted: GenerationRequest
  ):
    """The best beam of each prompt of a batch."""
    del chosen
    width = wanted.sampling.beams
    first, more, d = self.first(kind), self.more(kind), _dims(self, kind)
    rows = mtf.Shape([d.batch])
    best = mtf.Shape([d.batch, mtf.Dimension("best", _candidates(kind))])
    found = [
      beam_search.Search(
        wanted.sampling,
        wanted.ends,
        wanted.max_new,
        lambda: self._growing(wanted),
      )
      for _ in prompts
    ]
    repeated = [ids for ids in prompts for _ in range(width)]
    nothing = np.zeros([kind.rows, 1], np.float32)
    starts, made, cache = self._begin(repeated, kind, first, nothing)
    for column in range(kind.columns, kind.columns + wanted.max_new):
      values, ids = (
        first.join(list(of_cores), best).reshape([-1, width, _candidates(kind)])
        for of_cores in zip(*first.local(made), strict=True)
      )
      parents = np.zeros([kind.rows // width, width], np.int32)
      tokens = np.zeros_like(parents)
      for group, search in enumerate(found):
        if not search.over:
          search.add(values[group], ids[group])
          parents[group], tokens[group] = search.parents, search.tokens
      if all(search.over for search in found):
        break
      made, cache = more.start(
        more.split(tokens.reshape([-1]), rows),
        starts,
        more.everywhere(np.int32(column)),
        more.split(parents.reshape([-1]), rows),
        cache,
      )
    return [search.best for search in found]

  def _growing(self, wanted: GenerationRequest) -> stop_strings.Continuation:
    decode_ids = self._model.vocabulary.decode if wanted.stops else str
    return stop_strings.Continuation(wanted.ends, wanted.stops, decode_ids)

  def _begin(self, prompts, kind: ProgramKey, first: program.Program, chance):
    """Runs prompts; (first columns, what was chosen, cache) on the cores."""
    d = _dims(self, kind)
    inputs = np.zeros([kind.rows, kind.columns], np.int32)
    start = np.full([kind.rows], kind.columns - 1, np.int32)
    for row, ids in enumerate(prompts):
      # The last prompt token is the input of the first new column.
      start[row] = kind.columns - len(ids)
      inputs[row, start[row] :] = ids
    rows = mtf.Shape([d.batch])
    starts = first.split(start, rows)
    fed = first.split(inputs, d.tokens), starts
    return starts, *first.start(*fed, first.split(chance[:, 0], rows))

  # -- programs ----------------------------------------------------------------

  def first(self, kind: ProgramKey) -> program.Program:
    """Runs prompts, and begins the cache."""
    if kind not in self._firsts:
      model, d = self._config, _dims(self, kind)
      rows = mtf.Shape([d.batch])

      def step(core: program.CoreProgram, inputs, start, chance):
        weights = self._model.read(core)
        hidden, cache = kv_cache.prefill(
          *(model, d, weights),
          core.feed(inputs, d.tokens),
          core.feed(start, rows),
        )
        chance = core.feed(chance, rows)
        chosen = _choose(kind, model, d, weights, hidden, chance)
        core.lower()
        return _values(core, chosen), [core.value(x) for x in cache]

      self._firsts[kind] = self._made(step, fused=False)
    return self._firsts[kind]

  def more(self, kind: ProgramKey) -> program.Program:
    """Makes tokens behind them."""
    kind = dataclasses.replace(kind, columns=1)
    if kind not in self._mores:
      searches = kind.sampling.beams > 1
      made = self._beam_step(kind) if searches else self._loop(kind)
      self._mores[kind] = self._made(made, fused=True)
    return self._mores[kind]

  def _columns(self, d: dims.Dims):
    """The output table as the loop reads it, on the cores; made once."""
    if self._table is None:

      def step(core: program.CoreProgram):
        made = next_token.columns(d, self._model.read(core))
        core.lower()
        return core.value(made)

      self._table = self._made(step, fused=False).start()
    return self._table

  def _made(self, step, fused: bool) -> program.Program:
    model = self._model
    return program.Program(model.devices, model.layout, step, fused)

  def _loop(self, kind: ProgramKey):
    """Tokens, one after the other: see `_tokens` for what it takes."""
    model, one = self._config, _dims(self, kind)
    rows, in_cache = mtf.Shape([one.batch]), kv_cache.cache_shape(one)

    def step(
      core, tokens, start, column, steps, chance, over, ends, columns, cache
    ):
      weights = self._model.read(core)
      in_columns = mtf.Shape([one.width, one.vocab])
      weights[next_token.COLUMNS] = core.feed(columns, in_columns)
      core.lower()
      shapes = {name: w.shape for name, w in weights.items()}
      # Cast once, not for every token.
      values = {name: core.value(w) for name, w in weights.items()}
      matrices = {name: _matrix(name, value) for name, value in values.items()}

      def goes_on(made, tokens, found, over, cache):
        del tokens, found, cache
        return (made < steps) & ~tf.reduce_all(over)

      def token(made, tokens, found, over, cache):
        inner = core.another()
        weights = {
          name: inner.feed(tf.reshape(matrix, values[name].shape), shapes[name])
          for name, matrix in matrices.items()
        }
        hidden, cache = kv_cache.extend(
          *(model, one, weights),
          inner.feed(tokens[:, tf.newaxis], one.tokens),
          inner.feed(start, rows),
          inner.feed(column + made, mtf.Shape([])),
          [inner.feed(x, in_cache) for x in cache],
        )
        uniform = inner.feed(chance[:, made], rows)
        chosen = _choose(kind, model, one, weights, hidden, uniform)
        inner.lower()
        tokens, cache = inner.value(chosen), [inner.value(x) for x in cache]
        here = tf.range(AT_ONCE) == made
        found = tf.where(here, tokens[:, tf.newaxis], found)
        ended = tf.reduce_any(tokens[:, tf.newaxis] == ends, axis=1)
        return made + 1, tokens, found, over | ended, cache

      found = tf.zeros([tokens.shape[0], AT_ONCE], tf.int32)
      state = tf.constant(0), tokens, found, over, cache
      if self._model.layout.is_split:
        state = token(*state)
      else:
        state = tf.while_loop(goes_on, token, state, parallel_iterations=1)
      _, tokens, found, _, cache = state
      return tokens, found, cache

    return step

  def _beam_step(self, kind: ProgramKey):
    """One column of beams, each behind its parent: see `_search`."""
    model, one = self._config, _dims(self, kind)
    rows, in_cache = mtf.Shape([one.batch]), kv_cache.cache_shape(one)

    def step(core, tokens, start, column, parents, cache):
      weights = self._model.read(core)
      cache = [core.feed(x, in_cache) for x in cache]
      hidden, cache = kv_cache.extend(
        *(model, one, weights),
        core.feed(tokens[:, tf.newaxis], one.tokens),
        core.feed(start, rows),
        core.feed(column, mtf.Shape([])),
        kv_cache.reorder(
          one, cache, core.feed(parents, rows), kind.sampling.beams
        ),
      )
      chosen = _choose(kind, model, one, weights, hidden, None)
      core.lower()
      return _values(core, chosen), [core.value(x) for x in cache]

    return step


def _choose(kind: ProgramKey, model, d, weights, hidden, chance):
  """Tokens, or of beams (log-probabilities, ids) of the best ones."""
  logits = next_token.logits(model, d, weights, hidden)
  if kind.sampling.beams > 1:
    return next_token.best(d, logits, _candidates(kind))
  if kind.sampling.draws:
    return next_token.draw(d, logits, chance, kind.sampling)
  return next_token.greedy(d, logits)


def _matrix(name: str, weight: tf.Tensor) -> tf.Tensor:
  """A weight of three dimensions as the matrix that vectors are multiplied by.

  XLA takes the product with a matrix that is reshaped inside of a loop apart,
  into a loop of one thread.
  """
  if weight.shape.rank != 3:
    return weight
  into = (
    [-1, weight.shape[-1]] if name.endswith("/o") else [weight.shape[0], -1]
  )
  return tf.reshape(weight, into)


def _values(core: program.CoreProgram, chosen):
  if isinstance(chosen, mtf.Tensor):
    return core.value(chosen)
  return tuple(core.value(x) for x in chosen)


def _candidates(kind: ProgramKey) -> int:
  """Tokens of a beam to look at: enough that all beams may go on."""
  return beam_search.candidates(kind.sampling.beams, kind.ends)


def _dims(decoder: Generator, kind: ProgramKey) -> dims.Dims:
  model = decoder._config
  return dims.dims_for(model, kind.rows, kind.columns, kind.memory)


def _length(least: int) -> int:
  """32, 48, 64, 96, 128, 192, ...: the first that is no less."""
  size = _SHORTEST
  while size < least:
    size += size // 2
    size = size if size >= least else size // 3 * 4
  return size


def _pace(wanted: GenerationRequest) -> int:
  """Tokens to make before they are looked at."""
  if wanted.show:
    return _SHOW_EVERY
  return _LOOK_EVERY if wanted.stops else AT_ONCE
