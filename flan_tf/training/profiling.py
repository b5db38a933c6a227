"""Profiles of some steps, for TensorBoard's profile plugin.

  WORKDIR/tensorboard/plugins/profile/DATE/HOST.xplane.pb

They show what this process and the devices that it drives itself did; of a TPU
slice with several workers that is the first one. TensorBoard shows them with
`pip install tensorboard-plugin-profile`.
"""

import contextlib
import logging
import os

import tensorflow as tf

_log = logging.getLogger(__name__)


class Profile:
  """Profiles the steps of a range, as part of whole groups of steps.

      with Profile(workdir, range(10, 16)) as profile:
        ...
        with profile.around(first, number): ...  # Each group of steps.

  Args:
    workdir: of the run.
    steps: what to profile, counted from 1; nothing if empty.
  """

  def __init__(self, workdir: str, steps: range):
    self._folder = os.path.join(workdir, "tensorboard")
    self._steps, self._runs = steps, False

  @contextlib.contextmanager
  def around(self, first: int, number: int):
    """Runs steps first, first + 1, ..., profiled if one of them is to be."""
    here = range(first, first + number)
    wanted = max(here.start, self._steps.start) < min(
      here.stop, self._steps.stop
    )
    if wanted and not self._runs:
      tf.profiler.experimental.start(self._folder)
      self._runs = True
    # TensorBoard finds the steps by this name and number; it costs nothing
    # while nothing is profiled.
    with tf.profiler.experimental.Trace("train", step_num=first, _r=1):
      yield
    if here.stop >= self._steps.stop:
      self._stop()

  def __enter__(self) -> "Profile":
    return self

  def __exit__(self, *error) -> None:
    self._stop()

  def _stop(self) -> None:
    if self._runs:
      self._runs = False
      tf.profiler.experimental.stop()
      _log.info("Profiled steps are in %s", self._folder)
