"""Answers requests: `python -m flan_tf.tpu_plan.compiler.worker`, in .venv-tpu.

Reads Requests as JSON from stdin, one a line, and writes as many Answers as the
last lines of stdout. See flan_tf.tpu_plan.request.
"""

import collections
import os
import sys

from flan_tf.tpu_plan import chips, reduced_run, request


def answer(asked: request.CompileRequest) -> request.CompileReport:
  """Lowers and compiles, or executes, what is asked for."""
  if asked.what == "execute":
    # XLA reads it once in a process.
    os.environ["XLA_FLAGS"] = (
      f"--xla_force_host_platform_device_count={reduced_run.MOST_CORES}"
      f" {os.environ.get('XLA_FLAGS', '')}"
    )
    from flan_tf.tpu_plan.compiler import execute

    return execute.answer(asked)
  # Imported here, after the arguments were understood: it takes seconds.
  from flan_tf.tpu_plan.compiler import (
    abstract_devices,
    compile,
    lower,
    programs,
  )

  layout = programs.layout_of(asked.run)
  devices = abstract_devices.open_abstract_devices(layout.cores)
  made, parameters = programs.of_request(asked, devices)
  seconds = collections.Counter()
  whole: dict[str, float] = collections.defaultdict(float)
  sent: dict[str, float] = collections.defaultdict(float)
  worst, refused, limit = {}, "", 0
  for one in made:
    lowered = lower.lower(devices, one.program, one.feeds)
    found = compile.compile_for(lowered, asked.topology, layout)
    seconds.update(lowered.seconds | {"compile": found.compile_seconds})
    for name in ("flops", "bytes_accessed", "seconds"):
      whole[name] += one.times * getattr(found, name)
    for kind, size in found.work.sent.items():
      sent[kind] += one.times * size
    refused, limit = refused or found.refused, max(limit, found.limit)
    if _total(found.hbm) > _total(worst):
      worst = dict(found.hbm)
  return request.CompileReport(
    program=asked.program,
    parameters=parameters,
    cores=layout.cores,
    fits=not refused,
    refused=refused,
    hbm=worst,
    hbm_bytes_per_core=_total(worst),
    hbm_limit_bytes=limit
    or chips.parse_topology(asked.topology).generation.hbm_bytes,
    flops_per_core=whole["flops"],
    bytes_accessed_per_core=whole["bytes_accessed"],
    collective_bytes_per_core=dict(sent),
    estimated_step_seconds=whole["seconds"],
    seconds=dict(seconds),
  )


def _total(hbm) -> int:
  """Bytes at once: outputs that lie where arguments lay count once."""
  return sum(hbm.values()) - 2 * hbm.get("aliased", 0)


def main() -> None:
  lines = sys.stdin.read().splitlines()
  made = [answer(request.CompileRequest.from_json(line)) for line in lines]
  print()  # Libraries may have left a line open.
  for one in made:
    print(one.to_json(), flush=True)


if __name__ == "__main__":
  main()
