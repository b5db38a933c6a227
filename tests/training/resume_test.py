"""A run that is stopped, in whatever way, ends as if it had not been.

The stopped runs are processes of their own: one of them is killed.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import time

import numpy as np
from absl.testing import absltest

from flan_tf import json_lines
from tests.helpers import tiny

TINY = tiny.Tiny()
setUpModule, tearDownModule = TINY.open, TINY.close

_STEPS = 120
_PATIENCE = 120  # Seconds; a start takes some ten on a busy machine.


class ResumeTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_file = TINY.run_file(train__steps=_STEPS)
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def start(self, workdir: pathlib.Path) -> subprocess.Popen:
    process = tiny.start(
      *("-m", "launch.train"),
      f"--config={self.run_file}",
      f"--workdir={workdir}",
    )
    self.addCleanup(process.communicate)
    self.addCleanup(process.kill)
    return process

  def stop_after(
    self, process: subprocess.Popen, workdir: pathlib.Path, step: int, number
  ) -> None:
    """Sends a signal once the run has logged a step."""
    path = workdir / "metrics.jsonl"
    end = time.monotonic() + _PATIENCE
    while not path.exists() or path.read_text().count("\n") < step:
      self.assertIsNone(process.poll(), "The run ended before it was stopped.")
      self.assertLess(time.monotonic(), end, "The run logs nothing.")
      time.sleep(0.002)
    process.send_signal(number)

  def finish(self, process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=_PATIENCE)
    self.assertEqual(process.returncode, 0, err)
    return out

  def test_stopped_runs_end_like_one_that_never_was(self):
    whole, stopped = self.folder / "whole", self.folder / "stopped"
    TINY.train(TINY.run(train__steps=_STEPS), whole)

    # Killed, amidst anything.
    process = self.start(stopped)
    self.stop_after(process, stopped, 8, signal.SIGKILL)
    process.communicate()
    self.assertEqual(process.returncode, -signal.SIGKILL)
    before = checkpoints(stopped)
    self.assertNotEmpty(before)
    self.assertLess(before[-1], _STEPS)

    # A checkpoint that was being written, and a metrics line.
    half = stopped / "checkpoints" / f"step_{before[-1] + 3:08d}"
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(half.parent / f"step_{before[-1]:08d}", half)
    (half / "COMPLETE").unlink()
    (half / "state.index").write_bytes(b"half")
    with (stopped / "metrics.jsonl").open("a") as file:
      file.write('{"step": 900, "lo')

    # Asked to stop: it saves, and says so with status 0.
    process = self.start(stopped)
    self.stop_after(process, stopped, before[-1] + 20, signal.SIGTERM)
    self.assertIn("Stopped at step", self.finish(process))
    last = json_lines.read_jsonl(str(stopped / "metrics.jsonl"))[-1]["step"]
    self.assertEqual(checkpoints(stopped)[-1], last)
    self.assertBetween(last, before[-1] + 20, _STEPS - 1)

    self.assertIn(
      f"Finished at step {_STEPS}.", self.finish(self.start(stopped))
    )
    self.assertEqual(measured(stopped), measured(whole))
    want, got = tensors(whole), tensors(stopped)
    self.assertEqual(set(want), set(got))
    for name, value in want.items():
      np.testing.assert_array_equal(got[name], value, name)


def checkpoints(workdir: pathlib.Path) -> list[int]:
  from flan_tf.checkpoints import store

  return store.steps(str(workdir))


def measured(workdir: pathlib.Path) -> list[dict]:
  """The metrics, apart from how fast it went."""
  lines = json_lines.read_jsonl(os.path.join(workdir, "metrics.jsonl"))
  for line in lines:
    del line["tokens_per_second"]
  return lines


def tensors(workdir: pathlib.Path) -> dict[str, np.ndarray]:
  """Weights and optimizer of the newest checkpoint."""
  import tensorflow as tf

  from flan_tf.checkpoints import store

  path = os.path.join(store.find(str(workdir)), "state")
  reader = tf.train.load_checkpoint(path)
  names = reader.get_variable_to_shape_map()
  return {name: reader.get_tensor(name) for name in names}


if __name__ == "__main__":
  absltest.main()
