"""Looks for the rows of an evaluation in a training corpus.

  python -m launch.contamination --evaluation=runs/tuned/evaluation \
      --corpus=tasks --tfds_data_dir=DIR
  python -m launch.contamination --evaluation=runs/tuned/evaluation \
      --corpus='gs://bucket/c4/*.json.gz' --slots=question,hypothesis

`--corpus=tasks` is the training rows of the tasks that the evaluated weights
ever saw; else it is files of text (paragraphs) or JSON lines. They are read
once, as a stream. Rows that share an n-gram are dirty: the table gives the
scores on all rows, the clean and the dirty ones. Writes contamination.json,
contamination.md and contamination.jsonl (which n-grams, and where they are)
next to the evaluation's results.
"""

import dataclasses
import os

from absl import flags

from flan_tf import name_lists
from launch import cli, jobs, own_rows

_EVALUATION = flags.DEFINE_string(
  "evaluation", None, "Output folder of launch.evaluate.", required=True
)
_CORPUS = flags.DEFINE_string(
  "corpus",
  "tasks",
  "`tasks`, or files of text or JSON lines, comma-separated, with * and ?.",
)
_LABEL = flags.DEFINE_string(
  "label", "", "Whose predictions, e.g. base; by default the last model's."
)
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint",
  "",
  "Of --corpus=tasks: where the evaluated weights are, if they were moved.",
)
_FIELD = flags.DEFINE_string("field", "text", "Of JSON lines: the text's name.")
_DATA_DIR = flags.DEFINE_string(
  "tfds_data_dir", "", "Prepared TFDS directory; empty for the shipped rows."
)
_OUTPUT = flags.DEFINE_string(
  "output", "", "Where the results go; by default the evaluation's folder."
)
_SLOTS = flags.DEFINE_string(
  "slots", "", "Look at these slots of rows alone, comma-separated."
)
_SIZE = flags.DEFINE_integer(
  "size", 0, "Words of an n-gram; 0 for each task's own.", 0
)
_PERCENTILE = flags.DEFINE_float(
  "percentile", 5, "Of row lengths, for a task's own size.", 0, 100
)
_LEAST = flags.DEFINE_integer("least", 8, "Least words of that size.", 1)
_MOST = flags.DEFINE_integer("most", 13, "Most words of that size.", 1)
_FREQUENT = flags.DEFINE_integer(
  "frequent", 10, "N-grams of more documents do not count; 0 for no limit.", 0
)
_SHORTEST = flags.DEFINE_integer(
  "shortest", 1, "Rows of fewer words are clean, whatever the corpus has.", 1
)


def main() -> None:
  from flan_tf.contamination import analysis, report

  settings = analysis.ContaminationConfig(
    _SIZE.value,
    _PERCENTILE.value,
    _LEAST.value,
    _MOST.value,
    _FREQUENT.value,
    _SHORTEST.value,
    name_lists.split_names(_SLOTS.value),
  )
  folder, data_dir = _EVALUATION.value, own_rows.data_dir(_DATA_DIR.value)
  evaluation = _results(folder, _LABEL.value)
  found, left_out = _read_tasks(evaluation, folder, data_dir, settings.slots)
  what, documents, not_read = _corpus(evaluation, data_dir)
  index = analysis.index(found, settings)
  index.read(documents)
  verdicts = analysis.measure(found, index, settings)
  about = {
    "checkpoint": evaluation.checkpoint,
    "label": evaluation.label,
    "corpus": what,
    "documents": index.documents,
    "words": index.words,
    "not_in_the_corpus": not_read,
    "too_frequent_ngrams": index.too_frequent(settings.frequent or None),
    **dataclasses.asdict(settings),
  }
  where = report.write(
    _OUTPUT.value or folder,
    verdicts,
    left_out,
    about,
    analysis.examples(found, index, settings),
  )
  print(report.text(verdicts, left_out))
  print(f"{what}: {index.documents:,} documents, {index.words:,} words")
  print(f"Report: {where}")


def _results(folder: str, label: str):
  """The results of the label, or the last ones."""
  import tensorflow as tf

  from flan_tf import name_lists
  from flan_tf.eval import results

  *others, last = [os.path.join(folder, name) for name in jobs.RESULTS]
  found = [results.EvaluationResults.read(last)]
  others = filter(tf.io.gfile.exists, others)
  found += map(results.EvaluationResults.read, others)
  by_label = {one.label: one for one in found}
  if label and label not in by_label:
    raise ValueError(
      f"{folder}: {name_lists.unknown_name('label', label, by_label)}"
    )
  chosen = by_label[label or found[0].label]
  if not chosen.tasks:
    raise ValueError(f"{folder}: no task of {chosen.label!r} was evaluated.")
  return chosen


def _read_tasks(evaluation, folder: str, data_dir: str, slots):
  """(the tasks with their rows, task -> why it is left out)."""
  import tasks
  from flan_tf.contamination import scored_rows
  from flan_tf.data import pipeline
  from flan_tf.task import registry, wordings

  names = [result.task for result in evaluation.tasks]
  chosen = registry.TaskRegistry(tasks.ALL).select(names)
  planned, left_out = pipeline.plan_tasks(chosen, data_dir)
  wording = evaluation.settings.get("wording", wordings.INSTRUCTIONS)
  found = []
  for item in planned:
    task = wordings.reword(item.task, wording)
    item = dataclasses.replace(item, task=task)
    one = scored_rows.read_task(folder, evaluation.label, item, slots)
    if isinstance(one, str):
      left_out[task.name] = one
    else:
      found.append(one)
  if not found:
    why = "\n".join(f"  {name}: {reason}" for name, reason in left_out.items())
    raise ValueError(f"No task of {folder} can be looked at.\n{why}")
  return found, left_out


def _corpus(evaluation, data_dir: str):
  """(what it is, its documents, task -> why its rows are not in it)."""
  from flan_tf.data import corpus

  if _CORPUS.value != "tasks":
    patterns = name_lists.split_names(_CORPUS.value)
    return _CORPUS.value, corpus.of_files(patterns, _FIELD.value), {}
  import tasks
  from flan_tf.checkpoints import store
  from flan_tf.data import pipeline
  from flan_tf.task import registry
  from flan_tf.training import session

  path = store.find(_CHECKPOINT.value or evaluation.checkpoint)
  seen = session.saved_tasks(path)
  if not seen:
    raise ValueError(
      f"{path} says of no task that its weights saw it, so --corpus=tasks is"
      " empty. Name files of its training text instead."
    )
  known = registry.TaskRegistry(tasks.ALL)
  chosen = [task for task in known if task.name in seen]
  cap = session.saved_config(path).data.train_cap
  planned, not_read = pipeline.plan_tasks(chosen, data_dir, cap)
  for name in seen:
    if name not in {task.name for task in chosen}:
      not_read[name] = "it is of a file; add that with --corpus"
  what = f"training rows of {len(planned)} tasks that the weights saw"
  return what, corpus.of_tasks(planned), not_read


def run() -> None:
  """Entry point of `flan-contamination`."""
  cli.run(main)


if __name__ == "__main__":
  run()
