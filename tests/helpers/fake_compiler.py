"""A fake TPU compiler for tests of the planner.

Its reports have the seconds and the HBM of the cost model. It refuses programs
that need more HBM than a core has.
"""

import dataclasses

from flan_tf import config
from flan_tf.tpu_plan import chips, parameter_count
from flan_tf.tpu_plan.planner import cost_model
from flan_tf.tpu_plan.request import (
  CompileReport,
  CompileRequest,
  make_request,
)
from launch.configs import paper

REFUSED = "Ran out of memory.\nUsed more than there is."


class FakeCompiler:
  """Takes the place of the TPU compiler.

  Args:
    **changes: fields of CompileReport that all reports get.

  Attributes:
    requests: all requests so far.
  """

  def __init__(self, **changes):
    self.requests: list[CompileRequest] = []
    self._changes = changes

  def __call__(self, request: CompileRequest) -> CompileReport:
    self.requests.append(request)
    cost = cost_model.estimate_cost(request)
    used, limit = int(cost.hbm_bytes), cost.hbm_limit_bytes
    report = CompileReport(
      program=request.program,
      parameters=parameter_count.count_parameters(request.run.model),
      cores=chips.parse_topology(request.topology).cores,
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
      estimated_step_seconds=cost.seconds if used <= limit else 0.0,
      seconds={"trace": 1.0, "lower": 2.0, "compile": 3.0},
    )
    return dataclasses.replace(report, **self._changes)


def paper_request(
  size: str = "8b", topology: str = "v3:4x4", program: str = "train", **settings
) -> CompileRequest:
  """Returns a request for a run of the paper.

  Args:
    size: model size, one of launch.configs.paper.SIZES.
    topology: the TPU slice.
    program: train, score or decode.
    **settings: new values; `train__batch` stands for train.batch.
  """
  return make_request(
    with_settings(paper.run(size), **settings), topology, program
  )


def with_settings(run: config.RunConfig, **settings) -> config.RunConfig:
  """Returns a run with new values; `train__batch` stands for train.batch."""
  for name, value in settings.items():
    section, key = name.split("__")
    run = config.replace(run, section, **{key: value})
  return run
