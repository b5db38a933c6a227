"""The training loop: groups of steps, profiles, checkpoints, lost devices."""

import glob
import logging
import os
import pathlib
import threading
import types
from unittest import mock

from absl.testing import absltest, parameterized

from flan_tf import config, json_lines
from tests.helpers import tiny

TINY = tiny.Tiny()


def setUpModule():
  TINY.open()
  logging.getLogger("flan_tf").setLevel(logging.ERROR)


tearDownModule = TINY.close


def metrics(workdir) -> list[dict]:
  """Returns the metrics of a workdir, except the speed."""
  lines = json_lines.read_jsonl(os.path.join(workdir, "metrics.jsonl"))
  for line in lines:
    del line["tokens_per_second"]
  return lines


class ConfigTest(parameterized.TestCase):
  @parameterized.parameters(
    ("", range(0)), ("3-5", range(3, 6)), (" 7 - 7 ", range(7, 8))
  )
  def test_profile_steps(self, text, steps):
    train = config.TrainConfig(profile_steps=text)
    self.assertEqual(train.profiled_steps(), steps)

  @parameterized.parameters(
    (
      "5",
      "train.profile_steps: cannot read '5'; write FIRST-LAST, e.g. '10-15",
    ),
    ("a-b", "cannot read 'a-b'"),
    ("-5", "cannot read '-5'"),
    ("5-3", "expected FIRST-LAST with 1 <= FIRST <= LAST, got '5-3'"),
    ("0-3", "expected FIRST-LAST with 1 <= FIRST <= LAST, got '0-3'"),
  )
  def test_invalid_profile_steps(self, text, message):
    with self.assertRaisesRegex(ValueError, message):
      config.TrainConfig(profile_steps=text)

  @parameterized.parameters(
    (dict(save_every=10, steps_per_loop=4), "save_every to 8 or 12"),
    (dict(save_every=8, log_every=3, steps_per_loop=4), "log_every to 4,"),
  )
  def test_intervals_are_multiples_of_groups(self, settings, fits):
    with self.assertRaisesRegex(
      ValueError,
      r"train\.\w+: \d+ is not a multiple of train.steps_per_loop \(4\)"
      rf".*{fits}",
    ):
      config.TrainConfig(**settings)

  def test_a_tpu_for_another_platform(self):
    with self.assertRaisesRegex(
      ValueError, "mesh.tpu names 'x', but mesh.platform is 'auto'. Set"
    ):
      config.MeshConfig(tpu="x")


class GroupsTest(absltest.TestCase):
  """Several steps before control returns to Python."""

  def test_groups_do_not_change_training(self):
    one, groups = (self.create_tempdir().full_path for _ in range(2))
    every = {"train__steps": 7, "train__save_every": 4, "train__log_every": 2}
    TINY.train(TINY.run(**every), one)
    opened = TINY.open_run(TINY.run(train__steps_per_loop=2, **every), groups)
    sum_over_hosts = mock.Mock(side_effect=lambda value=0.0: value)
    opened.sum_over_hosts = sum_over_hosts
    from flan_tf.checkpoints import checkpoint_dirs
    from flan_tf.training import loop

    self.assertEqual(loop.train(opened, groups), "")
    for line, want in zip(metrics(groups), metrics(one), strict=True):
      self.assertEqual(set(line), set(want))
      for name, value in want.items():
        self.assertAlmostEqual(line[name], value, delta=1e-5 * abs(value))
    self.assertEqual([line["step"] for line in metrics(one)], [2, 4, 6, 7])
    self.assertEqual(checkpoint_dirs.completed_steps(groups), [4, 7])
    # Once for each of the groups 2 2 2 1, three times for each checkpoint.
    self.assertEqual(sum_over_hosts.call_count, 4 + 3 * 2)

  def test_a_run_that_stopped_in_the_middle_of_a_group(self):
    workdir = self.create_tempdir().full_path
    TINY.train(TINY.run(train__steps=3), workdir)
    every = {"train__steps_per_loop": 4, "train__save_every": 4}
    run = TINY.run(train__steps=8, train__log_every=4, **every)
    TINY.train(run, workdir)
    steps = [line["step"] for line in metrics(workdir)]
    self.assertEqual(steps, [1, 2, 3, 4, 8])


class ProfileTest(parameterized.TestCase):
  def test_tensorboard_finds_the_profile(self):
    workdir = self.create_tempdir().full_path
    TINY.train(TINY.run(train__profile_steps="2-3", train__steps=4), workdir)
    (found,) = glob.glob(f"{workdir}/tensorboard/plugins/profile/*/*.xplane.pb")
    content = pathlib.Path(found).read_bytes()
    # The plugin looks for this name of the steps.
    self.assertIn(b"train", content)
    self.assertIn(b"step_num", content)

  @parameterized.parameters(
    (range(3, 5), 1, ["start 3", "stop 4"]),
    (range(3, 4), 4, ["start 1", "stop 4"]),
    (range(4, 6), 4, ["start 1", "stop 8"]),
    (range(1, 90), 4, ["start 1", "stop"]),
    (range(0), 4, []),
    (range(20, 30), 4, []),
  )
  def test_whole_groups(self, steps, each, expected):
    import tensorflow as tf

    from flan_tf.training import profiling

    calls = []
    group = types.SimpleNamespace(first=0, last=0)
    folder = self.create_tempdir().full_path
    with (
      mock.patch.object(
        tf.profiler.experimental,
        "start",
        lambda logdir: calls.append(f"start {group.first}"),
      ),
      mock.patch.object(
        tf.profiler.experimental,
        "stop",
        lambda: calls.append(f"stop {group.last}".removesuffix(" 0")),
      ),
    ):
      with profiling.Profile(folder, steps) as profile:
        for group.first in range(1, 13, each):
          group.last = group.first + each - 1
          with profile.around(group.first, each):
            pass
        group.last = 0
    self.assertEqual(calls, expected)


class BackgroundTest(absltest.TestCase):
  def test_training_continues_while_a_checkpoint_is_written(self):
    import tensorflow as tf

    from flan_tf.checkpoints import checkpoint_dirs
    from flan_tf.training import loop

    workdir = self.create_tempdir().full_path
    opened = TINY.open_run(
      TINY.run(train__steps=5, train__save_every=3), workdir
    )
    written, step = threading.Event(), opened.train_step
    save = tf.raw_ops.SaveV2

    def slow_save(**kwargs):
      written.wait(60)
      return save(**kwargs)

    def count(features, number, rate):
      if number == 5:  # The checkpoint of step 3 is still being written.
        self.assertEqual(checkpoint_dirs.completed_steps(workdir), [])
        written.set()
      return step(features, number, rate)

    with (
      mock.patch.object(tf.raw_ops, "SaveV2", slow_save),
      mock.patch.object(
        opened.train_step,
        "run_steps",
        lambda batches, first, rates: [count(batches[0], first, rates[0])],
      ),
    ):
      loop.train(opened, workdir)
    self.assertEqual(checkpoint_dirs.completed_steps(workdir), [3, 5])


class LostDevicesTest(parameterized.TestCase):
  @parameterized.parameters(("UnavailableError", 3, 6), ("AbortedError", 9, 0))
  def test_the_message(self, kind, save_every, saved):
    import tensorflow as tf

    from flan_tf.training import loop

    workdir = self.create_tempdir().full_path
    run = TINY.run(train__steps=9, train__save_every=save_every)
    opened = TINY.open_run(run, workdir)
    error = getattr(tf.errors, kind)(None, None, "Socket closed\nand more")
    run_steps = opened.train_step.run_steps

    def failing_steps(batches, first, rates):
      if first == 8:
        raise error
      return run_steps(batches, first, rates)

    with (
      mock.patch.object(opened.train_step, "run_steps", failing_steps),
      self.assertRaisesRegex(
        loop.PreemptedError,
        r"were lost after step 7 \(Socket closed\). Start the same command"
        rf" again; it continues from step {saved}\.",
      ),
    ):
      loop.train(opened, workdir)
    opened = TINY.train(run, workdir)  # The same command again.
    self.assertEqual(opened.step, 9)
    self.assertEqual(
      [line["step"] for line in metrics(workdir)], [*range(1, 10)]
    )


class BinaryTest(absltest.TestCase):
  def main(self, tpu: str | None, **changes):
    """Calls the binary's main; returns the trained run and its exit status."""
    from launch import train

    def flag(value):
      return types.SimpleNamespace(value=value)

    run = TINY.run(**changes)
    with (
      mock.patch.multiple(
        train, _CONFIG=flag(None), _WORKDIR=flag("w"), _DRY_RUN=flag(False)
      ),
      mock.patch.object(train, "_TPU", flag(tpu)),
      mock.patch.object(train.cli, "resolve", return_value=run),
      mock.patch.object(train.cli, "train_and_print") as job,
      mock.patch.object(os, "_exit") as leave,
    ):
      job.side_effect = self.error
      train.main()
    (trained, *_), _ = job.call_args
    return trained, leave.call_args

  error: Exception | None = None

  def test_the_flag_names_a_tpu(self):
    trained, status = self.main("my-slice")
    self.assertEqual(
      (trained.mesh.platform, trained.mesh.tpu), ("tpu", "my-slice")
    )
    self.assertIsNone(status)
    trained, _ = self.main(None)
    self.assertEqual(trained.mesh.platform, "cpu")

  def test_a_preempted_run_exits_with_status_75(self):
    from flan_tf.training import loop

    self.error = loop.PreemptedError("Start the same command again")
    _, status = self.main(None)
    self.assertEqual(status, mock.call(75))

  def test_plain_tensorflow_has_no_tpu(self):
    train = tiny.start(
      "-m",
      "launch.train",
      "--tpu=local",
      f"--config={TINY.run_file()}",
      f"--workdir={self.create_tempdir().full_path}",
    )
    _, stderr = train.communicate(timeout=120)
    self.assertEqual(train.returncode, 1, stderr)
    self.assertIn("No TPU found: 'local' cannot be used.", stderr)
    self.assertIn("TensorFlow of this environment has no TPU kernels.", stderr)
    self.assertNotIn("Traceback", stderr)


if __name__ == "__main__":
  absltest.main()
