"""Numbers of parameters: equal to the model's own table of weights."""

import dataclasses

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.model import dims
from flan_tf.model.weights import weight_specs
from flan_tf.tpu_plan import parameter_count, request
from launch.configs import sizes

ALL_OPTIONS = {
  "mlp": "gelu",
  "mlp_bias": True,
  "norm": "layer",
  "attention_bias": "all",
  "positions": "learned",
  "max_positions": 77,
  "post_norms": True,
  "shared_embedding": False,
}


def model_config(size: str = "tiny", **settings) -> config.ModelConfig:
  settings = {"vocab": request.DEFAULT_VOCAB, **settings}
  return dataclasses.replace(sizes.SIZES[size], **settings)


class ParameterCountTest(parameterized.TestCase):
  @parameterized.parameters(
    {},
    ALL_OPTIONS,
    {"mlp_bias": True, "attention_bias": "qkv", "kv_heads": 1},
  )
  def test_shapes_are_those_of_the_model(self, **settings):
    model = model_config("tiny", **settings)
    specs = weight_specs(model, dims.dims_for(model))
    expected = {
      name: {dim.name: dim.size for dim in spec.shape}
      for name, spec in specs.items()
    }
    layers = {
      f"layer_{layer:03d}/{name}": shape
      for layer in range(model.layers)
      for name, shape in parameter_count.layer_weight_shapes(model).items()
    }
    others = parameter_count.other_weight_shapes(model)
    self.assertEqual(others | layers, expected)
    total = sum(spec.shape.size for spec in specs.values())
    self.assertEqual(parameter_count.count_parameters(model), total)

  @parameterized.parameters(
    ("422m", 419_430_400, 0.422),
    ("2b", 2_097_152_000, 2),
    ("8b", 8_589_934_592, 8),
    ("68b", 68_719_476_736, 68),
    ("137b", 137_438_953_472, 137),
  )
  def test_the_sizes_of_the_paper(self, size, in_layers, billions):
    model = model_config(size)
    self.assertEqual(sizes.layer_parameters(model), in_layers)
    table = request.DEFAULT_VOCAB * model.d_model
    norms = (2 * model.layers + 1) * model.d_model
    biases = model.heads * model.relative_buckets
    total = parameter_count.count_parameters(model)
    self.assertEqual(total, in_layers + table + norms + biases)
    self.assertAlmostEqual(total / 1e9 / billions, 1, delta=0.1)

  def test_lookup_tables_do_not_count_in_products(self):
    tied = model_config()
    self.assertEqual(
      parameter_count.count_matmul_parameters(tied),
      parameter_count.count_parameters(tied),
    )
    untied = model_config(shared_embedding=False)
    self.assertEqual(
      parameter_count.count_matmul_parameters(untied),
      parameter_count.count_parameters(tied),
    )
    learned = model_config(positions="learned", max_positions=10)
    without = parameter_count.count_parameters(learned) - 10 * learned.d_model
    self.assertEqual(parameter_count.count_matmul_parameters(learned), without)


if __name__ == "__main__":
  absltest.main()
