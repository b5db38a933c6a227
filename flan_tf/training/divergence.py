"""Finds out that a run has diverged: its numbers are not finite any more."""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from flan_tf.mesh.program import CoreProgram, Program
from flan_tf.mesh.state import State
from flan_tf.training.step import StepMetrics


class DivergedError(RuntimeError):
  """The weights, the loss or the gradient norm are not finite any more."""


@dataclasses.dataclass(frozen=True)
class Divergence:
  """A place where a run diverged, for the message of its error.

  Attributes:
    step: number of steps after which the weights are not usable.
    rate: learning rate of the step after them, or of the last step.
    saved_at: step of the newest checkpoint of this run; 0 for none.
  """

  step: int
  rate: float
  saved_at: int

  def check_metrics(self, metrics: StepMetrics) -> None:
    """Checks that the step after `step` gave a finite loss and gradient.

    Raises:
      DivergedError: the loss or the gradient norm is not finite. It comes from
        the weights after `step` steps.
    """
    if not math.isfinite(metrics.loss + metrics.grad_norm):
      raise self._error(
        f"Step {self.step + 1} gave loss {metrics.loss} and gradient norm"
        f" {metrics.grad_norm}: the weights after step {self.step} are not"
        " usable."
      )

  def check_weights(self, are_finite: bool) -> None:
    """Checks weights that are about to be saved.

    Args:
      are_finite: what `FiniteCheck` found, on all hosts.

    Raises:
      DivergedError: they are not finite.
    """
    if not are_finite:
      raise self._error(
        f"The weights after step {self.step} are not usable: some of them, or"
        " of the optimizer's numbers, are NaN or infinite. They were not saved."
      )

  def _error(self, problem: str) -> DivergedError:
    if not self.saved_at:
      advice = "There is no checkpoint yet, so the run starts again from step 0"
    elif self.saved_at < self.step:
      advice = f"The run continues from its checkpoint of step {self.saved_at}"
    else:
      advice = (
        f"The checkpoint of step {self.saved_at} holds these weights: remove"
        " its folder, and the run continues from the checkpoint before it"
      )
    return DivergedError(
      f"{problem} {advice}. Before you start it again, lower"
      f" train.learning_rate ({self.rate:g} at this step), increase"
      " train.warmup, or set train.clip_norm."
    )


class FiniteCheck:
  """Finds values of states that are NaN or infinite.

  The program runs on the devices, beside the programs of the steps, and sends
  nothing between them.

  Args:
    states: the states, all on the same mesh.
  """

  def __init__(self, states: Sequence[State]):
    self._states = states
    self._program = Program(states[0].devices, states[0].layout, self._check)

  def all_are_finite(self) -> bool:
    """Returns whether all values on the cores of this host are finite."""
    return all(bool(result) for result in self._program())

  def _check(self, core: CoreProgram) -> tf.Tensor:
    """The program of a core: are all values of its shards finite?"""
    del core
    return tf.reduce_all(
      [
        tf.reduce_all(tf.math.is_finite(state.variable(name).read_value()))
        for state in self._states
        for name in state.specs
      ]
    )
