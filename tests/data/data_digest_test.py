"""Digests of training data: what changes them, and what does not."""

import dataclasses

import numpy as np
from absl.testing import absltest

from flan_tf import config
from flan_tf.data import data_digest, example_table, pipeline
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.task import registry, schema, table
from tests.helpers import tiny

TINY = tiny.Tiny()
setUpModule, tearDownModule = TINY.open, TINY.close


def example_rows(*examples, prompt_length=2):
  writer = example_table.TableWriter()
  for number, ids in enumerate(examples):
    writer.add(np.array(ids, np.int32), prompt_length, number)
  return writer.table()


def digest(table, rate=3):
  (value,) = data_digest.data_digests({"a": table}, {"a": rate}).values()
  return value


class TableTest(absltest.TestCase):
  TABLE = example_rows([5, 6, 7], [8, 9, 10, 11])

  def test_equal_tables_have_the_digest_that_old_checkpoints_have(self):
    self.assertEqual(digest(self.TABLE), "a3c8ab1873d00a8d")
    self.assertEqual(
      digest(example_rows([5, 6, 7], [8, 9, 10, 11])), digest(self.TABLE)
    )

  def test_each_part_counts(self):
    others = [
      digest(example_rows([5, 6, 7], [8, 9, 10, 12])),
      digest(example_rows([8, 9, 10, 11], [5, 6, 7])),
      digest(example_rows([5, 6, 7, 8], [9, 10, 11])),
      digest(example_rows([5, 6, 7], [8, 9, 10, 11], prompt_length=1)),
      digest(example_rows([5, 6, 7])),
      digest(self.TABLE, rate=2),
    ]
    self.assertLen({digest(self.TABLE), *others}, 7)

  def test_bytes_do_not_depend_on_the_layout_in_memory(self):
    apart = np.stack([self.TABLE.ids, self.TABLE.ids], axis=1)[:, 0]
    swapped = self.TABLE.offsets.astype(">i8")
    other = dataclasses.replace(self.TABLE, ids=apart, offsets=swapped)
    self.assertEqual(digest(other), digest(self.TABLE))


class PipelineTest(absltest.TestCase):
  def digests(self, seed=0, separator="flan", tasks=None, threads=1, **data):
    from flan_tf.vocab.load import load_vocabulary

    run = TINY.run(**{f"data__{name}": value for name, value in data.items()})
    run = config.replace(run, "data", separator=separator)
    tables, report = pipeline.load_training_tables(
      tasks or self.tasks,
      TINY.data_dir,
      run.data,
      PromptFormat.from_run(run, load_vocabulary(TINY.vocabulary)),
      seed,
      threads=threads,
    )
    return data_digest.data_digests(tables, report.rates)

  def setUp(self):
    super().setUp()
    self.tasks = registry.TaskRegistry(table.shipped_tasks()).select(tiny.TASKS)

  def test_the_same_data_have_the_same_digests(self):
    expected = self.digests()
    self.assertEqual(list(expected), list(tiny.TASKS))
    self.assertEqual(self.digests(threads=2), expected)

  def test_whatever_prompts_are_made_of_counts(self):
    before = self.digests()
    for changes in (
      {"seed": 1},
      {"separator": "newline"},
      {"wording": "no_template"},
      {"templates": 3},
      {"target_length": 3},
      {"mixing_cap": 5},
      {"shuffle_labels": True},
    ):
      with self.subTest(str(changes)):
        after = self.digests(**changes)
        for name in tiny.TASKS:
          self.assertNotEqual(after[name], before[name])

  def test_a_changed_template_changes_its_task_only(self):
    rte, sst2 = self.tasks
    first, *others = sst2.templates
    first = schema.Template(f"{first.inputs}!", first.target)
    changed = dataclasses.replace(sst2, templates=(first, *others))
    before, after = self.digests(), self.digests(tasks=[rte, changed])
    self.assertEqual(after["rte"], before["rte"])
    self.assertNotEqual(after["sst2"], before["sst2"])


if __name__ == "__main__":
  absltest.main()
