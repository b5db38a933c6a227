"""Collects the metrics of the steps between two log lines."""

import dataclasses
import logging
import sys
import time
from typing import Any

from flan_tf.data.batches import Batch
from flan_tf.progress_bars import shows_progress_bars
from flan_tf.training.session import TrainingSession
from flan_tf.training.step import StepMetrics

_log = logging.getLogger(__name__)


@dataclasses.dataclass
class _Sums:
  """Sums over the steps since the last log line.

  Attributes:
    steps: number of steps.
    loss: loss of each step times its scored tokens.
    scored_tokens: number of scored tokens.
    grad_norm: norm of each step's gradient.
    positions: positions of all packed rows.
    tokens_per_task: tokens of each task, prompts included.
    seconds: time that the steps took.
  """

  steps: int = 0
  loss: float = 0.0
  scored_tokens: float = 0.0
  grad_norm: float = 0.0
  positions: int = 0
  tokens_per_task: dict[str, int] = dataclasses.field(default_factory=dict)
  seconds: float = 0.0


class ProgressMeter:
  """Averages the metrics of steps; shows a progress bar on a terminal.

  A run that resumes continues with the sums of its checkpoint, so that its next
  log line is that of a run that was never stopped.

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
    self._sums = _Sums(**session.meter_state)
    self._start = time.perf_counter() - self._sums.seconds

  def add(self, metrics: StepMetrics, batch: Batch, rate: float) -> None:
    """Adds a step.

    Args:
      metrics: what the step measured.
      batch: the global batch that it trained on.
      rate: its learning rate.
    """
    sums = self._sums
    sums.steps += 1
    sums.loss += metrics.loss * metrics.tokens
    sums.scored_tokens += metrics.tokens
    sums.grad_norm += metrics.grad_norm
    sums.positions += batch.features["targets"].size
    for name, tokens in batch.tokens_per_task.items():
      tokens += sums.tokens_per_task.get(name, 0)
      sums.tokens_per_task[name] = tokens
    self._rate = rate
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
    sums = self._sums
    tokens = sum(sums.tokens_per_task.values())
    values = {
      "loss": sums.loss / sums.scored_tokens if sums.scored_tokens else 0.0,
      "grad_norm": sums.grad_norm / sums.steps,
      "learning_rate": self._rate,
      "tokens_per_second": self._tokens_per_second,
      "fill": tokens / sums.positions,
    }
    shares = {
      f"share/{name}": count / tokens
      for name, count in sums.tokens_per_task.items()
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
    self._sums, self._start = _Sums(), time.perf_counter()
    return values | shares

  @property
  def state(self) -> dict[str, Any]:
    """The sums since the last log line as JSON values; empty after a line."""
    if not self._sums.steps:
      return {}
    self._sums.seconds = self._seconds
    return dataclasses.asdict(self._sums)

  def close(self) -> None:
    """Ends the line of the progress bar."""
    if self._bar is not None:
      sys.stdout.write("\n")

  @property
  def _seconds(self) -> float:
    return max(time.perf_counter() - self._start, 1e-9)

  @property
  def _tokens_per_second(self) -> float:
    return sum(self._sums.tokens_per_task.values()) / self._seconds
