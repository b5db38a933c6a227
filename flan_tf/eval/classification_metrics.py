"""Metrics of chosen options, computed by scikit-learn and scipy.

All values are percentages; correlations are multiplied by 100. More is better.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Standard deviations of the normal distribution that hold 95 % of it.
_Z95 = 1.959963984540054


class Choices(NamedTuple):
  """Chosen and right options of N examples.

  Attributes:
    chosen: index of the chosen option, int64 [N].
    right: index of the right option, int64 [N].
    options: number of options; the largest number if examples differ in it.
    groups: group of each example, [N]; empty for metrics without groups.
  """

  chosen: np.ndarray
  right: np.ndarray
  options: int
  groups: Sequence[str] = ()


def check_indices(
  what: str,
  values: Sequence[int] | np.ndarray,
  options: int | None = None,
  hint: str = "",
) -> np.ndarray:
  """Returns option indices as int64 [N].

  Args:
    what: name of the values in error messages.
    values: option indices, int [N], none hidden (-1).
    options: number of options; None for any number.
    hint: sentence that is added if the values are not integers.

  Raises:
    ValueError: the values are not option indices.
  """
  array = np.asarray(values)
  if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
    raise ValueError(
      f"{what} must be option indices, int [N]; got {array.dtype}"
      f" {list(array.shape)}. {hint}".rstrip()
    )
  limit = math.inf if options is None else options
  wrong = np.flatnonzero((array < 0) | (array >= limit))
  if wrong.size:
    known = "0 or more" if options is None else f"0 to {options - 1}"
    raise ValueError(
      f"{what}[{wrong[0]}] is {array[wrong[0]]}; expected the index of an"
      f" option, {known}. Leave out rows whose label is hidden (-1) before you"
      " score."
    )
  return array.astype(np.int64)


def is_right(
  chosen: Sequence[int] | np.ndarray, right: Sequence[int] | np.ndarray
) -> np.ndarray:
  """Returns 100 for each right choice and 0 for each wrong one, float64 [N]."""
  return 100.0 * (np.asarray(chosen) == np.asarray(right))


def accuracy(choices: Choices) -> float:
  """Returns the share of right choices."""
  from sklearn import metrics

  return 100 * metrics.accuracy_score(choices.right, choices.chosen)


def f1(choices: Choices) -> float:
  """Returns F1 of the second of two options.

  Raises:
    ValueError: there are more than two options.
  """
  if choices.options != 2:
    raise ValueError(
      f"Metric 'f1' is binary, but there are {choices.options} options. Use"
      " 'macro_f1' for more than two."
    )
  from sklearn import metrics

  return 100 * metrics.f1_score(
    choices.right, choices.chosen, pos_label=1, zero_division=0
  )


def macro_f1(choices: Choices) -> float:
  """Returns the mean over all options of their F1.

  As in T5's metric for CB, an option that is neither right nor chosen anywhere
  has an F1 of 0.
  """
  from sklearn import metrics

  return 100 * metrics.f1_score(
    choices.right,
    choices.chosen,
    labels=range(choices.options),
    average="macro",
    zero_division=0,
  )


def matthews(choices: Choices) -> float:
  """Returns Matthews' correlation times 100; 0 if one side is constant."""
  from sklearn import metrics

  return 100 * metrics.matthews_corrcoef(choices.right, choices.chosen)


def group_exact_match(choices: Choices) -> float:
  """Returns the share of groups with right choices only (EM of MultiRC)."""
  all_right: dict[str, bool] = {}
  for group, chosen, right in zip(
    choices.groups, choices.chosen, choices.right, strict=True
  ):
    is_group_right = all_right.get(group, True)
    all_right[group] = is_group_right and bool(chosen == right)
  return 100 * sum(all_right.values()) / len(all_right)


def pearson(choices: Choices) -> float:
  """Returns Pearson's r times 100; nan if one side is constant."""
  return _correlation("pearsonr", choices)


def spearman(choices: Choices) -> float:
  """Returns Spearman's rho times 100; nan if one side is constant."""
  return _correlation("spearmanr", choices)


def _correlation(function_name: str, choices: Choices) -> float:
  # scipy also returns nan for a constant, but with a warning.
  if not (np.ptp(choices.chosen) and np.ptp(choices.right)):
    return math.nan
  from scipy import stats

  function = getattr(stats, function_name)
  return 100 * function(choices.chosen, choices.right).statistic


def majority_accuracy(right: Sequence[int] | np.ndarray) -> float:
  """Returns the accuracy of always choosing the most frequent right option.

  Args:
    right: index of the right option of each example, int [N].

  Raises:
    ValueError: there are no examples, or a right option is hidden.
  """
  indices = check_indices("Majority baseline: right", right)
  if not indices.size:
    raise ValueError(
      "Majority baseline: the list of correct options is empty; expected one"
      " or more."
    )
  return 100.0 * float(np.bincount(indices).max()) / indices.size


def half_interval(accuracy: float, examples: int) -> float:
  """Returns half the width of the 95 % interval of an accuracy, in points.

  This is the normal approximation of a binomial, 1.96 sqrt(p (1 - p) / n). It
  is too narrow for a handful of examples, and 0 if all or none are right.

  Args:
    accuracy: accuracy, 0 to 100.
    examples: number of examples.

  Raises:
    ValueError: the accuracy or the number of examples is out of range.
  """
  if examples < 1 or not 0 <= accuracy <= 100:
    raise ValueError(
      f"Expected an accuracy of 0 to 100 over 1 or more examples, got"
      f" {accuracy} over {examples}."
    )
  share = accuracy / 100
  return 100 * _Z95 * math.sqrt(share * (1 - share) / examples)
