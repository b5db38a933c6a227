"""Times two systems in turns, so that a busy machine disturbs both alike."""

import statistics
import time
from collections.abc import Callable

Step = Callable[[], object]


def time_in_turns(
  ours: Step, peer: Step, steps: int, rounds: int
) -> tuple[float, float]:
  """Returns the median seconds of a step of each system.

  Args:
    ours: a step of flan_tf.
    peer: a step of the other system.
    steps: steps in a turn.
    rounds: turns of each system; one more comes first and does not count.
  """
  times: tuple[list[float], list[float]] = ([], [])
  for turn in range(rounds + 1):
    for system, step in enumerate((ours, peer)):
      seconds = time_step(lambda step=step: [step() for _ in range(steps)])
      if turn:
        times[system].append(seconds / steps)
  return statistics.median(times[0]), statistics.median(times[1])


def time_step(step: Step) -> float:
  """Returns the seconds that a step takes."""
  start = time.perf_counter()
  step()
  return time.perf_counter() - start
