"""Mixtures: exact proportions, every example once per epoch, direct access."""

import collections

import numpy as np
from absl.testing import absltest

from flan_tf.data import mixture
from flan_tf.task import mixing

SIZES = {"large": 5_000, "small": 40, "middle": 700}


def make(seed=0, block_examples=512):
  return mixture.Mixture(
    SIZES, mixing.rates(SIZES, 3_000), seed, block_examples
  )


class MixtureTest(absltest.TestCase):
  def test_rates(self):
    rates = mixing.rates(SIZES, 3_000)
    self.assertEqual(rates, {"large": 3_000, "small": 40, "middle": 700})
    shares = mixing.probabilities(rates)
    self.assertAlmostEqual(sum(shares.values()), 1)
    self.assertAlmostEqual(shares["small"], 40 / 3_740)

  def test_proportions_are_exact(self):
    made, total = make(), collections.Counter()
    for block in range(30):
      tasks, examples = made.draws(block)
      self.assertAlmostEqual(len(examples), 512, delta=len(SIZES))
      total.update(tasks.tolist())
    for number, rate in enumerate(made.rates.values()):
      expected = 30 * 512 * rate / 3_740
      self.assertAlmostEqual(total[number], expected, delta=1)

  def test_every_row_once_an_epoch(self):
    made, seen = make(), collections.defaultdict(list)
    for block in range(40):
      tasks, examples = made.draws(block)
      for task, example in zip(tasks.tolist(), examples.tolist(), strict=True):
        seen[made.names[task]].append(example)
    self.assertGreater(len(seen["small"]), 3 * 40)
    for name, size in SIZES.items():
      counts = np.bincount(seen[name], minlength=size)
      # Draws of a block are shuffled, so an epoch may overlap by a block.
      self.assertBetween(counts.min(), counts.max() - 2, counts.max())
      self.assertLen(counts, size)

  def test_any_block_is_known_without_the_earlier_ones(self):
    made = make()
    counts = np.zeros(3, np.int64)
    for block in range(12):
      np.testing.assert_array_equal(made.draws_before(block), counts)
      counts += np.bincount(made.draws(block)[0], minlength=3)
    far = make().draws(10**9)
    np.testing.assert_array_equal(far[1], make().draws(10**9)[1])

  def test_the_seed_decides(self):
    for array, same in zip(make().draws(3), make().draws(3), strict=True):
      np.testing.assert_array_equal(array, same)
    self.assertFalse(np.array_equal(make(1).draws(3)[1], make(2).draws(3)[1]))
    self.assertFalse(np.array_equal(make().draws(3)[0], make().draws(4)[0]))

  def test_epochs_differ(self):
    one = mixture.Mixture({"a": 50}, {"a": 50}, 0, 50)
    orders = [one.draws(block)[1].tolist() for block in range(3)]
    for order in orders:
      self.assertCountEqual(order, range(50))
    self.assertNotEqual(orders[0], orders[1])

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "'empty' has size 0"):
      mixture.Mixture({"empty": 0}, {"empty": 0}, 0)
    with self.assertRaisesRegex(ValueError, "at least one task"):
      mixture.Mixture({}, {}, 0)
    with self.assertRaisesRegex(ValueError, "mixing_cap is 0"):
      mixing.rates(SIZES, 0)


if __name__ == "__main__":
  absltest.main()
