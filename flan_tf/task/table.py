"""Task tables: the tasks shipped with flan_tf, and tasks in a user's file.

The shipped tasks are the package `tasks` that lies beside the package
`flan_tf`, in a checkout as in an installation. It is found by its location and
never by `import tasks`, because a `tasks.py` in the user's working directory
would be found first. Loading a table takes milliseconds and imports no
TensorFlow.
"""

import functools
import hashlib
import importlib.util
import os
import pathlib
import sys
import types

from flan_tf.task import schema

_FOLDER = pathlib.Path(__file__).absolute().parents[2] / "tasks"
_INIT = _FOLDER / "__init__.py"
# The name under which the shipped package is loaded. Modules of the package
# import each other relatively, so any name works.
_MODULE = "flan_tf_shipped_tasks"


@functools.cache
def shipped_tasks() -> tuple[schema.Task, ...]:
  """Returns all tasks shipped with flan_tf, in the order of their clusters.

  Raises:
    FileNotFoundError: the package `tasks` does not lie beside `flan_tf`.
  """
  # Tests import the package as `tasks`: they get the same values here.
  loaded = sys.modules.get("tasks")
  if loaded is not None and _is_file(getattr(loaded, "__file__", None), _INIT):
    return loaded.ALL
  if not _INIT.is_file():
    raise FileNotFoundError(
      f"The shipped tasks are missing: expected {_INIT}, beside the package"
      " flan_tf. Install flan-tf again, or run from a complete checkout."
    )
  return _load_module(_MODULE, _INIT, package=True).ALL


def shipped_rows_folder() -> str:
  """Returns the folder with the rows shipped for each data set, NAME.jsonl."""
  return str(_FOLDER / "rows")


def tasks_from_file(path: str | os.PathLike) -> tuple[schema.Task, ...]:
  """Runs a Python file and returns the tasks that it defines as `TASKS`.

  Args:
    path: a local Python file with a list or tuple `TASKS` of
      `flan_tf.task.schema.Task`. The file is executed at every call.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file fails when it is executed, or its `TASKS` is missing,
      is not a list or tuple of tasks, is empty, or holds one name twice.
  """
  file = pathlib.Path(path).expanduser().absolute()
  if not file.is_file():
    raise FileNotFoundError(
      f"There is no task file {file}. Expected a Python file that defines"
      " TASKS = (Task(...), ...)."
    )
  digest = hashlib.sha256(str(file).encode()).hexdigest()[:16]
  try:
    module = _load_module(f"flan_tf_task_file_{digest}", file)
  except Exception as error:
    raise ValueError(
      f"The task file {file} failed: {type(error).__name__}: {error}"
    ) from error
  if not hasattr(module, "TASKS"):
    raise ValueError(
      f"The task file {file} does not define TASKS. Add"
      " `TASKS = (Task(...), ...)` with the tasks to use."
    )
  return _checked(module.TASKS, file)


def _checked(tasks: object, file: pathlib.Path) -> tuple[schema.Task, ...]:
  if not isinstance(tasks, (list, tuple)):
    raise ValueError(
      f"TASKS in {file}: expected a tuple or list of Task, got"
      f" {type(tasks).__name__}."
      + (" Write (TASK,) for one task." if _is_task(tasks) else "")
    )
  if not tasks:
    raise ValueError(f"TASKS in {file} is empty: expected one task or more.")
  names: set[str] = set()
  for index, task in enumerate(tasks):
    if not _is_task(task):
      raise ValueError(
        f"TASKS[{index}] in {file}: expected a flan_tf.task.schema.Task, got"
        f" {type(task).__name__}."
      )
    if task.name in names:
      raise ValueError(
        f"TASKS in {file}: two tasks are named {task.name!r}. Give each task a"
        " name of its own."
      )
    names.add(task.name)
  return tuple(tasks)


def _is_task(value: object) -> bool:
  return isinstance(value, schema.Task)


def _is_file(path: str | None, expected: pathlib.Path) -> bool:
  return (
    path is not None
    and os.path.exists(path)
    and expected.exists()
    and os.path.samefile(path, expected)
  )


def _load_module(
  name: str, file: pathlib.Path, package: bool = False
) -> types.ModuleType:
  """Executes a file as the module `name`, whatever sys.path holds."""
  # Given a search location, the module is a package.
  folders = [str(file.parent)] if package else None
  spec = importlib.util.spec_from_file_location(
    name, file, submodule_search_locations=folders
  )
  if spec is None or spec.loader is None:
    raise ValueError(f"{file} is not a Python file: its name must end in .py.")
  module = importlib.util.module_from_spec(spec)
  # Dataclasses and relative imports look their module up there.
  sys.modules[name] = module
  try:
    spec.loader.exec_module(module)
  except BaseException:
    del sys.modules[name]
    raise
  return module
