"""The section of a model card with the evaluation results of a checkpoint.

The results are those that `with_results` added to the checkpoint's data, which
are copied wherever the checkpoint is written. If there are none, they are read
from the folder `evaluation` in the checkpoint or in its workdir, and used if
they are results of this very checkpoint.
"""

import dataclasses
import os

import tensorflow as tf
from absl import logging

from flan_tf.bridges import model_source
from flan_tf.bridges.native import checkpoint_source
from flan_tf.eval.results import EvaluationResults
from flan_tf.report import mismatches, table_format, tables
from flan_tf.report.comparison import Comparison

# Files that `launch.evaluate` writes. The first one has the results of the
# untuned model, if that was evaluated, too.
_BASE, _RESULTS = "base.json", "results.json"
# Key of data.json with the results of a checkpoint.
_EVALUATIONS = "evaluations"


def with_results(
  source: model_source.ModelSource, path: str
) -> model_source.ModelSource:
  """Returns a checkpoint with the results of its evaluation.

  Args:
    source: a checkpoint of this project.
    path: the output folder of `launch.evaluate`, or the results.json in it. If
      the folder has results of the untuned model, the card shows both.

  Raises:
    FileNotFoundError: there are no results at the path.
    SourceError: the results are those of another checkpoint, or the source is
      not a checkpoint.
  """
  if not isinstance(source, checkpoint_source.NativeSource):
    raise model_source.SourceError(
      f"Results can be added to a checkpoint only, and {source.origin} is no"
      " checkpoint of this project. Convert it to native:DIR, evaluate that"
      " checkpoint with launch.evaluate, and convert from native:DIR with"
      " --results."
    )
  path = os.path.expanduser(path)
  if tf.io.gfile.isdir(path):
    path = os.path.join(path, _RESULTS)
  evaluations = _read_evaluations(path)
  checkpoint = _real_path(source.path)
  # The checkpoint may be the tuned model, or else the untuned one.
  for count in (len(evaluations), 1):
    own = evaluations[:count]
    if _real_path(own[-1].checkpoint) == checkpoint:
      results = {_EVALUATIONS: [e.to_json() for e in own]}
      return dataclasses.replace(source, data={**source.data, **results})
  evaluated = " and ".join(e.checkpoint for e in evaluations)
  raise model_source.SourceError(
    f"{path} has results of {evaluated}, not of {source.path}. Name the results"
    " of this checkpoint, or evaluate it: python -m launch.evaluate"
    f" --checkpoint={source.path} --held_out=..."
  )


def section(source: checkpoint_source.NativeSource) -> list[str]:
  """Returns the paragraphs and tables of the section, as Markdown."""
  evaluations = _evaluations_of(source)
  if not evaluations:
    return ["Not evaluated."]
  compared = Comparison.load(evaluations)
  last = evaluations[-1]
  held_out = f"Held out: {last.held_out}. " if last.held_out else ""
  settings = ", ".join(
    f"{name} {value}"
    for name, value in last.settings.items()
    if not isinstance(value, (dict, list)) and value is not None
  )
  not_evaluated = tables.not_evaluated(compared)
  return [
    "Scores on the test rows: mean over templates (standard deviation over"
    f" templates). {held_out}Settings: {settings or 'as published'}.",
    table_format.to_markdown(_scores_table(compared)),
    "**best dev**: the test score of the template with the best score on the"
    " dev rows. **majority**: the accuracy of always giving the most frequent"
    " answer. **paper**: FLAN 137B zero-shot (Wei et al. 2021), on the test"
    " rows and with the templates of the paper; † marks another metric.",
    *(
      f"Not directly comparable: {sentence}."
      for sentence in mismatches.find_mismatches(compared)
    ),
    *(
      [table_format.to_markdown(not_evaluated)]
      if len(not_evaluated) > 1
      else []
    ),
  ]


def _scores_table(compared: Comparison) -> table_format.Table:
  """Returns the report's table with the cluster and the number of templates."""
  (task_heading, metric_heading, *headings), *rows = tables.scores(compared)
  table = [[task_heading, "cluster", metric_heading, "templates", *headings]]
  for (name, metric, *cells), task in zip(rows, compared.tasks, strict=True):
    templates = str(len(task.first.templates))
    table.append([name, task.first.cluster, metric, templates, *cells])
  return table


def _evaluations_of(
  source: checkpoint_source.NativeSource,
) -> list[EvaluationResults]:
  """Returns the results of a checkpoint, after those of the untuned model.

  The list is empty if the checkpoint was not evaluated.
  """
  try:
    if saved := source.data.get(_EVALUATIONS):
      return list(map(EvaluationResults.from_json, saved))
    for folder in (source.path, source.requested_path):
      path = os.path.join(folder, "evaluation", _RESULTS)
      if tf.io.gfile.exists(path):
        evaluations = _read_evaluations(path)
        # The folder of a workdir may have results of an earlier step.
        name = os.path.basename(evaluations[-1].checkpoint)
        if name == os.path.basename(source.path):
          return evaluations
  except ValueError as error:
    # Results of another version do not keep a checkpoint from being exported.
    logging.warning("The model card gets no results: %s", error)
  return []


def _read_evaluations(path: str) -> list[EvaluationResults]:
  """Reads a results file, and base.json in the same folder if it exists."""
  evaluations = [EvaluationResults.read(path)]
  base = os.path.join(os.path.dirname(path), _BASE)
  if os.path.basename(path) == _RESULTS and tf.io.gfile.exists(base):
    evaluations.insert(0, EvaluationResults.read(base))
  return evaluations


def _real_path(path: str) -> str:
  return path if "://" in path else os.path.realpath(path)
