"""Trains a model: pretraining and instruction tuning are two configurations."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flan_tf import config, write_lock
from flan_tf.api import cache
from flan_tf.api.run_files import RunLike, read_run
from flan_tf.api.training_tasks import select_training_tasks
from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.data.mixture_report import MixtureReport
from flan_tf.mesh import cluster_config
from flan_tf.model import run_mesh
from flan_tf.training import (
  loop,
  metric_writer,
  run_summary,
  session,
  starting_point,
  training_data,
)

# Called with the open session before the first step of a training.
TrainOnStart = Callable[[session.TrainingSession], object]


@dataclasses.dataclass(frozen=True, repr=False)
class TrainingResult:
  """A training run at its end, or where it was stopped.

  Attributes:
    workdir: folder of checkpoints and metrics.
    step: number of steps that are done.
    finished: False if a signal stopped the run; the same call resumes it.
    checkpoint: folder of the newest checkpoint.
    metrics: metrics of the newest logged step: "loss", "grad_norm",
      "learning_rate", "tokens_per_second", "fill", and "share/TASK".
    run: the resolved configuration, with the model of its checkpoint.
    stopped_by: name of the signal that stopped the run: "SIGTERM", "SIGHUP" or
      "SIGINT" (Ctrl-C); empty if it finished.
  """

  workdir: str
  step: int
  finished: bool
  checkpoint: str
  metrics: Mapping[str, float]
  run: config.RunConfig
  stopped_by: str = ""

  def __repr__(self) -> str:
    end = f"stopped by {self.stopped_by}" if self.stopped_by else "finished"
    loss = self.metrics.get("loss")
    loss = "" if loss is None else f", loss {loss:.4f}"
    return (
      f"<TrainingResult: {end} at step {self.step}{loss}; {self.checkpoint}>"
    )


@dataclasses.dataclass(frozen=True)
class TrainingPreview:
  """A training run that has not started.

  Attributes:
    run: the resolved configuration.
    mixture: the training tasks with their numbers of examples.
    prompts: some training examples as text, as the model sees them.
  """

  run: config.RunConfig
  mixture: MixtureReport
  prompts: str

  def __str__(self) -> str:
    return f"{config.to_json(self.run)}\n{self.mixture}\n{self.prompts}"


def train(
  run: RunLike,
  workdir: str | os.PathLike,
  *,
  changes: Mapping[str, Any] | None = None,
  on_start: TrainOnStart | None = None,
  adapter_base: str = "",
) -> TrainingResult:
  """Trains until the run's last step; resumes a run that was stopped.

  Args:
    run: a RunConfig; or a run file, e.g. "launch/configs/small_tune.py".
    workdir: folder for checkpoints and metrics, local or gs://. If it has a
      checkpoint of this run, training resumes from it.
    changes: settings to change, by dotted key: {"train.steps": 100,
      "train.init_from": "runs/base"}.
    on_start: called with the open session before the first step, e.g. to print
      it.
    adapter_base: to resume a run that trains adapters, where the checkpoint of
      the model that they adapt lies now; by default where it was.

  Raises:
    ValueError: the configuration is wrong or conflicts with its checkpoint, or
      there is nothing to train on.
    CheckpointError: a checkpoint cannot be read or written.
    LockedError: another process is training in `workdir`.
    MetricsError: metrics cannot be written.
    DivergedError: the loss or the weights are not finite any more.
    PreemptedError: devices or other hosts were lost; the same call resumes.
  """
  workdir = os.path.expanduser(os.fspath(workdir))
  resolved, chosen = select_training_tasks(read_run(run, changes))
  data_dir = cache.data_dir(resolved.data.tfds_data_dir)
  with _sole_writer(workdir) as check_writer:
    opened = session.open_session(
      resolved, workdir, chosen, data_dir, adapter_base
    )
    opened.check_writer = check_writer
    if on_start is not None:
      on_start(opened)
    stopped_by = loop.train(opened, workdir)
  logged = metric_writer.read_metrics(workdir)
  return TrainingResult(
    workdir=workdir,
    step=opened.step,
    finished=not stopped_by,
    checkpoint=checkpoint_dirs.find(workdir),
    metrics=logged[-1] if logged else {},
    run=opened.config,
    stopped_by=stopped_by,
  )


@contextlib.contextmanager
def _sole_writer(workdir: str) -> Iterator[Callable[[], object]]:
  """Holds the right to write to a workdir, on the host that writes.

  Yields:
    A function that raises an error if another process has taken over.
  """
  if not cluster_config.is_first_host():
    yield lambda: None
    return
  with write_lock.hold(workdir, "training") as lock:
    yield lock.check


def preview_training(
  run: RunLike,
  workdir: str | os.PathLike,
  *,
  changes: Mapping[str, Any] | None = None,
) -> TrainingPreview:
  """Resolves a run and reads its data, without a device or a step.

  The arguments and errors are those of `train`.
  """
  workdir = os.path.expanduser(os.fspath(workdir))
  selected, chosen = select_training_tasks(read_run(run, changes))
  resolved = starting_point.resolve_run(selected, workdir)
  layout = run_mesh.run_layout(selected.mesh)
  run_mesh.check_splits(layout, resolved.config)
  data_dir = cache.data_dir(selected.data.tfds_data_dir)
  tables, report = training_data.load_tables(resolved, chosen, data_dir)
  batches = training_data.open_batches(resolved, tables, report)
  prompts = run_summary.sample_prompts(next(batches), resolved.vocabulary)
  return TrainingPreview(resolved.config, report, prompts)
