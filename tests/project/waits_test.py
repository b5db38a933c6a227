"""Lines while something is waited for, and waits that end."""

import threading
from unittest import mock

from absl.testing import absltest

from flan_tf import waits


class WaitsTest(absltest.TestCase):
  def test_lines_at_intervals(self):
    logged = threading.Event()
    texts = iter(("first", "second"))

    def describe() -> str:
      text = next(texts, "")
      if not text:
        logged.set()
      return text

    with (
      mock.patch.object(waits, "EVERY", 0.001),
      self.assertLogs("flan_tf.waits", "INFO") as log,
      waits.announced(describe),
    ):
      logged.wait()
    lines = [record.getMessage() for record in log.records]
    self.assertEqual(lines[:2], ["first (0 s)", "second (0 s)"])

  def test_no_line_if_it_ends_soon(self):
    with self.assertNoLogs("flan_tf.waits", "INFO"):
      with waits.announced("Waiting"):
        pass

  def test_the_result_of_a_function(self):
    self.assertEqual(waits.call_within(60, lambda: 3, "Waiting"), 3)
    self.assertIsNone(waits.call_within(60, lambda: None, "Waiting"))
    with self.assertRaisesRegex(KeyError, "x"):
      waits.call_within(60, lambda: {}["x"], "Waiting")

  def test_a_function_that_does_not_return(self):
    never = threading.Event()
    with self.assertRaisesRegex(
      TimeoutError, "Waiting for x: no answer within 0 seconds"
    ):
      waits.call_within(0.01, never.wait, "Waiting for x")
    never.set()


if __name__ == "__main__":
  absltest.main()
