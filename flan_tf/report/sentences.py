"""What a report says in sentences: its title, its verdict, its warnings."""

import statistics
from collections.abc import Mapping

from flan_tf.eval import metrics, paired, results
from flan_tf.report import comparison
from flan_tf.task import holdout

# Of fewer test rows even a large gain may be chance: half the 95 % interval of
# an accuracy of 50 is 10 points and more.
SMALL = 100
# Fewer rows, drawn again and again, say nothing of rows that are not there.
FEWEST = 20

# Task -> how far the last model is above the one before it, and how surely.
Differences = Mapping[str, paired.Difference]
_NONE: Differences = {}


def title(evaluations: comparison.Evaluations) -> str:
  held_out = dict.fromkeys(e.held_out for e in evaluations if e.held_out)
  if not held_out:
    return "Evaluation"
  names = ", ".join(name.replace("_", " ") for name in held_out)
  return f"Evaluation with {names} held out"


def counted(evaluations: comparison.Evaluations) -> str:
  """How much was evaluated, and how much of it is little."""
  rows = comparison.rows(evaluations)
  clusters = {comparison.any_of(row).cluster for row in rows}
  not_read = {name for e in evaluations for name in e.not_read}
  not_read -= {comparison.any_of(row).task for row in rows}
  parts = [
    f"{count(len(rows), 'task')} in {count(len(clusters), 'cluster')},"
    f" {len(not_read) or 'none'} not read."
  ]
  small = [row for row in rows if comparison.any_of(row).examples < SMALL]
  if small:
    parts.append(
      f"{len(small) if len(small) < len(rows) else 'All'} of them"
      f" {'has' if len(small) == 1 < len(rows) else 'have'} fewer than {SMALL}"
      " test rows: small samples, of which single scores say little."
    )
  return " ".join(parts)


def verdict(
  evaluations: comparison.Evaluations, differences: Differences = _NONE
) -> str:
  """One sentence: of two or more result sets, who is ahead and by how much.

  Of one it is the mean over its tasks.

  Args:
    evaluations: one to four result sets.
    differences: task -> how sure its gain is, where that is known.
  """
  rows = comparison.rows(evaluations)
  if len(evaluations) < 2:
    return _mean_of_one(evaluations[0])
  gains = [(row, comparison.gain(row)) for row in rows]
  known = [(row, gain) for row, gain in gains if gain is not None]
  if not known:
    return "No task has a score of both."
  base, tuned = comparison.last_two(comparison.labels(evaluations)) or ("", "")
  first, second = (
    statistics.fmean(result.mean for result in column)
    for column in list(zip(*(row for row, _ in known), strict=True))[-2:]
  )
  ahead = [row for row, gain in known if gain > 0]
  behind = [row for row, gain in known if gain < 0]
  difference = statistics.fmean(gain for _, gain in known)
  return (
    f"{tuned} is above {base} on {len(ahead)}{_beyond(ahead, differences)} of"
    f" {count(len(known), 'task')} and below on {len(behind)}"
    f"{_beyond(behind, differences)}, by {difference:+.1f} points on average"
    f" over tasks ({second:.1f} against {first:.1f})."
  )


def _beyond(rows: list[comparison.Row], differences: Differences) -> str:
  """How many gains are beyond chance; nothing unless all have an interval."""
  found = [differences.get(comparison.any_of(row).task) for row in rows]
  known = [difference for difference in found if difference is not None]
  if not rows or len(known) < len(rows):
    return ""
  return f" ({sum(map(beyond_chance, known))} beyond chance)"


def beyond_chance(difference: paired.Difference) -> bool:
  """Whether its interval leaves 0 out, and rests on rows enough to say so."""
  return difference.is_clear and difference.rows >= FEWEST


def _mean_of_one(evaluation: results.EvaluationResults) -> str:
  mean = results.mean(result.mean for result in evaluation.tasks)
  if mean != mean:
    return "No task has a score."
  over = count(len(evaluation.tasks), "task")
  return f"{evaluation.label} has {mean:.1f} on average over {over}."


def tuned_start(evaluations: comparison.Evaluations) -> str:
  """What to know of weights that others have tuned before; empty if none."""
  labels = [
    label
    for label, evaluation in zip(
      comparison.labels(evaluations), evaluations, strict=True
    )
    if evaluation.tuned_start
  ]
  if not labels:
    return ""
  return (
    f"the weights of {' and '.join(labels)} have a chat wrapper, so others will"
    " have tuned them on instructions before, on data that is not known here."
    " Held out means that our own tuning did not see it."
  )


def not_held_out(evaluations: comparison.Evaluations) -> str:
  """What to know of tasks that training may have seen; empty if of none."""
  *_, last = evaluations
  if not last.held_out:
    return ""
  seen = [
    result
    for result in last.tasks
    if not holdout.forbids(last.held_out, result.task, result.cluster)
  ]
  if not seen:
    return ""
  return (
    f"{last.label} held out {last.held_out}. {len(seen)} of"
    f" {count(len(last.tasks), 'task')} are not among it or its kin: training"
    " may have seen them, and their scores are not zero-shot."
  )


def undefined(evaluations: comparison.Evaluations) -> list[str]:
  """A sentence for each result with templates that have no value."""
  return [
    f"{result.task}, {label}: {result.metric} is undefined for"
    f" {result.undefined} of {count(len(result.templates), 'template')};"
    " mean and deviation are those of the rest."
    for label, evaluation in zip(
      comparison.labels(evaluations), evaluations, strict=True
    )
    for result in evaluation.tasks
    if result.undefined
  ]


def about(evaluations: comparison.Evaluations) -> dict[str, str]:
  """What each metric of the report is, and which version computed it."""
  found = [result for e in evaluations for result in e.tasks]
  names = [
    name
    for result in found
    for name in (result.metric, *result.templates[0].others)
  ]
  lines = {
    name: metrics.METRICS[name].describe()
    for name in dict.fromkeys(names)
    if name in metrics.METRICS
  }
  for signature in dict.fromkeys(r.signature for r in found if r.signature):
    tasks = dict.fromkeys(r.task for r in found if r.signature == signature)
    lines[f"signature of {', '.join(tasks)}"] = signature
  return lines


def count(number: int, noun: str) -> str:
  return f"{number:,} {noun}{'' if number == 1 else 's'}"
