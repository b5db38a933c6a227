"""Averages over several tasks that the paper prints, and ours over those tasks.

The paper prints the mean over some data sets of a cluster (Wei et al. 2021,
Figure 1), and over all data sets of a cluster (Figure 9). Only a mean of ours
over exactly the same tasks can be compared with such an average. A mean over
the tasks that an evaluation happens to have cannot.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from flan_tf.eval import results, task_result
from flan_tf.report import cells, published


@dataclasses.dataclass(frozen=True)
class NamedAverage:
  """An average that the paper prints.

  Attributes:
    name: the tasks in words, and the figure that prints the average.
    cluster: the cluster of the tasks.
    tasks: names of the tasks; each has the same weight.
    printed: a name of published.SYSTEMS -> the printed average, 0 to 100.
    note: a difference between the paper's tasks and ours; may be empty.
  """

  name: str
  cluster: str
  tasks: tuple[str, ...]
  printed: Mapping[str, float]
  note: str = ""


@dataclasses.dataclass(frozen=True)
class OwnAverage:
  """The mean of one evaluation over the tasks of a named average.

  Attributes:
    value: 0 to 100; None if any of the tasks has no value.
    missing: the tasks that were not evaluated or have no value.
    other_metric: the tasks for which we do not have the paper's metric.
  """

  value: float | None
  missing: tuple[str, ...] = ()
  other_metric: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ComparedAverage:
  """A named average beside our own means, one for each evaluation."""

  named: NamedAverage
  own: tuple[OwnAverage, ...]

  @property
  def gain(self) -> float | None:
    """Own mean of the last evaluation minus that of the one before it.

    None if there is only one evaluation, or if one of the means is missing.
    """
    if len(self.own) < 2:
      return None
    first, second = self.own[-2].value, self.own[-1].value
    return None if first is None or second is None else second - first


_FIGURE_1_NLI = ("anli_r1", "anli_r2", "anli_r3", "cb", "rte")
_MORE_NLI = ("mnli_matched", "mnli_mismatched", "qnli", "snli", "wnli")
_CLOSED_BOOK = ("arc_easy", "arc_challenge", "natural_questions", "trivia_qa")


def _figure_1(
  name: str,
  cluster: str,
  tasks: tuple[str, ...],
  gpt3_zero: float,
  gpt3_few: float,
  flan_zero: float,
  note: str = "",
) -> NamedAverage:
  printed = {
    published.GPT3_ZERO: gpt3_zero,
    published.GPT3_FEW: gpt3_few,
    published.FLAN_ZERO: flan_zero,
  }
  return NamedAverage(f"{name} (Figure 1)", cluster, tasks, printed, note)


def _figure_9(
  name: str,
  cluster: str,
  tasks: tuple[str, ...],
  flan_zero: float,
  flan_few: float,
) -> NamedAverage:
  printed = {published.FLAN_ZERO: flan_zero, published.FLAN_FEW: flan_few}
  return NamedAverage(f"{name} (Figure 9)", cluster, tasks, printed)


# Figure 9 also prints averages for translation, reading comprehension and
# struct to text, which are left out here. The one for translation is over both
# directions of three language pairs, and we have one direction of each. The
# other two depend on scores that could not be checked.
AVERAGES = (
  _figure_1("ANLI R1 to R3, CB, RTE", "nli", _FIGURE_1_NLI, 42.9, 53.2, 56.2),
  _figure_9(
    "all ten NLI tasks", "nli", (*_FIGURE_1_NLI, *_MORE_NLI), 54.7, 59.3
  ),
  _figure_1(
    "BoolQ, MultiRC, OpenBookQA",
    "reading_comprehension",
    ("bool_q", "multirc", "openbookqa"),
    63.7,
    72.6,
    77.4,
  ),
  _figure_1(
    "ARC easy and challenge, NQ, TriviaQA",
    "closed_book_qa",
    _CLOSED_BOOK,
    49.8,
    55.7,
    56.6,
    "the paper's TriviaQA rows are those with Wikipedia pages",
  ),
  _figure_9(
    "all four closed-book QA tasks",
    "closed_book_qa",
    _CLOSED_BOOK,
    53.7,
    57.2,
  ),
  _figure_9(
    "all four commonsense tasks",
    "commonsense",
    ("copa", "hellaswag", "piqa", "story_cloze"),
    80.0,
    80.8,
  ),
  _figure_9(
    "DPR, Winogrande",
    "coreference",
    ("definite_pronoun_resolution", "winogrande"),
    63.8,
    67.4,
  ),
)


def compared_averages(
  evaluations: Sequence[results.EvaluationResults],
) -> tuple[ComparedAverage, ...]:
  """Computes our means for those of AVERAGES with at least one known task."""
  evaluated = {result.task for e in evaluations for result in e.tasks}
  return tuple(
    ComparedAverage(named, tuple(own_average(e, named) for e in evaluations))
    for named in AVERAGES
    if evaluated.intersection(named.tasks)
  )


def own_average(
  evaluation: results.EvaluationResults, named: NamedAverage
) -> OwnAverage:
  """Computes an evaluation's mean over the tasks of a named average."""
  values, missing, other_metric = [], [], []
  for task in named.tasks:
    result = evaluation.get(task)
    if result is None or math.isnan(result.mean):
      missing.append(task)
      continue
    value = mean_of_published_metric(result)
    if value is None:
      other_metric.append(task)
      value = result.mean
    values.append(value)
  mean = None if missing else statistics.fmean(values)
  return OwnAverage(mean, tuple(missing), tuple(other_metric))


def mean_of_published_metric(result: task_result.TaskResult) -> float | None:
  """Returns a result's mean over templates of the metric that the paper uses.

  This may not be our headline metric: for CB, the paper prints the accuracy
  and we the F1 score. None if the result does not have the paper's metric.
  """
  scores = published.PUBLISHED.get(result.task)
  if scores is None:
    return None
  if scores.metric == result.metric:
    return result.mean
  values = [score.others.get(scores.metric) for score in result.templates]
  known = [value for value in values if value is not None]
  return task_result.mean_or_nan(known) if len(known) == len(values) else None


def format_average(average: OwnAverage) -> str:
  """Formats an average: `56.2`, or `missing: cb, rte` if it has no value.

  `†` follows if a task uses another metric than the paper.
  """
  if average.value is None:
    return f"missing: {', '.join(average.missing)}"
  mark = cells.OTHER_METRIC if average.other_metric else ""
  return f"{average.value:.1f}{mark}"
