"""Packing: the drawing in its docstring, and every example in one row."""

import time

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf.data import example_table, packing


def table(*examples):
  """Builds a table of examples, each (ids, prompt length)."""
  writer = example_table.TableWriter()
  for row, (ids, prompt) in enumerate(examples):
    writer.add(np.array(ids, np.int32), prompt, row)
  return writer.table()


def drawing():
  """Reads the arrays drawn in the docstring of the module."""
  rows = {}
  for line in packing.__doc__.splitlines():
    name, *values = line.split()[:13] or [""]
    if name in packing.FEATURES:
      rows[name] = [int(value) for value in values]
  return rows


class PackingTest(parameterized.TestCase):
  def test_the_drawing(self):
    tables = [table()] * 8
    tables[3] = table(([5, 6, 1, 7, 1], 3))
    tables[7] = table(([8, 1, 9, 1], 2))
    made = packing.fill_packed_rows(
      [[0, 1]], tables, np.array([3, 7]), np.array([0, 0]), 12, 0, 0
    )
    expected = drawing()
    self.assertCountEqual(expected, packing.FEATURES)
    for name, kind in packing.FEATURES.items():
      self.assertEqual(made[name].tolist(), [expected[name]], name)
      self.assertEqual(made[name].dtype, kind)

  def test_start_and_padding_ids(self):
    made = packing.fill_packed_rows(
      [[0]], [table(([5, 6], 0))], np.array([0]), np.array([0]), 4, 2, 3
    )
    self.assertEqual(made["inputs"].tolist(), [[2, 5, 3, 3]])
    self.assertEqual(made["targets"].tolist(), [[5, 6, 3, 3]])
    self.assertEqual(made["loss_weights"].tolist(), [[1, 1, 0, 0]])

  def test_every_example_is_in_one_row(self):
    rng = np.random.default_rng(0)
    for _ in range(30):
      length = int(rng.integers(1, 60))
      lengths = rng.integers(1, length + 1, rng.integers(0, 200))
      rows = packing.choose_packed_rows(lengths, length)
      self.assertCountEqual(
        [i for row in rows for i in row], range(len(lengths))
      )
      for row in rows:
        self.assertBetween(int(lengths[row].sum()), 1, length)

  def test_at_most_one_packed_row_is_half_empty(self):
    lengths = np.random.default_rng(1).integers(1, 100, 500)
    sums = [
      int(lengths[row].sum())
      for row in packing.choose_packed_rows(lengths, 100)
    ]
    self.assertLessEqual(sum(s <= 50 for s in sums), 1)

  @parameterized.parameters((1024, 60), (1280, 180), (2048, 300))
  def test_fill_and_time(self, length, mean):
    rng = np.random.default_rng(2)
    lengths = np.clip(rng.gamma(1.5, mean / 1.5, 2_000), 8, length).astype(int)
    start = time.perf_counter()
    rows = packing.choose_packed_rows(lengths, length)
    self.assertLess(time.perf_counter() - start, 0.5)
    self.assertGreater(lengths.sum() / (len(rows) * length), 0.985)

  def test_an_example_that_does_not_fit(self):
    with self.assertRaisesRegex(ValueError, "3 to 9 tokens.*rows of 8"):
      packing.choose_packed_rows(np.array([3, 9]), 8)


if __name__ == "__main__":
  absltest.main()
