"""The output of the binaries: a dry run, and messages for mistakes.

Most tests call the binary in this process, because starting one takes long.
`ProcessTest` starts some binaries as a shell does.
"""

import json
import pathlib
import runpy

from absl.testing import absltest

from flan_tf import config
from tests.helpers import binaries, tiny

TINY = tiny.Tiny()


def setUpModule():
  from flan_tf.mesh import devices

  devices.open_devices(3, "cpu")  # One test asks for a mesh of three.
  TINY.open()


tearDownModule = TINY.close


def call(*arguments: str) -> tuple[int, str, str]:
  """Runs launch.train here; returns its status, stdout and stderr."""
  from launch import train

  return binaries.call(train, *arguments)


class TrainTest(absltest.TestCase):
  def call(self, *arguments: str, **changes):
    """Calls launch.train with a run file; a value for each dotted change."""
    run_file = TINY.run_file(**changes)
    workdir = self.create_tempdir().full_path
    return call(f"--config={run_file}", f"--workdir={workdir}", *arguments)

  def assert_refused(self, message: str, *arguments: str, **changes):
    status, _, err = self.call(*arguments, **changes)
    self.assertEqual(status, 1)
    self.assertRegex(err, message)
    self.assertNotIn("Traceback", err)

  def test_dry_run(self):
    names = "rte,sst2,cb,glue_mrpc"
    status, out, _ = self.call("--dry_run", data__tasks=names)
    self.assertEqual(status, 0)
    resolved, end = json.JSONDecoder().raw_decode(out)
    run = config.from_mapping(resolved)
    self.assertEqual(run.model.vocab, 384)
    self.assertEqual(run.data.tasks, tuple(names.split(",")))
    report = out[end:]
    self.assertRegex(report, "4 tasks, [0-9,]+ tokens from ")
    for name in run.data.tasks:
      self.assertRegex(
        report, rf"  {name}: train.*, \d+ examples, .* tokens, p = 0\.\d+"
      )
    prompts = report.split("=== ")[1:]
    self.assertLen(prompts, 3)
    for prompt in prompts:
      self.assertIn(prompt.partition(" ===\n")[0], run.data.tasks)
    self.assertEqual(report.count("\n>>> "), 3)

  def test_dry_run_writes_nothing(self):
    workdir = self.create_tempdir()
    status, _, _ = call(
      f"--config={TINY.run_file()}",
      f"--workdir={workdir.full_path}/new",
      "--dry_run",
    )
    self.assertEqual(status, 0)
    self.assertEmpty(list(pathlib.Path(workdir.full_path).iterdir()))

  def test_training(self):
    status, out, _ = self.call(train__steps=1, name="a name")
    self.assertEqual(status, 0)
    self.assertRegex(out, r"a name: 2 training tasks\. 4 rows of 80 tokens on")
    self.assertRegex(out, "From new weights, seed 0, step 0")
    self.assertRegex(out, "Finished at step 1.*\nLook: tensorboard --logdir=")

  def test_unknown_task(self):
    self.assert_refused(
      r"ValueError: Unknown task 'rtee'\. Did you mean 'rte'\?",
      data__tasks="rtee",
    )

  def test_unknown_cluster(self):
    self.assert_refused(
      r"Unknown cluster 'sentimant'\. Did you mean 'sentiment'\?",
      data__tasks="",
      data__clusters="sentimant",
    )
    self.assert_refused(
      r"Unknown cluster or task 'nil'\. Did you mean 'nli'\?", held_out="nil"
    )

  def test_a_task_that_is_held_out(self):
    for flag in ((), ("--dry_run",)):
      self.assert_refused(
        "With 'nli' held out, no task of nli, paraphrase may train, but rte"
        " would. Take them out of data.tasks",
        *flag,
        held_out="nli",
      )

  def test_no_vocabulary(self):
    self.assert_refused(
      "names no vocabulary. Train one with `python -m launch.train_vocabulary",
      "--dry_run",
      data__vocabulary="",
    )
    self.assert_refused(
      "VocabularyError: There is no vocabulary file .*nowhere.model",
      "--dry_run",
      data__vocabulary="/nowhere.model",
    )

  def test_a_mesh_that_does_not_fit(self):
    self.assert_refused(
      "Dimension 'heads' has size 2, which does not split over mesh axis"
      r" 'model' of size 3\. Sizes of 'model' that fit: \[1, 2\]",
      mesh__shape="model:3",
    )
    self.assert_refused(
      r"Unknown axis 'modle'\. Did you mean 'model'\?", mesh__shape="modle:2"
    )

  def test_a_data_directory_that_is_empty(self):
    empty = self.create_tempdir().full_path
    self.assert_refused(
      rf"nothing to train on in {empty}\. Expected a prepared TFDS directory",
      "--dry_run",
      data__tfds_data_dir=empty,
    )

  def test_no_run_file(self):
    status, _, err = call("--workdir=nowhere")
    self.assertEqual(status, 1)
    self.assertIn("--config is missing, e.g. launch/configs/", err)

  def test_a_run_file_that_cannot_be_used(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    (folder / "mine.py").write_text("def get_config():\n  return nme\n")
    for path, message in (
      ("launch/configs/smal_tune.py", "Did you mean .*small_tune.py"),
      ("launch/configs/ablation.py:size=zz", "Unknown size 'zz'. Known: 137b"),
      (folder, "is a folder, not a run file"),
      (folder / "mine.py", "mine.py, line 2: NameError: name 'nme'"),
    ):
      status, _, err = call(f"--config={path}", "--workdir=nowhere")
      self.assertEqual(status, 1)
      self.assertRegex(err, f"flag --config=.*{message}")
      self.assertNotIn("Traceback", err)

  def test_a_workdir_that_cannot_be_written(self):
    file = self.create_tempfile().full_path
    for workdir in (file, f"{file}/below", "/proc/nowhere"):
      status, _, err = call(
        f"--config={TINY.run_file(train__steps=1)}", f"--workdir={workdir}"
      )
      self.assertEqual(status, 1)
      self.assertIn(file if "proc" not in workdir else workdir, err)
      self.assertNotIn("Traceback", err)

  def test_words_that_are_no_flags(self):
    status, _, err = self.call("train", "now")
    self.assertEqual(status, 1)
    self.assertIn("Expected flags only, got ['train', 'now']", err)

  def test_a_misspelt_choice(self):
    path = pathlib.Path(self.create_tempdir().full_path, "run.py")
    text = pathlib.Path(TINY.run_file()).read_text()
    path.write_text(
      text.replace("config.from_mapping", "dict")
      .replace(
        "config.to_config_dict(", "__import__('ml_collections').ConfigDict("
      )
      .replace("'geglu'", "'gegul'")
    )
    status, _, err = call(f"--config={path}", "--workdir=nowhere")
    self.assertEqual(status, 1)
    self.assertRegex(err, r"model.mlp: .*'gegul'\. Did you mean 'geglu'\?")


class ProcessTest(absltest.TestCase):
  """Status, streams and messages as a shell sees them."""

  def test_every_binary_starts(self):
    setup = runpy.run_path(str(tiny.ROOT / "setup.py"), run_name="setup")
    processes = {
      name: tiny.start("-m", f"launch.{name}", "--helpshort")
      for name in setup["BINARIES"]
    }
    ended = {name: p.communicate() for name, p in processes.items()}
    for name, (out, err) in ended.items():
      # absl's own status of a help text.
      self.assertEqual(processes[name].returncode, 1, f"{name}: {err}")
      self.assertIn(f"launch/{name}.py:", out)

  def test_messages_without_a_traceback(self):
    config_flag = f"--config={TINY.run_file(data__tasks='rtee')}"
    started = {
      r"--config.train.stesp=3: Unknown configuration key 'train.stesp'\."
      r" Did you mean 'train.steps'\?": (
        *("launch.train", config_flag, "--workdir=nowhere"),
        "--config.train.stesp=3",
      ),
      r"ValueError: Unknown task 'rtee'\. Did you mean 'rte'\?": (
        *("launch.train", config_flag, "--workdir=nowhere"),
      ),
      "FileNotFoundError: No results at one/results.json": (
        *("launch.evaluate", "--compare", "one", "other", "--output=both"),
      ),
      "CheckpointError: No complete checkpoint at 'nowhere': expected": (
        *("launch.evaluate", "--checkpoint=nowhere", "--held_out=nli"),
      ),
    }
    processes = {
      message: tiny.start("-m", *command)
      for message, command in started.items()
    }
    for message, process in processes.items():
      with self.subTest(message):
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(err.strip().splitlines()[-1], f"^{message}")
        self.assertNotIn("Traceback", err)
        self.assertEqual(out, "")


if __name__ == "__main__":
  absltest.main()
