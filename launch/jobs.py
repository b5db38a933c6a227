"""What the binaries do, as functions: a binary is its flags and a call.

No flag is defined here, so that one binary (the quickstart, the control) can do
the work of several: two of them may not define a flag of the same name.
"""

import dataclasses
import os

from flan_tf import config
from launch import own_rows


def train_vocabulary(
  output: str,
  size: int,
  held_out: str = "",
  tfds_data_dir: str = "",
  kind: str = "bpe",
) -> None:
  """Trains on the training rows of all tasks that `held_out` allows."""
  import tasks
  from flan_tf import registry, splits
  from flan_tf.data import pipeline, vocabulary

  known = registry.TaskRegistry(tasks.ALL)
  held_out = splits.expand(known, held_out)
  allowed = splits.training_tasks(known, held_out)
  texts = pipeline.training_texts(allowed, own_rows.data_dir(tfds_data_dir))
  trained = vocabulary.Vocabulary.train(texts, size, output, kind)
  print(f"{output}: {trained.size} pieces, fingerprint {trained.fingerprint}")


def train(run: config.RunConfig, workdir: str) -> bool:
  """Trains a run; returns whether all its steps are done."""
  from flan_tf.train import loop
  from flan_tf.train import run as run_lib

  run, chosen = _training_tasks(run)
  data_dir = own_rows.data_dir(run.data.tfds_data_dir)
  opened = run_lib.open_run(run, workdir, chosen, data_dir)
  print(loop.describe(opened), flush=True)
  finished = loop.train(opened, workdir)
  done = "Finished" if finished else "Stopped"
  print(f"{done} at step {opened.step}. Checkpoints and metrics: {workdir}")
  print(f"Look: tensorboard --logdir={os.path.join(workdir, 'tensorboard')}")
  return finished


def dry_run(run: config.RunConfig, workdir: str) -> None:
  """Prints what `train` would do, without a device or a step."""
  from flan_tf.train import loop
  from flan_tf.train import run as run_lib

  run, chosen = _training_tasks(run)
  resolved = run_lib.resolve(run, workdir)
  data_dir = own_rows.data_dir(run.data.tfds_data_dir)
  tables, report = run_lib.load_tables(resolved, chosen, data_dir)
  batches = run_lib.open_batches(resolved, tables, report)
  print(config.to_json(resolved.config))
  print(report)
  print(loop.sample_prompts(next(batches), resolved.vocabulary))


def evaluate(
  models: dict[str, str],
  output: str,
  held_out: str = "",
  names: tuple[str, ...] = (),
  clusters: tuple[str, ...] = (),
  tfds_data_dir: str = "",
  mesh: config.MeshConfig | None = None,
  batch: int = 16,
  settings=None,
  base_wording: str = "",
) -> str:
  """Evaluates label -> checkpoint; returns the table for a terminal.

  Args:
    models: the untuned one first, where there are two.
    output: where the results go.
    held_out: clusters or tasks to evaluate that no model may have seen.
    names: tasks to evaluate.
    clusters: clusters to evaluate.
    tfds_data_dir: see own_rows.data_dir.
    mesh: where to run; one core by default.
    batch: rows that are run at once.
    settings: a protocol.Settings, which imports TensorFlow.
    base_wording: how the first of two models is asked, if otherwise.

  Raises:
    ValueError: unknown names, or a model that has seen what it is to be
      evaluated on as held out.
  """
  import tasks
  from flan_tf import registry, splits
  from flan_tf.eval import protocol, report
  from flan_tf.eval.model import Model
  from flan_tf.mesh import checkpoint
  from flan_tf.train import run as run_lib

  if not (held_out or names or clusters):
    raise ValueError("Say what to evaluate: --held_out, --tasks or --clusters.")
  known = registry.TaskRegistry(tasks.ALL)
  held_out = splits.expand(known, held_out)
  chosen = splits.held_out_tasks(known, held_out)
  if names or clusters:
    named = known.select(names, clusters)
    chosen = tuple(task for task in known if task in chosen or task in named)
  data_dir = own_rows.data_dir(tfds_data_dir)
  settings = settings or protocol.Settings()
  # Both models read the same prompts, cut to the same lengths.
  *_, tuned = models
  data = run_lib.saved_config(checkpoint.find(models[tuned])).data
  evaluations = []
  for label, path in models.items():
    path = checkpoint.find(path)
    if held_out:
      _refuse_seen(path, held_out)
    asked = settings
    if base_wording and label != tuned:
      asked = dataclasses.replace(settings, wording=base_wording)
    model = Model.load(path, mesh, batch, data)
    found = protocol.evaluate(model, label, path, chosen, data_dir, asked)
    evaluations.append(found)
  # The last file is written last: where it is, the others are.
  for found, name in zip(
    evaluations, ("base.json", "results.json")[-len(models) :], strict=True
  ):
    found.write_json(os.path.join(output, name))
  where = report.write(output, evaluations)
  return f"{report.text(evaluations)}\nReport: {where}"


def answerer(
  checkpoint: str,
  mesh: config.MeshConfig,
  batch: int,
  max_new: int = 0,
  markers: str = "",
):
  """A function from prompts to their answers (flan_tf.eval.answering)."""
  from flan_tf.eval import answering
  from flan_tf.eval.model import Model

  model = Model.load(checkpoint, mesh, batch)
  return lambda prompts: answering.answer(model, prompts, max_new, markers)


def read_table(output: str) -> str | None:
  """The table of an evaluation that was written before, if there is one."""
  from flan_tf.eval import report, results

  paths = [os.path.join(output, n) for n in ("base.json", "results.json")]
  if not all(map(os.path.exists, paths)):
    return None
  return report.text([results.EvaluationResults.read(path) for path in paths])


def _training_tasks(run: config.RunConfig):
  """The run with its held-out names expanded, and the tasks it trains on."""
  import tasks
  from flan_tf import registry, splits

  known = registry.TaskRegistry(tasks.ALL)
  held_out = splits.expand(known, run.held_out)
  chosen = splits.chosen_training_tasks(
    known, held_out, run.data.task_names, run.data.cluster_names
  )
  return dataclasses.replace(run, held_out=held_out), chosen


def _refuse_seen(path: str, held_out: str) -> None:
  """Raises ValueError if a checkpoint trained on what it must not have seen."""
  from flan_tf import splits
  from flan_tf.train import run as run_lib

  seen = [
    name
    for name, cluster in run_lib.saved_tasks(path).items()
    if splits.forbids(held_out, name, cluster)
  ]
  if seen:
    raise ValueError(
      f"{path}, or what it started from, saw {', '.join(seen)}, so it is not"
      f" zero-shot on {held_out!r}. Evaluate it with --clusters or --tasks"
      f" instead, or train with held_out={held_out!r}."
    )
