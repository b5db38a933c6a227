"""Opens a run: its vocabulary, data, devices and weights.

Weights come from the run's own newest checkpoint, else from `train.init_from`,
else they are new. Model and vocabulary of a checkpoint always come from the
checkpoint: a configuration that says otherwise is refused, not obeyed halfway.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from typing import Any

from flan_tf import config
from flan_tf.checkpoints import store
from flan_tf.data import pipeline
from flan_tf.data.batches import Batches, BatchState
from flan_tf.mesh import program
from flan_tf.mesh.devices import open_devices
from flan_tf.mesh.layout import parse_layout
from flan_tf.model import adapters, dims
from flan_tf.task import holdout, schema, wordings
from flan_tf.training.step import TrainStep
from flan_tf.vocab.vocabulary import (
  Vocabulary,
  load_vocabulary,
  vocabulary_from_bytes,
)

RUN_FILE, DATA_FILE, VOCABULARY_FILE = (
  "run.json",
  "data.json",
  "vocabulary.model",
)

# What may differ when a run goes on: it changes neither the batches nor what
# the checkpoint's tensors mean.
_MAY_CHANGE = (
  "name",
  "mesh",
  "train.steps",
  "train.save_every",
  "train.keep",
  "train.log_every",
  "train.steps_per_loop",
  "train.profile_steps",
  "train.recompute",
  "train.learning_rate",
  "train.schedule",
  "train.warmup",
  "train.clip_norm",
  "train.init_from",
  "data.vocabulary",
  "data.tfds_data_dir",
)


@dataclasses.dataclass
class TrainingRun:
  """A run that is ready to train.

  Attributes:
    config: resolved: the vocabulary's size and the checkpoint's model are in.
    vocabulary: what tokenizes.
    report: the mixture that was really read.
    batches: global batches from the step on.
    step: how many steps are behind it.
    train_step: the step, with the weights.
    started_from: where the weights came from, for people.
    seen: the tasks that the weights saw, each with its cluster: this run's and
      those of every run that it goes back to.
    base: where adapters train, the checkpoint of the weights below them.
  """

  config: config.RunConfig
  vocabulary: Vocabulary
  report: pipeline.Report
  batches: Batches
  step: int
  train_step: TrainStep
  started_from: str
  seen: dict[str, str]
  base: str = ""

  def save(self, workdir: str, state: BatchState) -> str:
    """Writes a checkpoint of the current step; returns its folder."""
    path = self.start_saving(workdir, state)
    self.saver.wait()
    return path

  def start_saving(self, workdir: str, state: BatchState) -> str:
    """The same in the background: the checkpoint is whole after a wait."""
    files = {
      RUN_FILE: config.to_json(self.config).encode(),
      DATA_FILE: json.dumps(_data_state(self, state), indent=2).encode(),
      VOCABULARY_FILE: self.vocabulary.model,
    }
    states = [self.train_step.weights, self.train_step.slots]
    keep = self.config.train.keep
    return self.saver.save(workdir, self.step, states, files, keep)

  @functools.cached_property
  def saver(self) -> store.Saver:
    """What writes its checkpoints."""
    return store.Saver(self.agree)

  @property
  def is_chief(self) -> bool:
    """Whether this host is the one that writes what all hosts know."""
    return self.train_step.weights.devices.host == 0

  @functools.cached_property
  def agree(self) -> program.Agreement:
    """What the hosts wait for one another with."""
    return program.Agreement(self.train_step.weights.devices)


@dataclasses.dataclass(frozen=True)
class ResolvedRun:
  """A configuration with its vocabulary, before any device is opened."""

  config: config.RunConfig
  vocabulary: Vocabulary
  checkpoint: str  # The weights' checkpoint; empty for new weights.
  resumes: bool  # Whether that is the run's own.


def resolve(run: config.RunConfig, workdir: str) -> ResolvedRun:
  """Finds the weights to start from, and what they say of the model.

  Raises:
    ValueError: the configuration conflicts with the checkpoint, holds out what
      the checkpoint saw, or names no vocabulary.
  """
  if store.steps(workdir):
    path = store.find(workdir)
    saved = saved_config(path)
    run = _with_chat(run, saved)
    _check_resume(run, saved, path)
    run = dataclasses.replace(run, model=saved.model)
    return ResolvedRun(run, _vocabulary(run, path), path, True)
  if run.train.init_from:
    path = store.find(run.train.init_from)
    saved = saved_config(path)
    if saved.adapter.trains:
      raise ValueError(
        f"{path} holds adapters only. Merge them into their model first:\n "
        f" python -m launch.convert --source=native:{path} --target=native:DIR"
      )
    _check_model(run.model, saved.model, path)
    _check_held_out(run.held_out, saved_tasks(path), path)
    run = dataclasses.replace(_with_chat(run, saved), model=saved.model)
    return ResolvedRun(run, _vocabulary(run, path), path, False)
  if run.adapter.trains:
    raise ValueError(
      "Adapters are to train, but there are no weights to adapt. Set"
      " train.init_from to a checkpoint."
    )
  if not run.data.vocabulary:
    raise ValueError(
      "The run names no vocabulary. Train one with `python -m"
      " launch.train_vocabulary --output=FILE`, or take any SentencePiece"
      " model or byte-pair vocabulary, and set data.vocabulary=FILE."
    )
  vocabulary = load_vocabulary(run.data.vocabulary)
  size = run.model.vocab or dims.padded_vocab(vocabulary.size)
  if size < vocabulary.size:
    raise ValueError(
      f"model.vocab is {size}, but the vocabulary {run.data.vocabulary} has"
      f" {vocabulary.size} pieces. Set model.vocab to 0, or to"
      f" {dims.padded_vocab(vocabulary.size)}."
    )
  model = dataclasses.replace(run.model, vocab=size)
  return ResolvedRun(
    dataclasses.replace(run, model=model), vocabulary, "", False
  )


def saved_config(path: str) -> config.RunConfig:
  """The run that wrote a checkpoint."""
  return config.from_json(store.read_file(path, RUN_FILE).decode())


def saved_tasks(path: str) -> dict[str, str]:
  """The tasks that a checkpoint's weights ever saw, each with its cluster."""
  return json.loads(store.read_file(path, DATA_FILE))["seen"]


def saved_vocabulary(path: str) -> Vocabulary:
  """The vocabulary of a checkpoint."""
  return vocabulary_from_bytes(
    store.read_file(path, VOCABULARY_FILE), where=path
  )


def load_tables(
  resolved: ResolvedRun, tasks: Sequence[schema.Task], data_dir: str
):
  """The training tables and the report of a run, as the pipeline gives them."""
  data = resolved.config.data
  soft_prompt = resolved.config.adapter.soft_prompt
  around = wordings.markers(data.markers)
  worded = [
    wordings.reword(task, data.wording, data.templates, around)
    for task in tasks
  ]
  tables, report = pipeline.load_training_tables(
    worded,
    data_dir,
    resolved.vocabulary,
    seed=resolved.config.seed,
    objective=data.objective,
    input_length=data.input_length,
    target_length=data.target_length,
    row_length=data.length - soft_prompt,
    separator=data.separator,
    chat=resolved.config.chat,
    overflow=data.overflow,
    mixing_cap=data.mixing_cap,
    train_cap=data.train_cap,
    shuffle_labels=data.shuffle_labels,
  )
  filler = resolved.vocabulary.pad_id
  behind = {n: table.behind(soft_prompt, filler) for n, table in tables.items()}
  return behind, report


def open_batches(
  resolved: ResolvedRun,
  tables,
  report: pipeline.Report,
  state: BatchState | None = None,
) -> Batches:
  """The batches of a run over what `load_tables` gave, from `state` on."""
  run = resolved.config
  return pipeline.training_batches(
    tables,
    report,
    resolved.vocabulary,
    batch_rows=run.train.batch,
    row_length=run.data.length,
    seed=run.seed,
    state=state,
    # A soft prompt is at positions 1, 2, ...: something must come before it.
    starts=run.adapter.soft_prompt > 0,
  )


def open_run(
  run: config.RunConfig,
  workdir: str,
  tasks: Sequence[schema.Task],
  data_dir: str,
) -> TrainingRun:
  """Opens everything that a run needs.

  Args:
    run: the run.
    workdir: where it writes, and goes on if it was stopped.
    tasks: what it may train on.
    data_dir: a prepared TFDS directory.

  Raises:
    ValueError: see `resolve`; a mesh that does not fit; nothing to train on.
  """
  # Devices come first: TensorFlow cannot make more of them once it runs.
  layout = parse_layout(run.mesh.shape, run.mesh.layout, dims.SPLITTABLE)
  axes = [axis.size for axis in layout.shape]
  devices = open_devices(layout.cores, run.mesh.platform, run.mesh.tpu, axes)
  store.check_shared(workdir, devices)
  resolved = resolve(run, workdir)
  run = resolved.config
  seen = saved_tasks(resolved.checkpoint) if resolved.checkpoint else {}
  tables, report = load_tables(resolved, tasks, data_dir)
  train_step = TrainStep(devices, layout, run)
  step, state, base = 0, None, ""
  if resolved.resumes:
    saved = json.loads(store.read_file(resolved.checkpoint, DATA_FILE))
    base = saved.get("base", "")
    step, state = saved["step"], _saved_state(saved, report, resolved)
    states = [train_step.weights, train_step.slots]
    store.restore(resolved.checkpoint, states)
  elif train_step.frozen:
    base = _absolute(resolved.checkpoint)
    train_step.weights.initialize(run.seed)
    train_step.slots.initialize(run.seed)
  elif resolved.checkpoint:
    store.restore(resolved.checkpoint, [train_step.weights])
    train_step.slots.initialize(run.seed)
  else:
    train_step.weights.initialize(run.seed)
    train_step.slots.initialize(run.seed)
  if train_step.frozen:
    store.restore(store.find(base), [train_step.frozen])
    if not resolved.resumes:
      pieces = resolved.vocabulary.size
      adapters.start_from_tokens(
        train_step.weights, train_step.frozen, pieces, run.seed
      )
  batches = open_batches(resolved, tables, report, state)
  started_from = resolved.checkpoint or f"new weights, seed {run.seed}"
  return TrainingRun(
    config=run,
    vocabulary=resolved.vocabulary,
    report=report,
    batches=batches,
    step=step,
    train_step=train_step,
    started_from=started_from,
    seen=seen | _seen(tasks, report),
    base=base,
  )


def _with_chat(
  run: config.RunConfig, saved: config.RunConfig
) -> config.RunConfig:
  """The run with a checkpoint's chat wrapper, unless it names its own."""
  return run if run.chat.given else dataclasses.replace(run, chat=saved.chat)


def _seen(
  tasks: Sequence[schema.Task], report: pipeline.Report
) -> dict[str, str]:
  """The tasks of a mixture, and what files of them were made from."""
  names = {task.name for task in report.tasks}
  found = {task.name: task.cluster for task in report.tasks}
  for task in tasks:
    if task.name in names:
      found |= dict(task.source.made_from)
  return found


def _absolute(path: str) -> str:
  return path if "://" in path else os.path.abspath(path)


def _data_state(run: TrainingRun, state: BatchState) -> dict[str, Any]:
  return {
    "step": run.step,
    "next_batch": state.to_json(),
    "examples": {task.name: task.examples for task in run.report.tasks},
    "seen": run.seen,
    "base": run.base,
    "mixture": run.report.to_json(),
  }


def _saved_state(saved, report, resolved) -> BatchState:
  """The position in the data; it means something only for the same data."""
  now = {task.name: task.examples for task in report.tasks}
  if saved["examples"] != now:
    before = saved["examples"]
    names = sorted(
      name for name in before | now if before.get(name) != now.get(name)
    )
    raise ValueError(
      f"The data changed since {resolved.checkpoint} was written, so the run"
      " cannot go on with the same batches. Examples then and now: "
      + ", ".join(
        f"{name} {before.get(name, 0)} and {now.get(name, 0)}" for name in names
      )
      + ". Restore the data, or start a new workdir with"
      f" --config.train.init_from={resolved.checkpoint}."
    )
  return BatchState.from_json(saved["next_batch"])


def _vocabulary(run: config.RunConfig, path: str) -> Vocabulary:
  saved = saved_vocabulary(path)
  if run.data.vocabulary:
    given = load_vocabulary(run.data.vocabulary)
    if given.fingerprint != saved.fingerprint:
      raise ValueError(
        f"data.vocabulary {run.data.vocabulary} ({given.size} pieces,"
        f" {given.fingerprint}) is not the vocabulary of the checkpoint {path}"
        f" ({saved.size} pieces, {saved.fingerprint}). Leave data.vocabulary"
        " empty to take the checkpoint's."
      )
  return saved


def _check_held_out(held_out: str, seen: dict[str, str], path: str) -> None:
  names = [
    name
    for name, cluster in seen.items()
    if holdout.forbids(held_out, name, cluster)
  ]
  if names:
    raise ValueError(
      f"{held_out!r} is to be held out, but {path}, or what it started from,"
      f" saw {', '.join(names)}. Start from weights that were trained with"
      f" held_out={held_out!r}, or from new ones."
    )


def _check_model(
  wanted: config.ModelConfig, saved: config.ModelConfig, path: str
) -> None:
  # What a run leaves as it is by default is no wish.
  default = config.ModelConfig()
  wishes = {name for name, *_ in _differences(wanted, default, "model.")}
  differs = [d for d in _differences(wanted, saved, "model.") if d[0] in wishes]
  if differs:
    raise ValueError(
      "The configuration conflicts with the checkpoint"
      f" {path}:\n{_table(differs)}\nThe model comes from the checkpoint: take"
      " these settings out, or start from new weights."
    )


def _check_resume(
  run: config.RunConfig, saved: config.RunConfig, path: str
) -> None:
  _check_model(run.model, saved.model, path)
  differs = [
    d
    for d in _differences(run, saved)
    if not d[0].startswith("model.")
    and not any(d[0] == k or d[0].startswith(k + ".") for k in _MAY_CHANGE)
  ]
  if differs:
    raise ValueError(
      f"The workdir has a run with other settings, at {path}:\n"
      f"{_table(differs)}\nUse a new --workdir, or the same settings."
    )


def _differences(a, b, where: str = "") -> list[tuple[str, Any, Any]]:
  found = []
  for field in dataclasses.fields(a):
    name, x, y = field.name, getattr(a, field.name), getattr(b, field.name)
    if dataclasses.is_dataclass(x):
      found += _differences(x, y, f"{where}{name}.")
    elif x != y:
      found.append((where + name, x, y))
  return found


def _table(differs) -> str:
  return "\n".join(
    f"  {name}: {now!r} asked for, {saved!r} in the checkpoint"
    for name, now, saved in differs
  )
