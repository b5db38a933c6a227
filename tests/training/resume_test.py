"""A run that is stopped or killed ends like one that was not.

The stopped runs are separate processes, since one of them is killed.
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
_TIMEOUT = 120  # Seconds; a start takes about ten on a busy machine.


class ResumeTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_file = TINY.run_file(train__steps=_STEPS)
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def start(self, workdir: pathlib.Path) -> subprocess.Popen:
    process = tiny.start(
      "-m",
      "launch.train",
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
    end = time.monotonic() + _TIMEOUT
    while not path.exists() or path.read_text().count("\n") < step:
      self.assertIsNone(process.poll(), "The run ended before it was stopped.")
      self.assertLess(time.monotonic(), end, "The run does not log.")
      time.sleep(0.002)
    process.send_signal(number)

  def finish(self, process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=_TIMEOUT)
    self.assertEqual(process.returncode, 0, err)
    return out

  def test_a_stopped_run_ends_like_one_that_was_not(self):
    whole, stopped = self.folder / "whole", self.folder / "stopped"
    TINY.train(TINY.run(train__steps=_STEPS), whole)

    # Killed at an arbitrary point.
    process = self.start(stopped)
    self.stop_after(process, stopped, 8, signal.SIGKILL)
    process.communicate()
    self.assertEqual(process.returncode, -signal.SIGKILL)
    before = checkpoints(stopped)
    self.assertNotEmpty(before)
    self.assertLess(before[-1], _STEPS)

    # An incomplete checkpoint and an incomplete line of metrics.
    half = stopped / "checkpoints" / f"step_{before[-1] + 3:08d}"
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(half.parent / f"step_{before[-1]:08d}", half)
    (half / "COMPLETE").unlink()
    (half / "state.index").write_bytes(b"half")
    with (stopped / "metrics.jsonl").open("a") as file:
      file.write('{"step": 900, "lo')

    # Stopped by a signal: it saves, and exits with status 0.
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
  from flan_tf.checkpoints import checkpoint_dirs

  return checkpoint_dirs.completed_steps(str(workdir))


def measured(workdir: pathlib.Path) -> list[dict]:
  """Returns the metrics of a workdir, except the speed."""
  lines = json_lines.read_jsonl(os.path.join(workdir, "metrics.jsonl"))
  for line in lines:
    del line["tokens_per_second"]
  return lines


def tensors(workdir: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns the tensors of the newest checkpoint: weights and slots."""
  import tensorflow as tf

  from flan_tf.checkpoints import checkpoint_dirs

  path = os.path.join(checkpoint_dirs.find(str(workdir)), "state")
  reader = tf.train.load_checkpoint(path)
  names = reader.get_variable_to_shape_map()
  return {name: reader.get_tensor(name) for name in names}


if __name__ == "__main__":
  absltest.main()
