"""Held-out tasks: the rules of zero-shot evaluation (paper, section 2.2).

To call an evaluation zero-shot, the paper excludes from training the whole
cluster of the evaluated data set, and clusters that are too similar to it:
paraphrase and NLI exclude each other, and commonsense and reading comprehension
each exclude the cluster that mixes the two.

A run holds out a tuple of names: clusters, as in ("nli",), or tasks, as in
("rte", "cb"), when the rest of their clusters may train.
"""

from flan_tf import name_lists
from flan_tf.task import registry, schema

# As the only name of a task: every task that may train.
ALL = "all"

# Held-out cluster -> further clusters that are excluded from training.
_RELATED = {
  "nli": ("paraphrase",),
  "paraphrase": ("nli",),
  "commonsense": ("reading_comprehension_commonsense",),
  "reading_comprehension": ("reading_comprehension_commonsense",),
  "reading_comprehension_commonsense": (
    "commonsense",
    "reading_comprehension",
  ),
}


def expand(
  tasks: registry.TaskRegistry, held_out: tuple[str, ...]
) -> tuple[str, ...]:
  """Checks held-out names and adds the other tasks of the same data sets.

  ("anli_r1",) becomes ("anli_r1", "anli_r2", "anli_r3"): the rounds of one
  data set are held out together. The functions below that take the task table
  expand the names themselves.

  Raises:
    ValueError: a name that is neither a cluster nor a task.
  """
  _refuse_text(held_out)
  expanded = []
  for name in held_out:
    if name in schema.CLUSTERS:
      expanded.append(name)
      continue
    known = (*schema.CLUSTERS, *(task.name for task in tasks))
    if name not in known:
      raise ValueError(name_lists.unknown_name("cluster or task", name, known))
    dataset = tasks.get(name).dataset
    expanded += [task.name for task in tasks if task.dataset == dataset]
  return tuple(dict.fromkeys(expanded))


def excluded_clusters(held_out: tuple[str, ...]) -> tuple[str, ...]:
  """Returns the held-out clusters and those too similar to train with them."""
  _refuse_text(held_out)
  excluded = []
  for name in held_out:
    if name in schema.CLUSTERS:
      excluded += [name, *_RELATED.get(name, ())]
  return tuple(dict.fromkeys(excluded))


def forbids(held_out: tuple[str, ...], task: str, cluster: str) -> bool:
  """Returns whether a task of that cluster must not train.

  Args:
    held_out: names as `expand` returns them.
    task: name of the task.
    cluster: name of its cluster.
  """
  names = (*excluded_clusters(held_out), *held_out)
  return cluster in names or task in names


def held_out_tasks(
  tasks: registry.TaskRegistry, held_out: tuple[str, ...]
) -> tuple[schema.Task, ...]:
  """Returns the held-out tasks, to be evaluated.

  Tasks of clusters that are only excluded as too similar are not among them.
  """
  names = expand(tasks, held_out)
  return tuple(t for t in tasks if t.name in names or t.cluster in names)


def training_tasks(
  tasks: registry.TaskRegistry, held_out: tuple[str, ...] = ()
) -> tuple[schema.Task, ...]:
  """Returns every task that may train while `held_out` is held out."""
  held_out = expand(tasks, held_out)
  return tuple(
    task
    for task in tasks
    if task.trains and not forbids(held_out, task.name, task.cluster)
  )


def chosen_training_tasks(
  tasks: registry.TaskRegistry,
  held_out: tuple[str, ...] = (),
  names: tuple[str, ...] = (),
  clusters: tuple[str, ...] = (),
) -> tuple[schema.Task, ...]:
  """Returns the training tasks that a run names.

  Args:
    tasks: the task table.
    held_out: clusters or tasks that must not train.
    names: tasks that train. Without names and clusters, or with ("all",), all
      tasks train that `held_out` allows.
    clusters: clusters whose tasks train, in addition to `names`.

  Raises:
    ValueError: a name that does not exist, one that `held_out` forbids, or a
      task without training rows.
  """
  held_out = expand(tasks, held_out)
  allowed = training_tasks(tasks, held_out)
  if not clusters and tuple(names) in ((), (ALL,)):
    return allowed
  chosen = tasks.select(names, clusters)
  forbidden = [t.name for t in chosen if forbids(held_out, t.name, t.cluster)]
  if forbidden:
    excluded = dict.fromkeys((*excluded_clusters(held_out), *held_out))
    raise ValueError(
      f"With {name_lists.join_names(held_out)!r} held out, no task of"
      f" {', '.join(excluded)} may train, but {', '.join(forbidden)} would."
      " Take them out of data.tasks and data.clusters, or hold out another"
      " cluster."
    )
  without_rows = [task.name for task in chosen if not task.trains]
  if set(without_rows) & set(names):
    raise ValueError(
      f"{', '.join(without_rows)}: these tasks are only evaluated and have no"
      " training rows. Take them out of data.tasks."
    )
  return tuple(task for task in chosen if task.trains)


def _refuse_text(held_out: tuple[str, ...]) -> None:
  # Its letters would be taken for names, and nothing would be held out.
  if isinstance(held_out, str):
    raise TypeError(
      f"held_out: expected a tuple of names, got the text {held_out!r}."
      " name_lists.split_names(text) makes one of it."
    )
