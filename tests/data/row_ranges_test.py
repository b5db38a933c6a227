"""Row ranges: the published rules, and no row in two of the ranges."""

import itertools

from absl.testing import absltest, parameterized

from flan_tf.data import row_ranges
from flan_tf.task.schema import Splits


def choose(splits, **counts):
  return row_ranges.choose_row_ranges(splits, counts)


def texts(ranges):
  return str(ranges.train), str(ranges.dev), str(ranges.test)


class RowRangesTest(parameterized.TestCase):
  @parameterized.named_parameters(
    (
      "a_own_validation_and_test",
      Splits(dev="validation", test="test"),
      {"train": 287_113, "validation": 13_368, "test": 11_490},
      ("train[0:30000]", "validation[0:200]", "test[0:11490]"),
    ),
    (
      "b_dev_from_a_small_train",
      Splits(dev="train", test="validation"),
      {"train": 2_490, "validation": 277, "test": 3_000},
      ("train[0:2290]", "train[2290:2490]", "validation[0:277]"),
    ),
    (
      "c_dev_from_a_large_train",
      Splits(dev="train", test="validation"),
      {"train": 67_349, "validation": 872},
      ("train[0:30000]", "train[67149:67349]", "validation[0:872]"),
    ),
    (
      "e_dev_from_train_and_test",
      Splits(dev="train", test="test"),
      {"train": 25_000, "test": 25_000},
      ("train[0:24800]", "train[24800:25000]", "test[0:25000]"),
    ),
    (
      "cb_fifty_dev_rows",
      Splits(dev="train", dev_rows=50, test="validation"),
      {"train": 250, "validation": 56},
      ("train[0:200]", "train[200:250]", "validation[0:56]"),
    ),
    (
      "opinion_abstracts",
      Splits(test="train", dev_rows=100, test_rows=500),
      {"train": 3_731},
      ("train[0:3131]", "train[3131:3231]", "train[3231:3731]"),
    ),
    (
      "enes_everything_from_train",
      Splits(dev="train", test="train"),
      {"train": 21_000_000},
      (
        "train[0:30000]",
        "train[20998800:20999000]",
        "train[20999000:21000000]",
      ),
    ),
  )
  def test_published_rules_at_published_sizes(self, splits, counts, expected):
    ranges = row_ranges.choose_row_ranges(splits, counts)
    self.assertEqual(texts(ranges), expected)
    self.assertEmpty(ranges.notes)

  def test_few_test_rows_are_replaced_by_validation(self):
    ranges = choose(
      Splits(dev="validation", test="test"), train=800, validation=250, test=3
    )
    self.assertEqual(
      texts(ranges),
      ("train[0:800]", "validation[0:125]", "validation[125:250]"),
    )
    self.assertEqual(
      ranges.notes,
      ("test rows are validation[125:250], because test has 3 rows",),
    )

  def test_few_test_rows_stay_if_no_split_is_larger(self):
    ranges = choose(
      Splits(dev="validation", test="test"), train=12, validation=6, test=4
    )
    self.assertEqual(
      texts(ranges), ("train[0:12]", "validation[0:6]", "test[0:4]")
    )

  def test_missing_validation_is_replaced_by_the_tail_of_train(self):
    ranges = choose(Splits(dev="validation", test="test"), train=250, test=250)
    self.assertEqual(
      texts(ranges), ("train[0:200]", "train[200:250]", "test[0:250]")
    )
    self.assertIn("'validation' is not there", ranges.notes[0])

  def test_a_missing_test_split_is_replaced_by_the_tail_of_train(self):
    ranges = choose(Splits(dev="train", test="validation"), train=100)
    self.assertEqual(
      texts(ranges), ("train[0:60]", "train[60:80]", "train[80:100]")
    )
    self.assertLen(ranges.notes, 1)

  def test_a_hidden_test_split_is_never_used(self):
    ranges = choose(Splits(dev="train", test="validation"), train=100, test=900)
    self.assertEqual(ranges.test.split, "train")

  def test_evaluation_only(self):
    ranges = choose(Splits(dev="train", test="test"), test=273)
    self.assertEqual(texts(ranges), ("train[0:0]", "train[0:0]", "test[0:273]"))
    self.assertIn("no training rows", ranges.notes[0])
    ranges = choose(Splits(train="", dev="", test="test"), test=273)
    self.assertEqual(texts(ranges)[2], "test[0:273]")
    self.assertEqual(
      (len(ranges.train), len(ranges.dev), ranges.notes), (0, 0, ())
    )

  def test_tasks_that_share_a_training_split(self):
    """True_case, fix_punct and word_segment share a corpus, as published."""

    def three(total):
      return [
        row_ranges.choose_row_ranges(
          Splits(test="train", test_rows=3_000, part=part, parts=3),
          {"train": total},
        )
        for part in range(3)
      ]

    large = three(1_000_000)
    self.assertEqual(
      [texts(ranges) for ranges in large],
      [
        ("train[0:30000]", "train[30000:30200]", "train[997000:1000000]"),
        ("train[30200:60200]", "train[60200:60400]", "train[997000:1000000]"),
        ("train[60400:90400]", "train[90400:90600]", "train[997000:1000000]"),
      ],
    )
    for total in (0, 1, 7, 48, 800, 91_000):
      ranges = three(total)
      own = [part for task in ranges for part in (task.train, task.dev)]
      rows = [row for part in own for row in range(part.start, part.stop)]
      self.assertLen(set(rows), len(rows))
      self.assertEqual({ranges[0].test}, {task.test for task in ranges})
      for row in rows:
        self.assertLess(row, ranges[0].test.start)

  def test_no_row_is_in_two_ranges(self):
    sizes = (0, 1, 2, 3, 5, 49, 50, 51, 401, 30_500)
    names = ("train", "validation", "test")
    for counts in itertools.product(sizes, repeat=3):
      for dev, test, dev_rows in itertools.product(names, names, (1, 200)):
        rows = dict(zip(names, counts, strict=True))
        ranges = row_ranges.choose_row_ranges(
          Splits("train", dev, dev_rows, test), rows
        )
        parts = (ranges.train, ranges.dev, ranges.test)
        for part in parts:
          self.assertBetween(part.start, 0, part.stop, f"{rows} {ranges}")
          self.assertLessEqual(part.stop, rows[part.split], f"{rows} {ranges}")
        for one, other in itertools.combinations(parts, 2):
          if one.split == other.split and len(one) and len(other):
            self.assertTrue(
              one.stop <= other.start or other.stop <= one.start,
              f"{rows} dev={dev} test={test}: {ranges}",
            )

  def test_cap(self):
    ranges = row_ranges.choose_row_ranges(
      Splits(), {"train": 90, "test": 60}, 10
    )
    self.assertEqual(str(ranges.train), "train[0:10]")
    with self.assertRaisesRegex(ValueError, "1 or more"):
      row_ranges.choose_row_ranges(Splits(), {}, 0)


if __name__ == "__main__":
  absltest.main()
