"""Generates text: continues prompts by sampling, greedily, or by beam search.

A batch of prompts takes two programs. The first one runs the prompts and begins
the cache. The second one generates several tokens per call in a loop on the
device, compiled by XLA; on a split mesh it generates one token per call, since
collectives hang in such a loop.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from flan_tf.config import checks
from flan_tf.inference import beam_search, finite_results, stop_strings
from flan_tf.inference.decode_programs import (
  TOKENS_PER_CALL,
  BeamInputs,
  DecodeInputs,
  DecodePrograms,
  ProgramKey,
)
from flan_tf.inference.loaded_model import LoadedModel
from flan_tf.mesh.compat import mtf
from flan_tf.sampling import Sampling

# Prompts and caches are padded to one of few lengths, because each length is a
# program of its own. This is the shortest one.
_SHORTEST = 32
# Tokens per call where texts are read in between: to look for stop strings, and
# to show them.
_TOKENS_PER_STOP_CHECK, _TOKENS_PER_SHOW = 8, 2

# Called with the number of a prompt, its new ids so far, and whether these are
# all.
Show = Callable[[int, list[int], bool], object]


@dataclasses.dataclass(frozen=True)
class GenerationRequest:
  """The settings of a generation.

  Attributes:
    max_new: most new tokens of a prompt.
    ends: ids that end a text.
    sampling: how tokens are chosen.
    stops: strings that end a text.
    numbers: a number for each prompt; random draws depend on it.
    show: called with new tokens while they are generated, if given.
  """

  max_new: int
  ends: tuple[int, ...]
  sampling: Sampling = Sampling()
  stops: tuple[str, ...] = ()
  numbers: Sequence[int] = ()
  show: Show | None = None

  def __post_init__(self):
    stop_strings.check_stops(self.stops)
    checks.positive(
      "max_new", self.max_new, checks.LONGEST_ROW, checks.ROW_IN_MEMORY
    )

  @property
  def tokens_per_call(self) -> int:
    """Tokens to generate before they are looked at."""
    if self.show:
      return _TOKENS_PER_SHOW
    return _TOKENS_PER_STOP_CHECK if self.stops else TOKENS_PER_CALL


class Generator:
  """Continues prompts.

  Args:
    model: the weights, on their mesh.
    programs: its decode programs; made by default.
  """

  def __init__(
    self, model: LoadedModel, programs: DecodePrograms | None = None
  ):
    self._model = model
    self._is_checked = False
    self.programs = programs or DecodePrograms(model)

  def continuations(
    self, prompts: list[np.ndarray], request: GenerationRequest
  ) -> list[np.ndarray]:
    """Returns the new ids of each prompt; see `LanguageModel.continuations`."""
    beams = request.sampling.beams
    pieces = self.programs.pieces
    beam_search.check_vocabulary(beams, len(request.ends), pieces)
    if not self._is_checked:
      finite_results.check_output_table(self._model)
      self._is_checked = True
    results: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    context_tokens = self._model.prompt_format.context_tokens
    prompts = [context_tokens(ids) for ids in prompts]
    # Prompts of like length together, so that little is padded.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    size = self._batch_size(beams)
    generate = self._search_batch if beams > 1 else self._continue_batch
    for start in range(0, len(order), size):
      numbers = order[start : start + size]
      columns = padded_length(max(len(prompts[i]) for i in numbers))
      key = ProgramKey(
        rows=size * beams,
        columns=columns,
        memory=padded_length(columns + request.max_new),
        ends=len(request.ends),
        sampling=dataclasses.replace(request.sampling, seed=0),
      )
      new_ids = generate([prompts[i] for i in numbers], numbers, key, request)
      for i, ids in zip(numbers, new_ids, strict=True):
        results[i] = np.array(ids, np.int32)
        if request.show:
          request.show(i, ids, True)
    return results

  def _batch_size(self, beams: int) -> int:
    """Returns the number of prompts that are continued at once."""
    size = self._model.batch
    if beams > 1:  # Each core has whole groups of beams.
      shards = self._model.layout.num_shards("batch")
      size = max(size // beams // shards, 1) * shards
    return size

  def _continue_batch(
    self,
    prompts: Sequence[np.ndarray],
    numbers: Sequence[int],
    key: ProgramKey,
    request: GenerationRequest,
  ) -> list[list[int]]:
    """Samples the new ids of a batch of prompts; `numbers` are their places."""
    texts = [self._new_text(request) for _ in prompts]
    pieces = self.programs.pieces
    uniform = np.zeros([key.rows, request.max_new], np.float32)
    if request.sampling.draws:
      for row, i in enumerate(numbers):
        uniform[row] = stop_strings.uniform_draws(
          request.sampling.seed, request.numbers[i], request.max_new
        )
    for new in self._columns(prompts, key, uniform, request):
      for text, ids in zip(texts, new, strict=False):
        finite_results.check_tokens(self._model, text, ids, pieces)
        text.add(ids)
      if request.show:
        for i, text in zip(numbers, texts, strict=True):
          request.show(i, text.ids, False)
      if all(text.finished for text in texts):
        break
    return [text.ids for text in texts]

  def _columns(
    self,
    prompts: Sequence[np.ndarray],
    key: ProgramKey,
    uniform: np.ndarray,
    request: GenerationRequest,
  ) -> Iterator[np.ndarray]:
    """Yields new tokens, int32 [rows, n], even after the end of a text."""
    programs = self.programs
    prefill, decode = programs.prefill(key), programs.decode(key)
    d = programs.dims(key)
    rows = mtf.Shape([d.batch])
    start, tokens, cache = self._run_prompts(prompts, key, uniform[:, 0])
    new = prefill.assemble(prefill.local_results(tokens), rows)[:, np.newaxis]
    yield new
    per_call = mtf.Shape([d.batch, mtf.Dimension("several", TOKENS_PER_CALL)])
    most = 1 if self._model.layout.is_split else request.tokens_per_call
    ends = np.array(request.ends, np.int32)
    # Rows without a prompt have ended from the start.
    ended = np.isin(new, ends).any(1)
    ended |= np.arange(key.rows) >= len(prompts)
    done = 1
    while done < request.max_new:
      steps = min(most, request.max_new - done)
      draws = np.zeros([key.rows, TOKENS_PER_CALL], np.float32)
      draws[:, :steps] = uniform[:, done : done + steps]
      inputs = DecodeInputs(
        tokens=tokens,
        start=start,
        column=decode.replicate(np.int32(key.columns + done - 1)),
        steps=decode.replicate(np.int32(steps)),
        uniform=decode.shard(draws, per_call),
        ended=decode.shard(ended, rows),
        ends=decode.replicate(ends),
        output_table=programs.output_table(d),
        cache=cache,
      )
      tokens, generated, cache = decode.dispatch(inputs)
      generated = decode.local_results(generated)
      new = decode.assemble(generated, per_call)[:, :steps]
      yield new
      ended |= np.isin(new, ends).any(1)
      done += steps

  def _search_batch(
    self,
    prompts: Sequence[np.ndarray],
    numbers: Sequence[int],
    key: ProgramKey,
    request: GenerationRequest,
  ) -> list[list[int]]:
    """Returns the best beam of each prompt of a batch."""
    del numbers  # Nothing is drawn.
    beams = request.sampling.beams
    decode, d = self.programs.decode(key), self.programs.dims(key)
    rows = mtf.Shape([d.batch])
    searches = [
      beam_search.BeamSearch(
        request.sampling,
        request.ends,
        request.max_new,
        lambda: self._new_text(request),
      )
      for _ in prompts
    ]
    repeated = [ids for ids in prompts for _ in range(beams)]
    no_draws = np.zeros([key.rows], np.float32)
    start, candidates, cache = self._run_prompts(repeated, key, no_draws)
    for column in range(key.columns, key.columns + request.max_new):
      values, ids = self._candidates(key, candidates)
      finite_results.check_candidates(self._model, values[: len(prompts)])
      parents = np.zeros([key.rows // beams, beams], np.int32)
      tokens = np.zeros_like(parents)
      for group, search in enumerate(searches):
        if not search.finished:
          search.add(values[group], ids[group])
          parents[group], tokens[group] = search.parents, search.tokens
      if all(search.finished for search in searches):
        break
      inputs = BeamInputs(
        tokens=decode.shard(tokens.reshape([-1]), rows),
        start=start,
        column=decode.replicate(np.int32(column)),
        parents=decode.shard(parents.reshape([-1]), rows),
        cache=cache,
      )
      candidates, cache = decode.dispatch(inputs)
    return [search.best for search in searches]

  def _candidates(
    self, key: ProgramKey, on_cores
  ) -> tuple[np.ndarray, np.ndarray]:
    """Collects log-probabilities and ids, each [groups, beams, candidates]."""
    prefill, d = self.programs.prefill(key), self.programs.dims(key)
    best = mtf.Shape([d.batch, mtf.Dimension("best", key.candidates)])
    values, ids = (
      prefill.assemble(list(shards), best).reshape(
        [-1, key.sampling.beams, key.candidates]
      )
      for shards in zip(*prefill.local_results(on_cores), strict=True)
    )
    return values, ids

  def _run_prompts(
    self, prompts: Sequence[np.ndarray], key: ProgramKey, uniform: np.ndarray
  ):
    """Runs the prompts of a batch.

    Args:
      prompts: int32 [n] each, no more than the rows of a batch.
      key: of the programs.
      uniform: float32 [rows], random numbers in [0, 1).

    Returns:
      Each row's first column, the choice of the first token, and the cache, all
      on the cores.
    """
    prefill, d = self.programs.prefill(key), self.programs.dims(key)
    inputs = np.zeros([key.rows, key.columns], np.int32)
    start = np.full([key.rows], key.columns - 1, np.int32)
    for row, ids in enumerate(prompts):
      # The last prompt token is the input of the first new column.
      start[row] = key.columns - len(ids)
      inputs[row, start[row] :] = ids
    rows = mtf.Shape([d.batch])
    starts = prefill.shard(start, rows)
    fed = prefill.shard(inputs, d.tokens), starts
    return starts, *prefill.dispatch(*fed, prefill.shard(uniform, rows))

  def _new_text(self, request: GenerationRequest) -> stop_strings.Continuation:
    decode_ids = self._model.vocabulary.decode if request.stops else str
    return stop_strings.Continuation(request.ends, request.stops, decode_ids)


def padded_length(least: int) -> int:
  """Returns the first of 32, 48, 64, 96, 128, 192, ... that is not smaller."""
  size = _SHORTEST
  while size < least:
    size += size // 2
    size = size if size >= least else size // 3 * 4
  return size
