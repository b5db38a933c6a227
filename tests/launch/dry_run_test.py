"""A dry run shows control characters of prompts, and does not obey them."""

import pathlib
from unittest import mock

from absl.testing import absltest

from flan_tf.api import training
from launch import train
from tests.helpers import binaries

_CONFIG = pathlib.Path(train.__file__).parent / "configs/small_pretrain.py"


class DryRunTest(absltest.TestCase):
  def test_control_characters_are_shown(self):
    with mock.patch.object(
      training, "preview_training", return_value="=== a ===\nb\x1b[8m\n>>> c"
    ):
      status, out, err = binaries.call(
        train, f"--config={_CONFIG}", "--workdir=missing", "--dry_run"
      )
    self.assertEqual(status, 0, err)
    self.assertEqual(out, "=== a ===\nb\\u001b[8m\n>>> c\n")


if __name__ == "__main__":
  absltest.main()
