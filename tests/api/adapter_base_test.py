"""Adapters are used with the model that they were trained on, or not at all."""

import json
import logging
import os
import pathlib
import shutil

from absl.testing import absltest

import flan_tf as flan
from flan_tf.checkpoints.checkpoint_dirs import CheckpointError
from tests.helpers import tiny

TINY = tiny.Tiny()
setUpModule, tearDownModule = TINY.open, TINY.close
OPTIONS = ("yes", "no")


class AdapterBaseTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.base, self.lora = self.folder / "base", self.folder / "lora"
    self.train(self.base)
    self.run_settings = TINY.run(
      train__init_from=str(self.base), train__steps=1, adapter__lora_rank=2
    )
    flan.train(self.run_settings, self.lora)

  def train(self, workdir: pathlib.Path, seed: int = 0) -> None:
    flan.train(TINY.run(train__steps=1, seed=seed), workdir)

  def replace_base(self) -> pathlib.Path:
    """Puts another model at the path of the base; returns the new place."""
    moved = self.folder / "moved"
    os.rename(self.base, moved)
    self.train(self.base, seed=5)
    return moved

  def score(self, **arguments) -> dict[str, float]:
    model = flan.load(self.lora, batch=2, **arguments)
    return model.score("Is it so?", OPTIONS)

  def evaluate(self, **arguments) -> float:
    result = flan.evaluate(
      self.lora, tasks="sst2", max_examples=4, templates=(0,), **arguments
    )
    return result["sst2"].mean

  def convert(self, name: str, **arguments) -> str:
    target = self.folder / name
    flan.convert(f"native:{self.lora}", f"native:{target}", **arguments)
    (tensors,) = target.glob("state.data-*")
    return tensors.read_bytes()

  def resume(self, **arguments) -> None:
    changes = {"train.steps": 2}
    flan.train(self.run_settings, self.lora, changes=changes, **arguments)

  def test_another_model_at_its_path_is_refused_everywhere(self):
    scores, mean = self.score(), self.evaluate()
    merged = self.convert("merged")
    moved = self.replace_base()
    for work in (
      self.score,
      self.evaluate,
      lambda: self.convert("wrong"),
      self.resume,
    ):
      with self.assertRaisesRegex(
        CheckpointError,
        r"lora.* holds adapters\. The model that they were trained on, with the"
        r" fingerprint \w{16}, was not found: .*base.* \(step 1\) has other"
        r" weights.*--adapter_base=PATH",
      ):
        work()
    self.assertFalse((self.folder / "wrong").exists())
    with self.subTest("its new place is named"):
      self.assertEqual(self.score(adapter_base=moved), scores)
      self.assertEqual(self.evaluate(adapter_base=moved), mean)
      self.assertEqual(self.convert("right", adapter_base=str(moved)), merged)
      self.resume(adapter_base=str(moved))
    with self.subTest("a resumed run remembers the new place"):
      self.assertTrue(self.score())

  def test_both_moved_together(self):
    scores = self.score()
    other = self.folder / "other"
    other.mkdir()
    for name in ("base", "lora"):
      shutil.move(self.folder / name, other / name)
    self.lora = other / "lora"
    self.assertEqual(self.score(), scores)

  def test_no_model_at_its_path(self):
    shutil.rmtree(self.base)
    with self.assertRaisesRegex(
      CheckpointError, "was not found: No complete checkpoint at .*base"
    ):
      self.score()

  def test_adapters_of_an_earlier_version(self):
    """They have only the path of the model, and cannot be compared."""
    scores = self.score()
    (checkpoint,) = (self.lora / "checkpoints").iterdir()
    data = json.loads((checkpoint / "data.json").read_text())
    del data["base_relative"], data["base_fingerprint"]
    (checkpoint / "data.json").write_text(json.dumps(data))
    sizes = {
      file.name: file.stat().st_size
      for file in checkpoint.iterdir()
      if file.name != "COMPLETE"
    }
    (checkpoint / "COMPLETE").write_text(json.dumps(sizes))
    with self.assertLogs("flan_tf", logging.WARNING) as log:
      self.assertEqual(self.score(), scores)
    self.assertIn("does not say which weights", " ".join(log.output))


if __name__ == "__main__":
  absltest.main()
