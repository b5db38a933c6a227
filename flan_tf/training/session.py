"""A training session: everything that one run needs, ready to train."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_tf import config
from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.checkpoints.base_model import BaseModel
from flan_tf.checkpoints.bundle import bundle_files
from flan_tf.checkpoints.saver import Saver, check_shared_workdir
from flan_tf.data import data_digest
from flan_tf.data.batches import Batches, BatchState
from flan_tf.data.mixture_report import MixtureReport
from flan_tf.mesh.program import HostSum
from flan_tf.model.run_mesh import check_splits, open_run_mesh, run_layout
from flan_tf.task import schema
from flan_tf.training import resume_policy, starting_point, training_data
from flan_tf.training.step import TrainStep
from flan_tf.vocab.base import Vocabulary


@dataclasses.dataclass
class TrainingSession:
  """An open run.

  Attributes:
    config: the resolved configuration, with the model of its checkpoint.
    vocabulary: the vocabulary of the model.
    report: the mixture as it was really read.
    batches: global batches, from the next step on.
    step: number of steps that have been done.
    train_step: the training step, with the weights.
    started_from: a description of where the weights came from.
    tasks_seen: every task that the weights have seen, in this run or in the
      runs that it started from -> the task's cluster.
    base: for adapters, the model that they adapt.
    meter_state: what `ProgressMeter.state` was when the checkpoint was saved
      from which the run resumes.
    check_writer: raises an error if this process is no longer the one that
      writes to the workdir.
    data_digests: identify the training data, see `data_digest.data_digests`.
  """

  config: config.RunConfig
  vocabulary: Vocabulary
  report: MixtureReport
  batches: Batches
  step: int
  train_step: TrainStep
  started_from: str
  tasks_seen: dict[str, str]
  base: BaseModel | None = None
  meter_state: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  data_digests: Mapping[str, str] = dataclasses.field(default_factory=dict)
  check_writer: Callable[[], object] = lambda: None

  def save(self, workdir: str, state: BatchState) -> str:
    """Writes a checkpoint of the current step and returns its folder.

    Args:
      workdir: workdir of the run.
      state: position of the next batch.
    """
    path = self.start_saving(workdir, state)
    self.saver.wait()
    return path

  def start_saving(
    self,
    workdir: str,
    state: BatchState,
    meter_state: Mapping[str, Any] | None = None,
  ) -> str:
    """Starts to write a checkpoint; `self.saver.wait()` waits for its end.

    Args:
      workdir: workdir of the run.
      state: position of the next batch.
      meter_state: what `ProgressMeter.state` is now.

    Returns:
      The folder of the checkpoint.
    """
    data = self._data(state)
    if self.base:
      data |= self.base.entries(checkpoint_dirs.step_dir(workdir, self.step))
    if meter_state:
      data["meter"] = dict(meter_state)
    files = bundle_files(self.config, data, self.vocabulary)
    states = [self.train_step.weights, self.train_step.slots]
    keep = self.config.train.keep
    return self.saver.save(workdir, self.step, states, files, keep)

  @functools.cached_property
  def saver(self) -> Saver:
    """The background writer of this run's checkpoints."""
    return Saver(self.sum_over_hosts, check_writer=self.check_writer)

  @property
  def is_chief(self) -> bool:
    """True on the one host that writes metrics and profiles."""
    return self.train_step.weights.devices.host == 0

  @functools.cached_property
  def sum_over_hosts(self) -> HostSum:
    """Sums a number over all hosts, and makes them wait for one another."""
    return HostSum(self.train_step.weights.devices)

  def _data(self, state: BatchState) -> dict[str, Any]:
    """Returns the content of data.json; see `Bundle`."""
    return {
      "step": self.step,
      "next_batch": state.to_json(),
      "examples": _example_counts(self.report),
      "data_digests": dict(self.data_digests),
      "seen": self.tasks_seen,
      "base": "",
      "mixture": self.report.to_json(),
    }


def open_session(
  run: config.RunConfig,
  workdir: str,
  tasks: Sequence[schema.Task],
  data_dir: str,
  adapter_base: str = "",
) -> TrainingSession:
  """Opens devices, data and weights of a run.

  Args:
    run: the configuration as the user gives it.
    workdir: folder of checkpoints and metrics; the run resumes from its newest
      checkpoint, if there is one.
    tasks: tasks that the run may train on.
    data_dir: a prepared TFDS directory.
    adapter_base: see `starting_point.resolve_run`.

  Raises:
    ValueError: see `starting_point.resolve_run`; or the mesh does not fit the
      model or the devices, or there is nothing to train on.
  """
  stored = starting_point.with_stored_model(run, workdir)
  check_splits(run_layout(run.mesh), stored)
  # Devices come first: TensorFlow cannot add CPU devices once it has started.
  devices, layout = open_run_mesh(run.mesh)
  check_shared_workdir(workdir, devices)
  resolved = starting_point.resolve_run(run, workdir, adapter_base)
  checkpoint = resolved.checkpoint
  tables, report = training_data.load_tables(resolved, tasks, data_dir)
  digests = data_digest.data_digests(tables, report.rates)
  train_step = TrainStep(devices, layout, resolved.config)
  step, state, meter_state = 0, None, {}
  if checkpoint and resolved.resumes:
    resume_policy.check_same_data(report, digests, checkpoint)
    step = checkpoint.step
    state = BatchState.from_json(checkpoint.data["next_batch"])
    meter_state = checkpoint.data.get("meter", {})
  base = starting_point.load_weights(train_step, resolved)
  seen_before = checkpoint.tasks_seen if checkpoint else {}
  return TrainingSession(
    config=resolved.config,
    vocabulary=resolved.vocabulary,
    report=report,
    batches=training_data.open_batches(resolved, tables, report, state),
    step=step,
    train_step=train_step,
    started_from=resolved.started_from,
    tasks_seen=seen_before | _tasks_seen(tasks, report),
    base=base,
    meter_state=meter_state,
    data_digests=digests,
  )


def _example_counts(report: MixtureReport) -> dict[str, int]:
  return {task.name: task.examples for task in report.tasks}


def _tasks_seen(
  tasks: Sequence[schema.Task], report: MixtureReport
) -> dict[str, str]:
  """Returns the tasks of a mixture and those that its files were made from."""
  clusters = {task.name: task.cluster for task in report.tasks}
  for task in tasks:
    if task.name in {trained.name for trained in report.tasks}:
      clusters |= dict(task.source.made_from)
  return clusters
