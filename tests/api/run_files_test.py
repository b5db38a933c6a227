"""Run files that cannot be used: the message names the file and the line."""

import os
import pathlib

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.api import run_files
from tests.helpers import tiny

CONFIGS = tiny.ROOT / "launch" / "configs"


class RunFilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def write(self, text: str, name: str = "mine.py") -> str:
    path = self.folder / name
    path.write_text(text)
    return str(path)

  def check(self, path: str, message: str, error=run_files.RunFileError):
    for read in (run_files.read_config_dict, run_files.read_run):
      with self.assertRaisesRegex(error, message):
        read(path)

  def test_good_files(self):
    path = str(CONFIGS / "small_tune.py")
    run = run_files.read_run(path)
    values = run_files.read_config_dict(path)
    self.assertEqual(config.from_mapping(values.to_dict()), run)
    path = self.write(config.to_json(run), "run.json")
    self.assertEqual(run_files.read_run(path), run)
    self.assertEqual(run_files.read_config_dict(path), values)
    path = self.write(
      "from flan_tf import config\ndef get_config(name):\n"
      "  return config.RunConfig(name=name)\n"
    )
    self.assertEqual(run_files.read_run(f"{path}:a,b:c").name, "a,b:c")
    self.assertEqual(run_files.read_config_dict(f"{path}:x").name, "x")

  @parameterized.parameters(
    ("smal_tune.py", "Did you mean launch/configs/small_tune.py or "),
    ("small_tune", "Did you mean launch/configs/small_tune.py"),
    ("zzzzzzzz.py", r"'launch/configs/zzzzzzzz.py'\. Expected a Python file"),
  )
  def test_a_misspelt_name(self, name, message):
    here = os.getcwd()
    self.addCleanup(os.chdir, here)
    os.chdir(tiny.ROOT)
    self.check(f"launch/configs/{name}", message, FileNotFoundError)

  def test_a_misspelt_name_elsewhere(self):
    self.write("", "my_run.py")
    self.check(
      str(self.folder / "myrun.py"), "Did you mean .*my_run.py", OSError
    )

  def test_paths_that_are_no_run_file(self):
    self.check(str(self.folder), "is a folder, not a run file", OSError)
    self.check("", "There is no run file ''", FileNotFoundError)
    self.check(self.write("# Read me", "README.md"), "README.md' is no run")
    self.check(self.write("x = 1\n"), "has no function get_config")
    self.check(
      self.write("def get_config():\n  return 3\n"), "returned int; expected"
    )
    self.check(self.write("[", "run.json"), "run.json' does not hold a run")
    self.check(self.write("[" * 100_000, "run.json"), "does not hold a run")

  @parameterized.parameters(
    ("def get_config(:\n", "line 1 is not valid Python: .*'def get_config"),
    ("x = 1\ny = x / 0\n", "mine.py, line 2: ZeroDivisionError: division"),
    ("\ndef get_config():\n  nme\n", "line 3: NameError: name 'nme' is not"),
    ("import no_such\n", "line 1: ModuleNotFoundError: No module"),
    (
      "from flan_tf import config\ndef get_config():\n"
      "  return config.RunConfig(train=config.TrainConfig(steps=0))\n",
      r"mine.py, line 3: train.steps: expected a positive number, got 0\.",
    ),
    ("def get_config(a):\n  pass\n", "cannot be called without an argument"),
    ("x = '\0'\n", "mine.py.*null bytes"),
  )
  def test_an_error_in_the_file(self, text, message):
    self.check(self.write(text), message)

  def test_an_argument(self):
    self.check(
      f"{CONFIGS}/ablation.py:size=zz",
      "ablation.py:size=zz: Unknown size 'zz'. Known: 137b",
    )
    self.check(f"{CONFIGS}/small_tune.py:x", "cannot be called with 'x': .*0 p")


if __name__ == "__main__":
  absltest.main()
