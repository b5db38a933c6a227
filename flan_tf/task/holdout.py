"""Which tasks train and which are held out (paper, section 2.2).

To call an evaluation zero-shot, the paper leaves the whole cluster of the
evaluated data set out of training, and clusters that are too close to it too:
paraphrase and NLI leave together, and commonsense and reading comprehension
each leave with the cluster that mixes them. Pure functions of the task table.

A run says what it holds out as names, comma-separated: clusters ("nli"), or
tasks ("rte,cb") where the rest of their clusters may train.
"""

from flan_tf import name_lists
from flan_tf.task import registry, schema

# As the only name: every task that may train.
ALL = "all"

# held-out cluster -> the clusters that leave training with it.
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


def expand(tasks: registry.TaskRegistry, held_out: str) -> str:
  """Checks the names, and adds the other tasks of each named task's data set.

  "anli_r1" becomes "anli_r1,anli_r2,anli_r3": rounds of one corpus leave
  together. Functions here that take the task table do so themselves.

  Raises:
    ValueError: a name that is neither a cluster nor a task.
  """
  found = []
  for name in name_lists.split_names(held_out):
    if name in schema.CLUSTERS:
      found.append(name)
      continue
    known = (*schema.CLUSTERS, *(task.name for task in tasks))
    if name not in known:
      raise ValueError(name_lists.unknown_name("cluster or task", name, known))
    dataset = tasks.get(name).dataset
    found += [task.name for task in tasks if task.dataset == dataset]
  return ",".join(dict.fromkeys(found))


def excluded_clusters(held_out: str) -> tuple[str, ...]:
  """The clusters held out and those that must leave training with them."""
  excluded = []
  for name in name_lists.split_names(held_out):
    if name in schema.CLUSTERS:
      excluded += [name, *_RELATED.get(name, ())]
  return tuple(dict.fromkeys(excluded))


def forbids(held_out: str, task: str, cluster: str) -> bool:
  """Whether a task of that cluster must not train; `held_out` is expanded."""
  names = (*excluded_clusters(held_out), *name_lists.split_names(held_out))
  return cluster in names or task in names


def held_out_tasks(
  tasks: registry.TaskRegistry, held_out: str
) -> tuple[schema.Task, ...]:
  """The tasks to evaluate: those held out, without those that only leave."""
  names = name_lists.split_names(expand(tasks, held_out))
  return tuple(t for t in tasks if t.name in names or t.cluster in names)


def training_tasks(
  tasks: registry.TaskRegistry, held_out: str = ""
) -> tuple[schema.Task, ...]:
  """Every task that may train while `held_out` is evaluated zero-shot."""
  held_out = expand(tasks, held_out)
  return tuple(
    task
    for task in tasks
    if task.trains and not forbids(held_out, task.name, task.cluster)
  )


def chosen_training_tasks(
  tasks: registry.TaskRegistry,
  held_out: str = "",
  names: tuple[str, ...] = (),
  clusters: tuple[str, ...] = (),
) -> tuple[schema.Task, ...]:
  """The tasks that a run names, or all (also "all") that `held_out` leaves.

  Raises:
    ValueError: a name that does not exist, one that `held_out` forbids, or one
      of a task that has no training rows.
  """
  held_out = expand(tasks, held_out)
  allowed = training_tasks(tasks, held_out)
  if not clusters and tuple(names) in ((), (ALL,)):
    return allowed
  chosen = tasks.select(names, clusters)
  forbidden = [t.name for t in chosen if forbids(held_out, t.name, t.cluster)]
  if forbidden:
    gone = (*excluded_clusters(held_out), *name_lists.split_names(held_out))
    excluded = ", ".join(dict.fromkeys(gone))
    raise ValueError(
      f"With {held_out!r} held out, no task of {excluded} may train, but"
      f" {', '.join(forbidden)} would. Take them out of data.tasks and"
      " data.clusters, or hold out another cluster."
    )
  evaluated = [task.name for task in chosen if not task.trains]
  if set(evaluated) & set(names):
    raise ValueError(
      f"{', '.join(evaluated)}: only evaluated, there are no training rows."
      " Take it out of data.tasks."
    )
  return tuple(task for task in chosen if task.trains)
