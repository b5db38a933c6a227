"""Examples-proportional mixing rates (paper, section 2.4).

A task with N training rows has the rate r = min(N, cap), with cap = 3,000. It
is drawn with probability r / sum(r). Rows beyond the cap have no effect.
"""

from collections.abc import Mapping

MIXING_CAP = 3_000


def rates(
  sizes: Mapping[str, int], mixing_cap: int = MIXING_CAP
) -> dict[str, int]:
  """Returns the rate of each task, min(size, cap).

  Args:
    sizes: number of training rows of each task.
    mixing_cap: upper limit of a rate.

  Raises:
    ValueError: `mixing_cap` is less than 1.
  """
  if mixing_cap < 1:
    raise ValueError(f"mixing_cap is {mixing_cap}; it must be 1 or more.")
  return {name: min(size, mixing_cap) for name, size in sizes.items()}


def probabilities(rates: Mapping[str, int]) -> dict[str, float]:
  """Returns the probability of each task, rate / sum(rates)."""
  total = sum(rates.values())
  return {name: rate / total if total else 0.0 for name, rate in rates.items()}
