"""Expected failures are a sentence; bugs keep their traceback and say so."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized
from google.protobuf import json_format

from flan_tf import name_lists
from flan_tf.vocab.base import VocabularyError
from launch import failures
from tests.helpers import tiny

_OOM = "OOM when allocating tensor with shape[9,9] {{node x}} [Op:AddV2]"


def caught(work) -> Exception:
  """Returns the error that a function raises, with its traceback."""
  try:
    work()
  except Exception as error:
    return error
  raise AssertionError("No error was raised.")


def raise_error(error: Exception):
  raise error


class FilesTest(parameterized.TestCase):
  """Errors of Python and of TensorFlow for paths that cannot be used."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    (self.folder / "file").touch()
    (self.folder / "dangling").symlink_to("nowhere")

  def check(self, work, *expected: str):
    error = caught(work)
    message = failures.message(error) or ""
    self.assertStartsWith(message, type(error).__name__)
    for text in expected:
      self.assertIn(text, message)

  @parameterized.parameters(
    ("file/below", "Not a directory", "A file lies where a folder is needed"),
    ("new/" + "n" * 300, "File name too long", "Choose a shorter path"),
    ("dangling", "File exists", "a link to a place that is gone"),
    ("/proc/new", "No such file or directory", "Check the path"),
  )
  def test_a_folder_cannot_be_made(self, name, cause, advice):
    path = str(self.folder / name)
    self.check(lambda: os.makedirs(path), name, cause, advice)

  @parameterized.parameters(
    ("file/below", "file is not a directory", "A file lies where a folder"),
    ("new/" + "n" * 300, "File name too long", "Choose a shorter path"),
    ("/proc/new", "/proc/new", "Check the path"),
  )
  def test_tensorflow_cannot_make_a_folder(self, name, cause, advice):
    path = str(self.folder / name)
    self.check(lambda: tf.io.gfile.makedirs(path), cause, advice)

  def test_a_folder_in_place_of_a_file(self):
    path = str(self.folder)
    self.check(lambda: open(path), path, "Is a directory", "Choose another")
    self.check(lambda: tf.io.gfile.GFile(path).read(), path, "Is a directory")

  @parameterized.parameters(
    (OSError(28, "No space left on device"), "FLAN_CACHE and TMPDIR"),
    (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied."),
    (OSError(30, "Read-only file system", "/x"), "may write to"),
    (ConnectionRefusedError(111, "Connection refused"), "https_proxy"),
    (TimeoutError("Waiting for x: no answer within 60 seconds."), "network"),
    (tf.errors.PermissionDeniedError(None, None, "/x; Read-only file"), "/x"),
    (
      tf.errors.ResourceExhaustedError(None, None, "/x; No space left"),
      "Free some space",
    ),
    (tf.errors.DataLossError(None, None, "corrupted record at 12"), "at 12"),
    (tf.errors.UnavailableError(None, None, "libcurl code 7"), "network"),
  )
  def test_advice(self, error, expected):
    self.check(lambda: raise_error(error), expected)

  def test_a_scheme_that_tensorflow_does_not_have(self):
    self.check(
      lambda: tf.io.gfile.exists("s3://bucket/x"),
      "File system scheme 's3' not implemented",
      "local paths and gs:// paths",
    )

  def test_the_cache(self):
    with mock.patch.dict(os.environ, FLAN_CACHE="/proc/cache"):
      self.check(lambda: os.makedirs("/proc/cache"), "FLAN_CACHE=FOLDER moves")


class MessageTest(parameterized.TestCase):
  @parameterized.parameters(
    (lambda: np.zeros([1 << 46]), "Unable to allocate", "--config.train.batch"),
    (
      lambda: raise_error(tf.errors.ResourceExhaustedError(None, None, _OOM)),
      "not enough memory: OOM when allocating tensor with shape[9,9]. Smaller",
    ),
    (lambda: json.loads("{"), "not valid JSON", "line 1 column 2"),
    (lambda: json.loads("[" * 100_000), "nested too deeply"),
    (lambda: b"ab\xff".decode(), r"the byte b'\xff' at position 2"),
    (lambda: "\ud83d".encode(), "half a pair of surrogates is no text"),
    (lambda: json_format.Parse("", tf.compat.v1.GraphDef()), "damaged"),
    (lambda: compile("x = (", "mine.py", "exec"), "mine.py, line 1: '('"),
    (lambda: __import__("no_such_package.x"), "Install the package"),
    (lambda: raise_error(VocabularyError("It is odd.")), "It is odd."),
  )
  def test_expected_failures(self, work, *expected):
    message = failures.message(caught(work)) or ""
    for text in expected:
      self.assertIn(text, message)
    self.assertNotIn("{{", message)
    self.assertNotIn("[Op:", message)

  @parameterized.parameters(
    (lambda: {}["key"],),
    (lambda: 1 / 0,),
    (lambda: int("x"),),
    (lambda: np.reshape(np.zeros(3), [2, 2]),),
    (lambda: tf.reshape(tf.zeros([3]), [2, 2]),),
    (lambda: raise_error(tf.errors.InternalError(None, None, "x")),),
    (lambda: raise_error(ModuleNotFoundError("x", name="flan_tf.no_such")),),
  )
  def test_bugs(self, work):
    self.assertIsNone(failures.message(caught(work)))

  def test_a_value_error_needs_a_message_of_the_project(self):
    from flan_tf import config

    error = caught(lambda: config.TrainConfig(steps=0))
    self.assertIn("train.steps: expected", failures.message(error))
    # This line is not one of the project, as the tests are not.
    self.assertIsNone(
      failures.message(caught(lambda: raise_error(ValueError("x"))))
    )

  def test_an_error_in_the_code_of_a_user(self):
    path = pathlib.Path(self.create_tempdir().full_path, "mine.py")
    path.write_text("def field():\n  return 1 / 0\n")
    code = compile(path.read_text(), str(path), "exec")
    names = {}
    exec(code, names)
    note = failures.bug_note(caught(names["field"]))
    self.assertIn(f"{path}, line 2, which is not a file of flan_tf", note)
    with mock.patch.object(sys, "orig_argv", ["python", "-m", "a b"]):
      note = failures.bug_note(caught(lambda: name_lists.split_names(0)))
    self.assertIn("This is a bug of flan_tf. Please report it", note)
    self.assertEndsWith(note, "python -m 'a b'")


_PROGRAM = """
import sys, time
from launch import cli

def main():
  print("begun", flush=True)
  {work}

cli.run(main, tensorflow=False, again="resumes")
"""


class ProcessTest(parameterized.TestCase):
  """A binary as a shell sees it."""

  def start(self, work: str):
    path = pathlib.Path(self.create_tempdir().full_path, "binary.py")
    work = textwrap.indent(textwrap.dedent(work), "  ").strip()
    path.write_text(_PROGRAM.format(work=work))
    return tiny.start(str(path))

  @parameterized.parameters(
    (signal.SIGTERM, 75, "Stopped by SIGTERM. The same command resumes."),
    (signal.SIGHUP, 75, "Stopped by SIGHUP. The same command resumes."),
    (signal.SIGINT, 130, "Stopped by Ctrl-C. The same command resumes."),
  )
  def test_signals(self, number, status, message):
    process = self.start("time.sleep(600)")
    self.assertEqual(process.stdout.readline(), "begun\n")
    process.send_signal(number)
    _, err = process.communicate()
    self.assertEqual(err, message + "\n")
    self.assertEqual(process.returncode, status)

  def test_a_signal_that_is_ignored(self):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup does.
    self.addCleanup(signal.signal, signal.SIGHUP, before)
    work = "import os; os.kill(os.getpid(), 1); print('went on')"
    out, err = self.start(work).communicate()
    self.assertEqual((out, err), ("begun\nwent on\n", ""))

  def test_a_call_that_never_returns(self):
    work = """
      import ctypes
      from launch import stopping
      stopping.GRACE = 0.1
      mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None)
      lock.pthread_mutex_lock(mutex)
      print("locked", flush=True)
      lock.pthread_mutex_lock(mutex)
    """
    process = self.start(work)
    self.assertEqual(process.stdout.readline(), "begun\n")
    self.assertEqual(process.stdout.readline(), "locked\n")
    time.sleep(0.5)  # It takes the lock for the second time.
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    self.assertEqual((process.returncode, err), (75, "Stopped by SIGTERM.\n"))

  def test_a_bug(self):
    work = "from flan_tf import name_lists; name_lists.split_names(0)"
    process = self.start(work)
    _, err = process.communicate()
    self.assertEqual(process.returncode, 1)
    self.assertIn("Traceback (most recent call last)", err)
    self.assertRegex(
      err, "AttributeError: .*\nThis is a bug of flan_tf.* report"
    )
    self.assertRegex(err.splitlines()[-1], r"python.* .*binary\.py")

  def test_a_full_disk_at_the_output(self):
    path = pathlib.Path(self.create_tempdir().full_path, "binary.py")
    path.write_text(_PROGRAM.format(work="pass"))
    with open("/dev/full", "w") as full:
      done = subprocess.run(
        [sys.executable, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=full,
        stderr=subprocess.PIPE,
        text=True,
      )
    self.assertEqual(done.returncode, 1)
    self.assertStartsWith(done.stderr, "OSError: No space left on device. Free")
    self.assertLen(done.stderr.splitlines(), 1)


if __name__ == "__main__":
  absltest.main()
