"""What the task table holds, as plain values: for `launch.inspect_tasks`.

Nothing here reads data or imports TensorFlow.
"""

from collections.abc import Iterable
from typing import Any

from flan_tf.task import mixing, schema


def listing(tasks: Iterable[schema.Task]) -> dict[str, Any]:
  """Data sets, clusters and tasks.

  Returns:
    `datasets` (how many the paper counts), `clusters` {name: data sets} and
    `tasks`, each with `name`, `dataset`, `cluster`, `kind`, `templates`,
    `inverse`, `options`, `metrics`, `source`, `extra`, `published_rows`,
    `evaluated_only` and `baseline`.
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
  """Rates and probabilities of training tasks.

  Args:
    tasks: those that train.
    sizes: training rows of each; a task without any is not in the mixture.
    mixing_cap: see flan_tf.task.mixing.

  Returns:
    `tasks` [{`name`, `dataset`, `cluster`, `rows`, `rate`, `probability`}] and
    `total_rate`.
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


def listing_text(found: dict[str, Any]) -> str:
  """A listing for a terminal."""
  width = max(len(task["name"]) for task in found["tasks"])
  lines = [
    f"{found['datasets']} data sets in"
    f" {sum(map(bool, found['clusters'].values()))} clusters,"
    f" {len(found['tasks'])} tasks,"
    f" {sum(task['templates'] for task in found['tasks'])} templates"
  ]
  for cluster, datasets in found["clusters"].items():
    lines += ["", f"{cluster.replace('_', ' ')} ({datasets} data sets)"]
    for task in found["tasks"]:
      if task["cluster"] != cluster:
        continue
      marks = [
        *(["not one of the 62"] if task["extra"] else []),
        *(["evaluated only"] if task["evaluated_only"] else []),
      ]
      lines.append(
        f"  {task['name']:{width}}  {task['templates']} templates,"
        f" {task['inverse']} inverse, {task['kind']:14}"
        f"  {task['metrics'][0]:17}  {task['source']}"
        + (f"  ({', '.join(marks)})" if marks else "")
      )
  return "\n".join(lines)


def mixture_text(found: dict[str, Any]) -> str:
  """A mixture for a terminal."""
  width = max((len(task["name"]) for task in found["tasks"]), default=0)
  lines = [
    f"{task['name']:{width}}  {task['rows']:>10,} rows  rate"
    f" {task['rate']:>5,}  p = {task['probability']:.4f}"
    for task in found["tasks"]
  ]
  count, total = len(found["tasks"]), found["total_rate"]
  return "\n".join([*lines, f"{count} tasks, total rate {total:,}"])
