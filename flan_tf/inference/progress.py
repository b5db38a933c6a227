"""How far an evaluation is: a bar on a terminal, lines in a log."""

import logging
import sys
import time
from collections.abc import Mapping

_log = logging.getLogger(__name__)
_LOG_EVERY = 30.0  # seconds


class Bar:
  """Things done, of so many: a bar on a terminal, or a line now and then.

  Whoever has one writes the lines, and tells of each.

  Args:
    expected: how many there are, as far as is known; 0 shows no bar.
    unit: what one of them is called.
  """

  def __init__(self, expected: int, unit: str):
    self._rate_name = f"{unit}s/s"
    self._logged = time.perf_counter()
    self._bar = None
    if sys.stdout.isatty() and expected:
      import keras

      self._bar = keras.utils.Progbar(
        expected, stateful_metrics=[self._rate_name], unit_name=unit
      )

  @property
  def on_terminal(self) -> bool:
    return self._bar is not None

  def expect(self, number: int) -> None:
    """Says how many there really are."""
    if self._bar is not None:
      self._bar.target = max(number, 1)

  def show(self, done: int, rate: float, last: bool | None = None) -> bool:
    """Moves the bar; without one, says whether it is time for a line."""
    if self._bar is not None:
      self._bar.update(done, [(self._rate_name, rate)], finalize=last)
      return False
    return time.perf_counter() - self._logged > _LOG_EVERY

  def told(self) -> None:
    """Says that a line was written; the next one has time."""
    self._logged = time.perf_counter()


class Progress:
  """Counts requests answered.

  Args:
    label: of the model.
    expected: of each task, how many requests it has or may have.
  """

  def __init__(self, label: str, expected: Mapping[str, int]):
    self._label, self._expected = label, dict(expected)
    self._tasks = 0
    self._start = time.perf_counter()
    self._seconds = 0.0
    self.answered = self.before = 0
    self._bar = Bar(sum(self._expected.values()), "example")
    if self._bar.on_terminal:
      print(f"Evaluating {label}")

  def expect(self, task: str, requests: int) -> None:
    """Says how many requests a task really has."""
    self._expected[task] = requests
    if self._bar.on_terminal:
      self._bar.expect(sum(self._expected.values()))
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
    if not self._bar.on_terminal:
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
    done, last = self.answered + self.before, self._tasks == len(self._expected)
    if self._bar.show(done, self.rate, last):
      self._write(f"{done} of about {sum(self._expected.values())} examples")

  def _write(self, what: str) -> None:
    self._bar.told()
    if self.answered:
      what += f", {self.rate:.1f} examples/s"
    if self.before:
      what += f", {self.before} kept from before"
    _log.info("%s: %s", self._label, what)
