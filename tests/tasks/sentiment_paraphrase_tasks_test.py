"""Sentiment and paraphrase: label orders, and field functions."""

import collections
import functools
import json
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import absltest, parameterized

from tasks import paraphrase, sentiment

_TASKS = {task.name: task for task in (*sentiment.TASKS, *paraphrase.TASKS)}
_NAMED = tuple((name, task) for name, task in _TASKS.items())
_ROWS = pathlib.Path(__file__).resolve().parents[2] / "tasks" / "rows"

# (TFDS class, option) of each task, in the order of TFDS.
_OPTION_OF_CLASS = {
  "sst2": (("negative", "negative"), ("positive", "positive")),
  "imdb_reviews": (("neg", "negative"), ("pos", "positive")),
  "yelp_polarity_reviews": (("1", "negative"), ("2", "positive")),
  "glue_mrpc": (("not_equivalent", "no"), ("equivalent", "yes")),
  "glue_qqp": (("not_duplicate", "no"), ("duplicate", "yes")),
  "paws_wiki": (("different_meaning", "no"), ("paraphrase", "yes")),
}

# For each task, a row as TFDS yields it, and the expected slots.
_ROW_AND_SLOTS = {
  "sst2": (
    {"idx": np.int32(0), "label": np.int64(1), "sentence": "a fine film . "},
    {"sentence": "a fine film .", "answer_index": 1},
  ),
  "imdb_reviews": (
    {"label": np.int64(0), "text": "Dull.<br /><br />Very <b>dull</b>.<br/>"},
    {"text": "Dull.\n\nVery <b>dull</b>.", "answer_index": 0},
  ),
  "sentiment140": (
    {
      "date": "Mon Jun 01 09:00:00 PDT 2009",
      "polarity": np.int32(4),
      "query": "NO_QUERY",
      "text": " sunny at last! ",
      "user": "harborlights",
    },
    {"text": "sunny at last!", "answer_index": 1, "keep": True},
  ),
  "yelp_polarity_reviews": (
    {
      "label": np.int64(1),
      "text": r'Ask for \""the works\"".\n\nA \"true\" ""feast"".',
    },
    {
      "text": 'Ask for "the works".\n\nA "true" "feast".',
      "answer_index": 1,
    },
  ),
  "glue_mrpc": (
    {
      "idx": np.int32(3),
      "label": np.int64(1),
      "sentence1": "It rained on Monday .",
      "sentence2": "On Monday there was rain .",
    },
    {
      "sentence1": "It rained on Monday .",
      "sentence2": "On Monday there was rain .",
      "answer_index": 1,
    },
  ),
  "glue_qqp": (
    {
      "idx": np.int32(7),
      "label": np.int64(0),
      "question1": 'What does ""ad hoc"" mean?',
      "question2": "Who said that?",
    },
    {
      "question1": "What does 'ad hoc' mean?",
      "question2": "Who said that?",
      "answer_index": 0,
    },
  ),
  "paws_wiki": (
    {
      "label": np.int64(0),
      "sentence1": "Ann taught Bo .",
      "sentence2": "Bo taught Ann .",
    },
    {
      "sentence1": "Ann taught Bo .",
      "sentence2": "Bo taught Ann .",
      "answer_index": 0,
    },
  ),
  "stsb": (
    {
      "idx": np.int32(0),
      "label": np.float32(3.8),
      "sentence1": "A man sings.",
      "sentence2": "A tall man sings.",
    },
    {
      "sentence1": "A man sings.",
      "sentence2": "A tall man sings.",
      "answer_index": 4,
    },
  ),
}


def _plain(slots):
  """Converts tensors or arrays to Python values, bytes to text."""
  values = {name: np.asarray(value).item() for name, value in slots.items()}
  return {
    name: value.decode() if isinstance(value, bytes) else value
    for name, value in values.items()
  }


def _eager_and_mapped(task, row):
  """Yields the slots of a row, computed eagerly and in tf.data."""
  row = {name: tf.constant(value) for name, value in row.items()}
  yield _plain(task.fields(row))
  dataset = tf.data.Dataset.from_tensors(row).map(task.fields)
  yield from map(_plain, dataset.as_numpy_iterator())


@functools.cache
def _features(task):
  """Returns the TFDS features of a data set; downloads nothing."""
  with tempfile.TemporaryDirectory() as empty:
    return tfds.builder(task.source.name, data_dir=empty).info.features


class LabelOrderTest(parameterized.TestCase):
  @parameterized.parameters(*_OPTION_OF_CLASS)
  def test_options_follow_the_classes_of_tfds(self, name):
    task = _TASKS[name]
    classes, options = zip(*_OPTION_OF_CLASS[name], strict=True)
    self.assertEqual(tuple(_features(task)["label"].names), classes)
    self.assertEqual(task.options, options)

  def test_other_labels_are_numbers(self):
    """Sentiment140 and STS-B have no classes in TFDS."""
    polarity = _features(_TASKS["sentiment140"])["polarity"]
    rating = _features(_TASKS["stsb"])["label"]
    self.assertEqual(polarity.np_dtype, np.int32)
    self.assertEqual(rating.np_dtype, np.float32)
    self.assertEqual(_TASKS["stsb"].options, ("0", "1", "2", "3", "4", "5"))


class FieldsTest(parameterized.TestCase):
  @parameterized.named_parameters(*_NAMED)
  def test_row_becomes_slots_eagerly_and_mapped(self, task):
    row, expected = _ROW_AND_SLOTS[task.name]
    self.assertEqual(set(row), set(_features(task)))
    results = list(_eager_and_mapped(task, row))
    self.assertEqual(results, [expected, expected])

  @parameterized.named_parameters(*_NAMED)
  def test_answer_index_is_int64_scalar(self, task):
    row, _ = _ROW_AND_SLOTS[task.name]
    dataset = tf.data.Dataset.from_tensors(row).map(task.fields)
    self.assertEqual(
      dataset.element_spec["answer_index"], tf.TensorSpec([], tf.int64)
    )
    for slot in task.slots:
      self.assertEqual(dataset.element_spec[slot], tf.TensorSpec([], tf.string))

  @parameterized.parameters(
    "sst2", "imdb_reviews", "yelp_polarity_reviews", "glue_mrpc", "glue_qqp"
  )
  def test_hidden_label_stays_hidden(self, name):
    row = {**_ROW_AND_SLOTS[name][0], "label": np.int64(-1)}
    for slots in _eager_and_mapped(_TASKS[name], row):
      self.assertEqual(slots["answer_index"], -1)

  @parameterized.parameters(
    (0, 0, True), (2, -1, False), (3, 1, True), (4, 1, True)
  )  # fmt: skip
  def test_neutral_tweets_are_left_out(self, polarity, answer_index, keep):
    row = _ROW_AND_SLOTS["sentiment140"][0]
    row = {**row, "polarity": np.int32(polarity)}
    for slots in _eager_and_mapped(sentiment.SENTIMENT140, row):
      self.assertEqual(slots["answer_index"], answer_index)
      self.assertEqual(slots["keep"], keep)

  @parameterized.parameters(
    (-1.0, -1), (0.0, 0), (0.49, 0), (0.5, 1), (1.5, 2), (2.5, 3), (3.2, 3),
    (4.5, 5), (5.0, 5),
  )  # fmt: skip
  def test_ratings_round_half_up(self, rating, answer_index):
    row = {**_ROW_AND_SLOTS["stsb"][0], "label": np.float32(rating)}
    for slots in _eager_and_mapped(paraphrase.STSB, row):
      self.assertEqual(slots["answer_index"], answer_index)

  @parameterized.parameters(
    (r"one\ntwo", "one\ntwo"),
    (r'\""quoted\""', '"quoted"'),
    (r'\""quoted\ ""!', '"quoted"!'),
    ('a plain "word"', 'a plain "word"'),
    ("new noodles", "new noodles"),
  )
  def test_yelp_escapes(self, text, expected):
    row = {"label": np.int64(0), "text": text}
    for slots in _eager_and_mapped(sentiment.YELP_POLARITY_REVIEWS, row):
      self.assertEqual(slots["text"], expected)


class ShippedReviewsTest(parameterized.TestCase):
  """The shipped rows of SST-2 and IMDB are enough for a small training."""

  @parameterized.parameters(("sst2", 1, 40), ("imdb_reviews", 40, 90))
  def test_forty_reviews_of_fair_length(self, name, least, most):
    task = _TASKS[name]
    file = task.source.name.replace("/", "_") + ".jsonl"
    lines = (_ROWS / file).read_text(encoding="utf-8").splitlines()
    self.assertLen(lines, 40)
    labels = collections.Counter()
    for line in lines:
      row = json.loads(line)["row"]
      words = row[task.slots[0]].replace("<br />", " ").split()
      self.assertBetween(len(words), least, most, line)
      labels[row["label"]] += 1
    self.assertEqual(set(labels.values()), {20})


if __name__ == "__main__":
  absltest.main()
