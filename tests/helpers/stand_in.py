"""A stand-in for the TPU compiler: what the tests of plans ask instead.

It answers with what the estimate by hand says, and refuses what needs more than
the chip has.
"""

import dataclasses

from flan_tf import config
from flan_tf.tpu_plan import chips, parameter_count, request
from flan_tf.tpu_plan.planner import cost_model
from launch.configs import paper

REFUSED = "Ran out of memory.\nUsed more than there is."


class StandIn:
  """Answers as the compiler would; remembers what it was asked."""

  def __init__(self, **changes):
    self.asked: list[request.CompileRequest] = []
    self._changes = changes

  def __call__(self, asked: request.CompileRequest) -> request.CompileReport:
    self.asked.append(asked)
    where = chips.parse_topology(asked.topology)
    by_hand = cost_model.by_hand(asked)
    limit = by_hand.hbm_limit_bytes
    used = int(by_hand.hbm_bytes)
    answer = request.CompileReport(
      program=asked.program,
      parameters=parameter_count.parameters(asked.run.model),
      cores=where.cores,
      fits=used <= limit,
      refused="" if used <= limit else REFUSED,
      hbm={
        "arguments": used // 2,
        "outputs": used // 4,
        "aliased": used // 4,
        "temporaries": used - used // 2,
        "code": 0,
      },
      hbm_bytes_per_core=used,
      hbm_limit_bytes=limit,
      flops_per_core=2e12,
      bytes_accessed_per_core=1e10,
      collective_bytes_per_core={"all-reduce": 3e9, "all-gather": 1e9},
      estimated_step_seconds=by_hand.seconds if used <= limit else 0.0,
      seconds={"trace": 1.0, "lower": 2.0, "compile": 3.0},
    )
    return dataclasses.replace(answer, **self._changes)


def asked(size="8b", topology="v3:4x4", program="train", **changes):
  """The paper's run of a size; a value for each dotted change."""
  run = paper.run(size)
  for where, value in changes.items():
    part, name = where.split("__")
    run = config.replace(run, part, **{name: value})
  return request.ask(run, topology, program)
