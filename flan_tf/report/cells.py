"""How a single number is written in a report."""

import math

from flan_tf.eval import results
from flan_tf.report import published

ABSENT = "–"
UNDEFINED = "undef."


def number(value: float | None) -> str:
  """One decimal; "undef." for nan and a dash for None."""
  if value is None:
    return ABSENT
  return UNDEFINED if math.isnan(value) else f"{value:.1f}"


def mean(result: results.TaskResult | None) -> str:
  """`54.3`; starred where some templates have no value."""
  text = number(result and result.mean)
  some = result is not None and 0 < result.undefined < len(result.templates)
  return text + ("*" if some else "")


def std(result: results.TaskResult | None) -> str:
  """`2.1`, over templates."""
  return ABSENT if result is None else number(result.std)


def mean_and_std(result: results.TaskResult | None) -> str:
  """`54.3 (2.1)`; starred where some templates have no value."""
  if result is None or math.isnan(result.mean):
    return mean(result)
  star = "*" if result.undefined else ""
  return f"{number(result.mean)} ({std(result)}){star}"


def interval(ends: tuple[float, float] | None) -> str:
  """`50.1 to 58.5`."""
  if ends is None or any(map(math.isnan, ends)):
    return ABSENT
  return " to ".join(map(number, ends))


def difference(value: float | None) -> str:
  """`+3.2`."""
  return ABSENT if value is None else f"{value:+.1f}"


def gains(ends: tuple[float, float] | None) -> str:
  """`-1.2 to +3.4`: an interval of differences."""
  if ends is None or any(map(math.isnan, ends)):
    return ABSENT
  return " to ".join(map(difference, ends))


def best_dev(result: results.TaskResult | None) -> str:
  if result is None or result.best_dev_template is None:
    return ABSENT
  return number(result.best_dev_test)


def majority(result: results.TaskResult) -> str:
  """`50.0 ± 3.1`: with half its 95 % interval."""
  if result.majority is None:
    return ABSENT
  return f"{result.majority:.1f} ± {result.majority_interval:.1f}"


def of_paper(
  result: results.TaskResult, system: str, best: bool = False
) -> str:
  """What the paper's system reached; † if it counts otherwise than we do."""
  found = published.PUBLISHED.get(result.task)
  if found is None:
    return ABSENT
  value = found.best_dev(system) if best else found.mean(system)
  if value is None:
    return ABSENT
  return f"{value:.1f}{'' if found.metric == result.metric else '†'}"


def cluster(name: str) -> str:
  """`closed book QA` of closed_book_qa."""
  words = name.split("_")
  return " ".join(w.upper() if w in ("nli", "qa") else w for w in words)
