"""Test rows of an evaluation, with their words and their predictions.

The words of a row are those of the slots that its templates show. The
templates' own words are left out, since they are the same in every prompt, and
so are options and answer.
"""

import dataclasses
import sys
from collections.abc import Collection, Sequence

import numpy as np

from flan_tf.contamination.words import split_words
from flan_tf.data import opened_tasks, requests
from flan_tf.eval import prediction_log, scoring, task_result
from flan_tf.eval.scored_prediction import ScoredPrediction
from flan_tf.task import schema


class TaskLeftOutError(ValueError):
  """A task cannot be analyzed; the message gives the reason."""


@dataclasses.dataclass(frozen=True)
class ScoredTask:
  """The evaluated test rows of a task.

  Attributes:
    task: the task, in the wording that was evaluated.
    predictions: predictions on test rows, of all templates.
    rows: number of each row in its split, [n].
    words: words of each row, [n].
  """

  task: schema.Task
  predictions: tuple[ScoredPrediction, ...]
  rows: tuple[int, ...]
  words: tuple[list[str], ...]

  def mean_score(self, rows: Collection[int]) -> float | None:
    """Returns the mean over templates of the headline metric on some rows.

    Args:
      rows: numbers of the rows. Without rows the result is None.
    """
    if not rows:
      return None
    by_template: dict[int, list[ScoredPrediction]] = {}
    for scored in self.predictions:
      if scored.example.row_index in rows:
        template = scored.request.template
        by_template.setdefault(template, []).append(scored)
    metric = self.task.metrics[0]
    return task_result.mean_or_nan(
      scoring.compute_metrics([metric], predictions)[metric]
      for predictions in by_template.values()
    )


def read_scored_task(
  folder: str,
  label: str,
  item: opened_tasks.OpenedTask,
  slots: Sequence[str] = (),
) -> ScoredTask:
  """Reads the predictions of a task, and the rows that they are about.

  Args:
    folder: output folder of the evaluation.
    label: label of the model.
    item: the task, in the wording that was evaluated, and its data set.
    slots: names of the slots to read words from; empty for all.

  Raises:
    FileNotFoundError: the folder has no predictions of the task.
    TaskLeftOutError: the task has none of the slots, or no predictions of test
      rows.
    ValueError: the predictions are about other rows than those of the data set.
  """
  task = item.task
  names = [name for name in _shown_slots(task) if name in (slots or task.slots)]
  if not names:
    raise TaskLeftOutError(f"it has none of the slots {', '.join(slots)}")
  log = prediction_log.read_log(
    prediction_log.folder_of(folder, label), task.name
  )
  predictions = tuple(log.test.values())
  references = {
    scored.example.row_index: scored.example.references
    for scored in predictions
  }
  if not references:
    raise TaskLeftOutError("it has no predictions of test rows")
  examples = [
    example
    for example in _read_examples(item, np.array(sorted(references), np.int64))
    if references[example.row_index] == example.references
  ]
  if len(examples) < len(references):
    raise ValueError(
      f"Task {task.name!r}: {len(references) - len(examples)} of"
      f" {len(references)} predictions are not of rows of {item.dataset.path},"
      f" {item.ranges.test}. Set --tfds_data_dir to the directory that was"
      " evaluated."
    )
  return ScoredTask(
    task=task,
    predictions=predictions,
    rows=tuple(example.row_index for example in examples),
    words=tuple(
      _distinct_words([example.slots[name] for name in names])
      for example in examples
    ),
  )


def _read_examples(
  item: opened_tasks.OpenedTask, rows: np.ndarray
) -> tuple[requests.Example, ...]:
  """Reads test rows; none if a number is outside of the test range."""
  test = item.ranges.test
  if rows[0] < test.start or rows[-1] >= test.stop:
    return ()
  return requests.read_evaluation_rows(
    item.task, item.dataset, test, row_indices=rows
  ).rows


def _shown_slots(task: schema.Task) -> list[str]:
  """Returns the slots that any template shows when it asks for the answer."""
  shown = {
    name
    for template in task.forward_templates
    for name in task.templates[template].slots
  }
  return [name for name in task.slots if name in shown]


def _distinct_words(texts: Sequence[str]) -> list[str]:
  """Returns the words of all texts, without texts that are in other texts.

  A passage and the same passage with a title above it are one text.
  """
  distinct: list[str] = []
  for words in map(split_words, texts):
    # Spaces at both ends, so that only whole words match.
    text = f" {' '.join(words)} "
    if not any(text in other for other in distinct):
      distinct = [other for other in distinct if other not in text] + [text]
  return [sys.intern(word) for word in " ".join(distinct).split()]
