"""The compiler's environment and its process, with scripts in their place."""

import contextlib
import io
import os
import pathlib
import sys
from unittest import mock

from absl.testing import absltest

from flan_tf.tpu_plan.planner import compiler_process
from tests.helpers.fake_compiler import FakeCompiler, paper_request

ROOT = pathlib.Path(__file__).absolute().parents[2]


class EnvironmentTest(absltest.TestCase):
  def test_paths_are_those_of_the_checkout(self):
    self.assertEqual(
      compiler_process._SCRIPT, ROOT / "tools" / "python" / "environment.sh"
    )
    self.assertEqual(compiler_process._VENV, ROOT / ".venv-tpu")

  def test_the_variable_names_the_interpreter(self):
    with mock.patch.dict(os.environ, FLAN_TPU_PYTHON=sys.executable):
      self.assertTrue(compiler_process.is_installed())
      self.assertEqual(compiler_process.interpreter(), sys.executable)
    with (
      mock.patch.dict(os.environ, FLAN_TPU_PYTHON="/no/such"),
      self.assertRaisesRegex(
        compiler_process.WorkerError, "/no/such is not an executable file"
      ),
    ):
      compiler_process.interpreter()

  def test_an_installed_copy_explains_how_to_make_the_environment(self):
    with (
      mock.patch.dict(os.environ, FLAN_TPU_PYTHON=""),
      mock.patch.object(compiler_process, "_SCRIPT", pathlib.Path("/no/such")),
      self.assertRaisesRegex(
        compiler_process.WorkerError,
        r"flan-tf\[tpu-plan\](.|\n)*FLAN_TPU_PYTHON=",
      ),
    ):
      compiler_process.interpreter()

  def test_the_environment_is_made_at_first_use(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    script = folder / "environment.sh"
    script.write_text(f"echo made $1; export VIRTUAL_ENV={folder}/venv\n")
    err = io.StringIO()
    with (
      mock.patch.dict(os.environ, FLAN_TPU_PYTHON="", FLAN_VENV="elsewhere"),
      mock.patch.object(compiler_process, "_SCRIPT", script),
      mock.patch.object(compiler_process, "_VENV", folder / ".venv-tpu"),
      contextlib.redirect_stderr(err),
    ):
      self.assertFalse(compiler_process.is_installed())
      self.assertEqual(
        compiler_process.interpreter(), f"{folder}/venv/bin/python"
      )
    self.assertIn("Making .venv-tpu for it", err.getvalue())
    script.write_text("return 1\n")
    with (
      mock.patch.dict(os.environ, FLAN_TPU_PYTHON=""),
      mock.patch.object(compiler_process, "_SCRIPT", script),
      self.assertRaisesRegex(compiler_process.WorkerError, "could not be made"),
    ):
      compiler_process.interpreter()

  def test_a_path_is_never_read_as_a_command(self):
    parent = pathlib.Path(self.create_tempdir().full_path)
    folder = parent / "a b;touch PWNED;$(touch PWNED)`touch PWNED`'\"&"
    folder.mkdir()
    script = folder / "environment.sh"
    script.write_text('export VIRTUAL_ENV="$(dirname "${BASH_SOURCE[0]}")"\n')
    with (
      contextlib.chdir(parent),
      mock.patch.dict(os.environ, FLAN_TPU_PYTHON=""),
      mock.patch.object(compiler_process, "_SCRIPT", script),
      contextlib.redirect_stderr(io.StringIO()),
    ):
      self.assertEqual(compiler_process.interpreter(), f"{folder}/bin/python")
    self.assertEqual(os.listdir(parent), [folder.name])


class ProcessTest(absltest.TestCase):
  def fake_python(self, body: str) -> str:
    """Writes a bash script in place of the environment's Python."""
    file = self.create_tempfile(content=f"#!/bin/bash\n{body}\n")
    os.chmod(file.full_path, 0o755)
    return file.full_path

  def test_the_last_line_is_the_report(self):
    report = FakeCompiler()(paper_request())
    python = self.fake_python(
      f"cat >/dev/null; echo noise; echo '{report.to_json()}'"
    )
    with mock.patch.dict(os.environ, FLAN_TPU_PYTHON=python):
      self.assertEqual(compiler_process.run_request(paper_request()), report)

  def test_a_failed_process_shows_its_last_lines(self):
    for body, message in (
      ("echo why >&2; exit 3", r"status 3 for train on v3:4x4, .*\nwhy"),
      ("echo nothing", r"printed no report \((.|\n)*nothing"),
      ("true", "printed no report"),
    ):
      python = self.fake_python(f"cat >/dev/null\n{body}")
      with (
        mock.patch.dict(os.environ, FLAN_TPU_PYTHON=python),
        self.assertRaisesRegex(compiler_process.WorkerError, message),
      ):
        compiler_process.run_request(paper_request())


if __name__ == "__main__":
  absltest.main()
