"""The shipped task table, and tasks in a user's own file."""

import os
import pathlib
import subprocess
import sys

from absl.testing import absltest, parameterized

import tasks
from flan_tf.task import table

ROOT = pathlib.Path(__file__).absolute().parents[2]

TASK = """Task(
  name={name!r},
  dataset="toy",
  cluster="nli",
  kind=TaskKind.GENERATION,
  source=Source("toy", "1.0.0"),
  fields=dict,
  slots=("text",),
  templates=(Template("{{text}} What is it?"),),
)"""
IMPORTS = "from flan_tf.task.schema import Source, Task, TaskKind, Template\n"


class ShippedTasksTest(absltest.TestCase):
  def test_are_those_of_the_package_beside_flan_tf(self):
    self.assertEqual(table.shipped_tasks(), tasks.ALL)

  def test_rows(self):
    folder = pathlib.Path(table.shipped_rows_folder())
    self.assertTrue((folder / "super_glue_rte.jsonl").is_file())

  def test_a_users_own_module_of_that_name_shadows_nothing(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    (folder / "tasks.py").write_text("raise SystemExit('the wrong tasks')\n")
    (folder / "nli.py").write_text("raise SystemExit('the wrong nli')\n")
    program = (
      "import sys\n"
      "from flan_tf.task import table\n"
      "print(table.shipped_tasks()[0].name, 'tasks' in sys.modules,"
      " table.shipped_tasks() is table.shipped_tasks(),"
      " [m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'numpy')])"
    )
    done = subprocess.run(
      [sys.executable, "-c", program],
      cwd=folder,
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      capture_output=True,
      text=True,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertEqual(done.stdout.strip(), f"{tasks.ALL[0].name} False True []")


class TasksFromFileTest(parameterized.TestCase):
  def write(self, text: str, name: str = "my_tasks.py") -> str:
    path = pathlib.Path(self.create_tempdir().full_path, name)
    path.write_text(text)
    return str(path)

  def test_reads_tasks_in_order(self):
    first, second = TASK.format(name="b"), TASK.format(name="a")
    path = self.write(f"{IMPORTS}TASKS = [{first}, {second}]\n")
    found = table.tasks_from_file(path)
    self.assertEqual([task.name for task in found], ["b", "a"])

  def test_a_file_named_tasks_is_as_good_as_any(self):
    path = self.write(
      f"{IMPORTS}TASKS = ({TASK.format(name='own')},)\n", "tasks.py"
    )
    (found,) = table.tasks_from_file(path)
    self.assertEqual(found.name, "own")
    self.assertIn("rte", [task.name for task in table.shipped_tasks()])

  def test_a_changed_file_is_read_again(self):
    path = self.write(f"{IMPORTS}TASKS = ({TASK.format(name='old')},)\n")
    table.tasks_from_file(path)
    text = f"{IMPORTS}TASKS = ({TASK.format(name='newer')},)\n"
    pathlib.Path(path).write_text(text)
    self.assertEqual(table.tasks_from_file(path)[0].name, "newer")

  def test_dataclasses_and_string_annotations_work(self):
    path = self.write(
      "from __future__ import annotations\n"
      "import dataclasses\n"
      f"{IMPORTS}"
      "@dataclasses.dataclass\n"
      "class Names:\n"
      "  name: str = 'own'\n"
      f"TASKS = ({TASK.format(name='own')},)\n"
    )
    self.assertLen(table.tasks_from_file(path), 1)

  def test_no_such_file(self):
    with self.assertRaisesRegex(
      FileNotFoundError, r"no task file .*/missing\.py\. Expected a Python file"
    ):
      table.tasks_from_file("missing.py")

  def test_a_file_of_another_kind(self):
    with self.assertRaisesRegex(
      ValueError, r"my_tasks\.txt is not a Python file: .* end in \.py"
    ):
      table.tasks_from_file(self.write("", "my_tasks.txt"))

  @parameterized.parameters(
    ("x = 1", r"my_tasks\.py does not define TASKS\. Add `TASKS = \(Task"),
    ("TASKS = ()", r"TASKS in .*my_tasks\.py is empty"),
    ("TASKS = 'rte'", "expected a tuple or list of Task, got str"),
    ("TASKS = (1,)", r"TASKS\[0\] in .*: expected a .*Task, got int"),
    ("TASKS = (", r"my_tasks\.py failed: SyntaxError: "),
    ("import no_such_module_here", "failed: ModuleNotFoundError: No module"),
  )
  def test_errors(self, text, message):
    with self.assertRaisesRegex(ValueError, message):
      table.tasks_from_file(self.write(text))

  def test_one_task_without_a_tuple(self):
    text = f"{IMPORTS}TASKS = {TASK.format(name='own')}\n"
    with self.assertRaisesRegex(
      ValueError, r"list of Task, got Task\. Write \(TASK,\) for one task"
    ):
      table.tasks_from_file(self.write(text))

  def test_two_tasks_of_one_name(self):
    task = TASK.format(name="own")
    with self.assertRaisesRegex(ValueError, "two tasks are named 'own'"):
      table.tasks_from_file(self.write(f"{IMPORTS}TASKS = ({task}, {task})\n"))

  def test_a_task_that_does_not_fit_names_its_file(self):
    task = TASK.format(name="own").replace("nli", "nly")
    with self.assertRaisesRegex(
      ValueError,
      r"my_tasks\.py failed: ValueError: Task 'own': unknown cluster",
    ):
      table.tasks_from_file(self.write(f"{IMPORTS}TASKS = ({task},)\n"))


if __name__ == "__main__":
  absltest.main()
