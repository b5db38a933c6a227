"""A checkpoint as one value: files, vocabulary, and the tasks it has seen."""

import dataclasses
import json
import os
import pathlib

import numpy as np
from absl.testing import absltest

from flan_tf import config
from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.checkpoints.bundle import Bundle, bundle_files
from flan_tf.checkpoints.saver import save_checkpoint
from flan_tf.mesh import state
from flan_tf.mesh.compat import mtf
from tests.helpers import byte_pairs, toys

RUN = dataclasses.replace(toys.run_config(), name="a run", held_out=("nli",))
DATA = {"step": 3, "seen": {"rte": "nli"}, "base": ""}
VOCABULARY = byte_pairs.train(["so it is", "it is so"])
SHAPE = mtf.Shape([mtf.Dimension("d_model", 4)])


def setUpModule():
  toys.open_cores()


def weights(value: float) -> state.State:
  spec = state.StateSpec(SHAPE, state.constant(value))
  made = state.State(*toys.mesh(""), {"norm": spec})
  made.initialize(0)
  return made


class BundleTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = self.create_tempdir().full_path

  def save(self, step: int = 3, value: float = 1.0, **data) -> str:
    files = bundle_files(RUN, {**DATA, **data}, VOCABULARY)
    return save_checkpoint(self.workdir, step, [weights(value)], files, keep=9)

  def test_files(self):
    """Names and contents must stay as they are: old checkpoints have them."""
    path = pathlib.Path(self.save())
    self.assertCountEqual(
      os.listdir(path),
      [
        "COMPLETE",
        "data.json",
        "run.json",
        "state.data-00000-of-00001",
        "state.index",
        "vocabulary.model",
      ],
    )
    self.assertEqual((path / "run.json").read_text(), config.to_json(RUN))
    self.assertEqual(
      (path / "data.json").read_text(), json.dumps(DATA, indent=2)
    )
    self.assertEqual(
      (path / "vocabulary.model").read_bytes(), VOCABULARY.serialized
    )

  def test_a_workdir_gives_its_newest_checkpoint(self):
    self.save(step=2)
    path = self.save(step=10)
    bundle = Bundle.open(self.workdir)
    self.assertEqual(bundle, Bundle.open(path))
    self.assertEqual(bundle.path, path)
    self.assertEqual(bundle.run, RUN)
    self.assertEqual(bundle.step, 3)
    self.assertEqual(bundle.tasks_seen, {"rte": "nli"})
    self.assertEqual(bundle.vocabulary.fingerprint, VOCABULARY.fingerprint)

  def test_the_vocabulary_is_read_when_it_is_needed(self):
    path = pathlib.Path(self.save(), "vocabulary.model")
    bundle = Bundle.open(self.workdir)
    path.unlink()
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError, "has no file 'vocabulary.model'"
    ):
      bundle.vocabulary  # noqa: B018, reading it is what fails

  def test_restore(self):
    self.save(value=5.0)
    read = weights(0.0)
    Bundle.open(self.workdir).restore([read])
    np.testing.assert_array_equal(read.gather("norm"), np.full([4], 5.0))

  def test_the_model_below_adapters(self):
    whole = Bundle.open(self.save(step=1))
    self.assertEqual((whole.base, whole.open_base()), ("", whole))
    adapters = Bundle.open(self.save(step=2, base=whole.path))
    self.assertEqual(adapters.base, whole.path)
    self.assertEqual(adapters.open_base(), whole)

  def test_data_of_old_checkpoints(self):
    """Checkpoints that were written before adapters existed have no base."""
    files = bundle_files(RUN, {"step": 3, "seen": {}}, VOCABULARY)
    save_checkpoint(self.workdir, 3, [weights(1.0)], files, keep=9)
    self.assertEqual(Bundle.open(self.workdir).base, "")

  def test_identity_depends_on_weights_run_and_vocabulary(self):
    one, other = self.save(1), self.save(2)
    self.assertEqual(
      Bundle.open(one).identity_files(), Bundle.open(other).identity_files()
    )
    changed = self.save(3, value=2.0)
    index, *_ = Bundle.open(one).identity_files()
    changed_index, *_ = Bundle.open(changed).identity_files()
    self.assertNotEqual(index, changed_index)

  def test_tasks_that_must_not_have_been_seen(self):
    path = self.save()
    bundle = Bundle.open(path)
    bundle.check_not_seen((), advice="")
    bundle.check_not_seen(("sentiment", "cosmos_qa"), advice="")
    for held_out in (("nli",), ("sentiment", "rte")):
      with self.assertRaisesRegex(
        ValueError,
        f"'{','.join(held_out)}' is held out, but the checkpoint {path}, or one"
        " that it was trained from, has seen rte in training. Start again.",
      ):
        bundle.check_not_seen(held_out, advice="Start again.")


if __name__ == "__main__":
  absltest.main()
