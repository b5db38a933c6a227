"""Synchronizes hosts by files, outside of TensorFlow's collectives.

While a checkpoint is written in the background, each host must tell the first
one that its shards are written. Collectives cannot do this: they would mix with
those of training, in a different order on each host. So each host but the first
writes a file of one line into the folder of the checkpoint:

  part-00001-of-00004.done    "done", or an error message

The first host waits for these files and removes them.
"""

import os
import threading
import time

import tensorflow as tf

_DONE = "done\n"
# Seconds that the first host still waits when its run ends by an error.
_EXIT_TIMEOUT = 30.0
# Seconds between two looks for files: at first, and at most.
_FIRST_DELAY, _LONGEST_DELAY = 0.02, 2.0


class HostBarrierError(RuntimeError):
  """Another host failed, or did not report in time."""


def part_name(index: int, number: int) -> str:
  """Returns the name of one of the `number` parts of a checkpoint."""
  return f"part-{index:05d}-of-{number:05d}"


def report(folder: str, host: int, hosts: int, error: str = "") -> None:
  """Reports to the first host that this host is done, or that it failed.

  Args:
    folder: a folder that all hosts can write to.
    host: index of this host. The first host, 0, writes no file.
    hosts: number of hosts.
    error: the error message if this host failed.
  """
  if host:
    with tf.io.gfile.GFile(_path(folder, host, hosts), "w") as file:
      file.write(" ".join(error.split()) + "\n" if error else _DONE)


def wait_for_hosts(
  folder: str, hosts: int, timeout: float, is_exiting: threading.Event
) -> None:
  """Waits, on the first host, for all other hosts, and removes their files.

  Args:
    folder: a folder that all hosts can write to.
    hosts: number of hosts.
    timeout: seconds to wait.
    is_exiting: once it is set, half a minute more is the limit.

  Raises:
    HostBarrierError: a host reported an error, or did not report in time. The
      message names the host.
  """
  missing = list(range(1, hosts))
  deadline, delay = time.monotonic() + timeout, _FIRST_DELAY
  while missing:
    for host in list(missing):
      line = _read_report(folder, host, hosts)
      if line == _DONE:
        missing.remove(host)
        tf.io.gfile.remove(_path(folder, host, hosts))
      elif line:
        raise HostBarrierError(
          f"Host {host} of {hosts} (from 0) failed: {line[:-1]}"
        )
    if not missing:
      return
    if time.monotonic() > deadline:
      raise HostBarrierError(
        f"After {timeout:g} seconds, hosts {missing} of {hosts} (numbered from"
        " 0) have not confirmed that their part of the checkpoint is written."
        f" Are they still running, and can all hosts write to {folder!r}?"
      )
    if is_exiting.is_set():
      deadline = min(deadline, time.monotonic() + _EXIT_TIMEOUT)
    time.sleep(delay)
    delay = min(2 * delay, _LONGEST_DELAY)


def _path(folder: str, host: int, hosts: int) -> str:
  return os.path.join(folder, f"{part_name(host, hosts)}.done")


def _read_report(folder: str, host: int, hosts: int) -> str:
  """Returns the line of a host; empty if it is missing or incomplete."""
  try:
    with tf.io.gfile.GFile(_path(folder, host, hosts), "r") as file:
      line = file.read()
  except tf.errors.NotFoundError:
    return ""
  return line if line.endswith("\n") else ""
