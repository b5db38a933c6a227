"""Mesh shapes and layout rules: parsing, shards, and error messages."""

import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.mesh import program
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices, open_devices
from flan_tf.mesh.layout import Layout, parse_layout
from flan_tf.model import dims

RULES = config.MeshConfig().layout


def parse(shape: str, rules: str = RULES) -> Layout:
  return parse_layout(shape, rules, dims.SPLITTABLE)


def shape(**sizes) -> mtf.Shape:
  return mtf.Shape([mtf.Dimension(name, n) for name, n in sizes.items()])


class ParseTest(parameterized.TestCase):
  @parameterized.parameters(
    ("", 1, "one core []"),
    ("data:4", 4, "data:4 [batch:data]"),
    ("model:4", 4, "model:4 [d_ff:model, heads:model, vocab:model]"),
    (
      " data:2 ; model:4; ",
      8,
      "data:2;model:4 [batch:data, d_ff:model, heads:model, vocab:model]",
    ),
    ("data:1;model:1", 1, "data:1;model:1 []"),
    ("data:2;model:1", 2, "data:2;model:1 [batch:data]"),
  )
  def test_shapes(self, text, cores, description):
    layout = parse(text)
    self.assertEqual((layout.cores, str(layout)), (cores, description))
    self.assertEqual(layout.is_split, cores > 1)

  @parameterized.parameters(
    ("dta:2", RULES, "mesh.shape: Unknown axis 'dta'. Did you mean 'data'?"),
    ("rows:2", RULES, "Unknown axis 'rows'. Known: data, model, sequence."),
    ("data=2", RULES, "mesh.shape: cannot read 'data=2'; write e.g. 'data:2;"),
    ("data:", RULES, "mesh.shape: cannot read 'data:'"),
    ("data:two", RULES, "mesh.shape: data:two is not a number of cores, 1 to"),
    ("data:²", RULES, "mesh.shape: data:² is not a number of cores, 1 to 1,"),
    ("data:" + "9" * 5000, RULES, "9 is not a number of cores, 1 to 1,048,576"),
    ("data:1048577", RULES, "data:1048577 is not a number of cores"),
    ("data:0", RULES, "mesh.shape: data:0 is not a number of cores, 1 to"),
    ("data:-2", RULES, "mesh.shape: data:-2 is not a number of cores, 1 to"),
    ("data:2;data:4", RULES, "mesh.shape: a name is given twice in 'data:2;"),
    (
      "",
      "head:model",
      "mesh.layout: Unknown dimension 'head'. Did you mean 'heads'? Known:"
      " batch, d_ff, d_model, heads, length, stream, vocab.",
    ),
    ("", "d_kv:data", "mesh.layout: Unknown dimension 'd_kv'"),
    (
      "",
      "heads:modle",
      "mesh.layout: Unknown axis 'modle'. Did you mean 'model'?",
    ),
    ("", "heads", "mesh.layout: cannot read 'heads'; write e.g. 'batch:data;"),
    ("", "heads:data;heads:model", "mesh.layout: a name is given twice"),
  )
  def test_errors(self, text, rules, message):
    with self.assertRaises(ValueError) as caught:
      parse(text, rules)
    self.assertIn(message, str(caught.exception))


class ShardTest(parameterized.TestCase):
  def test_shard_ranges(self):
    """Cores 0 1 | 2 3 | 4 5 hold the batch shards 0 | 1 | 2."""
    layout = parse("data:3;model:2")
    whole = shape(batch=6, length=5, heads=4)
    self.assertEqual(layout.shard_range(whole, 0), ((0, 2), (0, 5), (0, 2)))
    self.assertEqual(layout.shard_range(whole, 1), ((0, 2), (0, 5), (2, 2)))
    self.assertEqual(layout.shard_range(whole, 4), ((4, 2), (0, 5), (0, 2)))
    self.assertEqual(layout.shard_range(shape(), 5), ())
    self.assertEqual(
      [layout.shard_index("heads", c) for c in range(4)], [0, 1, 0, 1]
    )

  @parameterized.parameters("", "data:4", "model:4", "data:2;model:2")
  def test_shards_cover_every_element_equally_often(self, text):
    layout, whole = parse(text), shape(batch=8, heads=4, length=3)
    count = {}
    for core in range(layout.cores):
      (a, n), (b, m), (c, k) = layout.shard_range(whole, core)
      for x in range(a, a + n):
        for y in range(b, b + m):
          for z in range(c, c + k):
            count[x, y, z] = count.get((x, y, z), 0) + 1
    self.assertLen(count, whole.size)
    self.assertLen(set(count.values()), 1)

  def test_axes_of_size_one_split_nothing(self):
    layout = parse("data:1;model:4")
    self.assertIsNone(layout.axis_of("batch"))
    self.assertEqual(layout.num_shards("batch"), 1)
    self.assertEqual(layout.axis_of("heads"), 1)
    self.assertEqual(layout.num_shards("heads"), 4)
    self.assertEqual(parse("data:1").rules._pairs, set())
    layout.check(shape(batch=3, heads=4))

  @parameterized.parameters(
    ("model:8", dict(heads=12), "[1, 2, 3, 4, 6]"),
    ("model:4", dict(heads=9), "[1, 3]"),
    ("data:2;model:2", dict(batch=4, heads=7), "[1]"),
  )
  def test_sizes_that_fit_are_listed(self, text, sizes, fit):
    with self.assertRaises(ValueError) as caught:
      parse(text).check(shape(**sizes))
    message = str(caught.exception)
    self.assertIn(f"Dimension 'heads' has size {sizes['heads']}", message)
    self.assertIn("mesh axis 'model' of size", message)
    self.assertIn(f"Sizes of 'model' that fit: {fit}.", message)
    self.assertIn("take 'heads:model' out of mesh.layout", message)


class DevicesTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    tf.constant(0) + 1  # Starts TensorFlow with one CPU device.

  def test_one_core(self):
    devices = open_devices(1, "cpu")
    self.assertEqual((devices.cores, devices.platform), (1, "cpu"))
    self.assertEqual(devices.local_cores, range(1))

  def test_too_many_cores(self):
    with self.assertRaisesRegex(
      ValueError,
      "The mesh has 4 cores, but TensorFlow has already started with 1 CPU"
      " devices. Open the devices before any other TensorFlow operation",
    ):
      open_devices(4, "cpu")

  def test_more_cores_than_a_cpu_is_split_into(self):
    with (
      mock.patch.object(
        tf.config,
        "set_logical_device_configuration",
        side_effect=AssertionError("devices are made"),
      ),
      self.assertRaisesRegex(
        ValueError, "The mesh has 99,999 cores, but a CPU .* at most 512"
      ),
    ):
      open_devices(99_999, "cpu")

  def test_too_few_gpus(self):
    with (
      mock.patch.object(tf.config, "list_physical_devices", return_value=[]),
      self.assertRaisesRegex(
        ValueError,
        "2 cores, but TensorFlow sees 0 GPUs. Make mesh.shape smaller, or set"
        " mesh.platform to 'cpu'",
      ),
    ):
      open_devices(2, "gpu")

  @parameterized.parameters("cuda", "")
  def test_unknown_platform(self, platform):
    with self.assertRaisesRegex(
      ValueError, f"Unknown platform '{platform}'.*Known: auto, cpu, gpu, tpu"
    ):
      open_devices(1, platform)

  def test_local_cores_of_a_cluster(self):
    hosts = [Devices(mock.Mock(), "tpu", 8, host, hosts=2) for host in (0, 1)]
    self.assertEqual([h.local_cores for h in hosts], [range(4), range(4, 8)])

  def test_as_many_devices_as_cores(self):
    devices = open_devices(1, "cpu")
    with self.assertRaisesRegex(
      ValueError, "The layout has 4 cores, but 1 devices are open"
    ):
      program.Program(devices, parse("data:4"), lambda core: None)

  def test_an_array_of_another_shape_is_refused(self):
    devices = open_devices(1, "cpu")
    run = program.Program(devices, parse(""), lambda core, x: x)
    with self.assertRaisesRegex(
      ValueError, r"shape \(2,\) does not have the shape .*batch"
    ):
      run.shard([1, 2], shape(batch=3))


if __name__ == "__main__":
  os.environ.pop("TF_CONFIG", None)
  absltest.main()
