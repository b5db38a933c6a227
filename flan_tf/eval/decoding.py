"""Programs that continue prompts."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flan_tf.eval import loaded
from flan_tf.mesh import program
from flan_tf.mesh.compat import mtf
from flan_tf.model import decode
from flan_tf.model import dims as dims_lib

# Prompts are padded to one of few lengths, as each is a program of its own.
_SHORTEST_PROMPT = 32
# While decoding, how often to look whether all rows have ended.
_LOOK_EVERY = 8


class Decoder:
  """Continues prompts, with programs for each shape of them."""

  def __init__(self, model: loaded.LoadedModel):
    self._model = model
    self._programs: dict[tuple[int, int], tuple] = {}

  def continuations(
    self, prompts: list[np.ndarray], max_new: int, ends: Sequence[int] = ()
  ) -> list[np.ndarray]:
    """See Model.continuations."""
    ends = tuple(ends) or (self._model.vocabulary.eos_id,)
    out: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    prompts = [self._model.trunk(ids) for ids in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), self._model.batch):
      chosen = order[start : start + self._model.batch]
      longest = max(len(prompts[i]) for i in chosen)
      columns = _SHORTEST_PROMPT
      while columns < longest:
        columns *= 2
      new = self._decode([prompts[i] for i in chosen], columns, max_new, ends)
      for i, ids in zip(chosen, new, strict=False):
        ended = np.flatnonzero(np.isin(ids, ends))
        out[i] = ids[: ended[0] + 1] if len(ended) else ids
    return out

  def _decode(self, prompts, columns: int, max_new: int, ends) -> np.ndarray:
    """int32 [batch, <= max_new], whatever comes after the end included."""
    if (columns, max_new) not in self._programs:
      self._programs[columns, max_new] = self._build_decoder(columns, max_new)
    first, more, d = self._programs[columns, max_new]
    inputs = np.zeros([self._model.batch, columns], np.int32)
    start = np.full([self._model.batch], columns - 1, np.int32)
    for row, ids in enumerate(prompts):
      # The last prompt token is the input of the first new column.
      start[row] = columns - len(ids)
      inputs[row, start[row] :] = ids
    rows = mtf.Shape([d.batch])
    starts = first.split(start, rows)
    tokens, cache = first.start(first.split(inputs, d.tokens), starts)
    found, ended = [], np.zeros([self._model.batch], bool)
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
    model, memory = self._model.run.model, columns + max_new
    d = dims_lib.dims_for(model, self._model.batch, columns, memory)
    one = dims_lib.dims_for(model, self._model.batch, 1, memory)
    rows = mtf.Shape([d.batch])

    def values(core, tokens, cache):
      core.lower()
      return core.value(tokens), [core.value(x) for x in cache]

    def first_step(core: program.CoreProgram, inputs, start):
      feeds = core.feed(inputs, d.tokens), core.feed(start, rows)
      return values(
        core, *decode.prefill(model, d, self._model.read(core), *feeds)
      )

    def next_step(core: program.CoreProgram, tokens, start, column, cache):
      out = decode.extend(
        model,
        one,
        self._model.read(core),
        core.feed(tokens[:, tf.newaxis], one.tokens),
        core.feed(start, rows),
        core.feed(column, mtf.Shape([])),
        [core.feed(x, one.cache) for x in cache],
      )
      return values(core, *out)

    return (
      program.Program(self._model.devices, self._model.layout, first_step),
      program.Program(self._model.devices, self._model.layout, next_step),
      d,
    )
