"""Opens the data sets of tasks and chooses their train, dev and test rows.

    opened, left_out = open_tasks(tasks, data_dir)

No row is read here. A task whose data set is not prepared is left out with a
reason, and the other tasks are opened.
"""

import dataclasses
from collections.abc import Iterable

from flan_tf.data import row_ranges
from flan_tf.data.prepared_dataset import (
  NotPreparedError,
  PreparedDataset,
  open_dataset,
)
from flan_tf.task import schema

# A value of `config.DataConfig.objective`.
LANGUAGE_MODEL = "language_model"


class NothingToTrainError(ValueError):
  """No task can train; the message gives the reason for each task."""


@dataclasses.dataclass(frozen=True)
class OpenedTask:
  """A task with its opened data set and its row ranges."""

  task: schema.Task
  dataset: PreparedDataset
  ranges: row_ranges.RowRanges

  @property
  def notes(self) -> tuple[str, ...]:
    """Differences from the published data set and the published row ranges."""
    return self.dataset.notes + self.ranges.notes


def open_tasks(
  tasks: Iterable[schema.Task],
  data_dir: str,
  train_cap: int = row_ranges.TRAIN_CAP,
) -> tuple[list[OpenedTask], dict[str, str]]:
  """Opens the data set of each task and chooses its row ranges.

  Args:
    tasks: the tasks to open.
    data_dir: a prepared TFDS directory, local or gs://.
    train_cap: the maximum number of training rows per task.

  Returns:
    (opened tasks, {name of a task that cannot be opened: reason}).

  Raises:
    prepared_dataset.DamagedDatasetError: a data set is there, and damaged.
  """
  datasets: dict[schema.Source, PreparedDataset | str] = {}
  opened, left_out = [], {}
  for task in tasks:
    if task.source not in datasets:
      try:
        datasets[task.source] = open_dataset(task.source, data_dir)
      except NotPreparedError as error:
        datasets[task.source] = str(error)
    dataset = datasets[task.source]
    if isinstance(dataset, str):
      left_out[task.name] = dataset
    else:
      ranges = row_ranges.choose_row_ranges(
        task.source.splits, dataset.counts, train_cap
      )
      opened.append(OpenedTask(task, dataset, ranges))
  return opened, left_out


def open_training_tasks(
  tasks: Iterable[schema.Task],
  data_dir: str,
  train_cap: int = row_ranges.TRAIN_CAP,
  objective: str = "instructions",
) -> tuple[list[OpenedTask], dict[str, str]]:
  """Opens the tasks that have rows to train with the given objective.

  Args:
    tasks: the tasks to open.
    data_dir: a prepared TFDS directory, local or gs://.
    train_cap: the maximum number of training rows per task.
    objective: see `config.DataConfig`.

  Returns:
    (tasks that can train, {name of a task that cannot train: reason}).

  Raises:
    prepared_dataset.DamagedDatasetError: a data set is there, and damaged.
  """
  opened, left_out = open_tasks(tasks, data_dir, train_cap)
  trainable = []
  for item in opened:
    reason = _reason_not_to_train(item, objective)
    if reason:
      left_out[item.task.name] = reason
    else:
      trainable.append(item)
  return trainable, left_out


def without_repeated_text(
  opened: Iterable[OpenedTask],
) -> tuple[list[OpenedTask], dict[str, str]]:
  """Leaves out tasks over the same rows as an earlier task.

  Such tasks (mnli_matched and mnli_mismatched) have the same running text.

  Returns:
    (the other tasks, {name of a task that is left out: reason}).
  """
  kept, left_out = [], {}
  first_with_rows: dict[tuple[str, str], str] = {}
  for item in opened:
    key = (item.task.source.name, str(item.ranges.train))
    first = first_with_rows.setdefault(key, item.task.name)
    if first == item.task.name:
      kept.append(item)
    else:
      left_out[item.task.name] = f"its text is that of {first}"
  return kept, left_out


def nothing_to_train(
  data_dir: str, left_out: dict[str, str]
) -> NothingToTrainError:
  """Returns the error for a run none of whose tasks can train."""
  if not left_out:
    return NothingToTrainError(
      "There is nothing to train on: no tasks were chosen."
    )
  reasons = "\n".join(
    f"  {name}: {reason.splitlines()[0]}" for name, reason in left_out.items()
  )
  return NothingToTrainError(
    f"There is nothing to train on in {data_dir}. Expected a prepared TFDS"
    f" directory with at least one of the chosen data sets.\n{reasons}"
  )


def _reason_not_to_train(item: OpenedTask, objective: str) -> str:
  if not len(item.ranges.train):
    return "; ".join(item.notes) or "it has no training rows"
  if objective == LANGUAGE_MODEL and not item.task.documents:
    return "it has no running text to model"
  return ""
