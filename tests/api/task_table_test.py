"""Shipped tasks and own ones: looked up, registered, and their prompts."""

import pathlib

from absl.testing import absltest, parameterized

import flan_tf as flan
from flan_tf.task import holdout, schema
from tests.helpers import tiny
from tests.helpers.own_tasks import FILE, own_task

TINY = tiny.Tiny()


def setUpModule():
  TINY.open()


tearDownModule = TINY.close


class TableTestCase(parameterized.TestCase):
  """Leaves the table as it was."""

  def setUp(self):
    super().setUp()
    self.addCleanup(self.unregister, frozenset(flan.tasks))

  def unregister(self, names) -> None:
    for name in set(flan.tasks) - names:
      flan.tasks.unregister(name)


class LookupTest(TableTestCase):
  def test_shipped_tasks(self):
    self.assertLen(flan.tasks, 70)
    self.assertIn("rte", flan.tasks)
    rte = flan.tasks["rte"]
    self.assertIsInstance(rte.task, flan.Task)
    self.assertEqual((rte.name, rte.cluster), ("rte", "nli"))
    self.assertEqual(rte.options, ("yes", "no"))
    self.assertLen(rte.templates, 10)
    self.assertIs(rte.kind, flan.TaskKind.CLASSIFICATION)
    self.assertEqual(
      repr(rte),
      "<task rte: classification, cluster nli, 10 templates,"
      " super_glue/rte:1.0.2>",
    )

  def test_an_unknown_name(self):
    with self.assertRaises(KeyError) as raised:
      _ = flan.tasks["rtee"]
    self.assertStartsWith(
      str(raised.exception), "Unknown task 'rtee'. Did you mean 'rte'?"
    )
    self.assertIsNone(flan.tasks.get("rtee"))
    self.assertNotIn("rtee", flan.tasks)


class RegisterTest(TableTestCase):
  def test_an_own_task_is_one_of_its_cluster(self):
    flan.tasks.register(own_task())
    self.assertLen(flan.tasks, 71)
    self.assertIn("1 of them your own", repr(flan.tasks))
    known = flan.tasks.registry()
    self.assertIn("my_rte", [task.name for task in known.cluster("nli")])
    for held_out in (("nli",), ("my_rte",)):
      held = [t.name for t in holdout.held_out_tasks(known, held_out)]
      self.assertIn("my_rte", held)
      trained = [t.name for t in holdout.training_tasks(known, held_out)]
      self.assertNotIn("my_rte", trained)
    flan.tasks.unregister("my_rte")
    self.assertLen(flan.tasks, 70)

  def test_refused(self):
    with self.assertRaisesRegex(TypeError, "Expected a flan_tf.Task, got str"):
      flan.tasks.register("rte")  # pyright: ignore[reportArgumentType]
    with self.assertRaisesRegex(ValueError, "a shipped task 'rte' already"):
      flan.tasks.register(own_task("rte"), replace=True)
    with self.assertRaisesRegex(ValueError, "'files' is kept for files of"):
      flan.tasks.register(own_task(cluster=schema.FILES))
    flan.tasks.register(own_task())
    with self.assertRaisesRegex(ValueError, "'my_rte' was registered before"):
      flan.tasks.register(own_task())
    with self.assertRaisesRegex(KeyError, "registered task 'sst2'"):
      flan.tasks.unregister("sst2")

  def test_it_may_be_replaced(self):
    flan.tasks.register(own_task())
    other = own_task(options=("true", "false"))
    flan.tasks.register(other, replace=True)
    self.assertEqual(flan.tasks["my_rte"].task, other)
    self.assertLen(flan.tasks, 71)

  def test_a_file(self):
    path = pathlib.Path(self.create_tempdir().full_path, "tasks.py")
    path.write_text(FILE.format(name="of_file", cluster="nli"))
    (entry,) = flan.tasks.register_file(path)
    self.assertEqual(entry.name, "of_file")
    self.assertIn("of_file", flan.tasks)
    with self.subTest("a changed file takes the place of the old one"):
      path.write_text(FILE.format(name="of_file_2", cluster="misc"))
      flan.tasks.register_file(path)
      self.assertNotIn("of_file", flan.tasks)
      self.assertEqual(flan.tasks["of_file_2"].cluster, "misc")
    with self.subTest("two files of one name clash"):
      other = path.with_name("other.py")
      other.write_text(FILE.format(name="of_file_2", cluster="nli"))
      with self.assertRaisesRegex(ValueError, "'of_file_2' was registered"):
        flan.tasks.register_file(other)
      self.assertEqual(flan.tasks["of_file_2"].cluster, "misc")
    with self.subTest("a file that is not there"):
      with self.assertRaisesRegex(FileNotFoundError, "no task file .*none.py"):
        flan.tasks.register_file(path.with_name("none.py"))


class PromptsTest(TableTestCase):
  def test_prompts_of_the_shipped_rows(self):
    prompts = flan.tasks["rte"].prompts(limit=3, template=3)
    self.assertLen(prompts, 3)
    self.assertLen({prompt.text for prompt in prompts}, 3)
    for prompt in prompts:
      self.assertIn("follow from the text below?", prompt.text)
      self.assertIn(prompt.target, prompt.options)
      self.assertEqual(prompt.options, ("yes", "no"))
      self.assertEqual((prompt.task, prompt.template), ("rte", 3))
      self.assertEqual(prompt.shots, 0)
      self.assertRegex(prompt.row, r"^\w+\[\d+\]$")

  def test_the_first_row_is_the_one_that_inspect_tasks_shows(self):
    rte = flan.tasks["rte"]
    for shots in (0, 2):
      (prompt,) = rte.prompts(limit=1, template=3, shots=shots, seed=5)
      shown = rte.preview(
        template=3, shots=shots, seed=5, vocabulary=TINY.vocabulary
      )
      self.assertEqual(prompt.text, shown["prompt"])
      self.assertEqual(prompt.target, shown["target"])
      self.assertEqual(prompt.row, shown["row"])
      self.assertEqual(prompt.shots, shown["shots"])
    self.assertEqual(prompt.shots, 2)
    self.assertEqual(prompt.text.count("follow from the text below?"), 3)

  def test_fewer_rows_than_asked_for(self):
    prompts = flan.tasks["rte"].prompts(limit=10_000, part="train")
    self.assertBetween(len(prompts), 2, 100)
    self.assertEmpty(flan.tasks["rte"].prompts(limit=0, shots=1))

  def test_an_inverse_template_has_no_options(self):
    task = flan.tasks["sst2"].task
    inverse = next(i for i, t in enumerate(task.templates) if t.inverse)
    (prompt,) = flan.tasks["sst2"].prompts(limit=1, template=inverse)
    self.assertEmpty(prompt.options)
    self.assertNotIn(prompt.target, task.options)

  def test_an_own_task_from_a_directory(self):
    flan.tasks.register(own_task())
    (prompt,) = flan.tasks["my_rte"].prompts(limit=1, data_dir=TINY.data_dir)
    self.assertRegex(prompt.text, r"(?s) So .*\? ")
    self.assertIn(prompt.target, ("yes", "no"))

  def test_refused(self):
    rte = flan.tasks["rte"]
    with self.assertRaisesRegex(ValueError, "templates 0 to 9, not 10"):
      rte.prompts(template=10)
    with self.assertRaisesRegex(ValueError, "part is 'tests'; expected one of"):
      rte.prompts(part="tests")
    with self.assertRaisesRegex(ValueError, "Unknown markers 'plane'"):
      rte.prompts(markers="plane")
    empty = self.create_tempdir().full_path
    with self.assertRaisesRegex(FileNotFoundError, "'super_glue/rte' is not"):
      rte.prompts(data_dir=empty)


if __name__ == "__main__":
  absltest.main()
