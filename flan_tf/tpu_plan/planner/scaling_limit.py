"""Finds the number of cores up to which training scales, and the reason.

Three parts of a training step are compared, each at its peak:

  compute       executed FLOPs / peak FLOP/s
  memory        HBM bytes / HBM bandwidth
  collectives   wire bytes / bandwidth of the links

Scaling stops where twice the cores give less than 1.5 times the tokens per
second, if collectives overlap with nothing. With perfect scaling each part
would shrink in proportion to the cores; the part that exceeds this even share
by the most seconds is the cause.
"""

import dataclasses
from collections.abc import Sequence

from flan_tf.tpu_plan import chips
from flan_tf.tpu_plan.planner.scaling import ScalingCell

# Tokens per second should grow at least by this factor with twice the cores.
_MIN_SPEEDUP = 1.5
_SUBJECTS = {
  "compute": "matrix products take",
  "memory": "HBM accesses take",
  "collectives": "collectives take",
}


@dataclasses.dataclass(frozen=True)
class ScalingLimit:
  """The number of cores up to which a model size scales.

  Attributes:
    size: name of the model size.
    cores: the largest number of cores that is still worthwhile; 0 if fewer
      than two slices fit.
    explanation: the reason, in words.
    cause: "compute", "memory" or "collectives"; "" if cells cannot be compared.
  """

  size: str
  cores: int
  explanation: str
  cause: str = ""


def find_limit(cells: Sequence[ScalingCell]) -> ScalingLimit:
  """Returns the number of cores at which scaling stops.

  Args:
    cells: the cells of one model size, by rising number of cores.
  """
  size = cells[0].size
  fitting = [cell for cell in cells if cell.best]
  if len(fitting) < 2:
    return ScalingLimit(size, 0, "fits on too few slices to compare.")
  first, last = fitting[0], fitting[-1]
  too_large = None
  for smaller, larger in zip(fitting, fitting[1:], strict=False):
    speedup = _tokens_per_core(larger) / _tokens_per_core(smaller)
    if speedup * larger.cores / smaller.cores < _MIN_SPEEDUP:
      last, too_large = smaller, larger
      break
  text = _compare(first, last, "scales to")
  cause = ""
  if too_large:
    cause, sentence = _explain(last, too_large)
    text += f"; {_compare(last, too_large, 'not to')}: {sentence}"
  elif last is not first:
    cause, sentence = _explain(first, last)
    text += f": {sentence}"
  text = f"{text}. {_explain_batch_growth(fitting)}".strip()
  return ScalingLimit(size, last.cores, text, cause)


def seconds_by_part(cell: ScalingCell) -> dict[str, float]:
  """Returns the seconds of each part of a step, at its peak."""
  assert cell.best is not None
  report = cell.best.report
  generation = chips.parse_topology(cell.topology).generation
  return {
    "compute": report.flops_per_core / generation.peak_flops,
    "memory": report.bytes_accessed_per_core / generation.hbm_bandwidth,
    "collectives": cell.best.estimate.collective_seconds,
  }


def milliseconds(seconds: float) -> str:
  """Returns milliseconds with three significant digits: "2,990", "54.1"."""
  return f"{float(f'{seconds * 1e3:.3g}'):,g}"


def _tokens_per_core(cell: ScalingCell) -> float:
  """Returns tokens per second and core; collectives overlap with nothing."""
  assert cell.best is not None
  return cell.best.estimate.serial_tokens_per_second / cell.cores


def _compare(smaller: ScalingCell, larger: ScalingCell, verb: str) -> str:
  ratio = _tokens_per_core(larger) / _tokens_per_core(smaller)
  return (
    f"{verb} {larger.cores:,} cores ({ratio:.0%} of the throughput per core at"
    f" {smaller.cores:,})"
  )


def _explain(smaller: ScalingCell, larger: ScalingCell) -> tuple[str, str]:
  """Returns the part that exceeds its even share most, and a sentence."""
  share = smaller.cores * larger.rows / (larger.cores * smaller.rows)
  before, after = seconds_by_part(smaller), seconds_by_part(larger)
  excess = {part: after[part] - before[part] * share for part in after}
  cause = max(excess, key=lambda part: excess[part])
  return cause, (
    f"{_SUBJECTS[cause]} {milliseconds(after[cause])} ms of a step at peak, an"
    f" even share would be {milliseconds(before[cause] * share)} ms"
  )


def _explain_batch_growth(fitting: Sequence[ScalingCell]) -> str:
  """Returns where the batch starts to grow, and why; "" if it does not."""
  grown = next((cell for cell in fitting if cell.batch_growth > 1), None)
  if grown is None:
    return ""
  dimensions = dict.fromkeys(
    mesh.reason.partition(" over")[0] for mesh in grown.indivisible
  )
  text = (
    f"From {grown.cores:,} cores on, no mesh divides both"
    f" {' and '.join(dimensions)}, so the batch grows."
  )
  own_batch = [cell for cell in fitting if cell.batch_growth == 1]
  if len(own_batch) < 2:
    return text
  first, last = own_batch[0], own_batch[-1]
  ratio = _tokens_per_core(last) / _tokens_per_core(first)
  return (
    f"{text} On {last.cores:,}, the last with the run's own batch, the"
    f" throughput per core is {ratio:.0%} of that at {first.cores:,}:"
    f" {_explain(first, last)[1]}."
  )
