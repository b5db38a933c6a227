"""The subsets of tasks that the paper's ablations train on (sections 4, B).

Each is a value: what is held out, and which tasks train, by name. A run takes
both as they stand (`held_out`, `data.tasks`), so a study is a list of them.
"""

import dataclasses
import random
from collections.abc import Callable

from flan_tf.task import holdout, registry, schema

# Section 4.1: clusters join the training in this order; three are evaluated.
CLUSTER_ORDER = (
  "summarization",
  "translation",
  "reading_comprehension",
  "sentiment",
  "struct_to_text",
  "coreference",
  "conversational_qa",
)
CLUSTER_HELD_OUT = "nli,closed_book_qa,commonsense"

SUPERGLUE = ("bool_q", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")

# The paper's tables count these small clusters together as "misc".
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
  """What a run of an ablation trains on.

  Attributes:
    held_out: cluster or task names, comma-separated, as a run takes them.
    tasks: names of the training tasks.
  """

  held_out: str
  tasks: tuple[str, ...]


def small_cluster(task: schema.Task) -> str:
  """The task's cluster, where "misc" is taken apart again."""
  return _SMALL_CLUSTERS.get(task.name, task.cluster)


def cluster_count(tasks: registry.TaskRegistry, count: int) -> Subset:
  """Trains on the first `count` clusters, 1 to 7 (Figure 6).

  Raises:
    ValueError: a count that is not 1 to 7.
  """
  _between("clusters", count, 1, len(CLUSTER_ORDER))
  chosen = CLUSTER_ORDER[:count]
  return _subset(
    tasks, CLUSTER_HELD_OUT, lambda task: small_cluster(task) in chosen
  )


def datasets_per_cluster(
  tasks: registry.TaskRegistry, count: int, held_out: str = CLUSTER_HELD_OUT
) -> Subset:
  """Trains on the first `count` data sets of each cluster, 1 to 4.

  Raises:
    ValueError: a count that is not 1 to 4.
  """
  _between("data sets per cluster", count, 1, 4)
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
  """Holds the SuperGLUE tasks out, but not the rest of their clusters.

  Args:
    tasks: the task table.
    count: so many of the others train, in an order drawn with `seed`, so that
      a larger count contains a smaller one; 0 for all. (The published runs
      took 5 to 55 in steps of 5, in an order of their own.)
    seed: of that order.

  Raises:
    ValueError: more tasks than there are.
  """
  held_out = holdout.expand(tasks, ",".join(SUPERGLUE))
  names = [task.name for task in holdout.training_tasks(tasks, held_out)]
  _between("tasks", count, 0, len(names))
  random.Random(seed).shuffle(names)
  chosen = names[: count or len(names)]
  return _subset(tasks, held_out, lambda task: task.name in chosen)


def intra_cluster(tasks: registry.TaskRegistry, split: int) -> Subset:
  """Holds one data set of each cluster out; the rest of the cluster trains.

  Clusters of one data set train whole. Over splits 0 to 9 the held-out data
  set goes round a cluster in an order of its own.

  Raises:
    ValueError: a split that is not 0 to 9.
  """
  _between("intra-cluster split", split, 0, 9)
  groups: dict[str, dict[str, list[str]]] = {}
  for task in tasks:
    of_cluster = groups.setdefault(small_cluster(task), {})
    of_cluster.setdefault(_corpus(task), []).append(task.name)
  held_out: list[str] = []
  for cluster, corpora in groups.items():
    order = sorted(corpora)
    random.Random(cluster).shuffle(order)
    if len(order) > 1:
      held_out += corpora[order[split % len(order)]]
  return _subset(tasks, holdout.expand(tasks, ",".join(held_out)))


def _corpus(task: schema.Task) -> str:
  """What must not be torn apart: both halves of opinion abstracts are one."""
  name = task.source.name.partition("/")[0]
  return name if name == "opinion_abstracts" else task.dataset


def _subset(
  tasks: registry.TaskRegistry,
  held_out: str,
  wanted: Callable[[schema.Task], bool] = lambda task: True,
) -> Subset:
  allowed = holdout.training_tasks(tasks, held_out)
  return Subset(held_out, tuple(t.name for t in allowed if wanted(t)))


def _between(what: str, value: int, low: int, high: int) -> None:
  if not low <= value <= high:
    raise ValueError(f"{what}: expected {low} to {high}, got {value}.")
