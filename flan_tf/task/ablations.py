"""Training tasks of the paper's ablations (sections 4 and B), as values.

Each function returns the names of the tasks that train and of those that are
held out. A run takes both as they are (`data.tasks`, `held_out`), so a study is
a list of them.
"""

import dataclasses
import random
from collections.abc import Callable

from flan_tf.task import holdout, registry, schema

# Section 4.1 adds clusters to the training in this order.
CLUSTER_ORDER = (
  "summarization",
  "translation",
  "reading_comprehension",
  "sentiment",
  "struct_to_text",
  "coreference",
  "conversational_qa",
)
# The clusters that section 4.1 evaluates.
CLUSTER_HELD_OUT = ("nli", "closed_book_qa", "commonsense")

SUPERGLUE = ("bool_q", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")

# Task -> its small cluster, where the paper's tables count it as "misc".
_SMALL_CLUSTERS = {
  "coqa": "conversational_qa",
  "quac": "conversational_qa",
  "fix_punct": "text_formatting",
  "true_case": "text_formatting",
  "word_segment": "text_formatting",
  "wic": "word_disambiguation",
  "math_dataset": "math",
  "cola": "linguistic_acceptability",
  "trec": "question_classification",
}


@dataclasses.dataclass(frozen=True)
class Subset:
  """Training tasks of one run of an ablation.

  Attributes:
    held_out: names of held-out clusters or tasks, as `RunConfig.held_out`.
    tasks: names of the training tasks, as `DataConfig.tasks`.
  """

  held_out: tuple[str, ...]
  tasks: tuple[str, ...]


def small_cluster(task: schema.Task) -> str:
  """Returns the task's cluster, or the part of "misc" that it belongs to."""
  return _SMALL_CLUSTERS.get(task.name, task.cluster)


def cluster_count(tasks: registry.TaskRegistry, count: int) -> Subset:
  """Trains on the first `count` clusters of CLUSTER_ORDER (Figure 6).

  Raises:
    ValueError: `count` is not 1 to 7.
  """
  _check_range("clusters", count, 1, len(CLUSTER_ORDER))
  chosen = CLUSTER_ORDER[:count]
  return _subset(
    tasks, CLUSTER_HELD_OUT, lambda task: small_cluster(task) in chosen
  )


def datasets_per_cluster(
  tasks: registry.TaskRegistry,
  count: int,
  held_out: tuple[str, ...] = CLUSTER_HELD_OUT,
) -> Subset:
  """Trains on the first `count` data sets of each cluster.

  Raises:
    ValueError: `count` is not 1 to 4.
  """
  _check_range("data sets per cluster", count, 1, 4)
  first: dict[str, list[str]] = {}
  for task in tasks:
    datasets = first.setdefault(small_cluster(task), [])
    if task.trains and task.dataset not in datasets and len(datasets) < count:
      datasets.append(task.dataset)
  return _subset(
    tasks, held_out, lambda task: task.dataset in first[small_cluster(task)]
  )


def superglue(
  tasks: registry.TaskRegistry, count: int = 0, seed: int = 42
) -> Subset:
  """Holds out the SuperGLUE tasks, but not the rest of their clusters.

  Args:
    tasks: the task table.
    count: number of training tasks; 0 for all. A larger count contains the
      tasks of a smaller one. (The published runs trained on 5 to 55 tasks in
      steps of 5, in an order that was not published.)
    seed: seed of the random order in which tasks are chosen.

  Raises:
    ValueError: `count` is larger than the number of tasks.
  """
  held_out = holdout.expand(tasks, SUPERGLUE)
  names = [task.name for task in holdout.training_tasks(tasks, held_out)]
  _check_range("tasks", count, 0, len(names))
  random.Random(seed).shuffle(names)
  chosen = names[: count or len(names)]
  return _subset(tasks, held_out, lambda task: task.name in chosen)


def intra_cluster(tasks: registry.TaskRegistry, split: int) -> Subset:
  """Holds out one data set of each cluster; the rest of the cluster trains.

  A cluster with a single data set trains. The splits 0 to 9 hold out the data
  sets of a cluster in turn, in a random order.

  Raises:
    ValueError: `split` is not 0 to 9.
  """
  _check_range("intra-cluster split", split, 0, 9)
  clusters: dict[str, dict[str, list[str]]] = {}
  for task in tasks:
    corpora = clusters.setdefault(small_cluster(task), {})
    corpora.setdefault(_corpus(task), []).append(task.name)
  held_out: list[str] = []
  for cluster, corpora in clusters.items():
    order = sorted(corpora)
    random.Random(cluster).shuffle(order)
    if len(order) > 1:
      held_out += corpora[order[split % len(order)]]
  return _subset(tasks, holdout.expand(tasks, tuple(held_out)))


def _corpus(task: schema.Task) -> str:
  """Returns the name under which tasks of one source are held out together."""
  name = task.source.name.partition("/")[0]
  # Its two configs are two data sets of the paper, from one source.
  return name if name == "opinion_abstracts" else task.dataset


def _subset(
  tasks: registry.TaskRegistry,
  held_out: tuple[str, ...],
  is_chosen: Callable[[schema.Task], bool] = lambda task: True,
) -> Subset:
  allowed = holdout.training_tasks(tasks, held_out)
  return Subset(held_out, tuple(t.name for t in allowed if is_chosen(t)))


def _check_range(name: str, value: int, low: int, high: int) -> None:
  if not low <= value <= high:
    raise ValueError(f"{name}: expected {low} to {high}, got {value}.")
