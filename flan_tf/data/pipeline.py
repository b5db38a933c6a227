"""From tasks and a data directory to tables that batches are made of.

    planned, missing = plan_tasks(tasks, data_dir)       what is there
    tables, report = load_training_tables(tasks, data_dir, vocabulary, seed=0)
    batches = training_batches(tables, report, vocabulary, batch_rows=8, ...)

Data sets that are not prepared are left out and named with the reason; the run
goes on with the others.
"""

import concurrent.futures
import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from flan_tf import config
from flan_tf.data import (
  batches,
  example_table,
  language_model,
  prompt_format,
  row_ranges,
  rows,
)
from flan_tf.task import mixing, schema
from flan_tf.vocab.vocabulary import Vocabulary

INSTRUCTIONS = "instructions"
LANGUAGE_MODEL = "language_model"


class NothingToTrainError(ValueError):
  """No task is left to train on; says why each one went."""


@dataclasses.dataclass(frozen=True)
class PlannedTask:
  """A task with the data set that it reads and its row ranges."""

  task: schema.Task
  dataset: rows.Dataset
  plan: row_ranges.SplitPlan

  @property
  def notes(self) -> tuple[str, ...]:
    """What departs from the published data set."""
    return self.dataset.notes + self.plan.notes


@dataclasses.dataclass(frozen=True)
class TaskReport:
  """What a task brings into a run."""

  name: str
  dataset: str
  cluster: str
  source: str
  train: str
  dev: str
  test: str
  rows: int
  examples: int
  tokens: int
  rate: int
  probability: float
  counts: dict[str, int]
  notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Report:
  """The whole mixture of a run, and what could not be read."""

  data_dir: str
  objective: str
  vocabulary: str
  tasks: tuple[TaskReport, ...]
  left_out: dict[str, str]  # task -> reason

  @property
  def rates(self) -> dict[str, int]:
    return {task.name: task.rate for task in self.tasks}

  def to_json(self) -> dict[str, Any]:
    """Plain dicts and lists, for json.dumps."""
    value = dataclasses.asdict(self)
    value["tasks"] = [
      {**task, "notes": list(task["notes"])} for task in value["tasks"]
    ]
    return {**value, "total_rate": sum(self.rates.values())}

  def __str__(self) -> str:
    count, size = len(self.tasks), sum(task.tokens for task in self.tasks)
    lines = [f"{count} tasks, {size:,} tokens from {self.data_dir}"]
    for task in self.tasks:
      lines.append(
        f"  {task.name}: {task.train}, {task.examples} examples,"
        f" {task.tokens:,} tokens, p = {task.probability:.4f}"
      )
      lines += [f"    {note}" for note in task.notes]
      odd = {
        name.replace("_", " "): number
        for name, number in task.counts.items()
        if number and name not in ("rows", "examples", "tokens")
      }
      if odd:
        lines.append(
          f"    {', '.join(f'{n} {what}' for what, n in odd.items())}"
        )
    for name, reason in self.left_out.items():
      first = reason.split("\n")[0]
      lines.append(f"  left out: {name} ({first})")
    return "\n".join(lines)


def plan_tasks(
  tasks: Iterable[schema.Task],
  data_dir: str,
  train_cap: int = row_ranges.TRAIN_CAP,
) -> tuple[list[PlannedTask], dict[str, str]]:
  """Opens each task's data set and plans its rows; reads none of them.

  Returns:
    The tasks that can be read, and why each of the others cannot.
  """
  opened: dict[schema.Source, rows.Dataset | str] = {}
  planned, missing = [], {}
  for task in tasks:
    if task.source not in opened:
      try:
        opened[task.source] = rows.open_dataset(task.source, data_dir)
      except rows.NotPreparedError as error:
        opened[task.source] = str(error)
    dataset = opened[task.source]
    if isinstance(dataset, str):
      missing[task.name] = dataset
    else:
      plan = row_ranges.plan_splits(
        task.source.splits, dataset.counts, train_cap
      )
      planned.append(PlannedTask(task, dataset, plan))
  return planned, missing


def load_training_tables(
  tasks: Sequence[schema.Task],
  data_dir: str,
  vocabulary: Vocabulary,
  *,
  seed: int,
  objective: str = INSTRUCTIONS,
  input_length: int = 1024,
  target_length: int = 256,
  row_length: int = 1280,
  separator: str = "flan",
  chat: config.ChatConfig | None = None,
  overflow: str = "middle",
  mixing_cap: int = mixing.MIXING_CAP,
  train_cap: int = row_ranges.TRAIN_CAP,
  shuffle_labels: bool = False,
  threads: int | None = None,
  progress: bool | None = None,
) -> tuple[dict[str, example_table.TokenTable], Report]:
  """Reads and tokenizes the training rows of several tasks.

  Args:
    tasks: what to train on.
    data_dir: a prepared TFDS directory, local or gs://.
    vocabulary: what tokenizes.
    seed: of the templates.
    objective: "instructions" or "language_model".
    input_length: see wrapping.Limits.
    target_length: see wrapping.Limits.
    row_length: see wrapping.Limits.
    separator: see wrapping.Limits.
    chat: see wrapping.Limits.
    overflow: see wrapping.Limits.
    mixing_cap: a task's rate is its number of training rows, this at most.
    train_cap: training rows of a task at most.
    shuffle_labels: see tokens.build_table.
    threads: data sets read at a time; None takes the number of cores, 8 at
      most.
    progress: whether to draw a progress bar; None draws it on a terminal.

  Returns:
    Task name -> table, none empty, in the order of `tasks`; and the report.

  Raises:
    NothingToTrainError: no task has a training row here.
    rows.DataCorruptionError: a file cannot be read.
  """
  if objective not in (INSTRUCTIONS, LANGUAGE_MODEL):
    raise ValueError(
      f"objective is {objective!r}; expected {INSTRUCTIONS!r} or"
      f" {LANGUAGE_MODEL!r}."
    )
  limits = prompt_format.Limits.of(
    input_length, target_length, row_length, overflow, separator, chat
  )
  readable, left_out = plan_tasks(tasks, data_dir, train_cap)
  planned = []
  texts_of: dict[tuple[str, str], str] = {}
  for item in readable:
    reason = _cannot_train(item, objective)
    if not reason and objective == LANGUAGE_MODEL:
      # Two tasks over the same rows (mnli_matched, mnli_mismatched) are one.
      key = (item.task.source.name, str(item.plan.train))
      first = texts_of.setdefault(key, item.task.name)
      if first != item.task.name:
        reason = f"its text is that of {first}"
    if reason:
      left_out[item.task.name] = reason
    else:
      planned.append(item)

  def read(item: PlannedTask):
    part = (item.task, item.dataset, item.plan.train, vocabulary)
    if objective == LANGUAGE_MODEL:
      return language_model.build_table(*part, row_length)
    return example_table.build_table(*part, limits, seed, shuffle_labels)

  results = _in_threads(read, planned, threads, progress)
  kept, tables = [], {}
  for item, (table, counts) in zip(planned, results, strict=True):
    if len(table):
      kept.append((item, counts))
      tables[item.task.name] = table
    else:
      left_out[item.task.name] = f"none of its rows can be used: {counts}"
  # In the order in which they were given.
  left_out = {t.name: left_out[t.name] for t in tasks if t.name in left_out}
  if not tables:
    raise NothingToTrainError(_nothing_left(data_dir, left_out))
  for name, reason in left_out.items():
    logging.warning("%s is left out: %s", name, reason)
  return tables, _report(
    kept, left_out, data_dir, objective, vocabulary, mixing_cap
  )


def training_texts(
  tasks: Sequence[schema.Task],
  data_dir: str,
  train_cap: int = row_ranges.TRAIN_CAP,
) -> Iterator[str]:
  """The running text of the tasks' training rows, each text once.

  A vocabulary is trained on it. Tasks that cannot be read are logged.

  Raises:
    NothingToTrainError: no task has any.
  """
  planned, left_out = plan_tasks(tasks, data_dir, train_cap)
  seen = set()
  for item in planned:
    reason = _cannot_train(item, LANGUAGE_MODEL)
    if reason:
      left_out[item.task.name] = reason
      continue
    for text in language_model.texts(item.task, item.dataset, item.plan.train):
      key = hash(text)
      if key not in seen:
        seen.add(key)
        yield text
  for name, reason in left_out.items():
    logging.warning("%s is left out: %s", name, reason)
  if not seen:
    raise NothingToTrainError(_nothing_left(data_dir, left_out))


def training_batches(
  tables: Mapping[str, example_table.TokenTable],
  report: Report,
  vocabulary: Vocabulary,
  *,
  batch_rows: int,
  row_length: int,
  seed: int,
  state: batches.BatchState | None = None,
  starts: bool = False,
) -> batches.Batches:
  """The batches of a run, from `state` on.

  With `starts` every example has `bos_id` before it, whether or not the texts
  of the vocabulary have.
  """
  return batches.Batches(
    tables,
    report.rates,
    batch_rows,
    row_length,
    seed,
    bos_id=vocabulary.bos_id if starts else vocabulary.start_id,
    pad_id=vocabulary.pad_id,
    state=state,
  )


def _cannot_train(item: PlannedTask, objective: str) -> str:
  if not len(item.plan.train):
    return "; ".join(item.notes) or "it has no training rows"
  if objective == LANGUAGE_MODEL and not item.task.documents:
    return "it has no running text to model"
  return ""


def _report(
  kept, left_out, data_dir, objective, vocabulary, mixing_cap
) -> Report:
  sizes = {item.task.name: len(item.plan.train) for item, _ in kept}
  rates = mixing.rates(sizes, mixing_cap)
  shares = mixing.probabilities(rates)
  return Report(
    data_dir=data_dir,
    objective=objective,
    vocabulary=vocabulary.fingerprint,
    tasks=tuple(
      TaskReport(
        name=item.task.name,
        dataset=item.task.dataset,
        cluster=item.task.cluster,
        source=f"{item.task.source.name}:{item.dataset.version}",
        train=str(item.plan.train),
        dev=str(item.plan.dev),
        test=str(item.plan.test),
        rows=len(item.plan.train),
        examples=counts.examples,
        tokens=counts.tokens,
        rate=rates[item.task.name],
        probability=shares[item.task.name],
        counts=counts.as_dict(),
        notes=item.notes,
      )
      for item, counts in kept
    ),
    left_out=left_out,
  )


def _in_threads(read, planned, threads, progress) -> list:
  """Applies `read` to each, several at a time; results in the same order."""
  if threads is None:
    threads = min(8, os.cpu_count() or 1)
  if progress is None:
    progress = sys.stdout.isatty()
  bar = None
  if progress and planned:
    import keras

    bar = keras.utils.Progbar(len(planned), unit_name="data set")
  pool = concurrent.futures.ThreadPoolExecutor(max(1, threads))
  futures = [pool.submit(read, item) for item in planned]
  try:
    for done in concurrent.futures.as_completed(futures):
      done.result()
      if bar is not None:
        bar.add(1)
    return [future.result() for future in futures]
  finally:
    # After an error nothing that has not begun is read any more.
    pool.shutdown(wait=True, cancel_futures=True)


def _nothing_left(data_dir: str, left_out: Mapping[str, str]) -> str:
  if not left_out:
    return "There is nothing to train on: no tasks were chosen."
  reasons = "\n".join(
    f"  {name}: {reason.splitlines()[0]}" for name, reason in left_out.items()
  )
  return (
    f"There is nothing to train on in {data_dir}. Expected a prepared TFDS"
    f" directory with at least one of the chosen data sets.\n{reasons}"
  )
