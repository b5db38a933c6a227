"""Batches: a seed gives one stream, for any batch size and after any resume."""

import itertools
import json
import threading
import time

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf.data import batches, example_table, packing, prefetch

RATES = {"a": 300, "b": 100}


def random_table(seed, count):
  rng, writer = np.random.default_rng(seed), example_table.TableWriter()
  for row in range(count):
    size = int(rng.integers(4, 40))
    ids = rng.integers(2, 100, size).astype(np.int32)
    writer.add(ids, int(rng.integers(1, size)), row)
  return writer.table()


TABLES = {"a": random_table(1, 400), "b": random_table(2, 100)}


def make(state=None, seed=0, rows=6):
  return batches.Batches(
    TABLES, RATES, rows, 64, seed, start_id=0, state=state, block_examples=150
  )


def assert_same(one, other):
  for name in packing.FEATURES:
    np.testing.assert_array_equal(one[name], other[name], name)


class BatchesTest(parameterized.TestCase):
  def test_resume_at_every_batch(self):
    straight = list(itertools.islice(make(), 40))
    self.assertGreater(straight[-1].state.block, 2)
    for i in range(0, 39, 4):
      state = json.loads(json.dumps(straight[i].state.to_json()))
      resumed = make(batches.BatchState.from_json(state))
      assert_same(next(resumed).features, straight[i + 1].features)
      self.assertEqual(resumed.state, straight[i + 1].state)

  def test_batch_size_does_not_change_the_stream(self):
    small = list(itertools.islice(make(rows=2), 12))
    large = list(itertools.islice(make(rows=6), 4))
    for name in packing.FEATURES:
      np.testing.assert_array_equal(
        np.concatenate([batch.features[name] for batch in small]),
        np.concatenate([batch.features[name] for batch in large]),
      )

  def test_the_seed_decides(self):
    assert_same(next(make(seed=3)).features, next(make(seed=3)).features)
    one, other = next(make(seed=3)), next(make(seed=4))
    self.assertFalse(
      np.array_equal(one.features["targets"], other.features["targets"])
    )

  def test_no_token_is_lost_between_batches(self):
    stream, seen = make(), 0
    while stream.state.block < 4:
      batch = next(stream)
      seen += batch.tokens_per_task["b"]
    # Task b has 100 rows and a quarter of the draws: 150 of 600.
    lengths = TABLES["b"].lengths
    expected = 1.5 * lengths.sum()
    self.assertAlmostEqual(seen, expected, delta=0.1 * expected)

  def test_statistics(self):
    batch = next(make())
    self.assertEqual(batch.names, ("a", "b"))
    total = batch.features["segment_ids"].size
    self.assertEqual(
      sum(batch.tokens_per_task.values()), round(batch.fill * total)
    )
    self.assertGreater(batch.fill, 0.9)

  def test_empty_tables_are_left_out(self):
    tables = {**TABLES, "none": random_table(0, 0)}
    stream = batches.Batches(tables, {**RATES, "none": 0}, 2, 64, 0, start_id=0)
    self.assertEqual(stream.names, ("a", "b"))
    with self.assertRaisesRegex(ValueError, "at least one task"):
      batches.Batches({"none": tables["none"]}, {}, 2, 64, 0, start_id=0)


class PrefetcherTest(absltest.TestCase):
  def test_same_items_in_order(self):
    with prefetch.Prefetcher(iter(range(50)), convert=lambda x: 2 * x) as items:
      self.assertEqual(list(items), list(range(0, 100, 2)))
      self.assertEqual(list(items), [])

  def test_an_exception_is_raised_in_place_of_its_item(self):
    def broken():
      yield 1
      raise RuntimeError("disk on fire")

    with prefetch.Prefetcher(broken()) as items:
      self.assertEqual(next(items), 1)
      with self.assertRaisesRegex(RuntimeError, "disk on fire"):
        next(items)
      self.assertEqual(list(items), [])

  def test_the_queue_is_bounded(self):
    taken = []

    def source():
      for i in itertools.count():
        taken.append(i)
        yield i

    with prefetch.Prefetcher(source(), size=3):
      time.sleep(0.3)
      self.assertLessEqual(len(taken), 5)

  def test_close_ends_the_thread(self):
    before = threading.active_count()
    items = prefetch.Prefetcher(make(), size=2)
    next(items)
    items.close()
    items.close()
    self.assertEqual(threading.active_count(), before)
    self.assertEqual(list(items), [])


if __name__ == "__main__":
  absltest.main()
