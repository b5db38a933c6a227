"""The results of one task, or of one cluster, in all compared evaluations."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from flan_tf.eval import paired
from flan_tf.eval.task_result import TaskResult
from flan_tf.report import answer_samples, paper_averages
from flan_tf.report.published import PUBLISHED, SYSTEMS, PublishedScores


@dataclasses.dataclass(frozen=True)
class TaskComparison:
  """The results of one task in all evaluations.

  Attributes:
    results: one for each evaluation, None where the task was not evaluated.
    difference: the paired difference of the last two evaluations; None if it
      is not known.
    samples: some answers of the last two evaluations.
    template_inputs: the input text of each template, by template number; empty
      if not known.
  """

  results: tuple[TaskResult | None, ...]
  difference: paired.Difference | None
  samples: answer_samples.AnswerSamples
  template_inputs: Sequence[str]

  @property
  def first(self) -> TaskResult:
    """The result of the first evaluation that has one."""
    return next(result for result in self.results if result is not None)

  @property
  def name(self) -> str:
    return self.first.task

  @property
  def existing(self) -> list[TaskResult]:
    """The results that exist, in the order of the evaluations."""
    return [result for result in self.results if result is not None]

  @property
  def published(self) -> PublishedScores | None:
    """The scores of the paper's systems on this task, None if not known."""
    return PUBLISHED.get(self.name)

  @property
  def gain(self) -> float | None:
    """Mean of the last evaluation minus that of the one before it.

    None if there is only one evaluation, if one of the two means does not
    exist, or if the two have different metrics.
    """
    first, second = (None, *self.results)[-2:]
    if first is None or second is None or first.metric != second.metric:
      return None
    difference = second.mean - first.mean
    return None if math.isnan(difference) else difference


@dataclasses.dataclass(frozen=True)
class ClusterComparison:
  """The results of one cluster in all evaluations.

  Attributes:
    name: one of `schema.CLUSTERS`.
    tasks: the tasks of the cluster, each evaluated at least once.
    means: for each evaluation the mean over the tasks that it evaluated; nan
      if no task has a value, None if it evaluated none of them.
    averages: the paper's averages within this cluster, and ours.
  """

  name: str
  tasks: tuple[TaskComparison, ...]
  means: tuple[float | None, ...]
  averages: tuple[paper_averages.ComparedAverage, ...]

  @property
  def gain(self) -> float | None:
    """Mean gain of the tasks; None unless each of them has a gain.

    A mean over some of the tasks would not compare the two cluster means.
    """
    gains = [task.gain for task in self.tasks]
    known = [gain for gain in gains if gain is not None]
    return statistics.fmean(known) if len(known) == len(gains) else None

  @property
  def published_systems(self) -> tuple[str, ...]:
    """The published systems that have a score on one of the tasks."""
    systems = {
      system
      for task in self.tasks
      if task.published
      for system in task.published.by_system
    }
    return tuple(system for system in SYSTEMS if system in systems)
