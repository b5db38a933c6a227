"""TPU programs on virtual cores equal one device; and what is made small.

One process in the TPU tools' environment runs all of them. Where that has not
been made (`source tools/python/environment.sh tpu`) they are skipped.
"""

import dataclasses
import subprocess

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.inference import prefix_trees
from flan_tf.tpu_plan import reduced_run, request
from flan_tf.tpu_plan.compiler import random_inputs
from flan_tf.tpu_plan.planner import compiler_process, summary
from launch.configs import paper
from tests.helpers import toys

_BOTH = "batch:data;heads:model;d_ff:model;vocab:model"
_ALL = f"{_BOTH};d_model:data;stream:model"
_EIGHT = dataclasses.replace(toys.MODEL, heads=8)
_ONE_LAYER = dataclasses.replace(_EIGHT, layers=1)
_GROUPED = dataclasses.replace(toys.FAMILIES["gemma2"], heads=8, kv_heads=4)
# Mesh, layout, model, and what else is told.
LAYOUTS = {
  "rows": ("data:8", _BOTH, _ONE_LAYER, {"train.recompute": "light"}),
  "weights": ("model:8", _BOTH, _ONE_LAYER, {"train.microbatches": 2}),
  "both": ("data:2;model:4", _BOTH, _GROUPED, {}),
  "everything": ("data:2;model:4", _ALL, _EIGHT, {"train.recompute": "layers"}),
  "everything, adapters": (
    "data:4;model:2",
    _ALL,
    toys.FAMILIES["qwen2"],
    {"adapter.lora_rank": 2, "adapter.soft_prompt": 3},
  ),
  "stream": (
    "model:4",
    f"{_BOTH};stream:model",
    toys.FAMILIES["gpt2"],
    {"train.recompute": "inputs"},
  ),
  "three axes": (
    "data:2;sequence:2;model:2",
    f"{_BOTH};length:sequence",
    toys.MODEL,
    {"train.recompute": "light"},
  ),
  "three axes, weights": (
    "data:2;sequence:2;model:2",
    f"{_BOTH};length:sequence;stream:sequence;d_model:data",
    toys.FAMILIES["mistral"],
    {"train.microbatches": 2},
  ),
}
CASES = tuple(
  (layout, program) for layout in LAYOUTS for program in request.PROGRAMS
)
_COMPARED = {
  "train": ("loss", "gradient_norm", "weights", "slots"),
  "score": ("log_probs",),
  "decode": ("tokens", "keys_and_values"),
}


def asked(layout: str, program: str) -> request.CompileRequest:
  mesh, rules, model, more = LAYOUTS[layout]
  run = config.RunConfig(
    # Prompts this short have nothing that is kept before rows.
    data=config.DataConfig(input_length=24, target_length=8, length=32),
    model=dataclasses.replace(model, vocab=128),
    mesh=config.MeshConfig(mesh, rules),
    train=config.TrainConfig(batch=8, weight_decay=0.1),
  )
  if layout == "both":
    run = config.replace(run, "data", input_length=96, target_length=32)
  for name, value in more.items():
    part, _, key = name.partition(".")
    run = config.replace(run, part, **{key: value})
  return request.ask(run, "v3:2x2", program, "execute", rows=8)


class ExecuteTest(parameterized.TestCase):
  answers: dict[tuple[str, str], request.CompileReport]

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if not compiler_process.is_made():
      raise absltest.SkipTest("The TPU tools are not here: environment.sh tpu.")
    found = compiler_process.all_compiled([asked(*case) for case in CASES])
    cls.answers = dict(zip(CASES, found, strict=True))

  @parameterized.parameters(*CASES)
  def test_virtual_cores_equal_one_device(self, layout, program):
    answer = self.answers[layout, program]
    self.assertCountEqual(answer.differences, _COMPARED[program])
    for name, difference in answer.differences.items():
      self.assertLessEqual(difference, summary.CLOSE, name)
    self.assertEqual(answer.cores, reduced_run.cores(asked(layout, program)))

  def test_a_collective_that_is_left_out_is_noticed(self):
    """And a mesh of more cores than there are threads, in one process."""
    code = (
      "from flan_tf.mesh import transport\n"
      "transport.TpuOps.allreduce = lambda self, x, groups, kind: x\n"
      "from flan_tf.tpu_plan import worker\n"
      "worker.main()\n"
      "from flan_tf.tpu_plan import virtual\n"
      "virtual.devices(17)\n"
    )
    done = subprocess.run(
      [compiler_process.python(), "-c", code],
      input=asked("weights", "decode").to_json(),
      env=compiler_process.variables(),
      capture_output=True,
      text=True,
    )
    answer = request.CompileReport.from_json(done.stdout.splitlines()[-1])
    for name in _COMPARED["decode"]:
      self.assertGreater(answer.differences[name], 10 * summary.CLOSE)
    self.assertRegex(
      done.stderr,
      "mesh has 17 cores, but XLA's client has 16 devices.*device_count=17",
    )


class SmallTest(parameterized.TestCase):
  @parameterized.product(size=paper.SIZES, program=request.PROGRAMS)
  def test_the_papers_sizes(self, size, program):
    topology, *_ = paper.SLICES[size]
    one = request.ask(paper.run(size), topology, program, "execute")
    made = reduced_run.shrunk(one)
    self.assertLessEqual(reduced_run.cores(one), reduced_run.MOST_CORES)
    self.assertLess(made.run.model.d_model, 100)
    self.assertEqual(made.run.mesh.layout, one.run.mesh.layout)
    self.assertEqual(made.run.mesh.precision, "float32")
    self.assertEqual(reduced_run.shrunk(made), made)  # Already small.

  def shrunk(self, mesh="", rules=_BOTH, program="train", rows=16, **changes):
    run = config.RunConfig(
      model=config.ModelConfig(
        *(32, 2048, 32, 128, 8192, 50_257), kv_heads=8, pieces=50_000
      ),
      data=config.DataConfig(length=2048),
      mesh=config.MeshConfig(mesh, rules, precision="bfloat16"),
      train=config.TrainConfig(batch=64),
    )
    for name, value in changes.items():
      part, key = name.split("__")
      run = config.replace(run, part, **{key: value})
    one = request.CompileRequest(run, "v3:8x8", program, "execute", rows)
    return reduced_run.shrunk(one)

  @parameterized.parameters(
    ("data:4;model:32", "data:4;model:4"),
    ("data:128", "data:16"),
    ("data:2;model:8", "data:2;model:8"),
    ("data:9;model:2", "data:3;model:2"),
    ("data:1;model:32", "data:1;model:16"),
    ("", ""),
  )
  def test_every_axis_keeps_two_cores(self, mesh, want):
    self.assertEqual(self.shrunk(mesh).run.mesh.shape, want)

  def test_a_mesh_that_cannot_be_small(self):
    with self.assertRaisesRegex(
      ValueError, "16 virtual cores, and mesh.shape 'data:17' .* powers of two"
    ):
      self.shrunk("data:17")

  def test_sizes_are_as_small_as_the_layout_divides(self):
    model = self.shrunk("data:2;model:32").run.model
    self.assertEqual(
      (model.layers, model.d_model, model.heads, model.kv_heads, model.d_kv),
      (2, 64, 16, 8, 32),
    )
    self.assertEqual((model.d_ff, model.vocab, model.pieces), (64, 256, 253))

  def test_kinds_of_layers_stay(self):
    more = {
      "window": 512,
      "window_every": 2,
      "positions": "rotary",
      "norm": "layer",
      "attention_bias": "qkv",
      "logit_cap": 30.0,
      "post_norms": True,
    }
    changes = {f"model__{name}": value for name, value in more.items()}
    model = self.shrunk("data:2;model:2", **changes).run.model
    for name, value in more.items():
      want = 8 if name == "window" else value
      self.assertEqual(getattr(model, name), want, name)
    self.assertEqual(model.heads // model.kv_heads, 2)

  def test_rows_of_each_core(self):
    made = self.shrunk("data:8", train__microbatches=4, program="train")
    self.assertEqual(made.run.train.microbatches, 2)
    self.assertEqual(made.run.train.batch, 2 * 16)
    self.assertEqual(self.shrunk("data:4", program="score").rows, 8)
    few = self.shrunk("data:4", program="score", rows=4)
    self.assertEqual(few.rows, 4)

  def test_adapters_stay(self):
    made = self.shrunk(adapter__lora_rank=16, adapter__soft_prompt=100)
    self.assertEqual(made.run.adapter, config.AdapterConfig(4, soft_prompt=4))

  def test_what_is_said(self):
    one = request.ask(paper.run("137b"), "v3:8x8", "train", "execute")
    self.assertEqual(
      reduced_run.describe(one),
      "2 layers, d_model 64, 4 heads of 32, d_ff 64, 256 tokens; 4 rows of 32,"
      " float32; mesh data:4;model:4",
    )


class RehearsalTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_config = reduced_run.shrunk(asked("both", "train")).run

  def test_rows_are_packed(self):
    made = random_inputs.batch(self.run_config, seed=1)
    begins = made["positions"] == 0
    real = made["segment_ids"] > 0
    self.assertGreater((begins & real).sum(), len(real))
    self.assertTrue((~real).any())
    inside = real[:, 1:] & ~begins[:, 1:]
    np.testing.assert_array_equal(
      made["inputs"][:, 1:][inside], made["targets"][:, :-1][inside]
    )
    self.assertFalse(made["inputs"][begins].any())
    self.assertFalse(made["loss_weights"][~real].any())

  def test_some_prompts_share_more_than_a_row_repeats(self):
    prompts, options = random_inputs.options(self.run_config, 8, seed=0)
    calls = list(prefix_trees.pack_trees(prompts, options, 128, 8))
    self.assertLen([call for call in calls if len(call.before)], 1)
    short = config.replace(self.run_config, "data", input_length=24)
    prompts, _ = random_inputs.options(short, 8, seed=0)
    self.assertLess(max(map(len, prompts)), 24)

  def test_a_seed_gives_the_same(self):
    one, other, third = (
      random_inputs.batch(self.run_config, seed)["inputs"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, other)
    self.assertFalse(np.array_equal(one, third))


if __name__ == "__main__":
  absltest.main()
