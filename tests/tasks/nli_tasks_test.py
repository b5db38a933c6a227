"""The NLI cluster: options in the label order of TFDS, and field functions.

templates_test and own_rows_test check the tasks of all clusters.
"""

import json
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import absltest, parameterized

from tasks import nli

# The option of each TFDS class.
_ANSWERS = {
  "anli": {"e": "Yes", "n": "It's impossible to say", "c": "No"},
  "cb": {
    "entailment": "Yes",
    "neutral": "It's impossible to say",
    "contradiction": "No",
  },
  "mnli": {
    "entailment": "yes",
    "neutral": "it is not possible to tell",
    "contradiction": "no",
  },
  "qnli": {"entailment": "yes", "not_entailment": "no"},
  "rte": {"entailment": "yes", "not_entailment": "no"},
  "snli": {
    "entailment": "yes",
    "neutral": "it is not possible to tell",
    "contradiction": "no",
  },
  "wnli": {"entailment": "yes", "not_entailment": "no"},
}

_TASKS = [(task.name, task) for task in nli.TASKS]


def _rows_by_label(task):
  """Returns the first training row of each class, as it is stored."""
  name = task.source.name.replace("/", "_")
  path = pathlib.Path(nli.__file__).parent / "rows" / f"{name}.jsonl"
  rows = {}
  for line in path.read_text(encoding="utf-8").splitlines():
    entry = json.loads(line)
    if entry["split"] == "train":
      rows.setdefault(entry["row"]["label"], entry["row"])
  return rows


class NliTasksTest(parameterized.TestCase):
  def features(self, task):
    empty = self.create_tempdir().full_path
    return tfds.builder(str(task.source), data_dir=empty).info.features

  def eager_and_mapped(self, task, row):
    """Yields the slots of a row, computed eagerly and in tf.data."""
    features = self.features(task)
    tensors = {
      name: tf.constant(value, features[name].dtype)
      for name, value in features.encode_example(row).items()
    }
    yield tf.nest.map_structure(np.asarray, task.fields(tensors))
    dataset = tf.data.Dataset.from_tensors(tensors).map(task.fields)
    yield next(dataset.as_numpy_iterator())

  def test_seven_data_sets_make_ten_tasks(self):
    self.assertCountEqual({task.dataset for task in nli.TASKS}, _ANSWERS)
    self.assertLen({task.name for task in nli.TASKS}, 10)
    self.assertEqual({task.cluster for task in nli.TASKS}, {"nli"})

  @parameterized.named_parameters(_TASKS)
  def test_options_are_in_the_label_order_of_tfds(self, task):
    answers = _ANSWERS[task.dataset]
    names = self.features(task)["label"].names
    self.assertCountEqual(names, answers)
    self.assertEqual(task.options, tuple(answers[name] for name in names))

  @parameterized.named_parameters(_TASKS)
  def test_fields_eager_and_mapped(self, task):
    rows = _rows_by_label(task)
    for label, answer in _ANSWERS[task.dataset].items():
      for slots in self.eager_and_mapped(task, rows[label]):
        for slot in task.slots:
          self.assertEqual(slots[slot], rows[label][slot].encode())
        self.assertEqual(slots["answer_index"].dtype, np.int64)
        self.assertEqual(task.options[slots["answer_index"]], answer)
        self.assertTrue(slots.get("keep", True))

  @parameterized.named_parameters(_TASKS)
  def test_every_template_is_about_both_texts(self, task):
    for template in task.templates:
      self.assertContainsSubset(task.slots, template.slots)

  def test_snli_leaves_out_rows_without_a_gold_label(self):
    row = {"premise": " A dog runs.", "hypothesis": "It is late.", "label": -1}
    for slots in self.eager_and_mapped(nli.SNLI, row):
      self.assertEqual(slots["premise"], b"A dog runs.")
      self.assertEqual(slots["answer_index"], -1)
      self.assertFalse(slots["keep"])


if __name__ == "__main__":
  absltest.main()
