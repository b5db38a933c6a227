"""The path of training rows from a prepared TFDS directory to batches.

    tables, report = load_training_tables(tasks, data_dir, data, format, seed)
    batches = training_batches(tables, report, format, batch_size, seed)

Tables are built once, at the start of a run: every training row becomes token
ids in memory. Batches are drawn from the tables without end. Data sets that are
not prepared are left out and reported; the run continues with the others.
"""

import functools
from collections.abc import Mapping, Sequence

from absl import logging

from flan_tf import config
from flan_tf.data import (
  batches,
  example_table,
  language_model,
  mixture_report,
  opened_tasks,
  parallel,
)
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.task import schema, wordings

Tables = Mapping[str, example_table.ExampleTable]


def load_training_tables(
  tasks: Sequence[schema.Task],
  data_dir: str,
  data: config.DataConfig,
  prompt_format: PromptFormat,
  seed: int,
  threads: int | None = None,
  progress: bool | None = None,
) -> tuple[dict[str, example_table.ExampleTable], mixture_report.MixtureReport]:
  """Reads and tokenizes the training rows of several tasks.

  Args:
    tasks: the tasks to train on, in the wording of the task table.
    data_dir: a prepared TFDS directory, local or gs://.
    data: the objective, the wording, the caps and the label control are used.
    prompt_format: how texts become token ids.
    seed: of the choice of templates and of shuffled labels.
    threads: data sets read at a time; None takes the number of cores, 8 at
      most.
    progress: whether to draw a progress bar; None draws it on a terminal.

  Returns:
    ({name of a task: its examples}, none empty, in the order of `tasks`; the
    report on the mixture).

  Raises:
    opened_tasks.NothingToTrainError: no task has a training row here.
    rows.DataCorruptionError: a file cannot be read.
  """
  worded = _reword(tasks, data)
  opened, left_out = opened_tasks.open_training_tasks(
    worded, data_dir, data.train_cap, data.objective
  )
  if data.objective == opened_tasks.LANGUAGE_MODEL:
    opened, repeated = opened_tasks.without_repeated_text(opened)
    left_out |= repeated
  build = functools.partial(
    _build_table, data=data, prompt_format=prompt_format, seed=seed
  )
  built = parallel.map_in_threads(build, opened, "data set", threads, progress)
  kept, tables = [], {}
  for item, (table, counts) in zip(opened, built, strict=True):
    if len(table):
      kept.append((item, counts))
      tables[item.task.name] = table
    else:
      left_out[item.task.name] = (
        f"none of its rows can be used: {counts.describe()}"
      )
  # In the order of `tasks`.
  left_out = {t.name: left_out[t.name] for t in tasks if t.name in left_out}
  if not tables:
    raise opened_tasks.nothing_to_train(data_dir, left_out)
  for name, reason in left_out.items():
    logging.warning("%s is left out: %s", name, reason)
  return tables, mixture_report.build_report(
    kept,
    left_out,
    data_dir=data_dir,
    objective=data.objective,
    vocabulary=prompt_format.vocabulary.fingerprint,
    mixing_cap=data.mixing_cap,
  )


def training_batches(
  tables: Tables,
  report: mixture_report.MixtureReport,
  prompt_format: PromptFormat,
  batch_size: int,
  seed: int,
  state: batches.BatchState | None = None,
) -> batches.Batches:
  """Returns the endless global batches of a run.

  Args:
    tables: the examples of each task, as `load_training_tables` gives them.
    report: has the mixing rate of each task.
    prompt_format: the one that the tables were built with.
    batch_size: packed rows of a global batch.
    seed: of the order of examples; the same on all hosts.
    state: the position of the first batch; by default the beginning.
  """
  return batches.Batches(
    tables,
    report.rates,
    batch_size,
    prompt_format.row_length,
    seed,
    start_id=prompt_format.start_id,
    pad_id=prompt_format.pad_id,
    state=state,
  )


def _reword(
  tasks: Sequence[schema.Task], data: config.DataConfig
) -> list[schema.Task]:
  """Gives the tasks the wording and the markers of a run."""
  markers = wordings.markers(data.markers)
  return [
    wordings.reword(task, data.wording, data.templates, markers)
    for task in tasks
  ]


def _build_table(
  item: opened_tasks.OpenedTask,
  data: config.DataConfig,
  prompt_format: PromptFormat,
  seed: int,
) -> tuple[example_table.ExampleTable, example_table.RowCounts]:
  """Builds the examples of one task, with space for the soft prompt."""
  if data.objective == opened_tasks.LANGUAGE_MODEL:
    table, counts = language_model.build_table(
      item.task, item.dataset, item.ranges.train, prompt_format
    )
  else:
    table, counts = example_table.build_table(
      item.task,
      item.dataset,
      item.ranges.train,
      prompt_format,
      seed,
      data.shuffle_labels,
    )
  return table.prepend(prompt_format.soft_prompt, prompt_format.pad_id), counts
