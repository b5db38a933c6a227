"""Requests to stop that arrive as signals."""

import logging
import signal
from typing import Any, Self

from flan_tf.mesh.program import HostSum

_log = logging.getLogger(__name__)

# The first of those that hosts have got is the one that stops a run.
SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


class StopSignals:
  """A context in which SIGTERM, SIGHUP and SIGINT only request a stop.

  A second signal of the same kind has its usual effect. SIGHUP stays ignored
  under `nohup`.

  Attributes:
    stopped_by: name of the signal that stops the run on all hosts, such as
      "SIGTERM"; empty as long as no host has got one.
  """

  def __init__(self):
    self.stopped_by = ""
    self._received: signal.Signals | None = None
    self._previous_handlers: dict[int, Any] = {}

  def is_agreed(self, sum_over_hosts: HostSum) -> bool:
    """Returns True, on all hosts, once any of them has got a signal.

    Args:
      sum_over_hosts: sums a number over the hosts, which all call this.
    """
    received = self._received  # A signal may arrive between two sums.
    if not sum_over_hosts(float(received is not None)):
      return False
    for number in SIGNALS:
      if sum_over_hosts(float(received == number)):
        self.stopped_by = number.name
        break
    return True

  def __enter__(self) -> Self:
    for number in SIGNALS:
      is_ignored = signal.getsignal(number) == signal.SIG_IGN
      # A shell lets its background jobs ignore SIGINT, which is no wish of the
      # user.
      if not is_ignored or number != signal.SIGHUP:
        self._previous_handlers[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *error) -> None:
    for number, handler in self._previous_handlers.items():
      signal.signal(number, handler)

  def _handle(self, number, frame) -> None:
    del frame
    name = signal.Signals(number).name
    _log.warning("%s: finishing the current step, then saving.", name)
    self._received = signal.Signals(number)
    signal.signal(number, self._previous_handlers[number])
