"""The plan of a run's programs as JSON values."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from flan_tf.tpu_plan import chips, reduced_run
from flan_tf.tpu_plan.planner.step_estimate import StepEstimate
from flan_tf.tpu_plan.request import CompileReport, CompileRequest

# Largest allowed difference between virtual cores and one device: nats for
# losses and log-probabilities, else a share of the largest element.
MAX_DIFFERENCE = 1e-4

COMPILE_NOTE = (
  "Estimates of the TPU compiler, not measurements: nothing has run on a TPU."
  " In its seconds, collectives take no time. In serial seconds, they overlap"
  " with nothing and use all links of a chip at their peak."
)
EXECUTE_NOTE = (
  "Programs for TPUs, run by XLA on virtual cores of this machine: nothing has"
  " run on a TPU. Differences of loss and log_probs are in nats, others are"
  " relative to the largest element. Unless positions are rotary, weights and"
  " slots leave out the biases of keys, whose gradients are rounding errors"
  " only."
)


@dataclasses.dataclass(frozen=True)
class ProgramSummary:
  """One compiled program of a run: request, report, and derived figures."""

  request: CompileRequest
  report: CompileReport
  estimate: StepEstimate

  @property
  def differs(self) -> bool:
    """True if an execution differed from one device by too much, or is NaN."""
    differences = self.report.differences.values()
    return not all(x <= MAX_DIFFERENCE for x in differences)

  @property
  def rows(self) -> int:
    """Rows that one run of the program processes."""
    if self.request.program == "train":
      return self.request.run.train.batch
    return self.request.rows

  @property
  def note(self) -> str:
    """The note that belongs below the numbers."""
    return EXECUTE_NOTE if self.request.mode == "execute" else COMPILE_NOTE


def to_dict(summaries: Sequence[ProgramSummary]) -> dict[str, Any]:
  """Returns all programs by name, and the values of the first one on top."""
  programs = {s.request.program: _program_dict(s) for s in summaries}
  return {**programs[summaries[0].request.program], "programs": programs}


def to_json(values: Any) -> str:
  """Returns JSON text with indents."""
  return json.dumps(values, indent=2)


def _program_dict(summary: ProgramSummary) -> dict[str, Any]:
  request, report = summary.request, summary.report
  estimate = summary.estimate
  wire_bytes = dict(report.collective_bytes_per_core)
  tpu_slice = chips.parse_topology(request.topology)
  mesh, train = request.run.mesh, request.run.train
  executed = ""
  if request.mode == "execute":
    executed = reduced_run.describe_reduced_run(request)
  return {
    "program": request.program,
    "parameters": report.parameters,
    "cores": report.cores,
    "topology": request.topology,
    "accelerator_type": tpu_slice.accelerator_type,
    "mesh": mesh.shape,
    "layout": mesh.layout,
    "recompute": train.recompute,
    "microbatches": train.microbatches,
    "rows": summary.rows,
    "length": request.length,
    "hbm_bytes_per_core": report.hbm_bytes_per_core,
    "hbm_bytes_by_kind": dict(report.hbm),
    "hbm_limit_bytes": report.hbm_limit_bytes,
    "fits": report.fits,
    "refused": report.refused,
    "flops_per_core": report.flops_per_core,
    "bytes_accessed_per_core": report.bytes_accessed_per_core,
    "collective_bytes_per_core": sum(wire_bytes.values()),
    "collective_bytes_by_kind": wire_bytes,
    "collective_seconds": estimate.collective_seconds,
    "collectives_share": estimate.collectives_share,
    "estimated_step_seconds": report.estimated_step_seconds,
    "estimated_hfu": estimate.hfu,
    "estimated_mfu": estimate.mfu,
    "estimated_tokens_per_second": estimate.tokens_per_second,
    "estimated_days": estimate.days,
    "serial_step_seconds": estimate.serial_seconds,
    "serial_mfu": estimate.serial_mfu,
    "serial_tokens_per_second": estimate.serial_tokens_per_second,
    "serial_days": estimate.serial_days,
    "seconds": dict(report.seconds),
    "differences": dict(report.differences),
    "executed": executed,
    "note": summary.note,
  }
