"""The mesh of a plan, and settings that cannot be read."""

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.tpu_plan.mesh_sizes import MeshSizes


class MeshSizesTest(parameterized.TestCase):
  def test_sizes(self):
    mesh = MeshSizes(
      config.MeshConfig(" data:2; model:4;", "batch:data ;heads:model")
    )
    self.assertEqual(mesh.axes, {"data": 2, "model": 4})
    self.assertEqual(mesh.cores, 8)
    self.assertEqual(mesh.axis_of("heads"), "model")
    self.assertEqual(mesh.shards("batch", "heads"), 8)

  @parameterized.parameters(
    ("garbage", "", "mesh.shape: cannot read 'garbage'; write e.g. 'data:2;mo"),
    ("data:2:3", "", "mesh.shape: cannot read 'data:2:3'"),
    ("data:two", "", "mesh.shape: data:two is no number of cores"),
    ("data:0", "", "mesh.shape: data:0 is no number of cores"),
    ("data:" + "9" * 5_000, "", "is no number of cores"),
    ("", "batch", "mesh.layout: cannot read 'batch'; write e.g. 'batch:data;"),
    ("", "batch:", "mesh.layout: cannot read 'batch:'"),
  )
  def test_what_cannot_be_read(self, shape, layout, message):
    with self.assertRaisesRegex(ValueError, message):
      MeshSizes(config.MeshConfig(shape, layout))


if __name__ == "__main__":
  absltest.main()
