"""Stops of a training in this process: signals, errors, and what is saved."""

import contextlib
import io
import logging
import math
import os
import pathlib
import shutil
import signal
from collections.abc import Callable
from unittest import mock

from absl.testing import absltest, parameterized

import flan_tf as flan
from flan_tf import json_lines
from launch import cli
from tests.helpers import tiny, toys

TINY = tiny.Tiny()


def setUpModule():
  toys.open_cores()
  TINY.open()
  logging.getLogger("flan_tf").setLevel(logging.ERROR)


tearDownModule = TINY.close


class KilledError(BaseException):
  """Ends a run without a chance to save."""


def kill() -> None:
  raise KilledError


def send(number: int) -> Callable[[], None]:
  return lambda: os.kill(os.getpid(), number)


class TestCase(parameterized.TestCase):
  def folder(self) -> pathlib.Path:
    return pathlib.Path(self.create_tempdir().full_path)

  def train(
    self,
    run,
    workdir: pathlib.Path,
    at: int = 0,
    act: Callable[..., object] = kill,
  ) -> str:
    """Trains; calls `act` once step `at` is done, before the loop sees it.

    Returns:
      What `loop.train` returns: the signal that stopped the run.
    """
    from flan_tf.training import loop

    self.opened = TINY.open_run(run, workdir)
    run_steps = self.opened.train_step.run_steps

    def run_and_act(batches, first, rates):
      measured = run_steps(batches, first, rates)
      if first <= at < first + len(batches):
        act()
      return measured

    with mock.patch.object(self.opened.train_step, "run_steps", run_and_act):
      return loop.train(self.opened, str(workdir))

  def saved(self, workdir: pathlib.Path) -> list[int]:
    from flan_tf.checkpoints import checkpoint_dirs

    return checkpoint_dirs.completed_steps(str(workdir))


def metrics(workdir: pathlib.Path) -> list[dict]:
  """Returns the metrics of a workdir, except the speed."""
  lines = json_lines.read_jsonl(str(workdir / "metrics.jsonl"))
  for line in lines:
    del line["tokens_per_second"]
  return lines


class MetricsTest(TestCase):
  """The metrics of a stopped run are those of a run that was not."""

  def test_stops_at_any_step(self):
    run = TINY.run(train__steps=9, train__save_every=3, train__log_every=4)
    whole, stopped = self.folder(), self.folder()
    self.assertEqual(self.train(run, whole), "")
    self.assertEqual(
      self.train(run, stopped, 2, send(signal.SIGTERM)), "SIGTERM"
    )
    self.assertEqual((self.saved(stopped), metrics(stopped)), ([2], []))
    with self.assertRaises(KilledError):
      self.train(run, stopped, 5)
    # The line of step 4 is later than the checkpoint.
    self.assertEqual(self.saved(stopped), [2, 3])
    self.assertEqual(metrics(stopped), metrics(whole)[:1])
    self.assertEqual(self.train(run, stopped), "")
    self.assertEqual(metrics(stopped), metrics(whole))
    self.assertEqual([line["step"] for line in metrics(whole)], [4, 8, 9])

  @parameterized.parameters(
    ({"train__steps_per_loop": 2},),
    ({"mesh__shape": "data:2;model:2"},),
  )
  def test_groups_and_meshes(self, changes):
    run = TINY.run(
      train__steps=6, train__save_every=2, train__log_every=6, **changes
    )
    whole, stopped = self.folder(), self.folder()
    self.train(run, whole)
    self.assertEqual(self.train(run, stopped, 2, send(signal.SIGHUP)), "SIGHUP")
    self.train(run, stopped)
    self.assertEqual(metrics(stopped), metrics(whole))
    self.assertLen(metrics(whole), 1)


class SignalTest(TestCase):
  def test_the_result_names_the_signal(self):
    from flan_tf.training.step import TrainStep

    run_steps = TrainStep.run_steps

    def run_and_stop(step, *args):
      send(signal.SIGINT)()
      return run_steps(step, *args)

    with mock.patch.object(TrainStep, "run_steps", run_and_stop):
      result = flan.train(TINY.run(), self.folder())
    self.assertFalse(result.finished)
    self.assertEqual((result.stopped_by, result.step), ("SIGINT", 1))
    self.assertStartsWith(
      repr(result), "<TrainingResult: stopped by SIGINT at step 1, loss "
    )

  def test_a_signal_during_the_last_step(self):
    run = TINY.run(train__steps=2)
    workdir = self.folder()
    self.assertEqual(self.train(run, workdir, 2, send(signal.SIGTERM)), "")
    self.assertEqual(self.saved(workdir), [2])

  def test_a_second_signal_has_its_usual_effect(self):
    from flan_tf.training import stop_signals

    with stop_signals.StopSignals() as stop:
      send(signal.SIGINT)()
      with self.assertRaises(KeyboardInterrupt):
        send(signal.SIGINT)()
    self.assertTrue(stop.is_agreed(lambda value: value))

  def test_nohup(self):
    from flan_tf.training import stop_signals

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    self.addCleanup(signal.signal, signal.SIGHUP, before)
    with stop_signals.StopSignals() as stop:
      send(signal.SIGHUP)()
    self.assertFalse(stop.is_agreed(lambda value: value))

  def test_all_hosts_name_the_same_signal(self):
    from flan_tf.training import stop_signals

    of_another_host = iter([1.0, 0.0, 1.0])  # Any? SIGINT? SIGHUP?
    stop = stop_signals.StopSignals()
    self.assertTrue(stop.is_agreed(lambda value: value + next(of_another_host)))
    self.assertEqual(stop.stopped_by, "SIGHUP")

  @parameterized.parameters(("SIGTERM", 75), ("SIGHUP", 75), ("SIGINT", 130))
  def test_exit_statuses(self, name, status):
    run, out = TINY.run(), io.StringIO()
    result = mock.Mock(stopped_by=name, step=3, run=run)
    with (
      mock.patch.object(flan, "train", return_value=result),
      contextlib.redirect_stdout(out),
      self.assertRaises(SystemExit) as stop,
    ):
      cli.train_and_print(run, "w")
    self.assertEqual(stop.exception.code, status)
    self.assertIn(
      f"Stopped by {name} at step 3 of 6, and saved.", out.getvalue()
    )
    self.assertIn("Start the same command again", out.getvalue())


class UnusableWeightsTest(TestCase):
  @parameterized.parameters(
    ("", "slots", math.nan),
    ("data:2;model:2", "weights", math.inf),
  )
  def test_the_last_step(self, mesh, states, value):
    from flan_tf.training import divergence

    def spoil():
      state = getattr(self.opened.train_step, states)
      *_, (_, (variable, *_)) = state.shards(max(state.specs))
      flat = variable.numpy()
      flat.flat[-1] = value
      variable.assign(flat)

    workdir = self.folder()
    run = TINY.run(train__steps=3, train__save_every=2, mesh__shape=mesh)
    with self.assertRaisesRegex(
      divergence.DivergedError,
      r"weights after step 3 are not usable: .* not saved. The run continues"
      r" from its checkpoint of step 2\. .*lower train.learning_rate \(0.02 at",
    ):
      self.train(run, workdir, 3, spoil)
    self.assertEqual(self.saved(workdir), [2])
    self.assertFalse((workdir / "checkpoints/step_00000003").exists())


class SaveMinutesTest(TestCase):
  def setUp(self):
    super().setUp()
    self.now = 0.0

  def test_saves_at_the_ends_of_groups(self):
    from flan_tf.training import loop, run_saver

    changes = {"train__steps": 8, "train__save_every": 100, "train__keep": 9}
    changes |= {"train__log_every": 2, "train__steps_per_loop": 2}
    run = TINY.run(train__save_minutes=1, **changes)
    workdir, plain = self.folder(), self.folder()
    opened = TINY.open_run(run, workdir)
    run_steps = opened.train_step.run_steps

    def slow_steps(batches, first, rates):
      self.now += 25 * len(batches)
      return run_steps(batches, first, rates)

    with (
      mock.patch.object(run_saver, "clock", lambda: self.now),
      mock.patch.object(opened.train_step, "run_steps", slow_steps),
    ):
      loop.train(opened, str(workdir))
    # A minute has passed after three steps, in the middle of a group.
    self.assertEqual(self.saved(workdir), [4, 8])
    self.train(TINY.run(**changes), plain)
    self.assertEqual(metrics(workdir), metrics(plain))

  @parameterized.parameters(True, False)
  def test_the_time_of_the_first_host_counts(self, is_chief):
    from flan_tf.training import run_saver

    settings = TINY.run(train__save_minutes=0.5, train__save_every=8).train
    of_the_other_host = iter([0.0, 1.0, 0.0])
    with mock.patch.object(run_saver, "clock", lambda: self.now):
      times = run_saver.SaveTimes(
        settings, is_chief, lambda value: value + next(of_the_other_host)
      )
      self.now = 29.0
      self.assertFalse(times.is_due(1))
      self.assertTrue(times.is_due(2))  # The other host says so.
      self.now = 30.0
      self.assertEqual(times.is_due(3), is_chief)
      times.restart()
      self.assertTrue(times.is_due(8))  # Without a sum.

  def test_wrong_numbers(self):
    with self.assertRaisesRegex(ValueError, "train.save_minutes: expected 0"):
      TINY.run(train__save_minutes=-1)


class RemovedWorkdirTest(TestCase):
  def test_the_run_ends_with_an_error(self):
    from flan_tf.training import metric_writer

    workdir = self.folder() / "run"
    run = TINY.run(train__save_every=100)
    with self.assertRaisesRegex(
      metric_writer.MetricsError, "metrics.jsonl is not there any more"
    ):
      self.train(run, workdir, 2, lambda: shutil.rmtree(workdir))
    self.assertEqual(self.opened.step, 2)


if __name__ == "__main__":
  absltest.main()
