"""The TPU compiler's results for small programs.

The tests are skipped where the TPU environment has not been made: `source
tools/python/environment.sh tpu`.
"""

import json
import subprocess

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.tpu_plan import chips, parameter_count, request
from flan_tf.tpu_plan.mesh_sizes import MeshSizes
from flan_tf.tpu_plan.planner import (
  compiler_process,
  flop_counts,
  step_estimate,
)
from flan_tf.tpu_plan.request import CompileReport, CompileRequest

# A slice for each generation, with a mesh and a program.
SLICES = {
  "v3:2x2": ("data:2;model:4", "train"),
  "v4:2x2x1": ("data:4;model:2", "score"),
  "v5e:2x2": ("data:2;model:2", "decode"),
  "v5p:2x2x1": ("model:4", "score"),
  "v6e:2x2": ("data:2;sequence:2", "train"),
}
TOO_LARGE = "too large"


def make_request(name: str) -> CompileRequest:
  """Makes a request whose FLOPs are nearly all in products with weights."""
  mesh, program = SLICES.get(name, ("data:8", "score"))
  run = config.RunConfig(
    data=config.DataConfig(length=256, input_length=192, target_length=64),
    model=config.ModelConfig(1, 512, 8, 64, 2048, 1024),
    mesh=config.MeshConfig(
      mesh,
      config.MeshConfig().layout + ";d_model:data",
      precision="bfloat16",
    ),
    train=config.TrainConfig(batch=8),
  )
  topology = name
  if name == TOO_LARGE:
    # Each core holds 26 GB of weights.
    run = config.replace(run, "model", d_model=1024, d_ff=2**22)
    run = config.replace(run, "mesh", layout="batch:data")
    topology = "v3:2x2"
  return request.make_request(run, topology, program, rows=8)


# Prints the wire bytes of three programs, each with a single collective.
_ONE_COLLECTIVE = """
import json, os
from flan_tf.mesh import program, transport
from flan_tf.mesh.layout import parse_layout
from flan_tf.tpu_plan.compiler.abstract_devices import open_abstract_devices
from flan_tf.tpu_plan.compiler.compile import compile_program
from flan_tf.tpu_plan.compiler.lower import lower_program
import tensorflow as tf

GROUPS = (0, 1, 2, 3), (4, 5, 6, 7)
layout = parse_layout("data:2;model:4", "", ())
collectives = {
  "all-reduce": lambda t, x: t.allreduce(x, GROUPS, transport.ADD),
  "all-gather": lambda t, x: t.allgather(x, GROUPS, 0),
  "reduce-scatter": lambda t, x: t.reducescatter(x, GROUPS, 0),
}
costs = {}
for name, collective in collectives.items():
  devices = open_abstract_devices(8)
  one = program.Program(
    devices, layout, lambda core, x: collective(core._impl.transport, x)
  )
  inputs = [tf.TensorSpec([512, 512], tf.float32)]
  lowered = lower_program(devices, one, inputs)
  cost = compile_program(lowered, "v3:2x2", layout).cost
  costs[name] = dict(cost.wire_bytes), dict(cost.collectives)
print(json.dumps(costs))
"""


class CompileTest(parameterized.TestCase):
  reports: dict[str, CompileReport]

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if not compiler_process.is_installed():
      raise absltest.SkipTest(
        "There is no TPU environment: environment.sh tpu."
      )
    names = [*SLICES, TOO_LARGE]
    reports = compiler_process.run_requests(list(map(make_request, names)))
    cls.reports = dict(zip(names, reports, strict=True))

  @parameterized.parameters(*SLICES)
  def test_hbm(self, topology):
    report, run = self.reports[topology], make_request(topology).run
    self.assertTrue(report.fits, report.refused)
    tpu_slice = chips.parse_topology(topology)
    self.assertEqual(report.cores, tpu_slice.cores)
    self.assertEqual(
      report.parameters, parameter_count.count_parameters(run.model)
    )
    kinds = dict(report.hbm)
    aliased = kinds.pop("aliased")
    self.assertEqual(report.hbm_bytes_per_core, sum(kinds.values()) - aliased)
    limit = tpu_slice.generation.hbm_bytes
    self.assertBetween(report.hbm_bytes_per_core, 2**20, limit)
    if make_request(topology).program == "train":
      # New weights and slots reuse the memory of the old ones.
      shards = MeshSizes(run.mesh).shards("d_model", "heads")
      weights = 4 * report.parameters / shards
      self.assertBetween(aliased, weights, 1.2 * weights)
      self.assertLess(kinds["outputs"] - aliased, 2**14)
    else:
      self.assertEqual(aliased, 0)

  @parameterized.parameters(*SLICES)
  def test_flops_and_bytes(self, topology):
    report, one = self.reports[topology], make_request(topology)
    model_flops = flop_counts.model_flops(one) / report.cores
    self.assertBetween(report.flops_per_core / model_flops, 0.8, 1.3)
    self.assertGreater(report.estimated_step_seconds, 1e-6)
    estimate = step_estimate.estimate_step(one, report, steps=10)
    self.assertBetween(estimate.mfu, 0.0, 1.0)
    self.assertGreater(report.bytes_accessed_per_core, 2**20)
    self.assertGreater(sum(report.collective_bytes_per_core.values()), 2**10)
    self.assertContainsSubset(
      report.collective_bytes_per_core, request.COLLECTIVES
    )

  def test_a_program_that_is_too_large_is_refused(self):
    report = self.reports[TOO_LARGE]
    self.assertFalse(report.fits)
    self.assertRegex(report.refused, "(?i)ran out of memory")
    self.assertGreater(report.hbm_bytes_per_core, report.hbm_limit_bytes)

  def test_one_collective_each(self):
    done = subprocess.run(
      [compiler_process.interpreter(), "-c", _ONE_COLLECTIVE],
      env=compiler_process.environment_variables(),
      capture_output=True,
      text=True,
      check=True,
    )
    costs = json.loads(done.stdout.splitlines()[-1])
    size = 512 * 512 * 4
    for name, wire_bytes in (
      ("all-reduce", 2 * size * 3 / 4),
      ("all-gather", 4 * size * 3 / 4),
      ("reduce-scatter", size * 3 / 4),
    ):
      with self.subTest(name):
        self.assertEqual(costs[name], [{name: wire_bytes}, {name: 1}])


if __name__ == "__main__":
  absltest.main()
