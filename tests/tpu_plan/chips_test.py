"""TPU slices: their topologies, names, numbers of cores and bandwidths."""

from absl.testing import absltest, parameterized

from flan_tf.tpu_plan import chips


class ChipsTest(parameterized.TestCase):
  @parameterized.parameters(
    ("v2:2x2", 8, 1, "v2-8"),
    ("v3:8x8", 128, 16, "v3-128"),
    ("v3:32x32", 2048, 256, "v3-2048"),
    ("v4:2x2x2", 16, 2, "v4-16"),
    ("v4:4x4x4", 128, 16, "v4-128"),
    ("v5e:4x4", 16, 4, "v5litepod-16"),
    ("v5p:2x2x2", 8, 2, "v5p-16"),
    ("v6e:2x4", 8, 2, "v6e-8"),
  )
  def test_slices(self, topology, cores, hosts, accelerator_type):
    tpu_slice = chips.parse_topology(topology)
    self.assertEqual(str(tpu_slice), topology)
    self.assertEqual(tpu_slice.cores, cores)
    self.assertEqual(tpu_slice.hosts, hosts)
    self.assertEqual(tpu_slice.accelerator_type, accelerator_type)

  @parameterized.parameters(
    ("v3-128", r"has no shape\. Did you mean v3:8x8 \(v3-128\)\?"),
    ("v5litepod-16", r"Did you mean v5e:4x4 \(v5litepod-16\)\?"),
    ("v3", r"e\.g\. v3:8x8 for 128 cores of v3\. Generations: v2, v3, v4"),
    ("v3-7", r"e\.g\. v3:8x8"),
    ("v33:8x8", r"TPU generation 'v33'\. Did you mean 'v3'\?"),
    (
      "v3:8xx8",
      r"cannot read the shape of 'v3:8xx8'\. Expected .*, e\.g\. v3:2x4\.",
    ),
    ("v3:8x8x8", "have 2 dimensions, but '8x8x8' has 3. .* v3:2x4"),
    ("v4:8x8", r"have 3 dimensions, but '8x8' has 2. .* v4:2x2x2\."),
    ("v3:3x4", "not consist of whole hosts. .* first two numbers must be even"),
    ("v3:0x4", "not consist of whole hosts"),
    ("v3:64x64", "has 4,096 chips, but slices of v3 have at most 1,024"),
  )
  def test_bad_topologies_are_refused(self, topology, message):
    with self.assertRaisesRegex(ValueError, message):
      chips.parse_topology(topology)

  def test_slices_by_cores(self):
    for name, generation in chips.GENERATIONS.items():
      for power in range(14):
        tpu_slice = chips.slice_with_cores(generation, 2**power)
        if tpu_slice is not None:
          self.assertEqual(tpu_slice.cores, 2**power)
          self.assertEqual(
            chips.parse_topology(str(tpu_slice)), tpu_slice, name
          )
    v3 = chips.GENERATIONS["v3"]
    self.assertEqual(str(chips.slice_with_cores(v3, 128)), "v3:8x8")
    self.assertEqual(str(chips.slice_with_cores(v3, 64)), "v3:4x8")
    for cores in (4, 24, 127, 4096):
      self.assertIsNone(chips.slice_with_cores(v3, cores))

  def test_a_pods_all_reduce_bandwidth_is_about_the_published_one(self):
    published = {"v3": 340e12, "v4": 1.1e15, "v5e": 51.2e12, "v6e": 102.4e12}
    for name, bandwidth in published.items():
      generation = chips.GENERATIONS[name]
      cores = generation.max_chips * generation.cores_per_chip
      ratio = cores * generation.wire_bandwidth / bandwidth
      self.assertBetween(ratio, 0.96, 1.12, name)


if __name__ == "__main__":
  absltest.main()
