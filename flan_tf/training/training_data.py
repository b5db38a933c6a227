"""Reads the training examples of a run and draws its batches."""

from collections.abc import Mapping, Sequence

from flan_tf.data import pipeline
from flan_tf.data.batches import Batches, BatchState
from flan_tf.data.example_table import ExampleTable
from flan_tf.data.mixture_report import MixtureReport
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.task import schema
from flan_tf.training.starting_point import ResolvedRun


def load_tables(
  resolved: ResolvedRun, tasks: Sequence[schema.Task], data_dir: str
) -> tuple[dict[str, ExampleTable], MixtureReport]:
  """Reads the training rows of a run.

  Args:
    resolved: the run.
    tasks: the tasks that it may train on.
    data_dir: a prepared TFDS directory.

  Returns:
    The examples of each task, and a report on the mixture.
  """
  run = resolved.config
  prompt_format = PromptFormat.from_run(run, resolved.vocabulary)
  return pipeline.load_training_tables(
    tasks, data_dir, run.data, prompt_format, run.seed
  )


def open_batches(
  resolved: ResolvedRun,
  tables: Mapping[str, ExampleTable],
  report: MixtureReport,
  state: BatchState | None = None,
) -> Batches:
  """Returns an iterator of the batches of a run.

  Args:
    resolved: the resolved configuration of the run.
    tables: the examples of each task, from `load_tables`.
    report: the report that came with the tables.
    state: position of the first batch; by default the beginning.
  """
  run = resolved.config
  prompt_format = PromptFormat.from_run(run, resolved.vocabulary)
  return pipeline.training_batches(
    tables, report, prompt_format, run.train.batch, run.seed, state
  )
