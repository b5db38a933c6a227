"""Listings of the task table and of its mixture, as plain values and as text.

`launch.inspect_tasks` shows them. No function here reads data or imports
TensorFlow.
"""

from collections.abc import Iterable
from typing import Any

from flan_tf.task import mixing, schema


def listing(tasks: Iterable[schema.Task]) -> dict[str, Any]:
  """Returns a description of tasks as JSON values.

  Returns:
    `datasets`, the number of data sets that the paper counts; `clusters`, the
    number of data sets of each cluster; and `tasks`, a list with the attributes
    of each task.
  """
  tasks = tuple(tasks)
  counted = {t.dataset: t.cluster for t in tasks if not t.extra}
  per_cluster: dict[str, int] = {name: 0 for name in schema.CLUSTERS}
  for cluster in counted.values():
    per_cluster[cluster] += 1
  return {
    "datasets": len(counted),
    "clusters": per_cluster,
    "tasks": [
      {
        "name": task.name,
        "dataset": task.dataset,
        "cluster": task.cluster,
        "kind": task.kind.name.lower(),
        "templates": len(task.templates),
        "inverse": sum(template.inverse for template in task.templates),
        "options": list(task.options),
        "metrics": list(task.metrics),
        "source": str(task.source),
        "extra": task.extra,
        "published_rows": task.published_rows,
        "evaluated_only": not task.trains,
        "baseline": task.baseline is not None,
      }
      for task in tasks
    ],
  }


def mixture(
  tasks: Iterable[schema.Task],
  sizes: dict[str, int],
  mixing_cap: int = mixing.MIXING_CAP,
) -> dict[str, Any]:
  """Returns the rates and probabilities of training tasks as JSON values.

  Args:
    tasks: the training tasks.
    sizes: number of training rows of each task. A task without rows is not in
      the mixture.
    mixing_cap: upper limit of a rate, see flan_tf.task.mixing.

  Returns:
    `tasks`, a list with `name`, `dataset`, `cluster`, `rows`, `rate` and
    `probability` of each task, and `total_rate`.
  """
  present = [task for task in tasks if sizes.get(task.name)]
  rates = mixing.rates({t.name: sizes[t.name] for t in present}, mixing_cap)
  shares = mixing.probabilities(rates)
  return {
    "tasks": [
      {
        "name": task.name,
        "dataset": task.dataset,
        "cluster": task.cluster,
        "rows": sizes[task.name],
        "rate": rates[task.name],
        "probability": shares[task.name],
      }
      for task in present
    ],
    "total_rate": sum(rates.values()),
  }


def listing_text(listed: dict[str, Any]) -> str:
  """Returns the text of a `listing`, for a terminal."""
  width = max(len(task["name"]) for task in listed["tasks"])
  lines = [
    f"{listed['datasets']} data sets in"
    f" {sum(map(bool, listed['clusters'].values()))} clusters,"
    f" {len(listed['tasks'])} tasks,"
    f" {sum(task['templates'] for task in listed['tasks'])} templates"
  ]
  for cluster, datasets in listed["clusters"].items():
    lines += ["", f"{cluster.replace('_', ' ')} ({datasets} data sets)"]
    for task in listed["tasks"]:
      if task["cluster"] != cluster:
        continue
      marks = ["not one of the 62"] if task["extra"] else []
      marks += ["evaluated only"] if task["evaluated_only"] else []
      lines.append(
        f"  {task['name']:{width}}  {task['templates']} templates,"
        f" {task['inverse']} inverse, {task['kind']:14}"
        f"  {task['metrics'][0]:17}  {task['source']}"
        + (f"  ({', '.join(marks)})" if marks else "")
      )
  return "\n".join(lines)


def mixture_text(mixed: dict[str, Any]) -> str:
  """Returns the text of a `mixture`, for a terminal."""
  width = max((len(task["name"]) for task in mixed["tasks"]), default=0)
  lines = [
    f"{task['name']:{width}}  {task['rows']:>10,} rows  rate"
    f" {task['rate']:>5,}  p = {task['probability']:.4f}"
    for task in mixed["tasks"]
  ]
  count, total = len(mixed["tasks"]), mixed["total_rate"]
  return "\n".join([*lines, f"{count} tasks, total rate {total:,}"])
