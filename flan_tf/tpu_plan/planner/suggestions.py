"""What would fit, where something does not: another mesh, or a larger slice."""

import dataclasses
from collections.abc import Iterator

from flan_tf.tpu_plan import chips, request
from flan_tf.tpu_plan.planner import flop_counts, search

# How much of a core's memory a remedy may need by hand: room for its error.
_SAFE = 0.95
_DOUBLINGS = 4


def would_fit(
  asked: request.CompileRequest,
  compiled: search.Compile,
  steps: int = 0,
  tries: int = 2,
) -> tuple[search.Tried | None, list[search.Tried]]:
  """Compiles the likeliest remedies until one fits.

  Returns:
    The one that fits, if any, and all that were tried.
  """
  tried = []
  for candidate, _ in zip(_remedies(asked), range(tries), strict=False):
    answer = compiled(candidate.asked)
    estimate = flop_counts.estimate(candidate.asked, answer, steps)
    tried.append(search.Tried(candidate, answer, estimate))
    if answer.fits:
      return tried[-1], tried
  return None, tried


def _remedies(asked: request.CompileRequest) -> Iterator[search.Candidate]:
  """The best of this slice, by hand, then those of larger ones."""
  for where in _slices(asked.topology):
    on_slice = dataclasses.replace(asked, topology=str(where))
    candidates, _ = search.enumerate_all(on_slice)
    for candidate in candidates:
      by_hand = candidate.by_hand
      safe = by_hand.hbm_bytes <= _SAFE * by_hand.hbm_limit_bytes
      if safe and candidate.asked != asked:
        yield candidate
        break


def _slices(topology: str) -> Iterator[chips.TpuSlice]:
  first = chips.parse_topology(topology)
  yield first
  for doubling in range(1, _DOUBLINGS + 1):
    larger = chips.with_cores(first.generation, first.cores << doubling)
    if larger is not None:
      yield larger
