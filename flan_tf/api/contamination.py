"""Searches a training corpus for the rows of an evaluation."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flan_tf import name_lists
from flan_tf.api import cache, report_files
from flan_tf.api.task_table import tasks as task_table
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.contamination import measure, report
from flan_tf.contamination.measure import ContaminationConfig, TaskOverlap
from flan_tf.contamination.ngram_index import NgramIndex
from flan_tf.contamination.scored_rows import (
  ScoredTask,
  TaskLeftOutError,
  read_scored_task,
)
from flan_tf.data import corpus as corpus_files
from flan_tf.data import opened_tasks
from flan_tf.eval.results import EvaluationResults
from flan_tf.task import wordings

# As `corpus`: the training rows of the tasks that the weights have seen.
TASKS = "tasks"

_DEFAULT = ContaminationConfig()


@dataclasses.dataclass(frozen=True)
class Contamination:
  """The overlap of an evaluation with a corpus.

  Attributes:
    overlaps: clean and dirty rows of each task, and the scores on them.
    left_out: task -> reason why it was not analyzed.
    about: JSON values that describe evaluation, corpus and settings.
    matches: some n-grams that rows and corpus share, as JSON values.
  """

  overlaps: tuple[TaskOverlap, ...]
  left_out: Mapping[str, str]
  about: Mapping[str, Any]
  matches: tuple[Mapping[str, Any], ...] = dataclasses.field(repr=False)

  def report(self, folder: str | os.PathLike) -> str:
    """Writes contamination.json, .md and .jsonl; returns the path of the .md.

    Args:
      folder: local or gs://; it is created if it does not exist.
    """
    return report.write(
      os.fspath(folder), self.overlaps, self.left_out, self.about, self.matches
    )

  def __str__(self) -> str:
    table = report.text(self.overlaps, self.left_out)
    about = self.about
    return (
      f"{table}\n{about['corpus']}: {about['documents']:,} documents,"
      f" {about['words']:,} words"
    )


def measure_contamination(
  evaluation: str | os.PathLike,
  corpus: str = TASKS,
  *,
  label: str = "",
  checkpoint: str = "",
  field: str = "text",
  data_dir: str = "",
  config: ContaminationConfig = _DEFAULT,
) -> Contamination:
  """Reads a corpus once, and finds the rows of an evaluation in it.

  Args:
    evaluation: output folder of an evaluation, with its predictions.
    corpus: "tasks" for the training rows of all tasks that the weights have
      seen; or files of text or of JSON lines, comma-separated, with * and ?.
    label: label of the model whose predictions are read; "" for the last one.
    checkpoint: folder of the evaluated weights, if it was moved; used for the
      corpus "tasks".
    field: name of the text in JSON lines.
    data_dir: the TFDS directory that was evaluated; "" for the shipped rows.
    config: settings that decide which rows are dirty.

  Raises:
    FileNotFoundError: there is no evaluation, or no prediction log.
    ValueError: an unknown label, no task can be analyzed, the corpus is empty,
      or the predictions are about other rows.
  """
  folder = os.path.expanduser(os.fspath(evaluation))
  data_dir = cache.data_dir(data_dir)
  results = _results_of(folder, label)
  scored, left_out = _read_scored_tasks(results, folder, data_dir, config.slots)
  documents = _open_corpus(
    corpus, field, checkpoint or results.checkpoint, data_dir
  )
  index = measure.build_index(scored, config)
  index.read(documents.documents)
  overlaps = measure.measure_overlap(scored, index, config)
  return Contamination(
    tuple(overlaps),
    left_out,
    _about(results, documents, index, config),
    tuple(measure.sample_matches(scored, index, config)),
  )


class _Corpus(NamedTuple):
  """A corpus to read.

  Attributes:
    description: its name for people.
    documents: its documents.
    left_out: task -> reason why its rows are not among them.
  """

  description: str
  documents: Iterable[corpus_files.Document]
  left_out: Mapping[str, str]


def _about(
  results: EvaluationResults,
  documents: _Corpus,
  index: NgramIndex,
  config: ContaminationConfig,
) -> dict[str, Any]:
  return {
    "checkpoint": results.checkpoint,
    "label": results.label,
    "corpus": documents.description,
    "documents": index.documents,
    "words": index.words,
    "not_in_the_corpus": documents.left_out,
    "too_frequent_ngrams": index.count_too_frequent(config.max_documents),
    **dataclasses.asdict(config),
  }


def _results_of(folder: str, label: str) -> EvaluationResults:
  """Returns the results with a label; without a label, the last ones."""
  evaluations = report_files.read_results(folder)
  by_label = {results.label: results for results in evaluations}
  if label and label not in by_label:
    raise ValueError(
      f"{folder}: {name_lists.unknown_name('label', label, by_label)}"
    )
  results = by_label[label] if label else evaluations[-1]
  if not results.tasks:
    raise ValueError(f"{folder}: no task of {results.label!r} was evaluated.")
  return results


def _read_scored_tasks(
  results: EvaluationResults, folder: str, data_dir: str, slots: Sequence[str]
) -> tuple[list[ScoredTask], dict[str, str]]:
  """Returns (the tasks with their rows, task that is left out -> reason)."""
  names = [result.task for result in results.tasks]
  chosen = task_table.registry().select(names)
  opened, left_out = opened_tasks.open_tasks(chosen, data_dir)
  wording = results.settings.get("wording", wordings.INSTRUCTIONS)
  scored = []
  for item in opened:
    task = wordings.reword(item.task, wording)
    item = dataclasses.replace(item, task=task)
    try:
      scored.append(read_scored_task(folder, results.label, item, slots))
    except TaskLeftOutError as error:
      left_out[task.name] = str(error)
  if not scored:
    reasons = "\n".join(f"  {name}: {why}" for name, why in left_out.items())
    raise ValueError(f"No task of {folder} can be analyzed.\n{reasons}")
  return scored, left_out


def _open_corpus(
  corpus: str, field: str, checkpoint: str, data_dir: str
) -> _Corpus:
  if corpus != TASKS:
    patterns = name_lists.split_names(corpus)
    return _Corpus(corpus, corpus_files.read_files(patterns, field), {})
  bundle = Bundle.open(checkpoint)
  seen = bundle.tasks_seen
  if not seen:
    raise ValueError(
      f"{bundle.path} records no task that its weights were trained on, so the"
      " corpus of tasks is empty. Name the files of its training text instead:"
      " --corpus=FILES."
    )
  chosen = [task for task in task_table.registry() if task.name in seen]
  opened, left_out = opened_tasks.open_tasks(
    chosen, data_dir, bundle.run.data.train_cap
  )
  known = {task.name for task in chosen}
  for name in seen:
    if name not in known:
      left_out[name] = (
        "it is no task of the table: add its file with --corpus, or your own"
        " tasks with --task_file"
      )
  return _Corpus(
    f"training rows of {len(opened)} tasks that the weights saw",
    corpus_files.read_training_rows(opened),
    left_out,
  )
