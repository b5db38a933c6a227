"""The files of an evaluation: results, scores and report.

FOLDER/base_baseline.json   of three evaluations: the untuned model's, with
                            baseline prompts
       base.json            of two or three: the untuned model's
       results.json         the last, or only, evaluation
       scores.csv, report.md, report.html, templates.png, tensorboard/
       predictions/LABEL/   the predictions of each model
"""

import os

import tensorflow as tf

from flan_tf.eval.results import EvaluationResults
from flan_tf.report import csv_file, writer
from flan_tf.report.comparison import Comparison

# The results files of three evaluations. Two have the last two of them.
RESULTS = ("base_baseline.json", "base.json", "results.json")


def write_report(compared: Comparison, folder: str) -> str:
  """Writes the results of evaluations, and the report on them.

  Args:
    compared: one to three evaluations, the untuned model first.
    folder: local or gs://; it is created if it does not exist.

  Returns:
    The path of report.md.
  """
  evaluations = compared.evaluations
  # An earlier evaluation in this folder may have had more models.
  for name in RESULTS[: -len(evaluations)]:
    path = os.path.join(folder, name)
    if tf.io.gfile.exists(path):
      tf.io.gfile.remove(path)
  # results.json is written last: if it exists, so do the others.
  names = RESULTS[-len(evaluations) :]
  for evaluation, name in zip(evaluations, names, strict=True):
    evaluation.write_json(os.path.join(folder, name))
  report = writer.write(folder, compared)
  csv_file.write(os.path.join(folder, "scores.csv"), compared)
  return report


def read_results(
  folder: str, count: int | None = None
) -> tuple[EvaluationResults, ...]:
  """Reads the results files of a folder, the untuned model first.

  Args:
    folder: the output of launch.evaluate, or a results file in it. A results
      file gives its own results only.
    count: number of evaluations to read, the last ones; None for all.

  Raises:
    FileNotFoundError: there are no results.
    ValueError: a file is not a results file.
  """
  if folder.endswith(".json"):
    return (EvaluationResults.read(folder),)
  *others, last = (os.path.join(folder, name) for name in RESULTS)
  if count is None:
    paths = [*filter(tf.io.gfile.exists, others), last]
  else:
    paths = [*others, last][-count:]
  return tuple(map(EvaluationResults.read, paths))


def copy_folder(source: str, target: str) -> None:
  """Copies the files of a folder and its subfolders, local or gs://."""
  for folder, _, names in tf.io.gfile.walk(source):
    inside = os.path.relpath(folder, source)
    to = target if inside == "." else os.path.join(target, inside)
    tf.io.gfile.makedirs(to)
    for name in names:
      tf.io.gfile.copy(
        os.path.join(folder, name), os.path.join(to, name), overwrite=True
      )
