"""Hosts tell the first one, by files, that each has written its part.

Collectives cannot do it in the background: they would mix with those of
training, in another order on each host. So a host leaves a file of one line in
the folder that all write to:

  part-00001-of-00004.done    "done", or what went wrong

The first host, which waits for the others, leaves none.
"""

import os
import threading
import time

import tensorflow as tf

_DONE = "done\n"
_LEAVING = 30.0  # Seconds to wait yet when the run ends by an error.
_DELAYS = (0.02, 2.0)  # Seconds between two looks: at first, and at most.


class HostBarrierError(RuntimeError):
  """Another host failed, or says nothing."""


def part(number: int, of: int) -> str:
  """The name of one of several parts."""
  return f"part-{number:05d}-of-{of:05d}"


def leave(folder: str, host: int, hosts: int, error: str = "") -> None:
  """Says that this host is done, or what went wrong."""
  if host:
    with tf.io.gfile.GFile(_path(folder, host, hosts), "w") as file:
      file.write(" ".join(error.split()) + "\n" if error else _DONE)


def collect(
  folder: str, hosts: int, patience: float, leaving: threading.Event
) -> None:
  """On the first host: waits for all others, and removes their files.

  Args:
    folder: that all hosts write to.
    hosts: how many there are.
    patience: seconds to wait.
    leaving: once it is set, half a minute must do.

  Raises:
    HostError: a host says that it failed, or nothing in time; it is named.
  """
  missing = list(range(1, hosts))
  end, (delay, longest) = time.monotonic() + patience, _DELAYS
  while missing:
    for host in list(missing):
      said = _read(folder, host, hosts)
      if said == _DONE:
        missing.remove(host)
        tf.io.gfile.remove(_path(folder, host, hosts))
      elif said:
        raise HostBarrierError(
          f"Host {host} of {hosts} (from 0) failed: {said[:-1]}"
        )
    if not missing:
      return
    if time.monotonic() > end:
      raise HostBarrierError(
        f"Hosts {missing} of {hosts} (from 0) have not said within"
        f" {patience:g} seconds that their part is written. Are they still"
        f" running, and is {folder!r} a place that all hosts write to?"
      )
    if leaving.is_set():
      end = min(end, time.monotonic() + _LEAVING)
    time.sleep(delay)
    delay = min(2 * delay, longest)


def _path(folder: str, host: int, hosts: int) -> str:
  return os.path.join(folder, f"{part(host, hosts)}.done")


def _read(folder: str, host: int, hosts: int) -> str:
  """What a host said; empty while it has not, or is just saying it."""
  try:
    with tf.io.gfile.GFile(_path(folder, host, hosts), "r") as file:
      said = file.read()
  except tf.errors.NotFoundError:
    return ""
  return said if said.endswith("\n") else ""
