"""Examples-proportional mixing rates (paper, section 2.4).

A task with N training rows is drawn at rate r = min(N, cap), cap = 3,000, so
with probability p = r / sum(r): beyond the cap, size counts no more.
"""

from collections.abc import Mapping

MIXING_CAP = 3_000


def rates(
  sizes: Mapping[str, int], mixing_cap: int = MIXING_CAP
) -> dict[str, int]:
  """min(N, cap) of each task; a task without rows has rate 0."""
  if mixing_cap < 1:
    raise ValueError(f"mixing_cap is {mixing_cap}; it must be 1 or more.")
  return {name: min(size, mixing_cap) for name, size in sizes.items()}


def probabilities(rate: Mapping[str, int]) -> dict[str, float]:
  """r / sum(r) of each task."""
  total = sum(rate.values())
  return {name: value / total if total else 0.0 for name, value in rate.items()}
