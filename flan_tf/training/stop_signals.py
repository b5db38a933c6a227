"""Requests to stop that arrive as signals."""

import logging
import signal
from typing import Any, Self

_log = logging.getLogger(__name__)


class StopSignals:
  """A context in which SIGTERM and SIGINT only request a stop.

  A second signal of the same kind has its usual effect.

  Attributes:
    requested: whether a signal has arrived.
  """

  def __init__(self):
    self.requested = False
    self._previous_handlers: dict[int, Any] = {}

  def __enter__(self) -> Self:
    for number in (signal.SIGTERM, signal.SIGINT):
      self._previous_handlers[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *error) -> None:
    for number, handler in self._previous_handlers.items():
      signal.signal(number, handler)

  def _handle(self, number, frame) -> None:
    del frame
    _log.warning("Signal %d: finishing the current step, then saving.", number)
    self.requested = True
    signal.signal(number, self._previous_handlers[number])
