"""The shipped rows: TFDS features, balanced labels, no text in two splits."""

import collections
import functools
import json
import pathlib
import re
import tempfile

import tensorflow_datasets as tfds
from absl.testing import absltest, parameterized

import tasks
from flan_tf.data import prompts
from flan_tf.task import registry, schema

ROWS = pathlib.Path(__file__).resolve().parents[2] / "tasks" / "rows"
REGISTRY = registry.TaskRegistry(tasks.ALL)


def file_name(source: str) -> str:
  """Returns the file of a data set: "super_glue_rte.jsonl"."""
  return source.replace("/", "_") + ".jsonl"


@functools.cache
def read(source: str) -> dict[str, list[dict]]:
  """Returns the rows of a data set by split, as they are stored."""
  by_split = collections.defaultdict(list)
  text = (ROWS / file_name(source)).read_text(encoding="utf-8")
  for line in text.splitlines():
    entry = json.loads(line)
    by_split[entry["split"]].append(entry["row"])
  return dict(by_split)


@functools.cache
def features(source: str) -> tfds.features.FeaturesDict:
  """Returns the TFDS features of a data set; downloads nothing."""
  with tempfile.TemporaryDirectory() as empty:
    return tfds.builder(source, data_dir=empty).info.features


@functools.cache
def slots(task: schema.Task) -> dict[str, list[dict]]:
  """Returns the slots of each row by split."""

  def make(row):
    encoded = features(task.source.name).encode_example(row)
    made = task.fields(prompts.row_as_tensors(encoded))
    return {k: v.numpy() for k, v in made.items()}

  by_split = read(task.source.name)
  return {split: list(map(make, rows)) for split, rows in by_split.items()}


def texts(row) -> set[str]:
  """Returns the texts of a row that have more than three words."""
  values = row.values() if isinstance(row, dict) else row
  found = set()
  for value in values:
    if isinstance(value, (dict, list)):
      found |= texts(value)
    elif isinstance(value, str) and len(value.split()) > 3:
      found.add(re.sub(r"\W+", " ", value.lower()).strip())
  return found


def for_every_task(test):
  """Runs a test for each task, and names the task where it fails."""

  @parameterized.named_parameters(*((t.name, t.name) for t in tasks.ALL))
  @functools.wraps(test)
  def run(self, name):
    test(self, REGISTRY.get(name))

  return run


class RowsTest(parameterized.TestCase):
  def test_one_file_for_each_data_set(self):
    expected = {file_name(task.source.name) for task in tasks.ALL}
    self.assertSetEqual({path.name for path in ROWS.glob("*.jsonl")}, expected)

  @for_every_task
  def test_every_split_that_the_task_reads_has_rows(self, task):
    rows, named = read(task.source.name), task.source.splits
    self.assertGreaterEqual(len(rows[named.train or named.test]), 12)
    for split in {named.dev, named.test} - {named.train}:
      self.assertGreaterEqual(len(rows.get(split, ())), 4, split)

  @for_every_task
  def test_rows_have_the_features_of_the_data_set(self, task):
    spec = features(task.source.name)
    for split, rows in read(task.source.name).items():
      for index, row in enumerate(rows):
        with self.subTest(f"{split} {index}"):
          self.assertSetEqual(set(row), set(spec))
          spec.encode_example(row)
          if isinstance(row.get("idx"), int):
            self.assertEqual(row["idx"], index)
          for name, feature in spec.items():
            if isinstance(feature, tfds.features.ClassLabel):
              self.assertIn(row[name], (*feature.names, -1))

  @for_every_task
  def test_labels_are_balanced(self, task):
    if not task.options:
      return  # a generation, or options that differ from row to row
    named = task.source.splits
    train = slots(task)[named.train or named.test]
    rows = [row for row in train if row.get("keep", True)]
    count = collections.Counter(int(row["answer_index"]) for row in rows)
    self.assertSetEqual(set(count), set(range(len(task.options))))
    even = len(rows) / len(task.options)
    self.assertGreaterEqual(min(count.values()), even / 2, count)
    self.assertLessEqual(max(count.values()), even * 2, count)
    tested = {int(row["answer_index"]) for row in slots(task)[named.test]}
    self.assertGreater(len(tested - {-1}), 1, "one answer fits all test rows")

  @for_every_task
  def test_the_first_training_row_is_kept(self, task):
    split = task.source.splits.train or task.source.splits.test
    self.assertTrue(slots(task)[split][0].get("keep", True))

  @for_every_task
  def test_no_text_in_two_splits(self, task):
    home = {}
    for split, rows in read(task.source.name).items():
      for text in set().union(*map(texts, rows)):
        self.assertEqual(home.setdefault(text, split), split, text)

  @for_every_task
  def test_no_row_twice(self, task):
    for rows in read(task.source.name).values():
      seen = {
        json.dumps({k: v for k, v in row.items() if k != "idx"}, sort_keys=True)
        for row in rows
      }
      self.assertLen(seen, len(rows))

  @for_every_task
  def test_templates_do_not_double_a_text_s_punctuation(self, task):
    """ "{question}?" is wrong if the question ends with a question mark."""
    rows = sum(slots(task).values(), [])
    for template in task.templates:
      for slot in re.findall(r"\{(\w+)\}[.?!,;:]", template.inputs):
        for row in rows:
          value = row.get(slot, b"")
          self.assertNotRegex(value.decode(), r"[.?!,;:]$", template.inputs)


if __name__ == "__main__":
  absltest.main()
