"""The rows that an evaluation asked about, with what was answered.

A row is what its templates show of it: their own words, the same in every
prompt, are left out, and so are options and answer.
"""

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from flan_tf.contamination import ngram_index
from flan_tf.data import pipeline, requests
from flan_tf.eval import prediction_log, results, scoring
from flan_tf.task import schema


@dataclasses.dataclass(frozen=True)
class EvaluatedTask:
  """A task with its predictions on test rows and the words of these rows.

  Attributes:
    task: in the wording in which it was asked.
    lines: its predictions, of all templates.
    rows: the numbers of the rows, [n].
    texts: their words, [n].
  """

  task: schema.Task
  lines: tuple[prediction_log.PredictionLine, ...]
  rows: tuple[int, ...]
  texts: tuple[list[str], ...]

  def score(self, rows: frozenset[int]) -> float | None:
    """Mean over templates of the headline metric on some rows."""
    if not rows:
      return None
    by_template: dict[int, list[prediction_log.PredictionLine]] = {}
    for line in self.lines:
      if line.row in rows:
        by_template.setdefault(line.template, []).append(line)
    name = self.task.metrics[0]
    values = (scoring.measure([name], x)[name] for x in by_template.values())
    return results.mean(values)


def read_task(
  folder: str,
  label: str,
  item: pipeline.PlannedTask,
  slots: Sequence[str] = (),
) -> EvaluatedTask | str:
  """The predictions of a task and the rows that they are of, or why not.

  Args:
    folder: of an evaluation.
    label: of the model.
    item: the task, in the wording in which it was asked, and its data set.
    slots: see Settings.

  Raises:
    FileNotFoundError: the folder has no predictions of it.
    ValueError: they are of other rows than those of the data set.
  """
  task, test = item.task, item.plan.test
  names = [name for name in _shown(task) if name in (slots or task.slots)]
  if not names:
    return f"it has none of the slots {', '.join(slots)}"
  lines = tuple(
    line
    for line in prediction_log.read(folder, label, task.name)
    if line.part == prediction_log.TEST
  )
  asked = {line.row: line for line in lines}
  numbers = np.array(sorted(asked), np.int64)
  if not len(numbers):
    return "it has no predictions of test rows"
  found = ()
  if test.start <= numbers[0] and numbers[-1] < test.stop:
    read = requests.read_evaluation_rows(task, item.dataset, test, only=numbers)
    found = read.rows
  same = [row for row in found if asked[row.row].references == row.references]
  if len(same) < len(numbers):
    raise ValueError(
      f"Task {task.name!r}: {len(numbers) - len(same)} of {len(numbers)}"
      f" predictions are not of rows of {item.dataset.path}, {test}. Name the"
      " directory that was evaluated with --tfds_data_dir."
    )
  texts = tuple(_words([row.slots[name] for name in names]) for row in same)
  return EvaluatedTask(task, lines, tuple(row.row for row in same), texts)


def _shown(task: schema.Task) -> list[str]:
  """The slots that a template shows, when it asks for the answer."""
  shown = {
    name
    for template in task.forward_templates
    for name in task.templates[template].slots
  }
  return [name for name in task.slots if name in shown]


def _words(texts: Sequence[str]) -> list[str]:
  """The words of texts, one after the other, without texts in other texts.

  A passage and the same passage below its title is one text.
  """
  found: list[str] = []
  for text in map(ngram_index.words, texts):
    one = f" {' '.join(text)} "
    if not any(one in other for other in found):
      found = [other for other in found if other not in one] + [one]
  return [sys.intern(word) for word in " ".join(found).split()]
