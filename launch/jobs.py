"""What the binaries do, as functions: a binary is its flags and a call.

No flag is defined here, so that one binary (the quickstart, the control) can do
the work of several: two of them may not define a flag of the same name.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence

from flan_tf import config
from flan_tf.task import wordings
from launch import own_rows

# Of an evaluation of three models, of two and of one: the last ones.
RESULTS = ("base_baseline.json", "base.json", "results.json")
# As `base_wording`: the untuned model both with baseline prompts and as the
# tuned one.
BOTH = "both"


def train_vocabulary(
  output: str,
  size: int,
  held_out: str = "",
  tfds_data_dir: str = "",
  kind: str = "bpe",
) -> None:
  """Trains on the training rows of all tasks that `held_out` allows."""
  import tasks
  from flan_tf.data import pipeline
  from flan_tf.task import holdout, registry
  from flan_tf.vocab import vocabulary

  known = registry.TaskRegistry(tasks.ALL)
  held_out = holdout.expand(known, held_out)
  allowed = holdout.training_tasks(known, held_out)
  texts = pipeline.training_texts(allowed, own_rows.data_dir(tfds_data_dir))
  trained = vocabulary.SentencePieceVocabulary.train(texts, size, output, kind)
  print(f"{output}: {trained.size} pieces, fingerprint {trained.fingerprint}")


def convert_gguf(path: str, target: str) -> None:
  """A GGUF file becomes a checkpoint."""
  from flan_tf.bridges.gguf import gguf_source
  from flan_tf.bridges.native import checkpoint_writer

  source = gguf_source.open_source(path)
  print(source.describe(), flush=True)
  checkpoint_writer.write(source, target)


def train(run: config.RunConfig, workdir: str) -> bool:
  """Trains a run; returns whether all its steps are done."""
  from flan_tf.training import loop, session

  run, chosen = training_tasks(run)
  data_dir = own_rows.data_dir(run.data.tfds_data_dir)
  opened = session.open_run(run, workdir, chosen, data_dir)
  print(loop.describe(opened), flush=True)
  finished = loop.train(opened, workdir)
  done = "Finished" if finished else "Stopped"
  print(f"{done} at step {opened.step}. Checkpoints and metrics: {workdir}")
  print(f"Look: tensorboard --logdir={os.path.join(workdir, 'tensorboard')}")
  return finished


def dry_run(run: config.RunConfig, workdir: str) -> None:
  """Prints what `train` would do, without a device or a step."""
  from flan_tf.training import loop, session

  run, chosen = training_tasks(run)
  resolved = session.resolve(run, workdir)
  data_dir = own_rows.data_dir(run.data.tfds_data_dir)
  tables, report = session.load_tables(resolved, chosen, data_dir)
  batches = session.open_batches(resolved, tables, report)
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
  separator: str = "",
  data: config.DataConfig | None = None,
  restart: bool = False,
) -> str:
  """Evaluates label -> checkpoint; returns the table for a terminal.

  What was answered before in `output` is not asked again.

  Args:
    models: the untuned one first, where there are two.
    output: where the results and the predictions go.
    held_out: clusters or tasks to evaluate that no model may have seen.
    names: tasks to evaluate.
    clusters: clusters to evaluate.
    tfds_data_dir: see own_rows.data_dir.
    mesh: where to run; one core by default.
    batch: rows that are run at once.
    settings: a protocol.EvaluationConfig, which imports TensorFlow.
    base_wording: how the first of two models is asked, if otherwise; BOTH for
      baseline prompts and, once more, as the second one is asked.
    separator: one of config.SEPARATORS, for all models; by default that of the
      last one's run.
    data: lengths and separator; by default those of the last one's run.
    restart: whether to begin anew, and remove the predictions in `output`.

  Raises:
    ValueError: unknown names, a model that has seen what it is to be evaluated
      on as held out, or predictions of another evaluation in `output`.
  """
  import tasks
  from flan_tf.checkpoints import store
  from flan_tf.data import prompt_format
  from flan_tf.eval import protocol
  from flan_tf.inference.language_model import LanguageModel
  from flan_tf.task import holdout, registry
  from flan_tf.training import session

  if not (held_out or names or clusters):
    raise ValueError("Say what to evaluate: --held_out, --tasks or --clusters.")
  known = registry.TaskRegistry(tasks.ALL)
  held_out = holdout.expand(known, held_out)
  chosen = holdout.held_out_tasks(known, held_out)
  if names or clusters:
    named = known.select(names, clusters)
    chosen = tuple(task for task in known if task in chosen or task in named)
  data_dir = own_rows.data_dir(tfds_data_dir)
  settings = settings or protocol.EvaluationConfig()
  # Both models read the same prompts, cut to the same lengths.
  *_, tuned = models
  data = data or session.saved_config(store.find(models[tuned])).data
  if separator:
    data = dataclasses.replace(data, separator=separator)
  elif data.separator == "plain":
    print(
      "Nothing stands between prompt and answer (separator plain). A model that"
      " goes on with texts may want --separator=newline or blank, an instruct"
      " model --separator=chat."
    )
  models = {label: store.find(path) for label, path in models.items()}
  for path in models.values():  # All of them, before hours of work.
    if held_out:
      _refuse_seen(path, held_out)
    chat = session.saved_config(path).chat
    prompt_format.Limits(
      separator=prompt_format.Separator(data.separator), chat=chat
    )
  evaluations, loaded = [], None
  for label, name, wording in _asked(models, base_wording, settings.wording):
    path = models[name]
    if loaded is None or loaded[0] != name:
      loaded = None  # Not two at once: each may fill the devices.
      loaded = name, LanguageModel.load(path, mesh, batch, data)
    asked = dataclasses.replace(settings, wording=wording)
    found = protocol.evaluate(
      loaded[1], label, path, chosen, data_dir, asked, output, restart
    )
    # All models were seen to hold it out, whether they say so or not.
    found = dataclasses.replace(found, held_out=held_out or found.held_out)
    evaluations.append(found)
  return _write(evaluations, output, [output] * len(evaluations))


def _asked(
  models: dict[str, str], base_wording: str, wording: str
) -> list[tuple[str, str, str]]:
  """(label, name of the model, wording) of each evaluation."""
  *base, tuned = models
  asked = [(name, name, base_wording or wording) for name in base]
  if base_wording == BOTH:
    asked = [
      pair
      for name in base
      for pair in (
        (f"{name} (baseline prompts)", name, wordings.BASELINE),
        (name, name, wording),
      )
    ]
  return [*asked, (tuned, tuned, wording)]


def compare(base: str, tuned: str, output: str) -> str:
  """One report of two evaluations; returns the table.

  Args:
    base: the folder of an evaluation, of which the last model counts, or a
      results file in it.
    tuned: the same of the other evaluation.
    output: where the report goes.

  Raises:
    FileNotFoundError: there is no evaluation.
    ValueError: a file is not one of results, or the report would take the
      place of one of them.
  """
  from flan_tf.eval import results

  paths = [_results_file(path) for path in (base, tuned)]
  folders = [os.path.dirname(path) for path in paths]
  if os.path.abspath(output) in map(os.path.abspath, folders):
    raise ValueError(
      f"{output} has one of the evaluations to compare, whose results.json the"
      " report would replace. Choose another --output."
    )
  found = [results.EvaluationResults.read(path) for path in paths]
  return _write(found, output, folders)


def _results_file(path: str) -> str:
  return path if path.endswith(".json") else os.path.join(path, RESULTS[-1])


def _write(evaluations, output: str, folders: Sequence[str]) -> str:
  """Writes evaluations, and their report; returns the table.

  Args:
    evaluations: one to three, the untuned model first.
    output: where to.
    folders: of each the folder that its predictions were kept in.
  """
  import tensorflow as tf

  import tasks
  from flan_tf.eval import prediction_log
  from flan_tf.report import comparison, csv_file, differences, writer

  # Of an evaluation that was here before, with more models.
  for name in RESULTS[: -len(evaluations)]:
    path = os.path.join(output, name)
    if tf.io.gfile.exists(path):
      tf.io.gfile.remove(path)
  # The last file is written last: where it is, the others are.
  for found, name in zip(
    evaluations, RESULTS[-len(evaluations) :], strict=True
  ):
    found.write_json(os.path.join(output, name))
  predictions = [
    prediction_log.folder_of(folder, found.label)
    for folder, found in zip(folders, evaluations, strict=True)
  ]
  paired = differences.read(evaluations, predictions)
  where = writer.write(
    output,
    evaluations,
    predictions=predictions,
    differences=paired,
    templates={
      task.name: [template.inputs for template in task.templates]
      for task in tasks.ALL
    },
  )
  csv_file.write(os.path.join(output, "scores.csv"), evaluations)
  tables = [
    writer.text(evaluations),
    differences.text(paired, comparison.labels(evaluations)),
  ]
  return "\n".join([*filter(None, tables), f"Report: {where}"])


def open_to_ask(
  checkpoint: str,
  mesh: config.MeshConfig,
  batch: int,
  separator: str = "",
):
  """A checkpoint's `Model`; its prompts get that separator, or its run's."""
  from flan_tf.inference.language_model import LanguageModel

  model = LanguageModel.load(checkpoint, mesh, batch)
  if separator:
    model.run = config.replace(model.run, "data", separator=separator)
  elif model.run.data.separator == "plain" and model.run.chat.given:
    print(
      "The model has a chat wrapper, and is asked without it: --separator=chat"
      " asks as it was tuned.",
      file=sys.stderr,
    )
  return model


def answerer(
  checkpoint: str,
  mesh: config.MeshConfig,
  batch: int,
  max_new: int = 0,
  markers: str = "",
  separator: str = "",
  sampling=None,
  stops: Sequence[str] = (),
):
  """An `answering.AnswerBatch` of a checkpoint.

  Options and the first prompt's number may be left out.
  """
  from flan_tf.inference import prompt_answers

  model = open_to_ask(checkpoint, mesh, batch, separator)
  sampling = sampling or prompt_answers.GREEDY
  return lambda prompts, options=(), first=0: prompt_answers.answer(
    *(model, prompts, max_new, markers, options, sampling, stops, first)
  )


def read_table(output: str, labels: Sequence[str]) -> str | None:
  """The table of an evaluation that was written before, if there is one."""
  from flan_tf.eval import results
  from flan_tf.report import writer

  paths = [os.path.join(output, name) for name in RESULTS[-len(labels) :]]
  if not all(map(os.path.exists, paths)):
    return None
  return writer.text([results.EvaluationResults.read(path) for path in paths])


def training_tasks(run: config.RunConfig):
  """The tasks that a run trains on.

  Returns:
    (the run with the names of what it holds out expanded, and the fingerprints
    of its files; the tasks).

  Raises:
    ValueError: an unknown name, one that is held out, or a file that cannot be
      used.
  """
  import tasks
  from flan_tf.task import holdout, registry

  known = registry.TaskRegistry(tasks.ALL)
  held_out = holdout.expand(known, run.held_out)
  run = dataclasses.replace(run, held_out=held_out)
  names, clusters = run.data.task_names, run.data.cluster_names
  if not run.data.file_names:
    return run, holdout.chosen_training_tasks(known, held_out, names, clusters)
  from flan_tf.data import prompt_file

  chosen = ()
  if names or clusters:
    chosen = holdout.chosen_training_tasks(known, held_out, names, clusters)
  of_files, files = prompt_file.open_tasks(run.data.file_names, known, held_out)
  return config.replace(run, "data", files=files), (*chosen, *of_files)


def _refuse_seen(path: str, held_out: str) -> None:
  """Raises ValueError if a checkpoint trained on what it must not have seen."""
  from flan_tf.task import holdout
  from flan_tf.training import session

  seen = [
    name
    for name, cluster in session.saved_tasks(path).items()
    if holdout.forbids(held_out, name, cluster)
  ]
  if seen:
    raise ValueError(
      f"{path}, or what it started from, saw {', '.join(seen)}, so it is not"
      f" zero-shot on {held_out!r}. Evaluate it with --clusters or --tasks"
      f" instead, or train with held_out={held_out!r}."
    )
