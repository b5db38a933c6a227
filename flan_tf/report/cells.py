"""Formats single numbers for reports."""

import math

from flan_tf.eval import task_result
from flan_tf.report import published

# Shown where a value does not exist, and where it is nan.
ABSENT = "–"
UNDEFINED = "undef."
# Marks a published figure that uses another metric than our result.
OTHER_METRIC = "†"


def number(value: float | None) -> str:
  """Formats a score with one decimal: `54.3`; nan is `undef.`, None a dash."""
  if value is None:
    return ABSENT
  return UNDEFINED if math.isnan(value) else f"{value:.1f}"


def mean(result: task_result.TaskResult | None) -> str:
  """Formats the mean over templates: `54.3`.

  A star follows if some of the templates have no value.
  """
  if result is None:
    return ABSENT
  is_partial = 0 < result.undefined < len(result.templates)
  return number(result.mean) + ("*" if is_partial else "")


def std(result: task_result.TaskResult | None) -> str:
  """Formats the standard deviation over templates: `2.1`."""
  return ABSENT if result is None else number(result.std)


def mean_and_std(result: task_result.TaskResult | None) -> str:
  """Formats mean and standard deviation over templates: `54.3 (2.1)`.

  A star follows if some of the templates have no value.
  """
  if result is None or math.isnan(result.mean):
    return mean(result)
  star = "*" if result.undefined else ""
  return f"{number(result.mean)} ({std(result)}){star}"


def interval(ends: tuple[float, float] | None) -> str:
  """Formats an interval of scores: `50.1 to 58.5`."""
  if ends is None or any(map(math.isnan, ends)):
    return ABSENT
  return " to ".join(map(number, ends))


def difference(value: float | None) -> str:
  """Formats a difference of two scores with its sign: `+3.2`."""
  if value is None:
    return ABSENT
  return UNDEFINED if math.isnan(value) else f"{value:+.1f}"


def difference_interval(ends: tuple[float, float] | None) -> str:
  """Formats an interval of differences: `-1.2 to +3.4`."""
  if ends is None or any(map(math.isnan, ends)):
    return ABSENT
  return " to ".join(map(difference, ends))


def best_dev(result: task_result.TaskResult | None) -> str:
  """Formats the test score of the template with the best dev score."""
  if result is None or result.best_dev_template is None:
    return ABSENT
  return number(result.best_dev_test)


def majority(result: task_result.TaskResult) -> str:
  """Formats the majority-class accuracy: `50.0 ± 3.1`.

  The second number is half the width of the 95 % interval.
  """
  if result.majority is None:
    return ABSENT
  return f"{result.majority:.1f} ± {result.majority_interval:.1f}"


def published_mean(result: task_result.TaskResult, system: str) -> str:
  """Formats a published system's mean over templates on the result's task.

  `†` follows if the paper uses another metric than the result.
  """
  scores = published.PUBLISHED.get(result.task)
  return _published(result, scores and scores.mean(system))


def published_best_dev(result: task_result.TaskResult, system: str) -> str:
  """Formats a published system's best-dev score on the result's task.

  `†` follows if the paper uses another metric than the result.
  """
  scores = published.PUBLISHED.get(result.task)
  return _published(result, scores and scores.best_dev(system))


def _published(result: task_result.TaskResult, value: float | None) -> str:
  if value is None:
    return ABSENT
  is_same_metric = published.PUBLISHED[result.task].metric == result.metric
  return f"{value:.1f}{'' if is_same_metric else OTHER_METRIC}"


def cluster_title(cluster: str) -> str:
  """Returns a cluster's name for people: `closed book QA`."""
  words = cluster.split("_")
  return " ".join(w.upper() if w in ("nli", "qa") else w for w in words)
