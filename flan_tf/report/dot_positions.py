"""Computes positions in the plots of the page: one scale for a whole cluster.

`page.html.j2` draws the plots. Positions are percentages of the plot's width,
so that it fits any screen.
"""

import dataclasses
import math
from collections.abc import Iterable

from flan_tf.eval import task_result
from flan_tf.report.task_comparison import TaskComparison


@dataclasses.dataclass(frozen=True)
class Scale:
  """Maps the scores from `low` to `high` to 0 to 100 % of the width.

  >>> Scale(20.0, 60.0).position(30.0)
  '25.0%'
  """

  low: float
  high: float

  def position(self, score: float) -> str:
    """Returns the distance from the left edge, e.g. `25.0%`."""
    share = (score - self.low) / (self.high - self.low)
    return f"{100 * min(max(share, 0.0), 1.0):.1f}%"

  @property
  def ticks(self) -> list[float]:
    """At most nine round scores, evenly spaced."""
    step = next(
      s for s in (1, 2, 5, 10, 20, 25, 50) if (self.high - self.low) / s <= 8
    )
    first, last = math.ceil(self.low / step), math.floor(self.high / step)
    return [step * index for index in range(first, last + 1)]


def scale_of_tasks(tasks: Iterable[TaskComparison]) -> Scale:
  """Returns the scale for the plot of some tasks."""
  return round_scale(
    score
    for task in tasks
    for result in task.existing
    for score in _plotted_scores(result)
  )


def round_scale(scores: Iterable[float]) -> Scale:
  """Returns the smallest scale of whole tens that contains all scores.

  Scores that are nan are left out.
  """
  known = [score for score in scores if not math.isnan(score)] or [0.0]
  low = 10 * math.floor((min(known) - 1) / 10)
  high = 10 * math.ceil((max(known) + 1) / 10)
  # Correlations go down to -100, other scores to 0.
  lowest = 0 if min(known) >= 0 else -100
  return Scale(max(low, lowest), min(high, 100))


def _plotted_scores(result: task_result.TaskResult) -> list[float]:
  """Returns all scores that the plot shows of a result."""
  scores = [*result.by_template, *(result.interval or ())]
  if shows_majority(result):
    scores.append(result.majority or 0.0)
  return scores


def shows_majority(result: task_result.TaskResult) -> bool:
  """Returns whether the majority-class accuracy can be plotted.

  It can if the metric is an accuracy, too.
  """
  return result.majority is not None and result.metric == "accuracy"
