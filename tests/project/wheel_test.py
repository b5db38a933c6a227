"""A wheel of the project, installed into an empty environment, works.

The environment has no packages of its own but the wheel: it borrows the
requirements from the environment that runs this test. Programs run in a folder
with a `tasks.py` of its own, which nothing may import.
"""

import ast
import os
import pathlib
import runpy
import shutil
import site
import subprocess
import sys
import tempfile
import venv
import zipfile

from absl.testing import absltest

ROOT = pathlib.Path(__file__).absolute().parents[2]
_TREES = ("flan_tf", "launch", "tasks")
_FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")


def run(*command: str, **arguments) -> subprocess.CompletedProcess:
  """Runs a command with the environment of this process, less the checkout."""
  env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
  env |= arguments.pop("env", {})
  return subprocess.run(
    command, env=env, capture_output=True, text=True, check=False, **arguments
  )


def build_wheel(folder: pathlib.Path) -> pathlib.Path:
  """Builds the wheel from a copy of the tree, without the network.

  Raises:
    absltest.SkipTest: pip or setuptools cannot build here.
  """
  source = folder / "source"
  source.mkdir()
  for name in _TREES:
    ignored = shutil.ignore_patterns("__pycache__", "BUILD")
    shutil.copytree(ROOT / name, source / name, ignore=ignored)
  for name in _FILES:
    shutil.copy(ROOT / name, source)
  done = run(
    *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index"),
    *("--no-build-isolation", "--disable-pip-version-check"),
    *("--wheel-dir", str(folder), str(source)),
  )
  wheels = list(folder.glob("flan_tf-*.whl"))
  if done.returncode or not wheels:
    raise absltest.SkipTest(
      "pip cannot build a wheel here without the network (it needs setuptools"
      f" and wheel): {done.stderr.strip()[-300:]}"
    )
  return wheels[0]


def make_environment(folder: pathlib.Path, wheel: pathlib.Path) -> pathlib.Path:
  """Makes an environment with the wheel; returns its folder of programs."""
  venv.create(folder, with_pip=False)
  python = folder / "bin" / "python"
  done = run(
    *(sys.executable, "-m", "pip", "--python", str(python), "install"),
    *("--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)),
  )
  if done.returncode:
    raise AssertionError(done.stderr)
  (packages,) = folder.glob("lib/python3*/site-packages")
  # Where this process has its packages, in Bazel a folder for each of them.
  borrowed = [
    path
    for path in (*site.getsitepackages(), *sys.path)
    if path.endswith("-packages") or "/site-packages" in path
  ]
  (packages / "borrowed.pth").write_text("\n".join(dict.fromkeys(borrowed)))
  return folder / "bin"


class WheelTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    temporary = tempfile.TemporaryDirectory()
    cls.addClassCleanup(temporary.cleanup)
    folder = pathlib.Path(temporary.name)
    cls.wheel = build_wheel(folder)
    cls.bin = make_environment(folder / "environment", cls.wheel)
    cls.folder = folder / "elsewhere"
    cls.folder.mkdir()
    (cls.folder / "tasks.py").write_text("raise SystemExit('not these')\n")
    cls.cache = str(folder / "cache")

  def run_here(self, *command: str) -> str:
    """Runs a program of the environment in the other folder."""
    program, *arguments = command
    done = run(
      str(self.bin / program),
      *arguments,
      cwd=self.folder,
      env={
        "FLAN_CACHE": self.cache,
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
      },
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    return done.stdout

  def test_files(self):
    with zipfile.ZipFile(self.wheel) as archive:
      names = set(archive.namelist())
    expected = {
      "flan_tf/__init__.py",
      "flan_tf/py.typed",
      "flan_tf/api/models.py",
      "launch/configs/small_tune.py",
    }
    for pattern in (
      "flan_tf/report/*.j2",
      "flan_tf/report/*.css",
      "tasks/rows/*.jsonl",
      "launch/*.sh",
      "launch/tpu/*.sh",
    ):
      found = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}
      self.assertNotEmpty(found, pattern)
      expected |= found
    self.assertContainsSubset(expected, names)
    tops = {
      name.partition("/")[0] for name in names if ".dist-info" not in name
    }
    self.assertEqual(tops, {"flan_tf", "launch", "tasks"})

  def test_the_interface_reads_shipped_rows(self):
    program = (
      "import flan_tf as flan\n"
      "print(flan.__file__)\n"
      "print(len(flan.tasks), flan.RunConfig(held_out='nli').held_out)\n"
      "(prompt,) = flan.tasks['rte'].prompts(limit=1, template=3)\n"
      "print(prompt.text)\n"
    )
    out = self.run_here("python", "-c", program)
    place, known, *prompt = out.splitlines()
    self.assertStartsWith(place, str(self.bin.parent))
    self.assertEqual(known, "70 ('nli',)")
    self.assertIn("follow from the text below?", "\n".join(prompt))

  def test_console_scripts_and_modules_find_the_tasks(self):
    listed = self.run_here("flan-inspect-tasks", "--list")
    self.assertStartsWith(listed, "62 data sets in 12 clusters, 70 tasks")
    # Here the first folder that Python searches is the one with tasks.py.
    module = self.run_here("python", "-m", "launch.inspect_tasks", "--list")
    self.assertEqual(module, listed)

  def test_every_console_script_starts(self):
    setup = runpy.run_path(str(ROOT / "setup.py"))
    for name in setup["BINARIES"]:
      script = self.bin / f"flan-{name.replace('_', '-')}"
      done = run(str(script), "--helpshort", cwd=self.folder)
      # The status that absl gives a help text.
      self.assertEqual(done.returncode, 1, f"{name}: {done.stderr}")
      source = (ROOT / "launch" / f"{name}.py").read_text(encoding="utf-8")
      docstring = ast.get_docstring(ast.parse(source)) or ""
      self.assertIn(docstring.partition("\n")[0], done.stdout)
      self.assertRegex(done.stdout, r"\n  --\w+")

  def test_a_run_file_of_the_wheel_is_resolved(self):
    program = (
      "import os, flan_tf as flan, launch.configs\n"
      "folder = os.path.dirname(launch.configs.__file__)\n"
      "run = flan.read_run(os.path.join(folder, 'ablation.py:clusters=3'))\n"
      "print(len(run.held_out), 'tasks')"
    )
    self.assertEqual(self.run_here("python", "-c", program), "3 tasks\n")


if __name__ == "__main__":
  absltest.main()
