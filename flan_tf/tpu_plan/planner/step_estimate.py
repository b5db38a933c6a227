"""Utilization, throughput and duration that follow from a compile report.

  MFU = model FLOPs / (seconds x peak FLOP/s of all cores)
  HFU = executed FLOPs / (seconds x peak FLOP/s of all cores)

Executed FLOPs are those of the compiled program, rematerialization included.
Both are estimates, because `seconds` is the compiler's estimate: nothing runs.

In `seconds`, collectives take no time, as if all of them overlapped with other
work. "Serial" values are the opposite bound: collectives overlap with nothing
and use all links of a chip at their peak. A real step lies between the two, or
takes longer than the serial one if the links cannot all be used.
"""

import dataclasses
from collections.abc import Mapping

from flan_tf.tpu_plan import chips
from flan_tf.tpu_plan.planner import flop_counts
from flan_tf.tpu_plan.request import CompileReport, CompileRequest

_SECONDS_PER_DAY = 24 * 3600


@dataclasses.dataclass(frozen=True)
class StepEstimate:
  """Estimates for one run of a program; 0 where the report gives no seconds.

  Attributes:
    tokens: tokens trained on, scored, or generated in one run.
    model_flops: the model's FLOPs in one run, over all cores.
    mfu: model FLOPs utilization, 0 to 1.
    hfu: hardware FLOPs utilization, 0 to 1.
    serial_mfu: MFU with the serial seconds.
    serial_seconds: seconds of one run if collectives overlap with nothing.
    tokens_per_second: throughput of all cores.
    serial_tokens_per_second: throughput with the serial seconds.
    collective_seconds: seconds that the links need for the wire bytes.
    collectives_share: collective seconds / serial seconds.
    days: days for all training steps; 0 for programs that do not train.
    serial_days: days with the serial seconds.
  """

  tokens: int
  model_flops: float
  mfu: float
  hfu: float
  serial_mfu: float
  serial_seconds: float
  tokens_per_second: float
  serial_tokens_per_second: float
  collective_seconds: float
  collectives_share: float
  days: float
  serial_days: float


def estimate_step(
  request: CompileRequest, report: CompileReport, steps: int = 0
) -> StepEstimate:
  """Returns the estimates that follow from a report.

  Args:
    request: the request that the report answers.
    report: results of the compiler or of the cost model.
    steps: training steps of the whole run, for `days`.
  """
  tpu_slice = chips.parse_topology(request.topology)
  seconds = report.estimated_step_seconds
  flops = flop_counts.model_flops(request)
  collective_seconds = report.collective_seconds or wire_seconds(
    report.collective_bytes_per_core, tpu_slice.generation
  )
  serial_seconds = seconds + collective_seconds if seconds else 0.0
  peak = tpu_slice.generation.peak_flops
  days_per_second = 0.0
  if request.program == "train":
    days_per_second = steps / _SECONDS_PER_DAY
  return StepEstimate(
    tokens=request.tokens,
    model_flops=flops,
    mfu=_ratio(flops / tpu_slice.cores, seconds * peak),
    hfu=_ratio(report.flops_per_core, seconds * peak),
    serial_mfu=_ratio(flops / tpu_slice.cores, serial_seconds * peak),
    serial_seconds=serial_seconds,
    tokens_per_second=_ratio(request.tokens, seconds),
    serial_tokens_per_second=_ratio(request.tokens, serial_seconds),
    collective_seconds=collective_seconds,
    collectives_share=_ratio(collective_seconds, serial_seconds),
    days=seconds * days_per_second,
    serial_days=serial_seconds * days_per_second,
  )


def wire_seconds(
  bytes_by_kind: Mapping[str, float], generation: chips.TpuGeneration
) -> float:
  """Returns the seconds of a core's collectives, at the peak of its links.

  Args:
    bytes_by_kind: bytes that one core sends, by kind of collective.
    generation: the generation of the chips.
  """
  return sum(bytes_by_kind.values()) / generation.wire_bandwidth


def _ratio(part: float, total: float) -> float:
  """Returns part / total, 0 if the total is 0."""
  return part / total if total else 0.0
