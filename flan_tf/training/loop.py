"""The training loop: takes steps, logs, saves, and stops on a signal."""

import contextlib
import itertools
import logging
import math

import tensorflow as tf

from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.data.prefetch import Prefetcher
from flan_tf.mesh import tf_errors
from flan_tf.training import schedule
from flan_tf.training.metric_writer import MetricWriter
from flan_tf.training.profiling import Profile
from flan_tf.training.progress_meter import ProgressMeter
from flan_tf.training.run_summary import sample_prompts
from flan_tf.training.session import TrainingSession
from flan_tf.training.step import StepMetrics
from flan_tf.training.stop_signals import StopSignals

_log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
  """The loss or the gradient norm is not finite any more."""


class PreemptedError(RuntimeError):
  """Devices or other hosts were lost; starting the run again helps."""


def train(session: TrainingSession, workdir: str) -> bool:
  """Trains until step `train.steps`.

  SIGTERM and Ctrl-C finish the current step, save a checkpoint and return. In a
  cluster all hosts stop, even if only one of them gets the signal. Checkpoints
  are written while training continues. If `train.steps_per_loop` is above 1,
  the devices take that many steps at a time; logging, saving and stopping
  happen between two such groups.

  Args:
    session: an open session; its step advances.
    workdir: folder for checkpoints and metrics.

  Returns:
    Whether all steps are done; False after a signal.

  Raises:
    DivergedError: the weights are not usable any more. Nothing is saved from
      then on.
    PreemptedError: devices or other hosts were lost.
    CheckpointError: a checkpoint could not be written.
  """
  try:
    with session.saver:
      path = _train(session, workdir)
  except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
    saved = checkpoint_dirs.completed_steps(workdir)
    raise PreemptedError(
      f"Devices or other hosts were lost after step {session.step}"
      f" ({tf_errors.error_summary(error)}). Start the same command again; it"
      f" continues from step {saved[-1] if saved else 0}."
    ) from error
  if path:
    _log.info("Saved %s", path)
  return session.step >= session.config.train.steps


def _train(session: TrainingSession, workdir: str) -> str:
  """Runs the loop.

  Returns:
    The folder of the last checkpoint, which may still be being written; empty
    if the last step had already been saved.
  """
  settings = session.config.train
  started_at = saved_at = session.step
  position = session.batches.state
  profiled = settings.profiled_steps() if session.is_chief else range(0)
  with (
    contextlib.closing(
      MetricWriter(workdir, session.step, session.is_chief)
    ) as writer,
    contextlib.closing(ProgressMeter(session)) as meter,
    Profile(workdir, profiled) as profile,
    StopSignals() as stop,
    Prefetcher(session.batches) as batches,
  ):
    # The sum is the same on all hosts, so that they stop after the same step.
    while session.step < settings.steps and not session.sum_over_hosts(
      stop.requested
    ):
      group = list(itertools.islice(batches, _group_size(session)))
      if session.step == started_at:
        prompts = sample_prompts(group[0], session.vocabulary)
        writer.text(session.step, "prompts", prompts)
      rates = _learning_rates(session, len(group))
      with profile.around(session.step + 1, len(group)):
        measured = session.train_step.run_steps(
          [batch.features for batch in group], session.step + 1, rates
        )
      for batch, metrics, rate in zip(group, measured, rates, strict=True):
        _check_finite(session.step, metrics, rate, saved_at)
        session.step, position = session.step + 1, batch.state
        meter.add(metrics, batch, rate)
      if session.step % settings.log_every == 0 or (
        session.step == settings.steps
      ):
        writer.scalars(session.step, meter.take())
      if session.step % settings.save_every == 0:
        session.start_saving(workdir, position)
        saved_at = session.step
  if saved_at < session.step or not session.step:
    return session.start_saving(workdir, position)
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


def _check_finite(
  step: int, metrics: StepMetrics, rate: float, saved_at: int
) -> None:
  """Checks that a step gave a finite loss and gradient.

  Args:
    step: number of steps before the one that was measured. The weights after
      these steps are what a loss that is not finite comes from.
    metrics: what the next step measured.
    rate: its learning rate.
    saved_at: step of the newest checkpoint of this run; 0 for none.

  Raises:
    DivergedError: the loss or the gradient norm is not finite.
  """
  if math.isfinite(metrics.loss + metrics.grad_norm):
    return
  if not saved_at:
    advice = "There is no checkpoint yet, so the run starts again from step 0"
  elif saved_at < step:
    advice = f"The run continues from its checkpoint of step {saved_at}"
  else:
    advice = (
      f"The checkpoint of step {saved_at} holds these weights: remove its"
      " folder, and the run continues from the checkpoint before it"
    )
  raise DivergedError(
    f"Step {step + 1} gave loss {metrics.loss} and gradient norm"
    f" {metrics.grad_norm}: the weights after step {step} are not usable."
    f" {advice}. Before you start it again, lower train.learning_rate ({rate:g}"
    " at this step), increase train.warmup, or set train.clip_norm."
  )
