"""An evaluation that was killed and resumed gives the same files.

It runs in a process of its own, which is killed.
"""

import json
import pathlib
import signal
import subprocess
import time

from absl.testing import absltest

from tests.helpers import tiny

TINY = tiny.Tiny()
_NAMES = ("rte", "sst2", "gigaword")
_PATIENCE = 240  # Seconds; a start takes about ten on a busy machine.
# Small chunks, so that there are many; few rows, so that it is fast.
_SETTINGS = dict(max_examples=4, templates=(0, 1, 2), chunk=4, max_new=4)


def setUpModule():
  TINY.open()
  TINY.train(TINY.run(train__steps=2), TINY.folder / "model")


tearDownModule = TINY.close


def evaluate(output: pathlib.Path, **changes) -> str:
  from flan_tf.api import evaluation

  result = evaluation.evaluate(
    TINY.folder / "model",
    tasks=_NAMES,
    output=str(output),
    batch=4,
    **{**_SETTINGS, **changes},
  )
  return f"{result}\nReport: {result.report(output)}"


def code(output: pathlib.Path) -> str:
  """Returns Python code that evaluates in another process."""
  return f"""
import pathlib, sys
sys.path.insert(0, {str(tiny.ROOT)!r})
from tests.eval import stopped_evaluation_test as test
test.TINY.folder = pathlib.Path({str(TINY.folder)!r})
print(test.evaluate(pathlib.Path({str(output)!r})))
"""


class StoppedEvaluationTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def start(self, output: pathlib.Path) -> subprocess.Popen:
    process = tiny.start("-c", code(output))
    self.addCleanup(process.communicate)
    self.addCleanup(process.kill)
    return process

  def kill_amidst(self, output: pathlib.Path, chunks: int) -> None:
    """Kills an evaluation after it has written so many chunks of a task."""
    process = self.start(output)
    end = time.monotonic() + _PATIENCE
    while len(list(output.rglob("*.parts/?????.jsonl"))) < chunks:
      if process.poll() is not None:
        self.fail(f"It ended before it was killed: {process.communicate()}")
      self.assertLess(time.monotonic(), end, "Nothing is written.")
      time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    self.assertEqual(process.returncode, -signal.SIGKILL)
    self.assertFalse((output / "results.json").exists())

  def test_its_results_are_those_of_one_never_stopped(self):
    whole, stopped = self.folder / "whole", self.folder / "stopped"
    evaluate(whole)
    self.kill_amidst(stopped, 3)
    # Files that are incomplete because of the kill.
    (parts,) = stopped.rglob("*.parts")
    newest = max(parts.glob("?????.jsonl"))
    newest.write_bytes(newest.read_bytes()[:-7])
    (parts / "00009.jsonl.tmp").write_bytes(b"half")

    process = self.start(stopped)
    out, err = process.communicate(timeout=_PATIENCE)
    self.assertEqual(process.returncode, 0, err)
    self.assertIn("Report: ", out)
    kept = time_of(stopped)
    self.assertGreaterEqual(kept["read_back"], 2 * _SETTINGS["chunk"])
    self.assertGreater(kept["answered"], 0)
    for name in files(whole):
      with self.subTest(name):
        expected = (whole / name).read_bytes()
        self.assertEqual((stopped / name).read_bytes(), expected)
    self.assertEqual(files(stopped), files(whole))
    self.assertEqual(lasting_results(stopped), lasting_results(whole))

    # A third start makes no predictions and gives the same results.
    text = evaluate(stopped)
    self.assertEqual(time_of(stopped)["answered"], 0)
    self.assertEqual(lasting_results(stopped), lasting_results(whole))
    self.assertIn("gigaword", text)
    with self.assertRaisesRegex(ValueError, "rte.jsonl.*shots is 1 now, was 0"):
      evaluate(stopped, shots=1)


def files(output: pathlib.Path) -> list[str]:
  """Returns the files that must be equal to the last byte."""
  paths = [*output.glob("predictions/**/*"), output / "scores.csv"]
  return sorted(str(p.relative_to(output)) for p in paths if p.is_file())


def lasting_results(output: pathlib.Path) -> str:
  """Returns results.json without the duration."""
  value = json.loads((output / "results.json").read_text())
  del value["time"]
  return json.dumps(value)


def time_of(output: pathlib.Path) -> dict:
  return json.loads((output / "results.json").read_text())["time"]


if __name__ == "__main__":
  absltest.main()
