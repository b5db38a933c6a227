"""The main function of the compiler's process, in .venv-tpu.

  python -m flan_tf.tpu_plan.compiler.worker

Reads CompileRequests from stdin, one JSON value on each line. Writes one
CompileReport for each request; these are the last lines of stdout. See
flan_tf.tpu_plan.request.
"""

import collections
import os
import sys
from collections.abc import Mapping

from flan_tf.tpu_plan import chips, reduced_run
from flan_tf.tpu_plan.request import CompileReport, CompileRequest


def run_request(request: CompileRequest) -> CompileReport:
  """Compiles or executes the program of a request."""
  if request.mode == "execute":
    return _execute(request)
  return _compile(request)


def _execute(request: CompileRequest) -> CompileReport:
  # XLA reads the variable once, when it creates its first device.
  os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count={reduced_run.MAX_CORES}"
    f" {os.environ.get('XLA_FLAGS', '')}"
  )
  from flan_tf.tpu_plan.compiler import execute

  return execute.execute_request(request)


def _compile(request: CompileRequest) -> CompileReport:
  # Imported here because it takes seconds: a bad request fails before.
  from flan_tf.model.run_mesh import run_layout
  from flan_tf.tpu_plan.compiler import programs
  from flan_tf.tpu_plan.compiler.abstract_devices import open_abstract_devices
  from flan_tf.tpu_plan.compiler.compile import compile_program
  from flan_tf.tpu_plan.compiler.lower import lower_program

  layout = run_layout(request.run.mesh)
  devices = open_abstract_devices(layout.cores)
  specs, parameters = programs.request_programs(request, devices)
  total = _Totals()
  for spec in specs:
    lowered = lower_program(devices, spec.program, spec.feeds)
    compiled = compile_program(lowered, request.topology, layout)
    total.add(lowered.seconds, compiled, spec.times)
  generation = chips.parse_topology(request.topology).generation
  return CompileReport(
    program=request.program,
    parameters=parameters,
    cores=layout.cores,
    fits=not total.refused,
    refused=total.refused,
    hbm=total.hbm,
    hbm_bytes_per_core=_hbm_total(total.hbm),
    hbm_limit_bytes=total.hbm_limit or generation.hbm_bytes,
    flops_per_core=total.flops,
    bytes_accessed_per_core=total.bytes_accessed,
    collective_bytes_per_core=dict(total.wire_bytes),
    estimated_step_seconds=total.seconds,
    seconds=dict(total.phases),
  )


class _Totals:
  """Sums over the programs of one step; HBM is that of the largest program.

  With microbatches, a training step runs one program for each microbatch and
  another one for the update.
  """

  def __init__(self):
    self.refused = ""
    self.hbm: dict[str, int] = {}
    self.hbm_limit = 0
    self.flops = self.bytes_accessed = self.seconds = 0.0
    self.wire_bytes: dict[str, float] = collections.defaultdict(float)
    self.phases: dict[str, float] = collections.defaultdict(float)

  def add(self, phases: Mapping[str, float], compiled, times: int) -> None:
    """Adds a program.

    Args:
      phases: wall time of tracing and lowering.
      compiled: a `compile.CompiledProgram`.
      times: number of runs of the program in one step.
    """
    for phase, seconds in phases.items():
      self.phases[phase] += seconds
    self.phases["compile"] += compiled.compile_seconds
    self.flops += times * compiled.flops
    self.bytes_accessed += times * compiled.bytes_accessed
    self.seconds += times * compiled.seconds
    for kind, size in compiled.cost.wire_bytes.items():
      self.wire_bytes[kind] += times * size
    self.refused = self.refused or compiled.refused
    self.hbm_limit = max(self.hbm_limit, compiled.hbm_limit)
    if _hbm_total(compiled.hbm) > _hbm_total(self.hbm):
      self.hbm = dict(compiled.hbm)


def _hbm_total(hbm: Mapping[str, int]) -> int:
  """Returns HBM bytes; outputs in the memory of arguments count once."""
  # The sum has aliased bytes three times: as arguments, outputs and aliased.
  return sum(hbm.values()) - 2 * hbm.get("aliased", 0)


def main() -> None:
  lines = sys.stdin.read().splitlines()
  reports = [run_request(CompileRequest.from_json(line)) for line in lines]
  print()  # Libraries may have printed text without a line end.
  for report in reports:
    print(report.to_json(), flush=True)


if __name__ == "__main__":
  main()
