"""How far training scales, and what stops it: sizes on numbers of cores.

A cell is a size on a slice. The batch is the run's own for as long as a layout
divides; from there on it grows with the cores, twofold each time, and the cell
says so. Of the meshes that divide the likeliest that fits is compiled; the rest
are counted. Where none does, the cell says why.

A step has three parts that the compiler's figures give: products at peak, bytes
to and from memory at peak, bytes on the wire at the links' peak. Scaling stops
where twice the cores do less than 1.5 times the tokens a second, collectives
hidden behind nothing; the part that grew most beyond its share is named as the
cause.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from flan_tf import config
from flan_tf.plan import chips, request, search

CORES = tuple(2**power for power in range(3, 12))
# A batch that grew by more is no longer the run that was asked for.
_MOST_GROWTH = 1024
# Twice the cores should do at least so many times the tokens a second.
_GAIN = 1.5


@dataclasses.dataclass(frozen=True)
class Cell:
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
  generation: chips.Generation,
  compiled: search.Compile,
  cores: Sequence[int] = CORES,
  limit: int = 3,
) -> Iterator[Cell]:
  """All cells, size by size, each when it is there."""
  for size, run in runs.items():
    for number in cores:
      yield cell(size, run, generation, number, compiled, limit)


def cell(
  size: str,
  run: config.RunConfig,
  generation: chips.Generation,
  cores: int,
  compiled: search.Compile,
  limit: int = 3,
) -> Cell:
  """Looks for the best mesh; compiles at most `limit` of them."""
  where = chips.with_cores(generation, cores)
  if where is None:
    return Cell(size, cores, why=f"{generation.name} has no such slice")
  asked = request.ask(run, str(where))
  candidates, left_out = search.enumerate_all(asked)
  grown = 1
  while not candidates and grown < _MOST_GROWTH:
    grown *= 2
    asked = request.ask(
      config.replace(run, "train", batch=run.train.batch * grown), str(where)
    )
    candidates, _ = search.enumerate_all(asked)
  found = Cell(
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
    need = candidates[0].by_hand.hbm_bytes / 2**30
    return dataclasses.replace(
      found,
      untried=len(candidates),
      why=f"does not fit: {need:.0f} GiB a core, by hand",
    )
  result = search.search(asked, compiled, limit, run.train.steps, enough=1)
  why = ""
  if result.best is None:
    why = f"does not fit: {len(result.tried)} tried"
  return dataclasses.replace(
    found,
    best=result.best,
    tried=len(result.tried),
    untried=len(result.untried),
    why=why,
  )


def stop(found: Sequence[Cell]) -> Stop:
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


def parts(made: Cell) -> dict[str, float]:
  """Seconds of the three parts of a step, each at peak."""
  assert made.best is not None
  answer = made.best.answer
  generation = chips.parse(made.topology).generation
  return {
    "compute": answer.flops_per_core / generation.peak_flops,
    "memory": answer.bytes_accessed_per_core / generation.hbm_bandwidth,
    "collectives": made.best.estimate.collective_seconds,
  }


def _each(made: Cell) -> float:
  """Tokens a second of one core."""
  assert made.best is not None
  return made.best.estimate.serial_tokens_per_second / made.cores


def _from_to(first: Cell, last: Cell, verb: str) -> str:
  left = _each(last) / _each(first)
  return (
    f"{verb} {last.cores:,} cores, where a core does {left:.0%} of its tokens"
    f" at {first.cores:,}"
  )


def _cause(before: Cell, after: Cell) -> tuple[str, str]:
  """The part of a step that outgrew its share most, and that in words."""
  share = before.cores * after.rows / (after.cores * before.rows)
  old, new = parts(before), parts(after)
  excess = {name: new[name] - old[name] * share for name in new}
  cause = max(excess, key=lambda name: excess[name])
  return cause, (
    f"{cause} would take {old[cause] * share:.3g} s of a step at peak by its"
    f" share and takes {new[cause]:.3g}"
  )


def _growth(good: Sequence[Cell]) -> str:
  """From where on the batch had to grow, and what did not divide."""
  grown = next((made for made in good if made.grown > 1), None)
  if grown is None:
    return ""
  whats = dict.fromkeys(out.why.partition(" over")[0] for out in grown.left_out)
  return (
    f"From {grown.cores:,} cores on no mesh divides both"
    f" {' and '.join(whats)}, so the batch grows."
  )
