"""A named collection of tasks. A value, not a global: it is passed around."""

from collections.abc import Iterable, Iterator

from flan_tf import name_lists
from flan_tf.task import schema


class TaskRegistry:
  """Tasks by name and by cluster, in the order in which they were given."""

  def __init__(self, tasks: Iterable[schema.Task]):
    self._tasks: dict[str, schema.Task] = {}
    for task in tasks:
      if task.name in self._tasks:
        raise ValueError(f"Two tasks are named {task.name!r}.")
      self._tasks[task.name] = task

  def __iter__(self) -> Iterator[schema.Task]:
    return iter(self._tasks.values())

  def __len__(self) -> int:
    return len(self._tasks)

  def get(self, name: str) -> schema.Task:
    """The task of that name; ValueError with a suggestion if there is none."""
    if name not in self._tasks:
      raise ValueError(name_lists.unknown_name("task", name, self._tasks))
    return self._tasks[name]

  def cluster(self, name: str) -> tuple[schema.Task, ...]:
    """The tasks of a cluster; ValueError with a suggestion if unknown."""
    if name not in schema.CLUSTERS:
      raise ValueError(
        name_lists.unknown_name("cluster", name, schema.CLUSTERS)
      )
    return tuple(task for task in self if task.cluster == name)

  def select(
    self, tasks: Iterable[str] = (), clusters: Iterable[str] = ()
  ) -> tuple[schema.Task, ...]:
    """Tasks named either way, each once; all of them if nothing is named."""
    tasks, clusters = tuple(tasks), tuple(clusters)
    if not tasks and not clusters:
      return tuple(self)
    chosen = {name: self.get(name) for name in tasks}
    for cluster in clusters:
      chosen.update({task.name: task for task in self.cluster(cluster)})
    return tuple(task for task in self if task.name in chosen)
