"""How a checkpoint did, for its model card.

The results are those that `with_results` was given, which stay with the
checkpoint wherever it is written, else those of evaluation/ in its folder or
its workdir, where there are some of this very checkpoint.
"""

import dataclasses
import os

import tensorflow as tf
from absl import logging

from flan_tf.bridges import model_source
from flan_tf.bridges.native import checkpoint_source
from flan_tf.eval import results
from flan_tf.report import comparison, tables

# What launch.evaluate writes: the untuned model first, where there are two.
_BASE, _RESULTS = "base.json", "results.json"
# In data.json, the results that go with a checkpoint.
_EVALUATIONS = "evaluations"


def with_results(
  source: model_source.ModelSource, path: str
) -> model_source.ModelSource:
  """A checkpoint with an evaluation of it, which goes where it goes.

  Args:
    source: a checkpoint of ours.
    path: the folder that launch.evaluate wrote, or its results.json; where
      that has the untuned model too, the card shows both.

  Raises:
    FileNotFoundError: there are no results.
    SourceError: they are of another checkpoint, or the source is no checkpoint.
  """
  if not isinstance(source, checkpoint_source.NativeSource):
    raise model_source.SourceError(
      f"{source.note} is no checkpoint that was evaluated here, so no results"
      " are its own. Convert it to native:DIR, evaluate that with"
      " launch.evaluate, and convert from native:DIR with --results."
    )
  path = os.path.expanduser(path)
  if tf.io.gfile.isdir(path):
    path = os.path.join(path, _RESULTS)
  found = _read_evaluations(path)
  wanted = _real(source.path)
  for count in (len(found), 1):  # Both models, or the untuned one alone.
    if _real(found[:count][-1].checkpoint) == wanted:
      data = source.data | {_EVALUATIONS: [e.to_json() for e in found[:count]]}
      return dataclasses.replace(source, data=data)
  theirs = " and ".join(evaluation.checkpoint for evaluation in found)
  raise model_source.SourceError(
    f"{path} has results of {theirs}, not of {source.path}. Give the results of"
    " this checkpoint, or evaluate it: python -m launch.evaluate"
    f" --checkpoint={source.path} --held_out=..."
  )


def section(source: checkpoint_source.NativeSource) -> list[str]:
  """The paragraphs and tables of a card that say how the model did."""
  found = _evaluations(source)
  if not found:
    return ["Not evaluated."]
  last = found[-1]
  held_out = f", {last.held_out} held out" if last.held_out else ""
  settings = ", ".join(
    f"{name} {value}"
    for name, value in last.settings.items()
    if not isinstance(value, (dict, list)) and value is not None
  )
  not_read = tables.not_read(found)
  return [
    f"Mean (standard deviation) over templates{held_out}. Settings:"
    f" {settings or 'as published'}.",
    tables.to_markdown(_tasks_table(found)),
    "**best dev**: the test score of the template that did best on the dev"
    " rows. **majority**: the accuracy of always giving the most frequent"
    " answer. **paper**: FLAN 137B zero-shot (Wei et al. 2021), on its own test"
    " rows and templates; † marks another metric.",
    *(f"Not like with like: {line}." for line in comparison.differences(found)),
    *([tables.to_markdown(not_read)] if len(not_read) > 1 else []),
  ]


def _tasks_table(found: comparison.Evaluations) -> tables.Table:
  """A row a task as in the report, with its cluster and how many templates."""
  heads, *lines = tables.tasks(found)
  task, metric, *rest = heads
  table = [[task, "cluster", metric, "templates", *rest]]
  for (task, metric, *rest), row in zip(
    lines, comparison.rows(found), strict=True
  ):
    result = comparison.any_of(row)
    count = str(len(result.templates))
    table.append([task, result.cluster, metric, count, *rest])
  return table


def _evaluations(
  source: checkpoint_source.NativeSource,
) -> list[results.EvaluationResults]:
  """The evaluation of this very checkpoint, behind that of its base."""
  try:
    if given := source.data.get(_EVALUATIONS):
      return list(map(results.EvaluationResults.from_json, given))
    for folder in (source.path, source.asked):
      path = os.path.join(folder, "evaluation", _RESULTS)
      if tf.io.gfile.exists(path):
        found = _read_evaluations(path)
        # Of a workdir, it may be that of an earlier step.
        name = os.path.basename(found[-1].checkpoint)
        if name == os.path.basename(source.path):
          return found
  except ValueError as error:  # Of another version: no reason not to export.
    logging.warning("%s", error)
  return []


def _read_evaluations(path: str) -> list[results.EvaluationResults]:
  """A results file, behind base.json if that lies beside it."""
  found = [results.EvaluationResults.read(path)]
  base = os.path.join(os.path.dirname(path), _BASE)
  if os.path.basename(path) == _RESULTS and tf.io.gfile.exists(base):
    found.insert(0, results.EvaluationResults.read(base))
  return found


def _real(path: str) -> str:
  return path if "://" in path else os.path.realpath(path)
