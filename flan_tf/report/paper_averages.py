"""Averages that the paper names, over our results and beside its own.

The paper prints the mean of some data sets of a cluster (Wei et al. 2021,
Figure 1) and of all its data sets (Figure 9). Ours over the same tasks may
stand beside them; the mean over whatever tasks a run evaluated may not.
"""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence

from flan_tf.eval import results
from flan_tf.report import published


@dataclasses.dataclass(frozen=True)
class NamedAverage:
  """A mean over tasks that the paper prints.

  Attributes:
    name: what it is of, and where it is printed.
    cluster: the cluster of the tasks.
    tasks: all of them count alike.
    printed: one of published.SYSTEMS -> the mean, 0 to 100.
    note: what to know before comparing, or empty.
  """

  name: str
  cluster: str
  tasks: tuple[str, ...]
  printed: Mapping[str, float]
  note: str = ""


@dataclasses.dataclass(frozen=True)
class Average:
  """Our mean over the tasks of a named average.

  Attributes:
    value: 0 to 100; None where a task is missing or has no value.
    missing: the tasks that were not evaluated, or have no value.
    other_metric: the tasks that count something else than the paper does.
  """

  value: float | None
  missing: tuple[str, ...] = ()
  other_metric: tuple[str, ...] = ()


_FIGURE_1_NLI = ("anli_r1", "anli_r2", "anli_r3", "cb", "rte")
_MORE_NLI = ("mnli_matched", "mnli_mismatched", "qnli", "snli", "wnli")
_CLOSED_BOOK = ("arc_easy", "arc_challenge", "natural_questions", "trivia_qa")


def _figure_1(name, cluster, tasks, zero, few, flan, note="") -> NamedAverage:
  printed = {published.GPT3_ZERO: zero, published.GPT3_FEW: few}
  printed[published.FLAN_ZERO] = flan
  return NamedAverage(f"{name} (Figure 1)", cluster, tasks, printed, note)


def _figure_9(name, cluster, tasks, zero, few) -> NamedAverage:
  printed = {published.FLAN_ZERO: zero, published.FLAN_FEW: few}
  return NamedAverage(f"{name} (Figure 9)", cluster, tasks, printed)


# Figure 9 has more: its mean of translation is over both directions of three
# pairs, of which we ask one; those of reading comprehension and of structured
# data to text rest on cells that nobody could check.
AVERAGES = (
  _figure_1("ANLI R1 to R3, CB, RTE", "nli", _FIGURE_1_NLI, 42.9, 53.2, 56.2),
  _figure_9("all ten of NLI", "nli", (*_FIGURE_1_NLI, *_MORE_NLI), 54.7, 59.3),
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
    "its TriviaQA rows are those with Wikipedia pages",
  ),
  _figure_9(
    "all four of closed-book QA",
    "closed_book_qa",
    _CLOSED_BOOK,
    53.7,
    57.2,
  ),
  _figure_9(
    "all four of commonsense",
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


def named_averages(
  evaluation: results.EvaluationResults,
) -> list[tuple[NamedAverage, Average]]:
  """Our mean for each of AVERAGES of which the run has at least one task."""
  return [(named, ours(evaluation, named)) for named in of_any([evaluation])]


def of_any(
  evaluations: Iterable[results.EvaluationResults],
) -> list[NamedAverage]:
  """Those of AVERAGES of which any result set has at least one task."""
  have = {result.task for e in evaluations for result in e.tasks}
  return [named for named in AVERAGES if have.intersection(named.tasks)]


def ours(evaluation: results.EvaluationResults, named: NamedAverage) -> Average:
  """Our mean over the very tasks of a named average."""
  values, missing, other = [], [], []
  for task in named.tasks:
    result = evaluation.get(task)
    if result is None or result.mean != result.mean:
      missing.append(task)
      continue
    value = as_published(result)
    if value is None:
      other.append(task)
    values.append(result.mean if value is None else value)
  mean = None if missing else statistics.fmean(values)
  return Average(mean, tuple(missing), tuple(other))


def as_published(result: results.TaskResult) -> float | None:
  """The mean of the metric that the paper counts; None if we have no such.

  It may not be our headline: the paper counts accuracy where we count F1, say.
  """
  cell = published.PUBLISHED.get(result.task)
  if cell is None:
    return None
  if cell.metric == result.metric:
    return result.mean
  values = [score.others.get(cell.metric) for score in result.templates]
  defined = [value for value in values if value is not None]
  if len(defined) < len(values):
    return None
  return results.mean(defined)


def gain(averages: Sequence[Average]) -> float | None:
  """The last value less the one before; None unless both are there."""
  if len(averages) < 2:
    return None
  first, second = averages[-2].value, averages[-1].value
  return None if first is None or second is None else second - first


def written(average: Average) -> str:
  """`56.2`, † if a task counts otherwise than in the paper; or what lacks."""
  if average.value is None:
    return f"without {', '.join(average.missing)}"
  return f"{average.value:.1f}{'†' if average.other_metric else ''}"
