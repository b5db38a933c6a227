"""Where the dots of a plot stand: scores on one scale for a whole cluster.

The plot is drawn by `page.html.j2` in per cent of its width, so that it fits
any screen.
"""

import dataclasses
import math
from collections.abc import Iterable

from flan_tf.eval import results
from flan_tf.report import comparison


@dataclasses.dataclass(frozen=True)
class Scale:
  """From scores to places, 0 to 100 per cent from the left.

  >>> Scale(20.0, 60.0).at(30.0)
  '25.0%'
  """

  low: float
  high: float

  def at(self, score: float) -> str:
    return f"{self._share(score):.1f}%"

  def width(self, low: float, high: float) -> str:
    """Of a bar from one score to another."""
    return f"{self._share(high) - self._share(low):.1f}%"

  @property
  def ticks(self) -> list[float]:
    """Round scores, four to eight of them."""
    step = next(
      s for s in (1, 2, 5, 10, 20, 25, 50) if (self.high - self.low) / s <= 8
    )
    first = math.ceil(self.low / step)
    return [step * i for i in range(first, math.floor(self.high / step) + 1)]

  def _share(self, score: float) -> float:
    share = (score - self.low) / (self.high - self.low)
    return 100 * min(max(share, 0.0), 1.0)


def scale_of(rows: Iterable[comparison.Row]) -> Scale:
  """The smallest round scale that holds all that a plot of rows shows."""
  return around(
    value for row in rows for result in row if result for value in _of(result)
  )


def around(values: Iterable[float]) -> Scale:
  """The smallest scale of whole tens that holds all values that exist."""
  defined = [value for value in values if not math.isnan(value)] or [0.0]
  low = 10 * math.floor((min(defined) - 1) / 10)
  high = 10 * math.ceil((max(defined) + 1) / 10)
  # Scores end at 0 and 100, correlations at -100.
  return Scale(max(low, 0 if min(defined) >= 0 else -100), min(high, 100))


def _of(result: results.TaskResult) -> list[float]:
  """All scores that the row of a result shows."""
  found = [*result.by_template, *(result.interval or ())]
  if shows_majority(result):
    found.append(result.majority or 0.0)
  return found


def shows_majority(result: results.TaskResult) -> bool:
  """Whether the most frequent answer's accuracy is on the metric's scale."""
  return result.majority is not None and result.metric == "accuracy"
