"""Collects the metrics of the steps between two log lines."""

import logging
import sys
import time
from collections import Counter

from flan_tf.data.batches import Batch
from flan_tf.progress_bars import shows_progress_bars
from flan_tf.training.session import TrainingSession
from flan_tf.training.step import StepMetrics

_log = logging.getLogger(__name__)


class ProgressMeter:
  """Averages the metrics of steps; shows a progress bar on a terminal.

  Args:
    session: the session that is being trained.
  """

  def __init__(self, session: TrainingSession):
    import keras

    self._bar = None
    if shows_progress_bars():
      names = ["loss", "grad_norm", "tokens/s"]
      self._bar = keras.utils.Progbar(
        session.config.train.steps, stateful_metrics=names, unit_name="step"
      )
    self._session = session
    self._loss, self._norm = keras.metrics.Mean(), keras.metrics.Mean()
    self._reset()

  def add(self, metrics: StepMetrics, batch: Batch, rate: float) -> None:
    """Adds a step.

    Args:
      metrics: what the step measured.
      batch: the global batch that it trained on.
      rate: its learning rate.
    """
    self._loss.update_state(metrics.loss, sample_weight=metrics.tokens)
    self._norm.update_state(metrics.grad_norm)
    self._rate = rate
    self._tokens_per_task.update(batch.tokens_per_task)
    self._positions += batch.features["targets"].size
    if self._bar is not None:
      values = [("loss", metrics.loss), ("grad_norm", metrics.grad_norm)]
      values.append(("tokens/s", self._tokens_per_second))
      self._bar.update(self._session.step, values)

  def take(self) -> dict[str, float]:
    """Returns the metrics since the last call, and starts again.

    Returns:
      "loss", weighted by tokens; "grad_norm"; "learning_rate" of the last step;
      "tokens_per_second"; "fill", the share of positions that hold a token; and
      "share/TASK", the share of tokens of each task.
    """
    tokens = sum(self._tokens_per_task.values())
    values = {
      "loss": float(self._loss.result()),
      "grad_norm": float(self._norm.result()),
      "learning_rate": self._rate,
      "tokens_per_second": self._tokens_per_second,
      "fill": tokens / self._positions,
    }
    shares = {
      f"share/{name}": count / tokens
      for name, count in self._tokens_per_task.items()
    }
    if self._bar is None:
      _log.info(
        "step %d of %d: loss %.4f, gradient %.3f, %.0f tokens/s",
        self._session.step,
        self._session.config.train.steps,
        values["loss"],
        values["grad_norm"],
        values["tokens_per_second"],
      )
    self._reset()
    return values | shares

  def close(self) -> None:
    """Ends the line of the progress bar."""
    if self._bar is not None:
      sys.stdout.write("\n")

  @property
  def _tokens_per_second(self) -> float:
    elapsed = max(time.perf_counter() - self._start, 1e-9)
    return sum(self._tokens_per_task.values()) / elapsed

  def _reset(self) -> None:
    self._loss.reset_state()
    self._norm.reset_state()
    self._tokens_per_task: Counter[str] = Counter()
    self._positions = 0
    self._start = time.perf_counter()
