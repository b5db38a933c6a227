"""`train`, run files, and runs on tasks of the user's own."""

import contextlib
import io
import json
import pathlib
from unittest import mock

from absl.testing import absltest, parameterized

import flan_tf as flan
from flan_tf import config
from tests.helpers import binaries, tiny
from tests.helpers.own_tasks import FILE

TINY = tiny.Tiny()


def setUpModule():
  TINY.open()


tearDownModule = TINY.close


class TestCase(parameterized.TestCase):
  def folder(self) -> pathlib.Path:
    return pathlib.Path(self.create_tempdir().full_path)


class TrainTest(TestCase):
  def test_a_run_is_stopped_nowhere_and_resumes(self):
    workdir = self.folder()
    result = flan.train(TINY.run(train__steps=2), workdir)
    self.assertEqual((result.step, result.finished), (2, True))
    self.assertEqual(
      result.checkpoint, str(workdir / "checkpoints/step_00000002")
    )
    self.assertEqual(result.metrics["step"], 2)
    self.assertGreater(result.metrics["loss"], 0)
    self.assertEqual(result.run.model.vocab, 384)
    self.assertRegex(
      repr(result),
      r"^<TrainingResult: finished at step 2, loss [\d.]+; .*step_00000002>$",
    )
    more = flan.train(TINY.run(), workdir, changes={"train.steps": 3})
    self.assertEqual(more.step, 3)
    # The same losses as a run that was not interrupted.
    whole = flan.train(TINY.run(train__steps=3), self.folder())
    self.assertAlmostEqual(
      more.metrics["loss"], whole.metrics["loss"], places=4
    )

  def test_nothing_is_printed(self):
    out, sessions = io.StringIO(), []
    with mock.patch.object(out, "isatty", lambda: True):
      with contextlib.redirect_stdout(out):
        flan.train(
          TINY.run(train__steps=1), self.folder(), on_start=sessions.append
        )
    self.assertEmpty(out.getvalue())
    self.assertLen(sessions, 1)

  def test_a_vocabulary(self):
    path = self.folder() / "small.model"
    vocabulary = flan.train_vocabulary(path, size=600, held_out="nli")
    self.assertTrue(path.exists())
    self.assertBetween(vocabulary.size, 500, 600)

  def test_a_conversion(self):
    checkpoint = flan.train(TINY.run(train__steps=1), self.folder()).checkpoint
    target = self.folder() / "native"
    done = flan.convert(f"native:{checkpoint}", target)
    self.assertEqual((done.format, done.path), ("native", str(target)))
    self.assertEqual(
      repr(done), f"Conversion(format='native', path='{target}')"
    )
    scores = [
      flan.score(path, "Is it so?", ["yes", "no"])
      for path in (checkpoint, target)
    ]
    self.assertEqual(*scores)


class RunFileTest(TestCase):
  def test_every_form_of_a_run(self):
    run = TINY.run()
    folder = self.folder()
    as_json = folder / "run.json"
    as_json.write_text(config.to_json(run))
    for form in (
      run,
      config.to_dict(run),
      config.to_config_dict(run),
      TINY.run_file(),
      str(as_json),
      as_json,
    ):
      self.assertEqual(flan.read_run(form), run)

  def test_an_argument_and_changes(self):
    file = str(tiny.ROOT / "launch/configs/ablation.py")
    run = flan.read_run(
      f"{file}:clusters=3,templates=2",
      {"train.steps": 7, "held_out": ("nli", "misc"), "data.tasks": "rte"},
    )
    self.assertEqual(run.data.templates, 2)
    self.assertEqual(run.train.steps, 7)
    self.assertEqual(run.held_out, ("nli", "misc"))
    self.assertEqual(run.data.tasks, ("rte",))

  def test_a_run_file_may_return_a_run(self):
    path = self.folder() / "run.py"
    path.write_text(
      "import flan_tf as flan\n\ndef get_config():\n"
      "  return flan.RunConfig(name='mine')\n"
    )
    self.assertEqual(flan.read_run(path).name, "mine")

  @parameterized.parameters(
    ("x = 1\n", "has no function get_config"),
    ("def get_config():\n  return 1\n", "returned int; expected a RunConfig"),
  )
  def test_a_file_without_a_run(self, text, message):
    path = self.folder() / "run.py"
    path.write_text(text)
    with self.assertRaisesRegex(ValueError, message):
      flan.read_run(path)

  def test_refused(self):
    with self.assertRaisesRegex(FileNotFoundError, "no run file 'none.py'"):
      flan.read_run("none.py")
    with self.assertRaisesRegex(ValueError, "Did you mean 'train.steps'"):
      flan.read_run(TINY.run(), {"train.stesp": 1})
    with self.assertRaisesRegex(ValueError, "train.steps: expected int"):
      flan.read_run(TINY.run(), {"train.steps": "many"})


class OwnTaskTest(TestCase):
  """A file of own tasks, from training to a report, by its flag."""

  def setUp(self):
    super().setUp()
    self.file = self.folder() / "tasks.py"
    self.file.write_text(FILE.format(name="my_rte", cluster="nli"))
    self.addCleanup(self.forget)

  def forget(self) -> None:
    if "my_rte" in flan.tasks:
      flan.tasks.unregister("my_rte")

  def train(self, workdir: pathlib.Path, *flags: str, **changes):
    from launch import train

    run_file = TINY.run_file(data__tasks="my_rte", **changes)
    self.forget()
    return binaries.call(
      train, f"--config={run_file}", f"--workdir={workdir}", *flags
    )

  def test_a_run_on_own_tasks_resumes_with_the_same_flag(self):
    workdir, flag = self.folder(), f"--task_file={self.file}"
    status, out, err = self.train(workdir, flag, train__steps=2)
    self.assertEqual(status, 0, err)
    self.assertIn("my_rte: train", out)
    status, _, err = self.train(workdir, train__steps=3)
    self.assertEqual(status, 1)
    self.assertIn("Unknown task 'my_rte'", err)
    status, out, err = self.train(workdir, flag, train__steps=3)
    self.assertEqual(status, 0, err)
    self.assertIn("step 2.", out)
    self.assertIn("Finished at step 3", out)

    with self.subTest("run.json has the keys of any other run"):
      from flan_tf.checkpoints.bundle import Bundle

      bundle = Bundle.open(str(workdir))
      saved = pathlib.Path(bundle.path, "run.json").read_text()
      self.assertEqual(json.loads(saved), config.to_dict(bundle.run))
      self.assertEqual(bundle.tasks_seen, {"my_rte": "nli"})
    with self.subTest("the model is not evaluated on it as held out"):
      for held_out in ("nli", "my_rte"):
        with self.assertRaisesRegex(ValueError, "has seen my_rte"):
          flan.evaluate(workdir, held_out=held_out)
    with self.subTest("it is evaluated, and reported"):
      result = flan.evaluate(workdir, tasks="my_rte,rte", max_examples=2)
      self.assertEqual(list(result), ["rte", "my_rte"])
      report = pathlib.Path(result.report(self.folder())).read_text()
      self.assertIn("my_rte", report)

  def test_held_out_names_and_clusters_know_it(self):
    flag = f"--task_file={self.file}"
    for held_out in ("nli", "my_rte", "paraphrase"):
      status, _, err = self.train(
        self.folder(), flag, "--dry_run", held_out=held_out
      )
      self.assertEqual(status, 1)
      self.assertIn("may train, but my_rte would", err)

  def test_binaries_list_and_show_it(self):
    process = tiny.start(
      "-m",
      "launch.inspect_tasks",
      "--list",
      "--json",
      f"--task_file={self.file}",
    )
    out, err = process.communicate(timeout=60)
    self.assertEqual((process.returncode, err), (0, ""))
    listed = {task["name"]: task for task in json.loads(out)["tasks"]}
    self.assertEqual(listed["my_rte"]["cluster"], "nli")
    self.assertLen(listed, 71)

  def test_a_wrong_file_is_told(self):
    self.file.write_text("TASKS = ()\n")
    status, _, err = self.train(
      self.folder(), f"--task_file={self.file}", "--dry_run"
    )
    self.assertEqual(status, 1)
    self.assertRegex(err, r"ValueError: TASKS in .*/tasks\.py is empty")
    self.assertNotIn("Traceback", err)


if __name__ == "__main__":
  absltest.main()
