"""The TPU compiler's answers for small programs, and what is read off its text.

Where the TPU tools' environment has not been made (`source
tools/python/environment.sh tpu`), whatever compiles is skipped.
"""

import json
import subprocess

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.tpu_plan import chips, mesh_sizes, parameter_count, request
from flan_tf.tpu_plan.compiler import hlo
from flan_tf.tpu_plan.planner import compiler_process, flop_counts

# Each slice with a mesh and a program.
SLICES = {
  "v3:2x2": ("data:2;model:4", "train"),
  "v4:2x2x1": ("data:4;model:2", "score"),
  "v5e:2x2": ("data:2;model:2", "decode"),
  "v5p:2x2x1": ("model:4", "score"),
  "v6e:2x2": ("data:2;sequence:2", "train"),
}
TOO_LARGE = "too large"


def asked(topology: str) -> request.CompileRequest:
  """Large enough for products with weights to be nearly all of its work."""
  mesh, program = SLICES.get(topology, ("data:8", "score"))
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
  if topology == TOO_LARGE:
    # 26 GB of weights on each core.
    run = config.replace(run, "model", d_model=1024, d_ff=2**22)
    run = config.replace(run, "mesh", layout="batch:data")
    topology = "v3:2x2"
  return request.ask(run, topology, program, rows=8)


# Prints what three programs send that exchange nothing but one tensor each.
_ONE_COLLECTIVE = """
import json, os
from flan_tf.mesh import layout, program, transport
from flan_tf.plan import abstract, compiled, lower
import tensorflow as tf

GROUPS = (0, 1, 2, 3), (4, 5, 6, 7)
on = layout.parse("data:2;model:4", "", ())
verbs = {
  "all-reduce": lambda t, x: t.allreduce(x, GROUPS, transport.ADD),
  "all-gather": lambda t, x: t.allgather(x, GROUPS, 0),
  "reduce-scatter": lambda t, x: t.reducescatter(x, GROUPS, 0),
}
found = {}
for name, verb in verbs.items():
  devices = abstract.devices(8)
  made = program.Program(
    devices, on, lambda core, x: verb(core._impl.transport, x)
  )
  fed = [tf.TensorSpec([512, 512], tf.float32)]
  lowered = lower.lower(devices, made, fed)
  work = compiled.compile_for(lowered, "v3:2x2", on).work
  found[name] = dict(work.sent), dict(work.number)
print(json.dumps(found))
"""


class CompileTest(parameterized.TestCase):
  answers: dict[str, request.CompileReport]

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if not compiler_process.is_made():
      raise absltest.SkipTest("The TPU tools are not here: environment.sh tpu.")
    names = [*SLICES, TOO_LARGE]
    found = compiler_process.all_compiled([asked(name) for name in names])
    cls.answers = dict(zip(names, found, strict=True))

  @parameterized.parameters(*SLICES)
  def test_memory(self, topology):
    answer, run = self.answers[topology], asked(topology).run
    self.assertTrue(answer.fits, answer.refused)
    self.assertEqual(answer.cores, chips.parse_topology(topology).cores)
    self.assertEqual(answer.parameters, parameter_count.parameters(run.model))
    kinds = dict(answer.hbm)
    aliased = kinds.pop("aliased")
    self.assertEqual(answer.hbm_bytes_per_core, sum(kinds.values()) - aliased)
    limit = chips.parse_topology(topology).generation.hbm_bytes
    self.assertBetween(answer.hbm_bytes_per_core, 2**20, limit)
    if asked(topology).program == "train":
      # New weights and slots lie where the old ones lay.
      parts = mesh_sizes.MeshSizes(run.mesh).parts("d_model", "heads")
      held = 4 * answer.parameters / parts
      self.assertBetween(aliased, held, 1.2 * held)
      self.assertLess(kinds["outputs"] - aliased, 2**14)
    else:
      self.assertEqual(aliased, 0)

  @parameterized.parameters(*SLICES)
  def test_work(self, topology):
    answer, one = self.answers[topology], asked(topology)
    by_hand = flop_counts.model_flops(one) / answer.cores
    self.assertBetween(answer.flops_per_core / by_hand, 0.8, 1.3)
    self.assertGreater(answer.estimated_step_seconds, 1e-6)
    estimate = flop_counts.estimate(one, answer, steps=10)
    self.assertBetween(estimate.mfu, 0.0, 1.0)
    self.assertGreater(answer.bytes_accessed_per_core, 2**20)
    self.assertGreater(sum(answer.collective_bytes_per_core.values()), 2**10)
    self.assertContainsSubset(
      answer.collective_bytes_per_core, request.COLLECTIVES
    )

  def test_what_is_too_large_is_refused_in_the_compilers_words(self):
    answer = self.answers[TOO_LARGE]
    self.assertFalse(answer.fits)
    self.assertRegex(answer.refused, "(?i)ran out of memory")
    self.assertGreater(answer.hbm_bytes_per_core, answer.hbm_limit_bytes)

  def test_one_collective_each(self):
    done = subprocess.run(
      [compiler_process.python(), "-c", _ONE_COLLECTIVE],
      env=compiler_process.variables(),
      capture_output=True,
      text=True,
      check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    size = 512 * 512 * 4
    for name, sent in (
      ("all-reduce", 2 * size * 3 / 4),
      ("all-gather", 4 * size * 3 / 4),
      ("reduce-scatter", size * 3 / 4),
    ):
      with self.subTest(name):
        self.assertEqual(found[name], [{name: sent}, {name: 1}])


_GROUPS = "replica_groups={{0,1,2,3},{4,5,6,7}}, channel_id=1"


class TextTest(parameterized.TestCase):
  @parameterized.parameters(
    # Bytes as a ring of the group sends them.
    ("f32[1024]{0:T(1024)} all-reduce(%x)", "all-reduce", 2 * 4096 * 3 / 4),
    (
      "(f32[256]{0}, bf16[8,128]{1,0}, /*index=2*/f32[]) all-reduce(%x, %y)",
      "all-reduce",
      2 * (1024 + 2048 + 4) * 3 / 4,
    ),
    ("bf16[8,1024]{1,0} all-gather(%x)", "all-gather", 16384 * 3 / 4),
    ("f32[256]{0} reduce-scatter(%x)", "reduce-scatter", 4096 * 3 / 4),
    ("s32[256]{0} all-to-all(%x)", "all-to-all", 1024 * 3 / 4),
    ("pred[256]{0} collective-permute(%x)", "collective-permute", 256),
    (
      "(f32[256]{0}, f32[1024]{0}, u32[], u32[]) all-gather-start(%x)",
      "all-gather",
      4096 * 3 / 4,
    ),
  )
  def test_bytes_on_the_wire(self, operation, kind, want):
    text = (
      f"ENTRY %main (x: f32[]) -> f32[] {{\n  %a.1 = {operation}, {_GROUPS}"
    )
    work = hlo.read(text)
    self.assertEqual(work.sent, {kind: want})
    self.assertEqual(work.number, {kind: 1})

  def test_no_groups_are_all_cores(self):
    text = (
      "HloModule main, is_scheduled=true, replica_count=8\n"
      "  %a.1 = f32[8]{0} all-reduce(%x), replica_groups={}, to_apply=%add"
    )
    self.assertEqual(hlo.read(text).sent, {"all-reduce": 2 * 32 * 7 / 8})

  def test_groups_by_number(self):
    line = "  ROOT %a = f32[8]{0} all-reduce(%x), replica_groups=[4,2]<=[8]"
    self.assertEqual(hlo.read(line).sent, {"all-reduce": 2 * 32 / 2})

  def test_a_sum_of_which_a_core_keeps_a_part(self):
    text = (
      "%all-reduce-scatter (input: f32[1024]) -> f32[256] {\n"
      f"  %all-reduce.8 = f32[1024]{{0}} all-reduce(%pad.34), {_GROUPS}\n}}"
    )
    work = hlo.read(text)
    self.assertEqual(work.sent, {"reduce-scatter": 4096 * 3 / 4})
    self.assertEqual(work.number, {"reduce-scatter": 1})

  def test_cycles_of_all_that_is_not_inside_a_fusion(self):
    def operation(name, cycles):
      config_of = f'backend_config={{"estimated_cycles":"{cycles}"}}'
      return f"  %{name}.1 = f32[8]{{0}} {name}(%x), {config_of}\n"

    text = (
      "%fused_computation.1 (x: f32[8]) -> f32[8] {\n"
      + operation("add", 1000)
      + "}\n\n%body.2 (x: f32[8]) -> f32[8] {\n"
      + operation("fusion", 200)
      + "}\n\nENTRY %main (x: f32[8]) -> f32[8] {\n"
      + operation("copy", 30)
      + operation("fusion", 4)
      + "  %done.1 = f32[8]{0} all-reduce-done(%x)\n}"
    )
    self.assertEqual(hlo.read(text), hlo.HloWork(234, {}, {}))


if __name__ == "__main__":
  absltest.main()
