"""Checkpoints in the background: their content, and errors."""

import logging
import os
import pathlib
import threading
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.checkpoints import checkpoint_dirs, host_barrier, restore
from flan_tf.checkpoints.saver import Saver
from flan_tf.mesh import state, tf_errors
from flan_tf.mesh.compat import mtf
from tests.helpers import toys

SHAPES = {
  "a": mtf.Shape([mtf.Dimension("vocab", 8), mtf.Dimension("d_model", 6)]),
  "b": mtf.Shape([mtf.Dimension("d_model", 6)]),
}


def setUpModule():
  toys.open_cores()


def made(value: float, mesh: str = "data:2;model:2") -> state.State:
  specs = {
    n: state.StateSpec(s, state.constant(value)) for n, s in SHAPES.items()
  }
  one = state.State(*toys.mesh(mesh), specs)
  one.initialize(0)
  return one


class SlowWriting:
  """Replaces SaveV2: waits for permission, then writes or fails."""

  def __init__(self, error: BaseException | None = None):
    self.may_go, self.error = threading.Event(), error
    self._write = tf.raw_ops.SaveV2

  def __call__(self, **kwargs):
    self.may_go.wait(60)
    if self.error:
      raise self.error
    return self._write(**kwargs)


class SaverTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = self.create_tempdir().full_path

  def slow(self, error: BaseException | None = None) -> SlowWriting:
    writing = SlowWriting(error)
    self.enter_context(mock.patch.object(tf.raw_ops, "SaveV2", writing))
    return writing

  def failing(self, error: BaseException) -> None:
    self.slow(error).may_go.set()

  def save(self, saver, step: int, *states) -> str:
    return saver.save(self.workdir, step, states, {}, keep=2)

  @parameterized.parameters("", "data:2;model:2")
  def test_later_changes_are_not_saved(self, mesh):
    writing, one = self.slow(), made(1.0, mesh)
    with Saver() as saver:
      path = self.save(saver, 1, one)
      for name, shape in SHAPES.items():
        one.assign(name, np.full(shape.to_integer_list, 2.0))
        for _, variables in one.shards(name):
          variables[0].assign_add(tf.ones(variables[0].shape))
      self.assertFalse(checkpoint_dirs.is_complete(path))
      writing.may_go.set()
    self.assertTrue(checkpoint_dirs.is_complete(path))
    read = made(0.0, mesh)
    restore.restore_states(checkpoint_dirs.find(path), [read])
    for name in SHAPES:
      self.assertEqual(set(read.gather(name).flat), {1.0}, name)

  def test_a_save_waits_for_the_previous_one(self):
    writing, one = self.slow(), made(1.0)
    saver = Saver()
    self.save(saver, 1, one)
    threading.Timer(0.1, writing.may_go.set).start()
    self.save(saver, 2, one)
    self.assertIn(1, checkpoint_dirs.completed_steps(self.workdir))
    self.save(saver, 3, one)
    saver.wait()
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [2, 3])

  def test_other_states_are_saved_too(self):
    saver = Saver()
    for step in (1, 2):
      path = self.save(saver, step, made(float(step)))
      saver.wait()
      reader = tf.train.load_checkpoint(os.path.join(path, "state"))
      self.assertEqual(set(reader.get_tensor("a").flat), {float(step)})

  @parameterized.parameters("save", "wait", "end")
  def test_an_error_is_raised(self, where):
    error = tf.errors.ResourceExhaustedError(None, None, "disk full\n[more]")
    self.failing(error)
    one = made(1.0)
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError,
      "step_00000001' could not be written: disk full\nFree some space, or"
      " choose a --workdir that can be written to: the run continues from the"
      " previous checkpoint",
    ) as caught:
      with Saver() as saver:
        self.save(saver, 1, one)
        if where == "save":
          self.save(saver, 2, one)
        elif where == "wait":
          saver.wait()
    self.assertIs(caught.exception.__cause__, error)
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [])

  def test_an_error_is_raised_once(self):
    self.failing(OSError("gone"))
    saver = Saver()
    self.save(saver, 1, made(1.0))
    with self.assertRaisesRegex(OSError, "gone"):
      saver.wait()
    saver.wait()

  def test_errors_of_lost_devices_keep_their_type(self):
    """The training loop handles these errors by their type."""
    self.failing(tf.errors.UnavailableError(None, None, "socket closed"))
    saver = Saver()
    self.save(saver, 1, made(1.0))
    with self.assertRaises(tf.errors.UnavailableError):
      saver.wait()

  def test_a_run_that_fails_still_completes_its_checkpoint(self):
    with self.assertRaisesRegex(ValueError, "the run's own"):
      with Saver() as saver:
        path = self.save(saver, 1, made(1.0))
        raise ValueError("the run's own")
    self.assertTrue(checkpoint_dirs.is_complete(path))

  def test_of_two_errors_the_second_is_logged(self):
    self.failing(tf.errors.ResourceExhaustedError(None, None, "disk full"))
    with (
      self.assertLogs("flan_tf", logging.ERROR) as logs,
      self.assertRaisesRegex(ValueError, "the run's own"),
      Saver() as saver,
    ):
      self.save(saver, 1, made(1.0))
      raise ValueError("the run's own")
    self.assertIn("could not be written: disk full", logs.output[0])

  def test_another_host_failed(self):
    saver = Saver(lambda value: value + 1.0)
    self.save(saver, 1, made(1.0))
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError, "by another host; its log says why"
    ):
      saver.wait()


class HostBarrierTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.is_exiting = threading.Event()

  def wait(self, hosts: int, timeout: float = 60) -> None:
    host_barrier.wait_for_hosts(self.folder, hosts, timeout, self.is_exiting)

  def test_all_hosts_are_done(self):
    for host in range(3):
      host_barrier.report(self.folder, host, 3)
    self.assertLen(os.listdir(self.folder), 2)  # The first host writes no file.
    self.wait(3)
    self.assertEqual(os.listdir(self.folder), [])

  def test_one_host_reports_later(self):
    # A file that is still being written does not count.
    path = pathlib.Path(self.folder, "part-00001-of-00002.done")
    path.write_text("don")
    report = threading.Timer(0.1, host_barrier.report, (self.folder, 1, 2))
    report.start()
    self.wait(2)
    report.join()

  def test_a_single_host_does_not_wait(self):
    self.wait(1, timeout=0)

  def test_hosts_that_do_not_report_are_named(self):
    host_barrier.report(self.folder, 2, 4)
    with self.assertRaisesRegex(
      host_barrier.HostBarrierError,
      r"After 0.01 seconds, hosts \[1, 3\] of 4 \(numbered from 0\) have not"
      r" confirmed that their part of the checkpoint is written. Are they still"
      r" running, and can all hosts write to",
    ):
      self.wait(4, timeout=0.01)

  def test_a_run_that_fails_waits_less(self):
    self.is_exiting.set()
    with (
      mock.patch.object(host_barrier, "_EXIT_TIMEOUT", 0.0),
      self.assertRaisesRegex(
        host_barrier.HostBarrierError, r"hosts \[1\] of 2"
      ),
    ):
      self.wait(2)

  def test_a_host_that_failed_is_named(self):
    host_barrier.report(self.folder, 1, 2, "disk\nfull")
    with self.assertRaisesRegex(
      host_barrier.HostBarrierError,
      r"Host 1 of 2 \(from 0\) failed: disk full$",
    ):
      self.wait(2)


class ErrorSummaryTest(parameterized.TestCase):
  @parameterized.parameters(
    ("disk full\nmore", "disk full"),
    (
      "Graph execution error:\n\nDetected at node A defined at:\n"
      '  File "a.py", line 1, in b\n\n2 root error(s) found.\n  (0) gone',
      "(0) gone",
    ),
    ("", "ValueError"),
  )
  def test_first_line_with_a_cause(self, text, line):
    self.assertEqual(tf_errors.error_summary(ValueError(text)), line)


if __name__ == "__main__":
  absltest.main()
