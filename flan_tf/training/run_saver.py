"""Saves a run's checkpoints when they are due, if the weights are usable."""

import time
from collections.abc import Callable

from flan_tf import config
from flan_tf.data.batches import BatchState
from flan_tf.training import schedule
from flan_tf.training.divergence import Divergence, FiniteCheck
from flan_tf.training.metric_writer import MetricWriter
from flan_tf.training.progress_meter import ProgressMeter
from flan_tf.training.session import TrainingSession

# Seconds; only differences count.
clock = time.monotonic


class SaveTimes:
  """Decides after which steps a checkpoint is saved.

  Args:
    settings: `save_every` and `save_minutes` are read.
    is_chief: True on the one host whose time counts.
    sum_over_hosts: sums a number over all hosts, so that they agree.
  """

  def __init__(
    self,
    settings: config.TrainConfig,
    is_chief: bool,
    sum_over_hosts: Callable[[float], float],
  ):
    self._every, self._seconds = settings.save_every, 60 * settings.save_minutes
    self._is_chief, self._sum_over_hosts = is_chief, sum_over_hosts
    self._saved = clock()

  def is_due(self, step: int) -> bool:
    """Returns, on all hosts, whether to save after a step."""
    if step % self._every == 0:
      return True
    if not self._seconds:
      return False
    is_late = self._is_chief and clock() - self._saved >= self._seconds
    return self._sum_over_hosts(float(is_late)) > 0

  def restart(self) -> None:
    """Counts the minutes from now on."""
    self._saved = clock()


class RunSaver:
  """Saves the checkpoints of a run that is being trained.

  Args:
    session: the session.
    workdir: workdir of the run.
    writer: has written the metrics until now.
    meter: has the metrics since the last log line.

  Attributes:
    saved_at: step of the newest checkpoint of the run; 0 for none.
  """

  def __init__(
    self,
    session: TrainingSession,
    workdir: str,
    writer: MetricWriter,
    meter: ProgressMeter,
  ):
    self._session, self._workdir = session, workdir
    self._writer, self._meter = writer, meter
    self._times = SaveTimes(
      session.config.train, session.is_chief, session.sum_over_hosts
    )
    step = session.train_step
    self._check = FiniteCheck([step.weights, step.slots])
    self.saved_at = session.step

  def save_if_due(self, position: BatchState) -> None:
    """Saves a checkpoint if this is the step, or the time, for one.

    Args:
      position: position of the next batch.

    Raises:
      DivergedError, CheckpointError, MetricsError: see `save`.
    """
    if self._times.is_due(self._session.step):
      self.save(position)

  def save(self, position: BatchState) -> str:
    """Starts to save a checkpoint of the current step; returns its folder.

    Args:
      position: position of the next batch.

    Raises:
      DivergedError: the weights are not finite. They are not saved.
      CheckpointError: the checkpoint before could not be written.
      MetricsError: the metrics that belong to it are not on the disk.
    """
    session = self._session
    rate = schedule.learning_rate(session.config.train, max(1, session.step))
    failed = session.sum_over_hosts(float(not self._check.all_are_finite()))
    Divergence(session.step, rate, self.saved_at).check_weights(not failed)
    self._writer.flush_to_disk()
    path = session.start_saving(self._workdir, position, self._meter.state)
    self.saved_at = session.step
    self._times.restart()
    return path
