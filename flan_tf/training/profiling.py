"""Profiles of some steps, for TensorBoard's profile plugin.

  WORKDIR/tensorboard/plugins/profile/DATE/HOST.xplane.pb

A profile covers this process and the devices that it drives itself. On a TPU
slice with several workers these are the devices of the first worker. For
TensorBoard to show profiles, install tensorboard-plugin-profile.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Self

import tensorflow as tf

_log = logging.getLogger(__name__)


class Profile:
  """Profiles a range of steps, rounded to whole groups of steps.

      with Profile(workdir, range(10, 16)) as profile:
        ...
        with profile.around(first, number): ...  # Each group of steps.

  Args:
    workdir: workdir of the run.
    steps: the steps to profile, counted from 1; an empty range profiles none.
  """

  def __init__(self, workdir: str, steps: range):
    self._folder = os.path.join(workdir, "tensorboard")
    self._steps, self._is_running = steps, False

  @contextlib.contextmanager
  def around(self, first: int, number: int) -> Iterator[None]:
    """A context for a group of steps, profiled if any of them is to be.

    Args:
      first: number of the first step.
      number: number of steps.
    """
    group = range(first, first + number)
    overlap_start = max(group.start, self._steps.start)
    overlaps = overlap_start < min(group.stop, self._steps.stop)
    if overlaps and not self._is_running:
      tf.profiler.experimental.start(self._folder)
      self._is_running = True
    # TensorBoard finds steps by this name and number. The trace costs nothing
    # while no profile is running.
    with tf.profiler.experimental.Trace("train", step_num=first, _r=1):
      yield
    if group.stop >= self._steps.stop:
      self._stop()

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *error) -> None:
    self._stop()

  def _stop(self) -> None:
    if self._is_running:
      self._is_running = False
      tf.profiler.experimental.stop()
      _log.info("Profiled steps are in %s", self._folder)
