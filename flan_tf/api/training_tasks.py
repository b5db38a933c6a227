"""Selects the tasks that a run trains on; does not import TensorFlow."""

import dataclasses

from flan_tf import config
from flan_tf.api.task_table import tasks as task_table
from flan_tf.task import holdout, schema


def select_training_tasks(
  run: config.RunConfig,
) -> tuple[config.RunConfig, tuple[schema.Task, ...]]:
  """Returns the tasks that a run trains on.

  Returns:
    (the run, with all held-out tasks named and the fingerprints of its files;
    the tasks).

  Raises:
    FileNotFoundError: a file of `data.files` is missing.
    ValueError: an unknown name, a task that is held out, or a file that cannot
      be used.
  """
  known = task_table.registry()
  held_out = holdout.expand(known, run.held_out)
  run = dataclasses.replace(run, held_out=held_out)
  names, clusters, files = run.data.tasks, run.data.clusters, run.data.files
  chosen = ()
  if names or clusters or not files:
    chosen = holdout.chosen_training_tasks(known, held_out, names, clusters)
  if not files:
    return run, chosen
  from flan_tf.data import file_tasks

  tasks_of_files, files = file_tasks.open_file_tasks(files, known, held_out)
  return config.replace(run, "data", files=files), (*chosen, *tasks_of_files)
