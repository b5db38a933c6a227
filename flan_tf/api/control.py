"""The positive control: a model must learn what it is tuned on.

Three trainings start from a base model: on the tasks of the run, on a few rows
of one task, and on the tasks of the run with shuffled labels. Each is judged as
`flan_tf.eval.control` describes. A base model may know the tasks before: then
training must improve on it, where there is room, and shuffled labels must not.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

from flan_tf import config
from flan_tf.api import cache
from flan_tf.api.task_table import tasks as task_table
from flan_tf.api.training import TrainingResult, train
from flan_tf.eval import control
from flan_tf.eval.control import HeldBackResult
from flan_tf.inference.language_model import LanguageModel
from flan_tf.task import schema

TrainRun = Callable[[config.RunConfig, str], TrainingResult]
# Percent of the memorized rows that must be answered correctly.
_MEMORIZED = 95


class ControlStoppedError(RuntimeError):
  """A training was stopped by a signal; the same call resumes it."""


@dataclasses.dataclass(frozen=True)
class Finding:
  """One result of the control.

  Attributes:
    text: the claim, with the numbers.
    holds: whether the claim holds; None for a result that is not judged: what
      the base model knows.
  """

  text: str
  holds: bool | None


def run_control(
  run: config.RunConfig,
  workdir: str,
  *,
  judged: Sequence[str] = ("sst2", "imdb_reviews"),
  memorized: str = "sst2",
  rows: int = 64,
  max_examples: int = 0,
  train: TrainRun = train,
) -> Iterator[Finding]:
  """Yields the findings of the control, as soon as each is known.

  Args:
    run: the training; `train.init_from` names the base model.
    workdir: folder for the three trainings.
    judged: tasks whose held-back rows are judged.
    memorized: task of the few rows.
    rows: number of these rows.
    max_examples: maximum number of held-back rows of a task; 0 for all.
    train: trains a run in a workdir; by default `flan_tf.train`.

  Raises:
    ControlStoppedError: a training was stopped.
    ValueError: an unknown task, or one without two options.
  """
  known = task_table.registry()
  control_run = _ControlRun(run, workdir, max_examples, train)
  tasks = [known.get(name) for name in judged]
  memorized_task = known.get(memorized)

  base = control_run.load(run.train.init_from)
  before = {task.name: control_run.held_back(base, task) for task in tasks}
  del base  # Before the next model is loaded.
  for result in before.values():
    yield Finding(f"knows before: {_describe(result)}", None)

  tuned = control_run.tune(run, "tuned")
  for task in tasks:
    result = control_run.held_back(tuned, task)
    yield Finding(
      f"tuned on sentiment: {_describe(result)}",
      _gains(result, before[task.name]),
    )
  del tuned

  few = config.replace(
    run, "data", tasks=(memorized,), clusters=(), train_cap=rows
  )
  accuracy = control.training_accuracy(
    control_run.tune(few, "memorized"),
    memorized_task,
    control_run.data_dir,
    rows,
    run.seed,
  )
  yield Finding(
    f"trained on {rows} rows of {memorized}: {accuracy:.1f} % of them right"
    f" ({_MEMORIZED} wanted)",
    accuracy >= _MEMORIZED,
  )

  shuffled_run = config.replace(run, "data", shuffle_labels=True)
  shuffled = control_run.tune(shuffled_run, "shuffled")
  for task in tasks:
    result = control_run.held_back(shuffled, task)
    yield Finding(
      f"shuffled labels, no gain: {_describe(result)}",
      not _gains(result, before[task.name]),
    )


@dataclasses.dataclass(frozen=True)
class _ControlRun:
  """The parts that the three trainings share."""

  run: config.RunConfig
  workdir: str
  max_examples: int
  train: TrainRun

  @property
  def data_dir(self) -> str:
    return cache.data_dir(self.run.data.tfds_data_dir)

  def tune(self, run: config.RunConfig, name: str) -> LanguageModel:
    """Trains a run in a folder of the workdir; returns the model."""
    workdir = os.path.join(self.workdir, name)
    named = dataclasses.replace(run, name=name)
    if not self.train(named, workdir).finished:
      raise ControlStoppedError(
        f"The training in {workdir} was stopped. Start the control again to"
        " resume it."
      )
    return self.load(workdir)

  def load(self, path: str) -> LanguageModel:
    run = self.run
    return LanguageModel.load(path, run.mesh, run.train.batch, run.data)

  def held_back(
    self, model: LanguageModel, task: schema.Task
  ) -> HeldBackResult:
    return control.score_held_back_rows(
      model, task, self.data_dir, self.max_examples
    )


def _gains(result: HeldBackResult, before: HeldBackResult) -> bool:
  return result.beats_chance and result.improves_on(before)


def _describe(result: HeldBackResult) -> str:
  return (
    f"{result.task}, {result.examples} rows: accuracy {result.accuracy:.1f}"
    f" (majority {result.majority:.1f} ± {result.interval:.1f}), AUC"
    f" {result.auc:.3f} (p = {result.p_value:.1e})"
  )
