"""Reduced runs are small, and keep the structure of the run."""

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.tpu_plan import reduced_run, request
from launch.configs import paper
from tests.helpers.fake_compiler import with_settings

RULES = "batch:data;heads:model;d_ff:model;vocab:model"


class ReducedRunTest(parameterized.TestCase):
  @parameterized.product(size=paper.SIZES, program=request.PROGRAMS)
  def test_the_papers_sizes(self, size, program):
    topology, *_ = paper.SLICES[size]
    one = request.make_request(paper.run(size), topology, program, "execute")
    reduced = reduced_run.reduce_request(one)
    self.assertLessEqual(reduced_run.reduced_cores(one), reduced_run.MAX_CORES)
    self.assertLess(reduced.run.model.d_model, 100)
    self.assertEqual(reduced.run.mesh.layout, one.run.mesh.layout)
    self.assertEqual(reduced.run.mesh.precision, "float32")
    # A small run stays as it is.
    self.assertEqual(reduced_run.reduce_request(reduced), reduced)

  def reduce(
    self, mesh="", program="train", rows=16, **settings
  ) -> request.CompileRequest:
    run = config.RunConfig(
      model=config.ModelConfig(
        layers=32,
        d_model=2048,
        heads=32,
        d_kv=128,
        d_ff=8192,
        vocab=50_257,
        kv_heads=8,
        pieces=50_000,
      ),
      data=config.DataConfig(length=2048),
      mesh=config.MeshConfig(mesh, RULES, precision="bfloat16"),
      train=config.TrainConfig(batch=64),
    )
    run = with_settings(run, **settings)
    one = request.CompileRequest(run, "v3:8x8", program, "execute", rows)
    return reduced_run.reduce_request(one)

  @parameterized.parameters(
    ("data:4;model:32", "data:4;model:4"),
    ("data:128", "data:16"),
    ("data:2;model:8", "data:2;model:8"),
    ("data:9;model:2", "data:3;model:2"),
    ("data:1;model:32", "data:1;model:16"),
    ("", ""),
  )
  def test_every_axis_keeps_two_cores(self, mesh, reduced):
    self.assertEqual(self.reduce(mesh).run.mesh.shape, reduced)

  def test_a_mesh_that_cannot_be_reduced(self):
    with self.assertRaisesRegex(
      ValueError, "16 virtual cores, and mesh.shape 'data:17' .* powers of two"
    ):
      self.reduce("data:17")

  def test_sizes_are_as_small_as_the_layout_divides(self):
    model = self.reduce("data:2;model:32").run.model
    self.assertEqual(
      (model.layers, model.d_model, model.heads, model.kv_heads, model.d_kv),
      (2, 64, 16, 8, 32),
    )
    self.assertEqual((model.d_ff, model.vocab, model.pieces), (64, 256, 253))

  def test_kinds_of_layers_stay(self):
    settings = {
      "window": 512,
      "window_every": 2,
      "positions": "rotary",
      "norm": "layer",
      "attention_bias": "qkv",
      "logit_cap": 30.0,
      "post_norms": True,
    }
    changes = {f"model__{name}": value for name, value in settings.items()}
    model = self.reduce("data:2;model:2", **changes).run.model
    for name, value in settings.items():
      expected = 8 if name == "window" else value
      self.assertEqual(getattr(model, name), expected, name)
    self.assertEqual(model.heads // model.kv_heads, 2)

  def test_rows_of_each_core(self):
    reduced = self.reduce("data:8", train__microbatches=4)
    self.assertEqual(reduced.run.train.microbatches, 2)
    self.assertEqual(reduced.run.train.batch, 2 * 16)
    self.assertEqual(self.reduce("data:4", program="score").rows, 8)
    few = self.reduce("data:4", program="score", rows=4)
    self.assertEqual(few.rows, 4)

  def test_adapters_stay(self):
    reduced = self.reduce(adapter__lora_rank=16, adapter__soft_prompt=100)
    self.assertEqual(
      reduced.run.adapter, config.AdapterConfig(4, soft_prompt=4)
    )

  def test_description(self):
    one = request.make_request(paper.run("137b"), "v3:8x8", "train", "execute")
    self.assertEqual(
      reduced_run.describe_reduced_run(one),
      "2 layers, d_model 64, 4 heads of 32, d_ff 64, 256 tokens; 4 rows of 32,"
      " float32; mesh data:4;model:4",
    )


if __name__ == "__main__":
  absltest.main()
