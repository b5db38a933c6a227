"""Runs each test file with pytest in a process of its own, two at a time.

TensorFlow's logical devices are set once in a process, before anything else
uses TensorFlow, and test files need different numbers of them. Each file
therefore gets a process of its own. This process imports the large packages
once and forks; TensorFlow starts its threads only when a test first uses it.

A file that does not end within FLAN_TEST_LIMIT seconds is stopped and counts as
failed: a collective that waits for a lost process waits for ever.

Arguments that are files choose what to run; all others go to pytest. The last
line is `N passed, N failed, N skipped`.

  FLAN_TEST_JOBS    files at a time, by default the number of cores, at most 8
  FLAN_TEST_LIMIT   seconds for a file, by default 900
"""

import collections
import contextlib
import gc
import importlib
import os
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from xml.etree import ElementTree

TESTS = pathlib.Path(__file__).absolute().parent
ROOT = TESTS.parent
JOBS = int(os.environ.get("FLAN_TEST_JOBS") or min(os.cpu_count() or 2, 8))
LIMIT = float(os.environ.get("FLAN_TEST_LIMIT") or 900)
NO_TESTS = 5  # pytest's exit status when -k or -m leaves nothing.

# These take longest. They start first, so that none of them ends alone.
_SLOWEST = (
  "project/pins_test.py",
  "mesh/mesh_invariance_test.py",
  "launch/hosts_test.py",
  "tpu_plan/execute_test.py",
  "model/kv_cache_test.py",
  "bridges/saved_model_test.py",
  "bridges/export_test.py",
  "tpu_plan/compile_test.py",
  "bridges/bridges_test.py",
  "training/loop_test.py",
  "vocab/byte_pair_test.py",
)

# Imported once, before the first fork. None of them starts a thread.
_PRELOADED = (
  "absl.testing.parameterized",
  "gguf",
  "h5py",
  "jinja2",
  "keras_hub",
  "matplotlib.pyplot",
  "pytest",
  "safetensors",
  "sentencepiece",
  "sklearn.metrics",
  "tensorflow",
  "tensorflow_datasets",
  "tensorflow_text",
  "tokenizers",
  # The project's own packages, with Mesh-TensorFlow.
  "flan_tf.api.training",
  "flan_tf.eval.protocol",
  "flan_tf.training.loop",
  "tests.helpers.tiny",
  "tests.helpers.toys",
)

Counts = collections.Counter  # of "passed", "failed" and "skipped"


class TestFile:
  """A test file that runs in a child process.

  Args:
    path: of the file.
    arguments: for pytest.
    folder: temporary; the report and the output are written there.
  """

  def __init__(
    self, path: pathlib.Path, arguments: Sequence[str], folder: pathlib.Path
  ):
    self.path, self._arguments = path, arguments
    name = "_".join(path.parts[-2:])
    self._report, self._output = folder / f"{name}.xml", folder / f"{name}.txt"
    self._begin = time.monotonic()
    self._stopped = False
    self.pid = os.fork()
    if not self.pid:
      self._run_as_child()

  def stop_if_late(self) -> None:
    """Ends the process and its children after LIMIT seconds."""
    if not self._stopped and time.monotonic() - self._begin > LIMIT:
      self._stopped = True
      with contextlib.suppress(ProcessLookupError):
        os.killpg(self.pid, signal.SIGKILL)

  def result(self, status: int) -> tuple[Counts, str]:
    """Returns the counts of a file that has ended, and a report on it.

    Args:
      status: exit status of pytest; negative after a signal.
    """
    seconds = time.monotonic() - self._begin
    output = self._output.read_text(errors="replace")
    counts = read_counts(self._report) if self._report.exists() else Counts()
    if self._stopped:
      output += f"\nStopped: not done after {LIMIT:.0f} s (FLAN_TEST_LIMIT)."
    if status == NO_TESTS and not self._arguments:
      output += "\nThe file has no tests."
      counts["failed"] += 1
    elif status not in (0, NO_TESTS) and not counts["failed"]:
      output += f"\npytest ended with status {status}."
      counts["failed"] += 1
    verdict = "FAILED" if counts["failed"] else "ok"
    name = self.path.relative_to(TESTS) if TESTS in self.path.parents else ""
    line = f"{verdict:6} {name or self.path}: {summary(counts)}"
    line += f" in {seconds:.1f} s"
    # pytest's last line mentions warnings, if there were any.
    is_quiet = (
      verdict == "ok" and not counts["skipped"] and "warning" not in output
    )
    return counts, line if is_quiet else f"{line}\n{_indented(output)}"

  def _run_as_child(self) -> None:
    """Runs pytest in this process, which then ends."""
    status = 1
    try:
      os.setsid()  # So that its own children can be stopped too.
      # A shell ignores SIGINT for what it starts in the background, and nohup
      # ignores SIGHUP. Tests send both.
      signal.signal(signal.SIGINT, signal.default_int_handler)
      signal.signal(signal.SIGHUP, signal.SIG_DFL)
      _redirect(self._output)
      import pytest

      status = pytest.main(
        [
          str(self.path),
          f"--junitxml={self._report}",
          # Shows where a test hangs, before the whole file is stopped.
          "-o",
          f"faulthandler_timeout={0.9 * LIMIT:.0f}",
          "-p",
          "no:cacheprovider",
          "-q",
          "-rs",
          "--tb=short",
          *self._arguments,
        ]
      )
    finally:
      sys.stdout.flush()
      sys.stderr.flush()
      os._exit(int(status))


def _redirect(path: pathlib.Path) -> None:
  """Sends the output of this process to a file; input is empty."""
  with open(os.devnull) as nothing, open(path, "w") as output:
    os.dup2(nothing.fileno(), 0)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)


def read_counts(report: pathlib.Path) -> Counts:
  """Counts the cases of a junit report; an error counts as a failure."""
  counts = Counts()
  for case in ElementTree.parse(report).iter("testcase"):
    outcomes = {child.tag for child in case}
    if outcomes & {"failure", "error"}:
      counts["failed"] += 1
    elif "skipped" in outcomes:
      counts["skipped"] += 1
    else:
      counts["passed"] += 1
  return counts


def summary(counts: Counts) -> str:
  """Returns the counts as `N passed, N failed, N skipped`."""
  return ", ".join(f"{counts[k]} {k}" for k in ("passed", "failed", "skipped"))


def _indented(text: str) -> str:
  return "\n".join(f"    {line}" for line in text.strip().splitlines())


def run_files(
  files: Sequence[pathlib.Path], arguments: Sequence[str]
) -> Counts:
  """Runs test files, prints a report on each, and returns the total counts."""
  total = Counts()
  waiting, running = list(files), {}
  with tempfile.TemporaryDirectory() as folder:
    os.environ["FLAN_TEST_SHARED"] = f"{folder}/tiny"
    while waiting or running:
      while waiting and len(running) < JOBS:
        started = TestFile(waiting.pop(0), arguments, pathlib.Path(folder))
        running[started.pid] = started
      pid, status = os.waitpid(-1, os.WNOHANG)
      if pid in running:
        exit_status = os.waitstatus_to_exitcode(status)
        counts, text = running.pop(pid).result(exit_status)
        total += counts
        print(text, flush=True)
        continue
      for file in running.values():
        file.stop_if_late()
      time.sleep(0.05)
  return total


def _preload() -> None:
  """Imports large packages as tests/conftest.py would find them."""
  sys.path.insert(0, str(ROOT))
  importlib.import_module("tests.conftest")  # Sets environment variables.
  for name in _PRELOADED:
    importlib.import_module(name)
  # Python looks for garbage among new objects only. A full collection over all
  # that was imported takes long, and would copy its memory in each child.
  gc.collect()
  gc.freeze()


def all_files() -> list[pathlib.Path]:
  """Returns all test files, the slowest ones first."""
  slowest = [TESTS / name for name in _SLOWEST]
  return slowest + sorted(set(TESTS.rglob("*_test.py")) - set(slowest))


def main(argv: Sequence[str]) -> int:
  files = [pathlib.Path(a).absolute() for a in argv if a.endswith(".py")]
  arguments = [a for a in argv if not a.endswith(".py")]
  missing = [str(file) for file in files if not file.exists()]
  if missing:
    print(f"No such test file: {', '.join(missing)}.", file=sys.stderr)
    return 2
  os.chdir(ROOT)
  _preload()
  total = run_files(files or all_files(), arguments)
  if not sum(total.values()):
    print("No test was run.", file=sys.stderr)
    total["failed"] += 1
  print(summary(total))
  return 1 if total["failed"] else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
