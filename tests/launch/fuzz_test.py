"""Random command lines end soon, with a sentence and without a traceback."""

import collections
import os
import tempfile

from absl.testing import absltest

from tests.helpers import fuzz, fuzz_processes

COMMANDS = 100


class FuzzTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    # TensorFlow must not start in this process, which is forked. Not below
    # the folder of the tests, whose long name some sockets do not take.
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    cls.addClassCleanup(folder.cleanup)
    cls.fuzz = fuzz.Fuzz(folder.name)

  def test_in_process(self):
    seeds = [f"fork-suite-{i}" for i in range(COMMANDS)]
    jobs = min(2, os.cpu_count() or 1)
    runs = list(self.fuzz.run(seeds, in_process=True, jobs=jobs))
    bad = [
      f"{run.problem}: {run.command}\n{run.output}"
      for run in runs
      if run.problem
    ]
    self.assertEmpty(bad, "\n\n".join(bad))
    self.assertCountEqual([run.seed for run in runs], seeds)
    # Some commands are good, and most are not.
    counts = collections.Counter(run.status for run in runs)
    self.assertGreater(counts[0], 3)
    self.assertGreater(counts[1], 50)

  def test_in_a_process_of_its_own(self):
    (by_fork,) = self.fuzz.run(["one"], in_process=True)
    (run,) = self.fuzz.run(["one"], in_process=False)
    self.assertEqual(run.command, by_fork.command)
    self.assertEqual(run.status, by_fork.status, run.output)

  def test_what_goes_wrong(self):
    traceback = "Traceback (most recent call last):\n  ...\nKeyError: 'x'\n"
    bug = f"{traceback}This is a bug of flan_tf. Please report it"
    for status, text, problem in (
      (0, "", ""),
      (1, "ValueError: x", ""),
      (1, bug, "bug"),
      (1, traceback, "traceback"),
      (-11, "", "status"),
      (3, "", "status"),
    ):
      self.assertEqual(fuzz_processes.judge(status, text), problem)


if __name__ == "__main__":
  absltest.main()
