"""Tasks of a user's own, as a value and as a file for --task_file."""

import dataclasses

import flan_tf as flan

# Takes a name and a cluster.
FILE = """
import flan_tf as flan

RTE = flan.tasks["rte"].task
TASKS = [
  flan.Task(
    name="{name}",
    dataset="{name}",
    cluster="{cluster}",
    kind=flan.TaskKind.CLASSIFICATION,
    source=RTE.source,
    fields=RTE.fields,
    slots=RTE.slots,
    options=RTE.options,
    templates=(flan.Template("{{premise}} {{hypothesis}}? {{options_}}"),),
    extra=True,
  )
]
"""


def own_task(name: str = "my_rte", **changes) -> flan.Task:
  """Returns a task on a data set whose rows are shipped."""
  task = flan.Task(
    name=name,
    dataset=name,
    cluster="nli",
    kind=flan.TaskKind.CLASSIFICATION,
    source=flan.Source(
      "super_glue/rte", "1.0.2", flan.Splits(dev="train", test="validation")
    ),
    fields=flan.tasks["rte"].task.fields,
    slots=("premise", "hypothesis"),
    options=("yes", "no"),
    templates=(
      flan.Template("{premise} So {hypothesis}? {options_}"),
      flan.Template("{hypothesis} That is what follows from: {premise}"),
    ),
    extra=True,
  )
  return dataclasses.replace(task, **changes)
