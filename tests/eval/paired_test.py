"""Paired differences agree with values by hand and with scipy."""

import numpy as np
from absl.testing import absltest
from scipy import stats

from flan_tf.eval import (
  classification_metrics,
  paired,
)
from flan_tf.eval.scored_prediction import ScoredPrediction
from tests.helpers.fake_predictions import changed, scored, task_log


def answer(row: int, right: bool, template=0, **changes) -> ScoredPrediction:
  return scored(
    **{
      **dict(template=template, row=row),
      **dict(answer="ab"[right], references=("b",)),
      **dict(right=right, score=100.0 * right, options=("a", "b")),
      **dict(answer_index=1, choice=int(right), scores=(0, 0), values=(0, 0)),
      **changes,
    }
  )


def difference(first, second, metric="accuracy", resamples=1_000):
  return paired.difference(
    "rte", metric, task_log(*first), task_log(*second), 0, resamples
  )


class PairedTest(absltest.TestCase):
  def test_by_hand(self):
    base = [answer(row, row < 2, t) for t in (0, 1) for row in range(4)]
    tuned = [answer(row, row > 0, t) for t in (0, 1) for row in range(4)]
    # Dev rows do not count.
    tuned += [answer(9, False, part="dev")]
    found = difference(base, tuned)
    self.assertEqual(found.value, 25)  # 75 - 50
    self.assertEqual((found.won, found.lost), (4, 2))
    self.assertEqual((found.rows, found.left_out), (4, 0))

  def test_equal_models_differ_by_nothing(self):
    lines = [answer(row, row % 3 == 0) for row in range(50)]
    found = difference(lines, lines)
    self.assertEqual((found.value, found.interval), (0, (0, 0)))
    self.assertEqual((found.won, found.lost), (0, 0))
    self.assertFalse(found.is_clear)

  def test_scipy_agrees(self):
    """For one template, scipy bootstraps the mean difference of the rows."""
    random = np.random.default_rng(1)
    right = random.random([2, 300]) < [[0.4], [0.55]]
    first, second = (
      [answer(i, bool(r)) for i, r in enumerate(x)] for x in right
    )
    found = difference(first, second, resamples=10_000)
    gains = 100.0 * right[1] - 100.0 * right[0]
    expected = stats.bootstrap(
      (gains,), np.mean, n_resamples=10_000, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose(found.interval, expected, atol=0.7)
    self.assertAlmostEqual(found.value, gains.mean())

  def test_pairing_makes_it_surer(self):
    """Rows that are hard for both models do not widen the interval."""
    base = [answer(row, row % 2 == 0) for row in range(200)]
    tuned = [answer(row, row % 2 == 0 or row < 20) for row in range(200)]
    found = difference(base, tuned)
    self.assertEqual(found.value, 5)
    self.assertTrue(found.is_clear)
    alone = classification_metrics.half_interval(50, 200)
    self.assertGreater(alone, 5)

  def test_other_rows_are_left_out_and_counted(self):
    base = [answer(row, True) for row in range(6)]
    tuned = [answer(row, False) for row in range(4, 9)]
    tuned[0] = changed(tuned[0], answer_index=0)
    found = difference(base, tuned)
    self.assertEqual((found.rows, found.left_out), (1, 8))
    self.assertEqual(found.lost, 1)
    self.assertIsNone(difference(base[:2], tuned))

  def test_other_templates_have_means_alone(self):
    base = [answer(row, row < 2, 0) for row in range(4)]
    tuned = [answer(row, row < 3, t) for t in (1, 2) for row in range(4)]
    found = difference(base, tuned)
    self.assertEqual(found.value, 25)
    self.assertEqual((found.won, found.lost), (None, None))

  def test_generations_are_the_same_row_by_their_references(self):
    def said(row, score, references=("x y z",)):
      return scored(
        row=row,
        answer="x y z" if score else "u",
        references=references,
        right=True,
        score=score,
      )

    base = [said(0, 0.0), said(1, 100.0), said(2, 0.0, ("other",))]
    tuned = [said(0, 100.0), said(1, 100.0), said(2, 0.0)]
    found = difference(base, tuned, "bleu")
    self.assertEqual((found.rows, found.left_out, found.won), (2, 1, 1))


if __name__ == "__main__":
  absltest.main()
