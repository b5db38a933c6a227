"""The tasks that can be trained and evaluated: the shipped ones and your own.

  flan.tasks["rte"]            a task, which can write prompts
  list(flan.tasks)             all names
  flan.tasks.register(task)    adds a task of your own
  flan.tasks.register_file("my_tasks.py")

A task is registered for this process only. What a run was trained on is kept in
its checkpoints by name and cluster, so that a model that has seen your task is
never evaluated on it as held out. To resume a run on your own tasks, register
them again first.
"""

import os
from collections.abc import Iterator, Mapping

from flan_tf import name_lists
from flan_tf.api.task_prompts import TaskEntry
from flan_tf.task import schema, table
from flan_tf.task.registry import TaskRegistry


class UnknownTaskError(KeyError, ValueError):
  """There is no task of that name; the message suggests one."""

  def __str__(self) -> str:
    return str(self.args[0])  # KeyError would show it in quotes.


class TaskTable(Mapping[str, TaskEntry]):
  """All tasks by name: the shipped ones, then those that were registered."""

  def __init__(self):
    self._own: dict[str, schema.Task] = {}
    # Task file -> names of its tasks.
    self._names_by_file: dict[str, tuple[str, ...]] = {}

  def __getitem__(self, name: str) -> TaskEntry:
    for task in self._all():
      if task.name == name:
        return TaskEntry(task)
    raise UnknownTaskError(name_lists.unknown_name("task", str(name), self))

  def __iter__(self) -> Iterator[str]:
    return (task.name for task in self._all())

  def __len__(self) -> int:
    return len(self._all())

  def __repr__(self) -> str:
    own = f", {len(self._own)} of them your own" if self._own else ""
    return f"<{len(self)} tasks{own}: {', '.join(list(self)[:3])}, ...>"

  def registry(self) -> TaskRegistry:
    """Returns all tasks, to be selected by name and by cluster."""
    return TaskRegistry(self._all())

  def register(self, task: schema.Task, *, replace: bool = False) -> TaskEntry:
    """Adds a task of your own.

    Args:
      task: the task. It belongs to one of the shipped clusters.
      replace: whether it may take the place of a task that was registered
        before. Shipped tasks are never replaced.

    Raises:
      TypeError: `task` is not a Task.
      ValueError: the name is taken, or the task has no cluster of its own.
    """
    self._check(task, replace)
    self._own[task.name] = task
    return TaskEntry(task)

  def register_file(self, path: str | os.PathLike) -> tuple[TaskEntry, ...]:
    """Adds the tasks that a Python file defines as `TASKS`.

    A file may be registered again after it was changed: its tasks replace those
    that it defined before.

    Args:
      path: a Python file with TASKS = (Task(...), ...).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file cannot be used, or the name of a task is taken.
    """
    file = os.path.abspath(os.path.expanduser(os.fspath(path)))
    tasks_of_file = table.tasks_from_file(file)
    names_before = self._names_by_file.get(file, ())
    for task in tasks_of_file:
      self._check(task, replace=task.name in names_before)
    for name in names_before:
      self._own.pop(name, None)
    self._own |= {task.name: task for task in tasks_of_file}
    self._names_by_file[file] = tuple(task.name for task in tasks_of_file)
    return tuple(TaskEntry(task) for task in tasks_of_file)

  def unregister(self, name: str) -> None:
    """Removes a task that was registered.

    Raises:
      UnknownTaskError: no task of that name was registered.
    """
    if name not in self._own:
      raise UnknownTaskError(
        name_lists.unknown_name("registered task", name, self._own)
      )
    del self._own[name]

  def _all(self) -> tuple[schema.Task, ...]:
    return (*table.shipped_tasks(), *self._own.values())

  def _check(self, task: schema.Task, replace: bool) -> None:
    if not isinstance(task, schema.Task):
      raise TypeError(
        f"Expected a flan_tf.Task, got {type(task).__name__}. Build one with"
        " flan_tf.Task(name=..., cluster=..., ...)."
      )
    if task.name in {shipped.name for shipped in table.shipped_tasks()}:
      raise ValueError(
        f"There is a shipped task {task.name!r} already. Give your task another"
        " name."
      )
    if task.name in self._own and not replace:
      raise ValueError(
        f"A task {task.name!r} was registered before. Give your task another"
        " name, or call register(task, replace=True)."
      )
    if task.cluster not in schema.CLUSTERS:
      raise ValueError(
        f"Task {task.name!r}: the cluster {task.cluster!r} is kept for files of"
        " prompts and answers. Choose one of"
        f" {', '.join(schema.CLUSTERS)}."
      )


tasks = TaskTable()
