"""Senseless settings of a training are refused, by --dry_run too."""

from unittest import mock

from absl.testing import absltest, parameterized

from flan_tf.mesh import devices
from launch import train
from tests.helpers import binaries, tiny

TINY = tiny.Tiny()
setUpModule, tearDownModule = TINY.open, TINY.close


class SettingsTest(parameterized.TestCase):
  def assert_refused(self, message: str, *arguments: str, **changes):
    # No device is made before the settings are known to be good.
    with mock.patch.object(
      devices, "_split_cpu", side_effect=AssertionError("devices are made")
    ):
      status, _, err = binaries.call(
        train,
        f"--config={TINY.run_file(**changes)}",
        f"--workdir={self.create_tempdir().full_path}",
        *arguments,
      )
    self.assertEqual(status, 1)
    self.assertRegex(err, message)
    self.assertNotIn("Traceback", err)

  @parameterized.product(
    case=(
      ("shape", "garbage", "mesh.shape: cannot read 'garbage'; write e.g."),
      (
        "shape",
        "model:99999",
        "does not split over .* of size 99999. Sizes .*: .1, 2",
      ),
      ("shape", "data:3", "Dimension 'batch' has size 4, .* of size 3"),
      ("layout", "-1", "mesh.layout: cannot read '-1'; write e.g."),
    ),
    flags=((), ("--dry_run",)),
  )
  def test_a_mesh_that_cannot_be(self, case, flags):
    name, value, message = case
    self.assert_refused(message, *flags, **{f"mesh__{name}": value})

  def test_a_mesh_that_splits_nothing_has_a_limit(self):
    with self.assertRaisesRegex(ValueError, "at most 512 devices"):
      devices.open_devices(99_999, "cpu")

  @parameterized.parameters(
    ("--config.mesh.platform=nan", "mesh.platform: Unknown value 'nan'"),
    ("--config.train.clip_norm=nan", r"clip_norm: .* got nan\. 0 sets no li"),
    ("--config.data.length=99999999999999999999", "data.length: expected 1,04"),
    ("--config.train.batch=1000000000000", "train.batch: expected 2,147,483"),
  )
  def test_flags(self, flag, message):
    self.assert_refused(message, "--dry_run", flag)

  @parameterized.parameters(
    (100, "model.pieces is 100, but the vocabulary .* and the embedding 384"),
    (999_999, "model.pieces is 999999, but .* Set model.pieces to 0, or to 32"),
  )
  def test_pieces_are_those_of_the_vocabulary(self, pieces, message):
    self.assert_refused(message, "--dry_run", model__pieces=pieces)

  @parameterized.parameters((), ("--dry_run",))
  def test_the_model_of_a_checkpoint_is_compared_with_the_mesh(self, *flags):
    base = self.create_tempdir().full_path
    TINY.train(TINY.run(train__steps=1), base)
    for other in ({"train__init_from": base}, {}):
      workdir = self.create_tempdir().full_path if other else base
      status, _, err = binaries.call(
        train,
        f"--config={TINY.run_file(mesh__shape='model:3', **other)}",
        f"--workdir={workdir}",
        *flags,
      )
      self.assertEqual(status, 1)
      self.assertRegex(err, "'heads' has size 2, which does not split over")


if __name__ == "__main__":
  absltest.main()
