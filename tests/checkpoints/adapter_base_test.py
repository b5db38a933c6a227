"""Adapters know which model they were trained on, wherever it lies."""

import json
import pathlib
import shutil

from absl.testing import absltest, parameterized

import flan_tf as flan
from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.checkpoints.checkpoint_dirs import CheckpointError
from launch import generate
from tests.helpers import binaries, tiny

TINY = tiny.Tiny()
tearDownModule = TINY.close
LORA = {"adapter__lora_rank": 2, "train__save_every": 1}


def setUpModule():
  """Trains base, another model, and adapters on the base.

  They are moved afterwards, so that nothing lies at the stored paths: all tests
  find the base by its relative path.
  """
  TINY.open()
  made = TINY.folder / "made"
  TINY.train(TINY.run(train__steps=1), made / "base")
  TINY.train(TINY.run(train__steps=1, seed=5), made / "other")
  TINY.train(lora_run(made / "base", steps=1), made / "lora")
  TINY.models = made.rename(TINY.folder / "models")
  TINY.scores = score(TINY.models / "lora")


def lora_run(base: pathlib.Path, steps: int) -> flan.RunConfig:
  return TINY.run(train__steps=steps, train__init_from=str(base), **LORA)


def score(path: pathlib.Path, **arguments) -> dict[str, float]:
  model = flan.load(path, batch=2, **arguments)
  return model.score("Is it so?", ["yes", "no"])


def stored(workdir: pathlib.Path) -> dict:
  """Returns data.json of the newest checkpoint."""
  path = checkpoint_dirs.find(str(workdir))
  return json.loads(checkpoint_dirs.read_file(path, "data.json"))


class AdapterBaseTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.at = pathlib.Path(self.create_tempdir().full_path, "models")
    shutil.copytree(TINY.models, self.at)
    self.base, self.lora = self.at / "base", self.at / "lora"

  def replace_base(self) -> pathlib.Path:
    """Puts the other model at the place of the base; returns the base."""
    moved = self.base.rename(self.at / "moved")
    shutil.copytree(self.at / "other", self.base)
    return moved

  def resume(self, **arguments) -> flan.TrainingResult:
    run = lora_run(self.base, steps=2)
    return flan.train(run, self.lora, **arguments)

  def test_data_names_the_base(self):
    data = stored(self.lora)
    base = Bundle.open(str(self.base))
    self.assertEqual(data["base_fingerprint"], base.fingerprint)
    path = pathlib.Path(checkpoint_dirs.find(str(self.lora)))
    self.assertEqual(
      (path / data["base_relative"]).resolve(),
      pathlib.Path(base.path).resolve(),
    )
    self.assertFalse(pathlib.Path(data["base"]).exists())

  def test_a_resumed_run_stores_the_new_place(self):
    base = self.replace_base()
    digits = stored(self.lora)["base_fingerprint"]
    self.resume(adapter_base=str(base))
    data = stored(self.lora)
    self.assertEqual(data["step"], 2)
    self.assertEqual(data["base"], checkpoint_dirs.find(str(base)))
    self.assertEqual(data["base_fingerprint"], digits)
    score(self.lora)

  def test_adapter_base_is_compared_too(self):
    with self.assertRaisesRegex(CheckpointError, "other.* has other weights"):
      score(self.lora, adapter_base=self.at / "other")

  def test_a_whole_model_needs_no_adapter_base(self):
    with self.assertRaisesRegex(CheckpointError, "holds a whole model"):
      score(self.base, adapter_base=self.at / "other")

  def test_the_flag(self):
    arguments = [f"--checkpoint={self.lora}", "--prompt=a", "--score=yes|no"]
    base = self.replace_base()
    status, _, message = binaries.call(generate, *arguments)
    self.assertEqual(status, 1)
    self.assertIn("--adapter_base", message)
    arguments.append(f"--adapter_base={base}")
    status, text, _ = binaries.call(generate, *arguments)
    self.assertEqual(status, 0)
    self.assertIn("yes", text)

  def test_adapters_of_an_earlier_version(self):
    path = pathlib.Path(checkpoint_dirs.find(str(self.lora)))
    data = json.loads((path / "data.json").read_text())
    del data["base_relative"], data["base_fingerprint"]
    data["base"] = checkpoint_dirs.find(str(self.base))
    (path / "data.json").write_text(json.dumps(data))
    sizes = json.loads((path / "COMPLETE").read_text())["sizes"]
    sizes["data.json"] = (path / "data.json").stat().st_size
    (path / "COMPLETE").write_text(json.dumps(sizes))
    with self.assertLogs("flan_tf", "WARNING") as log:
      self.assertEqual(score(self.lora), TINY.scores)
      self.assertEqual(score(self.lora), TINY.scores)
    notes = [x for x in log.output if "does not say which weights" in x]
    self.assertLen(notes, 1)

  @parameterized.parameters("replaced", "removed")
  def test_the_base_is_identified_when_its_weights_are_read(self, what):
    from flan_tf.training import loop

    expected = Bundle.open(str(self.base)).fingerprint
    workdir = self.at / "soft"
    run = TINY.run(
      train__steps=1, train__init_from=str(self.base), adapter__soft_prompt=2
    )
    session = TINY.open_run(run, workdir)
    if what == "replaced":
      self.replace_base()
    else:
      shutil.rmtree(self.base)
    loop.train(session, str(workdir))
    self.assertEqual(stored(workdir)["base_fingerprint"], expected)
    with self.assertRaisesRegex(CheckpointError, "--adapter_base=PATH"):
      score(workdir)


if __name__ == "__main__":
  absltest.main()
