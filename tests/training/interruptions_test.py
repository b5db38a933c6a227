"""A run that is stopped or killed ends like one that was not.

`python -m tests.helpers.interruptions` does the same with random interruptions
of many kinds of runs.
"""

import os
import pathlib
import random
import signal

from absl.testing import absltest

from tests.helpers import interruptions, tiny
from tests.helpers.interruptions import Interruption

TINY = tiny.Tiny()
setUpModule, tearDownModule = TINY.open, TINY.close

_STEPS = 60
_SETTINGS = {
  "train__steps": _STEPS,
  "train__save_every": 7,
  "train__log_every": 5,
}


class InterruptionsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def test_a_run_that_was_interrupted_equals_one_that_was_not(self):
    whole, stopped = self.folder / "whole", self.folder / "two words"
    TINY.train(TINY.run(**_SETTINGS), whole)
    run_file = TINY.run_file(**_SETTINGS)
    training = interruptions.Training(run_file, stopped, _STEPS)

    with self.subTest("killed after a step"):
      status, _ = training.run(Interruption("SIGKILL", "step", 0.2, 0.0))
      self.assertEqual(status, -signal.SIGKILL)

    with self.subTest("stopped: it saves, and says how to go on"):
      before = training.saved()
      status, output = training.run(Interruption("SIGTERM", "step", 0.2, 0.0))
      self.assertEqual(status, os.EX_TEMPFAIL, output)
      self.assertRegex(
        output,
        rf"Stopped by SIGTERM at step \d+ of {_STEPS}, and saved. Start the"
        " same command again",
      )
      self.assertGreater(training.saved()[-1], max(before, default=0))

    with self.subTest("killed while a checkpoint is written"):
      status, _ = training.run(Interruption("SIGKILL", "checkpoint", 0.2, 0.0))
      self.assertEqual(status, -signal.SIGKILL)

    # As a full disk leaves them: a marker without content, and half a line.
    newest = training.saved()[-1]
    marker = stopped / f"checkpoints/step_{newest:08d}/COMPLETE"
    marker.write_bytes(b"")
    with (stopped / "metrics.jsonl").open("a") as file:
      file.write('{"step": 900, "lo')

    status, output = training.run()
    self.assertEqual(status, 0, output)
    self.assertIn(f"Finished at step {_STEPS}.", output)
    self.assertEqual(interruptions.differences(stopped, whole), [])


class DrawTest(absltest.TestCase):
  def test_the_seed_decides(self):
    one, same, other = (
      Interruption.draw(random.Random(seed), interruptions.KINDS)
      for seed in (1, 1, 2)
    )
    self.assertEqual(one, same)
    self.assertNotEqual(one, other)


class DifferencesTest(absltest.TestCase):
  def test_other_runs_differ(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    for name, rate in (("one", 0.02), ("other", 0.01)):
      TINY.train(
        TINY.run(train__steps=2, train__learning_rate=rate), folder / name
      )
    found = interruptions.differences(folder / "one", folder / "other")
    self.assertEqual(found[0], "metrics.jsonl differs")
    self.assertGreater(len(found), 2)


if __name__ == "__main__":
  absltest.main()
