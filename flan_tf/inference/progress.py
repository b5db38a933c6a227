"""Progress of long work: a bar on a terminal, or lines in a log."""

import logging
import time
from collections.abc import Mapping

from flan_tf.progress_bars import shows_progress_bars

_log = logging.getLogger(__name__)
_LOG_EVERY = 30.0  # seconds


class ProgressBar:
  """A bar on a terminal; elsewhere it says when to log a line.

  Args:
    total: number of items, as far as it is known; 0 shows no bar.
    unit: name of one item, in the singular.
  """

  def __init__(self, total: int, unit: str):
    self._rate_name = f"{unit}s/s"
    self._last_logged = time.perf_counter()
    self._bar = None
    if shows_progress_bars() and total:
      import keras

      self._bar = keras.utils.Progbar(
        total, stateful_metrics=[self._rate_name], unit_name=unit
      )

  @property
  def on_terminal(self) -> bool:
    return self._bar is not None

  def set_total(self, total: int) -> None:
    """Changes the number of items."""
    if self._bar is not None:
      self._bar.target = max(total, 1)

  def update(self, done: int, rate: float, last: bool | None = None) -> bool:
    """Moves the bar; without one, returns whether a log line is due.

    Args:
      done: number of items that are done.
      rate: items per second.
      last: True after the last item, False before it, None to compare `done`
        with the total.
    """
    if self._bar is not None:
      self._bar.update(done, [(self._rate_name, rate)], finalize=last)
      return False
    return time.perf_counter() - self._last_logged > _LOG_EVERY

  def mark_logged(self) -> None:
    """Postpones the next log line, because one was written now."""
    self._last_logged = time.perf_counter()


class Progress:
  """Counts the answered requests of an evaluation, and shows them.

  Args:
    label: label of the model.
    requests: task -> number of its requests, or an upper bound.

  Attributes:
    answered: number of requests that were answered now.
    read_back: number of requests whose predictions were read from a log.
  """

  def __init__(self, label: str, requests: Mapping[str, int]):
    self._label, self._requests = label, dict(requests)
    self._finished_tasks = 0
    self._start = time.perf_counter()
    self._seconds = 0.0
    self.answered = self.read_back = 0
    self._bar = ProgressBar(self._total, "example")
    if self._bar.on_terminal:
      print(f"Evaluating {label}")

  def set_requests(self, task: str, requests: int) -> None:
    """Replaces the upper bound of a task by its number of requests."""
    self._requests[task] = requests
    if self._bar.on_terminal:
      self._bar.set_total(self._total)
      self._update()

  def add_answered(self, requests: int, seconds: float) -> None:
    """Counts requests that were answered in so many seconds."""
    self.answered += requests
    self._seconds += seconds
    self._update()

  def add_read_back(self, requests: int) -> None:
    """Counts requests whose predictions were read from a log."""
    self.read_back += requests
    self._update()

  def finish_task(self) -> None:
    """Counts a task as finished, also one without requests."""
    self._finished_tasks += 1
    self._update()
    if not self._bar.on_terminal:
      self._log_line(f"{self._finished_tasks} of {len(self._requests)} tasks")

  @property
  def rate(self) -> float:
    """Requests answered per second of the model's work."""
    return self.answered / self._seconds if self._seconds else 0.0

  @property
  def time(self) -> dict[str, float | int]:
    """The value of "time" in results.json."""
    return {
      "seconds": round(time.perf_counter() - self._start, 3),
      "answered": self.answered,
      "read_back": self.read_back,
      "examples_per_second": round(self.rate, 3),
    }

  @property
  def _total(self) -> int:
    return sum(self._requests.values())

  def _update(self) -> None:
    done = self.answered + self.read_back
    is_last = self._finished_tasks == len(self._requests)
    if self._bar.update(done, self.rate, is_last):
      self._log_line(f"{done} of about {self._total} examples")

  def _log_line(self, text: str) -> None:
    self._bar.mark_logged()
    if self.answered:
      text += f", {self.rate:.1f} examples/s"
    if self.read_back:
      text += f", {self.read_back} read back"
    _log.info("%s: %s", self._label, text)
