"""The positive control: what a model that can learn must be able to show.

A scrambled label, template or scorer hides in zero-shot scores near chance. It
cannot hide where a model is tuned on the very task:

* on held-back rows it beats the majority class by more than the 95 % interval;
* on the rows that it was trained with it is right nearly always;
* with shuffled labels the gain is gone.
"""

import dataclasses
import math

import numpy as np

from flan_tf.data import pipeline, prompts, requests, row_ranges
from flan_tf.data import rows as rows_lib
from flan_tf.eval import metrics
from flan_tf.inference import predictions
from flan_tf.inference.language_model import LanguageModel
from flan_tf.task import schema


@dataclasses.dataclass(frozen=True)
class HeldBack:
  """What a model reached on a task's test rows.

  Attributes:
    task: its name.
    accuracy: mean over templates, 0 to 100.
    majority: accuracy of always giving the most frequent answer.
    interval: half the 95 % interval of `majority`.
    auc: how often a row of the second class scores higher than one of the
      first, by the difference of the two log-probabilities, averaged over the
      templates; 0.5 is chance, whatever the classes' sizes.
    p_value: of such an `auc` or a larger one by chance (Mann and Whitney).
    examples: rows.
  """

  task: str
  accuracy: float
  majority: float
  interval: float
  auc: float
  p_value: float
  examples: int

  @property
  def can_beat_majority(self) -> bool:
    """Whether any accuracy could: 97 % of one class leave no room."""
    return self.majority + self.interval < 99.0

  @property
  def beats_chance(self) -> bool:
    """By accuracy where that is possible, else by rank, at the 95 % level."""
    if self.can_beat_majority:
      return self.accuracy > self.majority + self.interval
    return self.p_value < 0.025

  def adds_to(self, before: "HeldBack") -> bool:
    """Whether it is above what was known before, as far as there was room.

    That is, by more than the 95 % interval of the difference; where that has
    no room below 100, or no accuracy can tell, nothing is asked.
    """
    spread = math.hypot(
      *(
        metrics.half_interval(found.accuracy, found.examples)
        for found in (self, before)
      )
    )
    wanted = before.accuracy + spread
    return not self.can_beat_majority or wanted >= 99 or self.accuracy > wanted


def held_back(
  model: LanguageModel, task: schema.Task, data_dir: str, max_examples: int = 0
) -> HeldBack:
  """Scores a two-way task's test rows with every template.

  Args:
    model: what scores.
    task: a classification with two options.
    data_dir: where its rows are.
    max_examples: most rows; 0 for all.

  Raises:
    ValueError: the task has no data, or not two options.
  """
  if len(task.options) != 2:
    raise ValueError(f"Task {task.name!r} has not two options: {task.options}.")
  from scipy import stats

  item = _planned(task, data_dir)
  read = requests.read_evaluation_rows(
    task, item.dataset, item.plan.test, max_examples or None
  )
  right = np.array([row.answer_index for row in read.rows])
  limits = predictions.limits_of(model)
  accuracies, margins = [], np.zeros(len(right))
  for template in task.forward_templates:
    asked = requests.prompts_for(task, read.rows, template)
    answered = predictions.predict(model, task, asked, limits)
    accuracies.append(np.mean([p.choice for p in answered] == right))
    margins += [p.scores[1] - p.scores[0] for p in answered]
  auc = p_value = math.nan
  if 0 < right.sum() < len(right):
    test = stats.mannwhitneyu(
      margins[right == 1], margins[right == 0], alternative="greater"
    )
    auc = test.statistic / (right.sum() * (right == 0).sum())
    p_value = float(test.pvalue)
  majority = metrics.majority(right)
  return HeldBack(
    task=task.name,
    accuracy=100 * float(np.mean(accuracies)),
    majority=majority,
    interval=metrics.half_interval(majority, len(right)),
    auc=float(auc),
    p_value=p_value,
    examples=len(right),
  )


def memorized(
  model: LanguageModel,
  task: schema.Task,
  data_dir: str,
  train_cap: int,
  seed: int,
) -> float:
  """Accuracy on the training rows, each in the wording it was trained with.

  Args:
    model: trained with that cap and seed.
    task: a classification.
    data_dir: where its rows are.
    train_cap: how many rows it was trained with.
    seed: of the templates. Rows whose template turns the task around have no
      answer to rank and do not count.

  Returns:
    0 to 100.
  """
  item = _planned(task, data_dir, train_cap)
  read = requests.read_evaluation_rows(task, item.dataset, item.plan.train)
  numbers = np.array([row.row for row in read.rows])
  chosen = prompts.pick_template(seed, task.name, numbers, len(task.templates))
  chosen = np.asarray(chosen)
  right = []
  for template in task.forward_templates:
    rows = [r for r, t in zip(read.rows, chosen, strict=True) if t == template]
    asked = requests.prompts_for(task, rows, template)
    answered = predictions.predict(
      model, task, asked, predictions.limits_of(model)
    )
    right += [p.choice == p.request.answer_index for p in answered]
  return 100 * float(np.mean(right))


def _planned(
  task, data_dir, cap: int = row_ranges.TRAIN_CAP
) -> pipeline.PlannedTask:
  planned, missing = pipeline.plan_tasks([task], data_dir, cap)
  if not planned:
    raise rows_lib.NotPreparedError(missing[task.name])
  return planned[0]
