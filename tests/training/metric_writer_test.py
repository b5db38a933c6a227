"""Metrics on disk: their format, and what a resumed run keeps of them."""

import json
import os
import pathlib
import shutil
from unittest import mock

from absl.testing import absltest
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util

from flan_tf import json_lines
from flan_tf.training import metric_writer


def tensors(folder: str, tag: str) -> list[tuple[int, object]]:
  """Returns (step, value) of every point that TensorBoard shows for a tag."""
  events = plugin_event_accumulator.EventAccumulator(
    folder, size_guidance={"tensors": 0}
  )
  events.Reload()
  return [
    (event.step, tensor_util.make_ndarray(event.tensor_proto).item())
    for event in events.Tensors(tag)
  ]


class MetricWriterTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.create_tempdir().full_path, "deep", "run")
    self.path = pathlib.Path(self.workdir, "metrics.jsonl")

  def write(self, *steps: int, after: int = 0):
    writer = metric_writer.MetricWriter(self.workdir, after)
    for step in steps:
      writer.scalars(step, {"loss": 0.5 * step})
    writer.close()

  def steps(self) -> list[int]:
    return [line["step"] for line in json_lines.read_jsonl(str(self.path))]

  def test_lines(self):
    self.write(1, 2)
    self.assertEqual(
      self.path.read_text(),
      '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 1.0}\n',
    )

  def test_lines_are_written_immediately(self):
    writer = metric_writer.MetricWriter(self.workdir)
    writer.scalars(1, {"loss": 2.0})
    self.assertEqual(self.steps(), [1])
    writer.close()

  def test_a_resumed_run_drops_later_lines(self):
    self.write(1, 2, 3, 4)
    self.write(3, after=2)
    self.assertEqual(self.steps(), [1, 2, 3])

  def test_a_new_run_drops_all(self):
    self.write(1, 2)
    self.write()
    self.assertEqual(self.path.read_text(), "")

  def test_a_line_cut_short_is_dropped(self):
    self.write(1, 2)
    with self.path.open("a") as file:
      file.write('{"step": 3, "los')
    self.assertEqual(self.steps(), [1, 2])
    self.write(3, after=2)
    self.assertEqual(self.steps(), [1, 2, 3])

  def test_a_broken_line_in_the_middle_is_an_error(self):
    self.write(1)
    self.path.write_text("not json\n" + self.path.read_text())
    with self.assertRaisesRegex(ValueError, "metrics.jsonl, line 1: "):
      self.write(after=1)

  def test_values_are_exact(self):
    value = 0.1 + 0.2
    writer = metric_writer.MetricWriter(self.workdir)
    writer.scalars(1, {"loss": value})
    writer.close()
    (line,) = json_lines.read_jsonl(str(self.path))
    self.assertEqual(line["loss"], value)

  def test_tensorboard(self):
    writer = metric_writer.MetricWriter(self.workdir)
    writer.scalars(5, {"share/rte": 0.25})
    writer.text(0, "prompts", "one\n  # two")
    writer.close()
    folder = os.path.join(self.workdir, "tensorboard")
    self.assertEqual(tensors(folder, "share/rte"), [(5, 0.25)])
    # Markdown shows text that is indented by four verbatim.
    self.assertEqual(tensors(folder, "prompts"), [(0, b"    one\n      # two")])

  def test_tensorboard_forgets_points_that_come_again(self):
    self.write(1, 2, 3, 4)
    self.write(3, 4, 5, after=2)
    folder = os.path.join(self.workdir, "tensorboard")
    points = [(step, 0.5 * step) for step in (1, 2, 3, 4, 5)]
    self.assertEqual(tensors(folder, "loss"), points)
    self.write(1, after=0)  # A run from the start.
    self.assertEqual(tensors(folder, "loss"), [(1, 0.5)])

  def test_a_workdir_that_was_removed(self):
    writer = metric_writer.MetricWriter(self.workdir)
    writer.scalars(1, {"loss": 1.0})
    shutil.rmtree(self.workdir)
    for use in (lambda: writer.scalars(2, {}), writer.flush_to_disk):
      with self.assertRaisesRegex(
        metric_writer.MetricsError,
        r"metrics.jsonl is not there any more: the workdir was removed .* start"
        " the same command again",
      ):
        use()

  def test_a_full_disk(self):
    import tensorflow as tf

    writer = metric_writer.MetricWriter(self.workdir)
    error = tf.errors.ResourceExhaustedError(None, None, "No space left")
    with (
      mock.patch.object(tf.io.gfile.GFile, "write", side_effect=error),
      self.assertRaisesRegex(
        metric_writer.MetricsError,
        r"could not be written to .*metrics.jsonl: No space left\nFree some",
      ),
    ):
      writer.scalars(1, {"loss": 1.0})
    writer.close()

  def test_a_stop_while_lines_are_dropped_leaves_the_old_ones(self):
    self.write(1, 2, 3)
    before = self.path.read_text()
    with (
      mock.patch.object(os, "replace", side_effect=KeyboardInterrupt),
      self.assertRaises(KeyboardInterrupt),
    ):
      metric_writer.MetricWriter(self.workdir, 2)
    self.assertEqual(self.path.read_text(), before)

  def test_a_line_without_a_step_is_an_error(self):
    self.write(1)
    with self.path.open("a") as file:
      file.write('{"loss": 1}\n')
    with self.assertRaisesRegex(ValueError, "jsonl, line 2: .*'step'"):
      self.write(after=1)

  def test_a_host_that_does_not_write(self):
    writer = metric_writer.MetricWriter(self.workdir, 0, writes=False)
    writer.scalars(1, {"loss": 1.0})
    writer.text(1, "prompts", "x")
    writer.close()
    self.assertFalse(os.path.exists(self.workdir))

  def test_no_file(self):
    self.assertEqual(json_lines.read_jsonl(str(self.path)), [])

  def test_lines_are_json_for_any_program(self):
    self.write(1)
    for line in self.path.read_text().splitlines():
      self.assertIsInstance(json.loads(line), dict)


if __name__ == "__main__":
  absltest.main()
