"""Progress of an evaluation: log lines, or a bar on a terminal."""

import io
import sys
from unittest import mock

from absl.testing import absltest

from flan_tf import progress_bars
from flan_tf.inference import progress


class Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


class ProgressTest(absltest.TestCase):
  def test_without_a_terminal_there_are_lines(self):
    with self.assertLogs("flan_tf.inference.progress", "INFO") as logged:
      shown = progress.Progress("tuned", {"rte": 100, "cb": 50})
      shown.set_requests("rte", 80)
      shown.add_read_back(20)
      shown.add_answered(60, 30.0)
      shown.finish_task()
      shown.set_requests("cb", 0)
      shown.finish_task()
    lines = [record.getMessage() for record in logged.records]
    self.assertEqual(
      lines,
      [f"tuned: {n} of 2 tasks, 2.0 examples/s, 20 read back" for n in (1, 2)],
    )
    self.assertEqual(shown.rate, 2)
    self.assertEqual(
      (shown.time["answered"], shown.time["read_back"]), (60, 20)
    )
    self.assertEqual(shown.time["examples_per_second"], 2)

  def test_now_and_then_there_is_a_line_within_a_task(self):
    shown = progress.Progress("tuned", {"rte": 100})
    with mock.patch.object(progress, "_LOG_EVERY", -1.0):
      with self.assertLogs("flan_tf.inference.progress", "INFO") as logged:
        shown.add_answered(30, 10.0)
    self.assertIn("30 of about 100 examples, 3.0", logged.output[0])

  def test_a_line_of_a_task_is_a_line(self):
    """A line about a task postpones the next line within a task."""
    shown = progress.Progress("tuned", {"rte": 100, "cb": 50})
    with mock.patch.object(progress.time, "perf_counter") as clock:
      for seconds, act, lines in (
        (1e6, lambda: shown.set_requests("cb", 40), 0),
        (1e6, lambda: shown.finish_task(), 2),
        (1e6 + 20, lambda: shown.add_answered(30, 10.0), 0),
        (1e6 + 40, lambda: shown.add_answered(30, 10.0), 1),
      ):
        clock.return_value = seconds
        with mock.patch.object(progress, "_log") as log:
          act()
        self.assertEqual(log.info.call_count, lines)

  def test_a_terminal_has_a_bar(self):
    terminal = Terminal()
    with (
      mock.patch.object(progress_bars, "_enabled", True),
      mock.patch.object(sys, "stdout", terminal),
    ):
      shown = progress.Progress("tuned", {"rte": 100})
      shown.set_requests("rte", 80)
      shown.add_answered(60, 30.0)
      shown.add_read_back(20)
      shown.finish_task()
    self.assertRegex(terminal.getvalue(), "Evaluating tuned\n(?s:.*)80/80")
    self.assertIn("examples/s: 2.0", terminal.getvalue())

  def test_python_code_on_a_terminal_prints_nothing(self):
    terminal = Terminal()
    with mock.patch.object(sys, "stdout", terminal):
      shown = progress.Progress("tuned", {"rte": 100})
      shown.add_answered(100, 30.0)
      shown.finish_task()
    self.assertEqual(terminal.getvalue(), "")

  def test_nothing_answered_has_no_rate(self):
    self.assertEqual(progress.Progress("base", {}).rate, 0)


if __name__ == "__main__":
  absltest.main()
