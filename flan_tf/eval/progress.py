"""How far an evaluation is: a bar on a terminal, lines in a log."""

import logging
import sys
import time
from collections.abc import Mapping

_log = logging.getLogger(__name__)
_LOG_EVERY = 30.0  # seconds


class Progress:
  """Counts requests answered.

  Args:
    label: of the model.
    expected: of each task, how many requests it has or may have.
  """

  def __init__(self, label: str, expected: Mapping[str, int]):
    self._label, self._expected = label, dict(expected)
    self._tasks = 0
    self._start = self._logged = time.perf_counter()
    self._seconds = 0.0
    self.answered = self.before = 0
    self._bar = None
    if sys.stdout.isatty() and expected:
      import keras

      print(f"Evaluating {label}")
      self._bar = keras.utils.Progbar(
        sum(expected.values()),
        stateful_metrics=["examples/s"],
        unit_name="example",
      )

  def expect(self, task: str, requests: int) -> None:
    """Says how many requests a task really has."""
    self._expected[task] = requests
    if self._bar is not None:
      self._bar.target = max(sum(self._expected.values()), 1)
      self._show()

  def add(self, requests: int, seconds: float) -> None:
    """Counts requests that were answered now, in so many seconds."""
    self.answered += requests
    self._seconds += seconds
    self._show()

  def add_kept(self, requests: int) -> None:
    """Counts requests that were answered before, and read back."""
    self.before += requests
    self._show()

  def finish_task(self) -> None:
    """Says that a task is done, or has nothing to ask."""
    self._tasks += 1
    self._show()
    if self._bar is None:
      self._write(f"{self._tasks} of {len(self._expected)} tasks")

  @property
  def rate(self) -> float:
    """Requests answered a second, apart from what was read and counted."""
    return self.answered / self._seconds if self._seconds else 0.0

  @property
  def time(self) -> dict[str, float | int]:
    """What results.json says under "time"."""
    return {
      "seconds": round(time.perf_counter() - self._start, 3),
      "answered": self.answered,
      "read_back": self.before,
      "examples_per_second": round(self.rate, 3),
    }

  def _show(self) -> None:
    done, now = self.answered + self.before, time.perf_counter()
    if self._bar is not None:
      last = self._tasks == len(self._expected)
      self._bar.update(done, [("examples/s", self.rate)], finalize=last)
    elif now - self._logged > _LOG_EVERY:
      self._write(f"{done} of about {sum(self._expected.values())} examples")

  def _write(self, what: str) -> None:
    self._logged = time.perf_counter()
    if self.answered:
      what += f", {self.rate:.1f} examples/s"
    if self.before:
      what += f", {self.before} kept from before"
    _log.info("%s: %s", self._label, what)
