"""Writes the sentences of a report: title, summary, caveats, footnotes."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flan_tf import name_lists
from flan_tf.eval import metrics, paired, results, task_result
from flan_tf.report import comparison, mismatches
from flan_tf.report.task_comparison import TaskComparison
from flan_tf.task import holdout

# A task with fewer test rows is called small: half the 95 % interval of an
# accuracy of 50 % is then 10 points or more.
MIN_TEST_ROWS = 100
# The bootstrap interval of fewer rows is too narrow to call a difference
# significant.
MIN_ROWS_FOR_SIGNIFICANCE = 20


class Caveat(NamedTuple):
  """Something that a reader must know before using the scores.

  Attributes:
    heading: a few words, without period.
    sentences: one or more; each ends with a period.
  """

  heading: str
  sentences: Sequence[str]


def title(compared: comparison.Comparison) -> str:
  """Returns the title of the report; it names what was held out."""
  held_out = dict.fromkeys(
    e.held_out for e in compared.evaluations if e.held_out
  )
  if not held_out:
    return "Evaluation"
  names = ", ".join(name.replace("_", " ") for name in held_out)
  return f"Evaluation with {names} held out"


def size(compared: comparison.Comparison) -> str:
  """Returns sentences with the numbers of tasks, clusters and small tasks."""
  tasks = compared.tasks
  sentences = [
    f"{count(len(tasks), 'task')} in {count(len(compared.clusters), 'cluster')}"
    f" {'was' if len(tasks) == 1 else 'were'} evaluated."
  ]
  evaluated = {task.name for task in tasks}
  missing = len(set(compared.not_evaluated) - evaluated)
  if missing:
    sentences.append(f"{count(missing, 'task')} could not be evaluated.")
  small = sum(task.first.examples < MIN_TEST_ROWS for task in tasks)
  if small:
    number = "All" if small == len(tasks) else str(small)
    verb = "has" if small == 1 < len(tasks) else "have"
    sentences.append(
      f"{number} of them {verb} fewer than {MIN_TEST_ROWS} test rows, so the"
      " scores there are uncertain."
    )
  return " ".join(sentences)


def verdict(compared: comparison.Comparison) -> str:
  """Returns which of the last two evaluations scores higher, and by how much.

  For a single evaluation it is the mean over its tasks.
  """
  if not compared.has_pair:
    return _mean_of_one(compared.evaluations[0])
  tasks = [task for task in compared.tasks if task.gain is not None]
  if not tasks:
    return "No task has a score of both models that can be compared."
  base, tuned = compared.labels[-2:]
  higher = [task for task in tasks if (task.gain or 0.0) > 0]
  lower = [task for task in tasks if (task.gain or 0.0) < 0]
  first, second = (
    statistics.fmean(result.mean for result in column)
    for column in list(zip(*(task.results for task in tasks), strict=True))[-2:]
  )
  gain = statistics.fmean(task.gain or 0.0 for task in tasks)
  return (
    f"{tuned} scores higher than {base} on {len(higher)} of"
    f" {count(len(tasks), 'task')}{_number_significant(higher)} and lower on"
    f" {len(lower)}{_number_significant(lower)}. On average over these tasks,"
    f" {tuned} has {second:.1f} and {base} {first:.1f}, a difference of"
    f" {gain:+.1f} points."
  )


def _number_significant(tasks: Sequence[TaskComparison]) -> str:
  """Returns ` (2 significant)`; empty unless all tasks have an interval."""
  differences = [task.difference for task in tasks]
  known = [d for d in differences if d is not None]
  if not tasks or len(known) < len(tasks):
    return ""
  return f" ({sum(map(is_significant, known))} significant)"


def is_significant(difference: paired.Difference) -> bool:
  """Returns whether the interval excludes 0 and is based on enough rows."""
  return difference.is_clear and difference.rows >= MIN_ROWS_FOR_SIGNIFICANCE


def _mean_of_one(evaluation: results.EvaluationResults) -> str:
  mean = task_result.mean_or_nan(result.mean for result in evaluation.tasks)
  if math.isnan(mean):
    return "No task has a score."
  tasks = count(len(evaluation.tasks), "task")
  return f"{evaluation.label} scores {mean:.1f} on average over {tasks}."


def caveats(compared: comparison.Comparison) -> list[Caveat]:
  """Returns all caveats that apply to the evaluations."""
  applying = []
  if sentence := not_held_out(compared):
    applying.append(Caveat("Not all tasks are held out", [sentence]))
  if sentence := tuned_start(compared):
    applying.append(
      Caveat("Starting weights already instruction-tuned", [sentence])
    )
  if sentences := mismatches.find_mismatches(compared):
    lines = [f"{sentence}." for sentence in sentences]
    applying.append(Caveat("Not directly comparable", lines))
  return applying


def not_held_out(compared: comparison.Comparison) -> str:
  """Returns a caveat on tasks that training may have seen; may be empty."""
  last = compared.evaluations[-1]
  if not last.held_out:
    return ""
  held_out = name_lists.split_names(last.held_out)
  seen = [
    result
    for result in last.tasks
    if not holdout.forbids(held_out, result.task, result.cluster)
  ]
  if not seen:
    return ""
  return (
    f"{compared.labels[-1]} held out {last.held_out}. {len(seen)} of"
    f" {count(len(last.tasks), 'task')} are neither held out nor in a related"
    " cluster: training may have seen them, and their scores are not zero-shot."
  )


def tuned_start(compared: comparison.Comparison) -> str:
  """Returns a caveat on weights that others tuned before; may be empty."""
  labels = [label for label, e in compared.labeled if e.tuned_start]
  if not labels:
    return ""
  return (
    f"The weights of {_join(labels)} come with a chat template, so others"
    " have probably tuned them on instructions before, with data that is not"
    " known here. Held out means only that the training in this project did"
    " not use these tasks."
  )


def undefined_scores(compared: comparison.Comparison) -> list[str]:
  """Returns a sentence for each result with templates that have no value."""
  return [
    f"{result.task}, {label}: {result.metric} is undefined for"
    f" {result.undefined} of {count(len(result.templates), 'template')}. The"
    " mean and the standard deviation leave these templates out."
    for label, evaluation in compared.labeled
    for result in evaluation.tasks
    if result.undefined
  ]


def metric_descriptions(compared: comparison.Comparison) -> dict[str, str]:
  """Returns metric -> its definition and the package that computed it.

  The signatures of BLEU scores follow.
  """
  all_results = [result for e in compared.evaluations for result in e.tasks]
  names = [
    name
    for result in all_results
    for name in (result.metric, *result.templates[0].others)
  ]
  lines = {
    name: metrics.METRICS[name].describe()
    for name in dict.fromkeys(names)
    if name in metrics.METRICS
  }
  for signature in dict.fromkeys(
    r.signature for r in all_results if r.signature
  ):
    tasks = dict.fromkeys(
      r.task for r in all_results if r.signature == signature
    )
    lines[f"signature of {', '.join(tasks)}"] = signature
  return lines


def count(number: int, noun: str) -> str:
  """Returns a number and its noun: `1 task`, `1,200 tasks`."""
  return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _join(names: Iterable[str]) -> str:
  *first, last = names
  return f"{', '.join(first)} and {last}" if first else last
