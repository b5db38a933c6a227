"""The training loop: takes steps, logs, saves, and stops on a signal."""

import contextlib
import itertools
import logging

import tensorflow as tf

from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.data.prefetch import Prefetcher
from flan_tf.mesh import tf_errors
from flan_tf.training import schedule
from flan_tf.training.divergence import Divergence
from flan_tf.training.metric_writer import MetricWriter
from flan_tf.training.profiling import Profile
from flan_tf.training.progress_meter import ProgressMeter
from flan_tf.training.run_saver import RunSaver
from flan_tf.training.run_summary import sample_prompts
from flan_tf.training.session import TrainingSession
from flan_tf.training.stop_signals import StopSignals

_log = logging.getLogger(__name__)


class PreemptedError(RuntimeError):
  """Devices or other hosts were lost; starting the run again helps."""


def train(session: TrainingSession, workdir: str) -> str:
  """Trains until step `train.steps`.

  SIGTERM, SIGHUP and Ctrl-C finish the current step, save a checkpoint and
  return. In a cluster all hosts stop, even if only one of them gets the signal.
  Checkpoints are written while training continues. If `train.steps_per_loop` is
  above 1, the devices take that many steps at a time; logging, saving and
  stopping happen between two such groups.

  Args:
    session: an open session; its step advances.
    workdir: folder for checkpoints and metrics.

  Returns:
    "" if all steps are done; else the name of the signal that stopped the run,
    such as "SIGTERM".

  Raises:
    DivergedError: the weights are not usable any more. Nothing is saved from
      then on.
    PreemptedError: devices or other hosts were lost.
    CheckpointError: a checkpoint could not be written.
    MetricsError: metrics could not be written, e.g. because the workdir was
      removed.
  """
  try:
    with StopSignals() as stop, session.saver:
      path = _train(session, workdir, stop)
  except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
    saved = checkpoint_dirs.completed_steps(workdir)
    raise PreemptedError(
      f"Devices or other hosts were lost after step {session.step}"
      f" ({tf_errors.error_summary(error)}). Start the same command again; it"
      f" continues from step {saved[-1] if saved else 0}."
    ) from error
  if path:
    _log.info("Saved %s", path)
  return stop.stopped_by


def _train(session: TrainingSession, workdir: str, stop: StopSignals) -> str:
  """Runs the loop.

  Returns:
    The folder of the last checkpoint, which may still be being written; empty
    if the last step had already been saved.
  """
  settings = session.config.train
  position = session.batches.state
  profiled = settings.profiled_steps() if session.is_chief else range(0)
  with (
    contextlib.closing(
      MetricWriter(workdir, session.step, session.is_chief)
    ) as writer,
    contextlib.closing(ProgressMeter(session)) as meter,
    Profile(workdir, profiled) as profile,
    Prefetcher(session.batches) as batches,
  ):
    saver = RunSaver(session, workdir, writer, meter)
    while session.step < settings.steps and not stop.is_agreed(
      session.sum_over_hosts
    ):
      group = list(itertools.islice(batches, _group_size(session)))
      if not session.step:
        prompts = sample_prompts(group[0], session.vocabulary)
        writer.text(0, "prompts", prompts)
      rates = _learning_rates(session, len(group))
      with profile.around(session.step + 1, len(group)):
        measured = session.train_step.run_steps(
          [batch.features for batch in group], session.step + 1, rates
        )
      for batch, metrics, rate in zip(group, measured, rates, strict=True):
        place = Divergence(session.step, rate, saver.saved_at)
        place.check_metrics(metrics)
        session.step, position = session.step + 1, batch.state
        meter.add(metrics, batch, rate)
      if session.step % settings.log_every == 0 or (
        session.step == settings.steps
      ):
        writer.scalars(session.step, meter.take())
      saver.save_if_due(position)
    if saver.saved_at < session.step or not session.step:
      return saver.save(position)
  return ""


def _group_size(session: TrainingSession) -> int:
  """Returns the number of steps until control returns to Python."""
  settings = session.config.train
  # A run that was stopped may resume in the middle of a group.
  to_end_of_group = (
    settings.steps_per_loop - session.step % settings.steps_per_loop
  )
  return min(to_end_of_group, settings.steps - session.step)


def _learning_rates(session: TrainingSession, number: int) -> list[float]:
  """Returns the learning rates of the next steps."""
  first = session.step + 1
  return [
    schedule.learning_rate(session.config.train, step)
    for step in range(first, first + number)
  ]
