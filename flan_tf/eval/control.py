"""The positive control: tests that a model learned the task it was tuned on.

A scrambled label, template or scorer cannot be seen in zero-shot scores, which
are close to chance anyway. It can be seen where a model is tuned on the very
task that it is tested on:

* on held-back rows it beats the majority class by more than the 95 % interval;
* on the rows that it was trained with it is nearly always right;
* if it was trained with shuffled labels, this gain is gone.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from flan_tf.data import opened_tasks, random_draws, row_ranges
from flan_tf.data.prepared_dataset import NotPreparedError
from flan_tf.data.requests import read_evaluation_rows, render_requests
from flan_tf.eval.classification_metrics import half_interval, majority_accuracy
from flan_tf.inference.language_model import LanguageModel
from flan_tf.inference.predictions import predict
from flan_tf.task import schema

# Above this accuracy there is no room left to show a gain.
_NO_ROOM = 99.0


@dataclasses.dataclass(frozen=True)
class HeldBackResult:
  """Scores of a model on the test rows of a task with two options.

  Attributes:
    task: name of the task.
    accuracy: mean over templates, 0 to 100.
    majority: accuracy of always choosing the most frequent answer, 0 to 100.
    interval: half the width of the 95 % interval of `majority`, in points.
    auc: probability that a row of the second class ranks above a row of the
      first one. Rows are ranked by the difference of the two log-probabilities,
      averaged over templates. Chance is 0.5 for any sizes of the classes.
    p_value: probability of such an `auc` or a larger one by chance (Mann and
      Whitney).
    examples: number of test rows.
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
    """True if some accuracy could beat the majority class clearly.

    If 97 % of the rows have the same class, none can.
    """
    return self.majority + self.interval < _NO_ROOM

  @property
  def beats_chance(self) -> bool:
    """True if the model is better than chance, at the 95 % level.

    The accuracy decides where it can beat the majority class, else the AUC.
    """
    if self.can_beat_majority:
      return self.accuracy > self.majority + self.interval
    return self.p_value < 0.025

  def improves_on(self, before: "HeldBackResult") -> bool:
    """Returns whether the accuracy is clearly above that of another model.

    Clearly means by more than the 95 % interval of the difference. The result
    is also True where no accuracy could show this: below 100 there is no room
    for the interval, or the majority class has nearly all rows.
    """
    spread = math.hypot(
      half_interval(self.accuracy, self.examples),
      half_interval(before.accuracy, before.examples),
    )
    needed = before.accuracy + spread
    has_room = self.can_beat_majority and needed < _NO_ROOM
    return not has_room or self.accuracy > needed


class _RankTest(NamedTuple):
  auc: float
  p_value: float


def score_held_back_rows(
  model: LanguageModel, task: schema.Task, data_dir: str, max_examples: int = 0
) -> HeldBackResult:
  """Scores the test rows of a task with every template.

  Args:
    model: the model.
    task: a classification with two options.
    data_dir: a prepared TFDS directory.
    max_examples: maximum number of rows; 0 for all.

  Raises:
    ValueError: the task has no data, or not two options.
  """
  if len(task.options) != 2:
    raise ValueError(
      f"Task {task.name!r} has {len(task.options)} options, {task.options};"
      " the positive control needs a task with two options."
    )
  item = _open_task(task, data_dir)
  examples = read_evaluation_rows(
    task, item.dataset, item.ranges.test, max_examples or None
  ).rows
  right = np.array([example.answer_index for example in examples])
  accuracies, margins = [], np.zeros(len(right))
  for template in task.forward_templates:
    requests = render_requests(task, examples, template)
    predictions = predict(model, task, requests, model.prompt_format)
    choices = [prediction.choice for prediction in predictions]
    accuracies.append(np.mean(choices == right))
    log_probs = np.array([prediction.log_probs for prediction in predictions])
    margins += log_probs[:, 1] - log_probs[:, 0]
  majority = majority_accuracy(right)
  auc, p_value = _rank_test(margins, right)
  return HeldBackResult(
    task=task.name,
    accuracy=100 * float(np.mean(accuracies)),
    majority=majority,
    interval=half_interval(majority, len(right)),
    auc=auc,
    p_value=p_value,
    examples=len(right),
  )


def training_accuracy(
  model: LanguageModel,
  task: schema.Task,
  data_dir: str,
  train_cap: int,
  seed: int,
) -> float:
  """Returns the accuracy on training rows, in the wordings of the training.

  Rows that were trained with an inverse template have no answer to rank, and
  are left out.

  Args:
    model: a model that was trained with this cap and seed.
    task: a classification.
    data_dir: a prepared TFDS directory.
    train_cap: number of rows that the model was trained with.
    seed: seed of the training, which decides the template of each row.

  Returns:
    The accuracy, 0 to 100.
  """
  item = _open_task(task, data_dir, train_cap)
  examples = read_evaluation_rows(task, item.dataset, item.ranges.train).rows
  rows = np.array([example.row_index for example in examples])
  templates = np.asarray(
    random_draws.draw_index(seed, task.name, rows, len(task.templates))
  )
  is_right = []
  for template in task.forward_templates:
    trained = [
      example
      for example, chosen in zip(examples, templates, strict=True)
      if chosen == template
    ]
    requests = render_requests(task, trained, template)
    is_right += [
      prediction.choice == prediction.example.answer_index
      for prediction in predict(model, task, requests, model.prompt_format)
    ]
  return 100 * float(np.mean(is_right))


def _rank_test(margins: np.ndarray, right: np.ndarray) -> _RankTest:
  """Tests whether rows of the second class rank above those of the first.

  Args:
    margins: value that rows are ranked by, float [N].
    right: class of each row, 0 or 1, int [N].

  Returns:
    The AUC and its p-value; nan if all rows have the same class.
  """
  from scipy import stats

  second, first = margins[right == 1], margins[right == 0]
  if not len(second) or not len(first):
    return _RankTest(math.nan, math.nan)
  test = stats.mannwhitneyu(second, first, alternative="greater")
  auc = test.statistic / (len(second) * len(first))
  return _RankTest(float(auc), float(test.pvalue))


def _open_task(
  task: schema.Task, data_dir: str, train_cap: int = row_ranges.TRAIN_CAP
) -> opened_tasks.OpenedTask:
  opened, left_out = opened_tasks.open_tasks([task], data_dir, train_cap)
  if not opened:
    raise NotPreparedError(left_out[task.name])
  return opened[0]
