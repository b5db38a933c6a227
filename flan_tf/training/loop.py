"""The training loop: step, measure, save; stop cleanly when asked to."""

import contextlib
import itertools
import logging
import math
import signal
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf.checkpoints import store
from flan_tf.data.batches import Batch, Prefetcher
from flan_tf.mesh import tf_errors
from flan_tf.training import metric_writer, profiling, schedule, session
from flan_tf.training.step import StepMetrics
from flan_tf.vocab.vocabulary import Vocabulary

_log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
  """The loss or the gradient is not a number any more."""


class PreemptedError(RuntimeError):
  """The devices are gone, but not for ever: starting again helps."""


def train(run: session.TrainingRun, workdir: str) -> bool:
  """Trains to `config.train.steps`, from wherever the run is.

  SIGTERM (and Ctrl-C) end the step, save and return, on every host of a
  cluster if one of them is asked. Checkpoints are written while training goes
  on. With `train.steps_per_loop` above 1 the devices take so many steps at a
  time, and all that happens between steps happens between those.

  Args:
    run: an open run; its step advances.
    workdir: checkpoints and metrics go below it.

  Returns:
    Whether all steps are done.

  Raises:
    DivergedError: with the step after which the weights are no good; nothing
      is saved from then on.
    PreemptedError: devices or other hosts went away.
    CheckpointError: a checkpoint could not be written.
  """
  try:
    with run.saver:
      path = _train(run, workdir)
  except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
    done = store.steps(workdir)
    raise PreemptedError(
      f"Devices or other hosts went away after step {run.step}"
      f" ({tf_errors.first_line(error)}). Start the same command again; it goes"
      f" on from step {done[-1] if done else 0}."
    ) from error
  if path:
    _log.info("Saved %s", path)
  return run.step >= run.config.train.steps


def _train(run: session.TrainingRun, workdir: str) -> str:
  """Trains; returns the last checkpoint, which may still be being written."""
  settings = run.config.train
  writer = metric_writer.MetricWriter(workdir, run.step, run.is_chief)
  meter = _Meter(run)
  started_at = saved_at = run.step
  state = run.batches.state
  to_profile = settings.profiled() if run.is_chief else range(0)
  with (
    contextlib.closing(writer),
    contextlib.closing(meter),
    profiling.Profile(workdir, to_profile) as profile,
    _StopSignals() as stop,
    Prefetcher(run.batches) as batches,
  ):
    # All hosts stop after the same step, whichever of them is asked to.
    while run.step < settings.steps and not run.agree(stop.asked):
      group = list(itertools.islice(batches, _group_size(run)))
      first = run.step + 1
      if run.step == started_at:  # Once a start: what does it train on?
        prompts = sample_prompts(group[0], run.vocabulary)
        writer.text(run.step, "prompts", prompts)
      rates = [
        schedule.learning_rate(settings, first + i) for i in range(len(group))
      ]
      with profile.around(first, len(group)):
        features = [batch.features for batch in group]
        measured = run.train_step.many(features, first, rates)
      for batch, found, rate in zip(group, measured, rates, strict=True):
        if not math.isfinite(found.loss + found.grad_norm):
          raise DivergedError(_diverged(run.step, found, rate, saved_at))
        run.step, state = run.step + 1, batch.state
        meter.add(found, batch, rate)
      if run.step % settings.log_every == 0 or run.step == settings.steps:
        writer.scalars(run.step, meter.take())
      if run.step % settings.save_every == 0:
        run.start_saving(workdir, state)
        saved_at = run.step
  if saved_at < run.step or not run.step:
    return run.start_saving(workdir, state)
  return ""


def _group_size(run: session.TrainingRun) -> int:
  """How many steps to take until Python looks again."""
  settings = run.config.train
  # A run that was stopped may go on from within a group.
  to_border = settings.steps_per_loop - run.step % settings.steps_per_loop
  return min(to_border, settings.steps - run.step)


def sample_prompts(
  batch: Batch,
  vocabulary: Vocabulary,
  number: int = 3,
) -> str:
  """Examples of a batch as the model sees them, of different tasks if it can.

  A batch with fewer examples than `number` shows all that it has.
  """
  features = batch.features
  firsts, others, seen = [], [], set()
  for row, segments in enumerate(features["segment_ids"]):
    for segment in range(1, segments.max() + 1):
      here = segments == segment
      task = batch.names[features["task_ids"][row][here][0]]
      (others if task in seen else firsts).append((task, row, here))
      seen.add(task)
  shown = []
  for task, row, here in (firsts + others)[:number]:
    scored = features["loss_weights"][row] > 0
    ids = features["targets"][row]
    prompt = vocabulary.decode(ids[here & ~scored])
    target = vocabulary.decode(ids[here & scored])
    shown.append(f"=== {task} ===\n{prompt}\n>>> {target}")
  return "\n\n".join(shown)


def _diverged(
  step: int, measured: StepMetrics, rate: float, saved_at: int
) -> str:
  """What to say of weights that gave no number at the step behind `step`."""
  if not saved_at:
    go_on = "There is no checkpoint yet, so the run begins anew"
  elif saved_at < step:
    go_on = f"The run goes on from its checkpoint of step {saved_at}"
  else:
    go_on = (
      f"The checkpoint of step {saved_at} holds these weights: remove its"
      " folder, and the run goes on from the one before it"
    )
  return (
    f"Step {step + 1} gave loss {measured.loss} and gradient norm"
    f" {measured.grad_norm}: the weights after step {step} are no good."
    f" {go_on}. Before you start it again, lower train.learning_rate ({rate:g}"
    " at this step), lengthen train.warmup, or set train.clip_norm."
  )


class _Meter:
  """Sums up what the steps since the last log line measured."""

  def __init__(self, run: session.TrainingRun):
    import keras

    self._bar = None
    if sys.stdout.isatty():
      names = ["loss", "grad_norm", "tokens/s"]
      self._bar = keras.utils.Progbar(
        run.config.train.steps, stateful_metrics=names, unit_name="step"
      )
    self._run = run
    self._loss, self._norm = keras.metrics.Mean(), keras.metrics.Mean()
    self._reset()

  def add(self, measured, batch: Batch, rate: float) -> None:
    self._loss.update_state(measured.loss, sample_weight=measured.tokens)
    self._norm.update_state(measured.grad_norm)
    self._rate = rate
    self._tasks.update(batch.tokens_per_task)
    self._positions += batch.features["targets"].size
    if self._bar is not None:
      shown = [("loss", measured.loss), ("grad_norm", measured.grad_norm)]
      shown.append(("tokens/s", self._tokens_per_second))
      self._bar.update(self._run.step, shown)

  def take(self) -> dict[str, float]:
    tokens = sum(self._tasks.values())
    values = {
      "loss": float(self._loss.result()),
      "grad_norm": float(self._norm.result()),
      "learning_rate": self._rate,
      "tokens_per_second": self._tokens_per_second,
      "fill": tokens / self._positions,
    }
    shares = {
      f"share/{name}": count / tokens for name, count in self._tasks.items()
    }
    if self._bar is None:
      _log.info(
        "step %d of %d: loss %.4f, gradient %.3f, %.0f tokens/s",
        self._run.step,
        self._run.config.train.steps,
        values["loss"],
        values["grad_norm"],
        values["tokens_per_second"],
      )
    self._reset()
    return values | shares

  def close(self) -> None:
    if self._bar is not None:
      sys.stdout.write("\n")

  @property
  def _tokens_per_second(self) -> float:
    elapsed = max(time.perf_counter() - self._start, 1e-9)
    return sum(self._tasks.values()) / elapsed

  def _reset(self) -> None:
    self._loss.reset_state()
    self._norm.reset_state()
    self._tasks: Counter[str] = Counter()
    self._positions = 0
    self._start = time.perf_counter()


class _StopSignals:
  """Turns SIGTERM and SIGINT into a wish to stop; the second one insists."""

  def __init__(self):
    self.asked = False
    self._before: dict[int, Any] = {}

  def __enter__(self) -> "_StopSignals":
    for number in (signal.SIGTERM, signal.SIGINT):
      self._before[number] = signal.signal(number, self._ask)
    return self

  def __exit__(self, *exc) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _ask(self, number, frame) -> None:
    del frame
    _log.warning("Signal %d: finishing the step, then saving.", number)
    self.asked = True
    signal.signal(number, self._before[number])


def describe(run: session.TrainingRun) -> str:
  """The whole situation in a few lines, for the start of a log."""
  settings, layout = run.config, run.train_step.weights.layout
  parameters = run.train_step.weights.parameters
  per_core = sum(
    np.prod([size for _, size in layout.slice_of(spec.shape, 0)])
    for spec in run.train_step.weights.specs.values()
  )
  held_out = f", {settings.held_out} held out" if settings.held_out else ""
  return (
    f"{settings.name}{held_out}: {len(run.report.tasks)} training tasks."
    f" {settings.train.batch} rows of {settings.data.length} tokens on"
    f" {layout}. {parameters / 1e6:.1f}M parameters, {per_core / 1e6:.1f}M a"
    f" core. From {run.started_from}, step {run.step}.\n{run.report}"
  )
