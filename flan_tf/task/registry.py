"""A collection of tasks with names, which is passed to where it is needed."""

from collections.abc import Iterable, Iterator

from flan_tf import name_lists
from flan_tf.task import schema


class TaskRegistry:
  """Tasks by name and by cluster; iteration keeps their given order."""

  def __init__(self, tasks: Iterable[schema.Task]):
    """Collects tasks.

    Raises:
      ValueError: two tasks have one name.
    """
    self._tasks: dict[str, schema.Task] = {}
    for task in tasks:
      if task.name in self._tasks:
        raise ValueError(
          f"Two tasks are named {task.name!r}. Give each a name of its own."
        )
      self._tasks[task.name] = task

  def __iter__(self) -> Iterator[schema.Task]:
    return iter(self._tasks.values())

  def __len__(self) -> int:
    return len(self._tasks)

  def get(self, name: str) -> schema.Task:
    """Returns a task by name.

    Raises:
      ValueError: there is no such task; the message suggests a name.
    """
    if name not in self._tasks:
      raise ValueError(name_lists.unknown_name("task", name, self._tasks))
    return self._tasks[name]

  def cluster(self, name: str) -> tuple[schema.Task, ...]:
    """Returns the tasks of a cluster.

    Raises:
      ValueError: there is no such cluster; the message suggests a name.
    """
    if name not in schema.CLUSTERS:
      raise ValueError(
        name_lists.unknown_name("cluster", name, schema.CLUSTERS)
      )
    return tuple(task for task in self if task.cluster == name)

  def select(
    self, tasks: Iterable[str] = (), clusters: Iterable[str] = ()
  ) -> tuple[schema.Task, ...]:
    """Returns the tasks that are named, each once, in registry order.

    Args:
      tasks: names of tasks.
      clusters: names of clusters. Without any name in either, all tasks are
        selected.

    Raises:
      ValueError: an unknown name; the message suggests a known one.
    """
    tasks, clusters = tuple(tasks), tuple(clusters)
    if not tasks and not clusters:
      return tuple(self)
    chosen = {name: self.get(name) for name in tasks}
    for cluster in clusters:
      chosen.update({task.name: task for task in self.cluster(cluster)})
    return tuple(task for task in self if task.name in chosen)
