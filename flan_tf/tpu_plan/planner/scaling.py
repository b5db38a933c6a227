"""How far training scales, and what stops it: sizes on numbers of cores.

A cell is a size on a slice. The batch is the run's own for as long as a layout
divides, be it one that cuts rows into parts; from there on it grows with the
cores, twofold each time, and the cell says so. Of the meshes that divide the
likeliest that fits is compiled; the rest are counted. Where none does, the cell
says why. To compile all cells takes hours: without, a cell has an answer of the
compiler that is there already, or else an estimate by hand, and says which.

A step has three parts that these figures give: products at peak, bytes
to and from memory at peak, bytes on the wire at the links' peak. Scaling stops
where twice the cores do less than 1.5 times the tokens a second, collectives
hidden behind nothing; the part that grew most beyond its share is named as the
cause.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from flan_tf import config
from flan_tf.tpu_plan import chips, request
from flan_tf.tpu_plan.planner import cost_model, flop_counts, search

CORES = tuple(2**power for power in range(3, 12))
# A batch that grew by more is no longer the run that was asked for.
_MOST_GROWTH = 1024
# Twice the cores should do at least so many times the tokens a second.
_GAIN = 1.5
# Where a search would have to ask: an answer that is there is taken if it is
# not slower than the best by hand by more than this.
_SLOWER = 1.15
_TAKES = {
  "compute": "products take",
  "memory": "memory takes",
  "collectives": "collectives take",
}


@dataclasses.dataclass(frozen=True)
class ScalingCell:
  """A size on a number of cores.

  Attributes:
    size: its name.
    cores: their number.
    topology: the slice; empty if the generation has none of that number.
    rows: of the batch that was taken.
    grown: how many times the run's own batch that is.
    best: what fits; None if nothing does.
    tried: how many candidates were compiled.
    untried: how many more divide.
    left_out: meshes that do not divide at the run's own batch, with reasons.
    why: why there is no best one.
    compiled: whether the compiler was asked, or else all is by hand.
    need_bytes: what a core needs at least by hand where that does not fit.
  """

  size: str
  cores: int
  topology: str = ""
  rows: int = 0
  grown: int = 1
  best: search.Tried | None = None
  tried: int = 0
  untried: int = 0
  left_out: tuple[search.LeftOut, ...] = ()
  why: str = ""
  compiled: bool = False
  need_bytes: float = 0.0


@dataclasses.dataclass(frozen=True)
class Stop:
  """Where a size stops scaling.

  Attributes:
    size: its name.
    cores: the most cores that still pay; 0 if there is nothing to compare.
    why: in words.
    cause: "compute", "memory", "collectives", "" if it did not stop.
  """

  size: str
  cores: int
  why: str
  cause: str = ""


def cells(
  runs: Mapping[str, config.RunConfig],
  generation: chips.TpuGeneration,
  compiled: search.Compile,
  cores: Sequence[int] = CORES,
  limit: int = 3,
  known: search.Known | None = None,
) -> Iterator[ScalingCell]:
  """All cells, size by size, each when it is there."""
  for size, run in runs.items():
    for number in cores:
      yield cell(size, run, generation, number, compiled, limit, known)


def cell(
  size: str,
  run: config.RunConfig,
  generation: chips.TpuGeneration,
  cores: int,
  compiled: search.Compile,
  limit: int = 3,
  known: search.Known | None = None,
) -> ScalingCell:
  """Looks for the best mesh.

  Args:
    size: its name.
    run: its run; mesh, layout and options of recomputation are looked for.
    generation: of chips.
    cores: how many.
    compiled: asks the compiler, or the cache, for `limit` meshes at most.
    limit: see `compiled`.
    known: if given, nobody is asked: what it knows is the compiler's, and the
      rest is estimated by hand.
  """
  where = chips.with_cores(generation, cores)
  if where is None:
    return ScalingCell(size, cores, why=f"{generation.name} has no such slice")
  asked = request.ask(run, str(where))
  candidates, left_out = search.enumerate_all(asked)
  grown = 1
  while not candidates and grown < _MOST_GROWTH:
    grown *= 2
    asked = request.ask(
      config.replace(run, "train", batch=run.train.batch * grown), str(where)
    )
    candidates, _ = search.enumerate_all(asked)
  found = ScalingCell(
    size,
    cores,
    str(where),
    asked.run.train.batch,
    grown,
    left_out=tuple(left_out),
  )
  if not candidates:
    return dataclasses.replace(found, why="no mesh divides")
  if not candidates[0].by_hand.fits:
    return _too_large(found, candidates)
  if known is None:
    return _compiled(found, asked, compiled, limit, run.train.steps)
  try:
    return _compiled(found, asked, _only(known), limit, run.train.steps)
  except _Unknown:
    return _uncompiled(found, candidates, known, run.train.steps)


def _compiled(
  found: ScalingCell,
  asked: request.CompileRequest,
  compiled: search.Compile,
  limit: int,
  steps: int,
) -> ScalingCell:
  """A cell from what a search finds; `steps` give the days."""
  result = search.search(asked, compiled, limit, steps, enough=1)
  why = ""
  if result.best is None:
    why = f"does not fit: {len(result.tried)} tried"
  return dataclasses.replace(
    found,
    best=result.best,
    compiled=True,
    tried=len(result.tried),
    untried=len(result.untried),
    why=why,
  )


class _Unknown(Exception):
  """A search would need more than is known."""


def _only(known: search.Known) -> search.Compile:
  """A compiler that answers what is known; raises _Unknown for the rest."""

  def answer(asked: request.CompileRequest) -> request.CompileReport:
    found = known(asked)
    if found is None:
      raise _Unknown
    return found

  return answer


def _uncompiled(
  found: ScalingCell,
  candidates: Sequence[search.Candidate],
  known: search.Known,
  steps: int,
) -> ScalingCell:
  """A cell from what is known, or by hand from the likeliest that fits."""
  compiled, by_hand = [], []
  refused = 0
  for candidate in candidates:
    answer = known(candidate.asked)
    if answer is not None and not answer.fits:
      refused += 1
      continue
    kept = by_hand if answer is None else compiled
    answer = answer or cost_model.answer(candidate.asked)
    if answer.fits:
      estimate = flop_counts.estimate(candidate.asked, answer, steps)
      kept.append(search.Tried(candidate, answer, estimate))
  tried = len(compiled) + refused
  found = dataclasses.replace(
    found, tried=tried, untried=len(candidates) - tried
  )
  best = min(compiled, key=_serial, default=None)
  hand = min(by_hand, key=_serial, default=None)
  if best and (hand is None or _serial(best) <= _serial(hand) * _SLOWER):
    return dataclasses.replace(found, best=best, compiled=True)
  if hand:
    return dataclasses.replace(found, best=hand)
  return _too_large(found, candidates)


def _serial(tried: search.Tried) -> float:
  return tried.estimate.serial_seconds


def _too_large(
  found: ScalingCell, candidates: Sequence[search.Candidate]
) -> ScalingCell:
  need = min(candidate.by_hand.hbm_bytes for candidate in candidates)
  return dataclasses.replace(
    found,
    untried=len(candidates) - found.tried,
    why=f"does not fit: {need / 2**30:.1f} GiB a core, by hand",
    need_bytes=need,
  )


def stop(found: Sequence[ScalingCell]) -> Stop:
  """Where one size stops scaling, from its cells."""
  size = found[0].size
  good = [made for made in found if made.best]
  if len(good) < 2:
    return Stop(size, 0, "fits on too few slices to compare.")
  first, upto = good[0], good[-1]
  stopped = None
  for before, after in zip(good, good[1:], strict=False):
    gain = _each(after) / _each(before) * after.cores / before.cores
    if gain < _GAIN:
      upto, stopped = before, after
      break
  text = _from_to(first, upto, "scales to")
  cause = ""
  if stopped:
    cause, because = _cause(upto, stopped)
    text += f"; {_from_to(upto, stopped, 'not to')}: {because}"
  elif upto is not first:
    cause, because = _cause(first, upto)
    text += f": {because}"
  return Stop(size, upto.cores, f"{text}. {_growth(good)}".strip(), cause)


def parts(made: ScalingCell) -> dict[str, float]:
  """Seconds of the three parts of a step, each at peak."""
  assert made.best is not None
  answer = made.best.answer
  generation = chips.parse_topology(made.topology).generation
  return {
    "compute": answer.flops_per_core / generation.peak_flops,
    "memory": answer.bytes_accessed_per_core / generation.hbm_bandwidth,
    "collectives": made.best.estimate.collective_seconds,
  }


def _each(made: ScalingCell) -> float:
  """Tokens a second of one core."""
  assert made.best is not None
  return made.best.estimate.serial_tokens_per_second / made.cores


def _from_to(first: ScalingCell, last: ScalingCell, verb: str) -> str:
  left = _each(last) / _each(first)
  return (
    f"{verb} {last.cores:,} cores, where a core does {left:.0%} of its tokens"
    f" at {first.cores:,}"
  )


def _cause(before: ScalingCell, after: ScalingCell) -> tuple[str, str]:
  """The part of a step that outgrew its share most, and that in words."""
  share = before.cores * after.rows / (after.cores * before.rows)
  old, new = parts(before), parts(after)
  excess = {name: new[name] - old[name] * share for name in new}
  cause = max(excess, key=lambda name: excess[name])
  return cause, (
    f"{_TAKES[cause]} {milliseconds(new[cause])} ms of a step at peak, an even"
    f" share would be {milliseconds(old[cause] * share)}"
  )


def milliseconds(seconds: float) -> str:
  """With three digits that count: "2,990", "54.1", "0.8"."""
  return f"{float(f'{seconds * 1e3:.3g}'):,g}"


def _growth(good: Sequence[ScalingCell]) -> str:
  """From where on the batch had to grow, and what did not divide."""
  grown = next((made for made in good if made.grown > 1), None)
  if grown is None:
    return ""
  whats = dict.fromkeys(out.why.partition(" over")[0] for out in grown.left_out)
  text = (
    f"From {grown.cores:,} cores on no mesh divides both"
    f" {' and '.join(whats)}, so the batch grows."
  )
  own = [made for made in good if made.grown == 1]
  if len(own) < 2:
    return text
  first, last = own[0], own[-1]
  left = _each(last) / _each(first)
  return (
    f"{text} On {last.cores:,}, the last with its own rows, a core does"
    f" {left:.0%}: {_cause(first, last)[1]}."
  )
