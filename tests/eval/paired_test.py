"""Two models on the same rows: worked out by hand, and against scipy."""

import dataclasses

import numpy as np
from absl.testing import absltest
from scipy import stats

from flan_tf.eval import metrics, paired, prediction_log, results
from flan_tf.report import differences
from flan_tf.task import schema


def answer(
  row: int, right: bool, template=0, **changes
) -> prediction_log.PredictionLine:
  return prediction_log.PredictionLine(
    **{
      **dict(part="test", template=template, row=row, prompt="", exemplars=0),
      **dict(trimmed=False, answer="ab"[right], references=("b",), group=""),
      **dict(right=right, score=100.0 * right, options=("a", "b")),
      **dict(answer_index=1, choice=int(right), scores=(0, 0), values=(0, 0)),
      **changes,
    }
  )


def difference(first, second, metric="accuracy", resamples=1_000):
  return paired.difference("rte", metric, first, second, 0, resamples)


class PairedTest(absltest.TestCase):
  def test_by_hand(self):
    base = [answer(row, row < 2, t) for t in (0, 1) for row in range(4)]
    tuned = [answer(row, row > 0, t) for t in (0, 1) for row in range(4)]
    # What is right on dev rows does not count.
    tuned += [answer(9, False, part="dev")]
    found = difference(base, tuned)
    self.assertEqual(found.value, 25)  # 75 less 50
    self.assertEqual((found.won, found.lost), (4, 2))
    self.assertEqual((found.rows, found.left_out), (4, 0))

  def test_equal_models_differ_by_nothing(self):
    lines = [answer(row, row % 3 == 0) for row in range(50)]
    found = difference(lines, lines)
    self.assertEqual((found.value, found.interval), (0, (0, 0)))
    self.assertEqual((found.won, found.lost), (0, 0))
    self.assertFalse(found.is_clear)

  def test_scipy_agrees(self):
    """One template: the bootstrap of the mean of the rows' differences."""
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
    """Hard rows are hard for both: that does not count as chance."""
    base = [answer(row, row % 2 == 0) for row in range(200)]
    tuned = [answer(row, row % 2 == 0 or row < 20) for row in range(200)]
    found = difference(base, tuned)
    self.assertEqual(found.value, 5)
    self.assertTrue(found.is_clear)
    alone = metrics.half_interval(50, 200)
    self.assertGreater(alone, 5)

  def test_other_rows_are_left_out_and_counted(self):
    base = [answer(row, True) for row in range(6)]
    tuned = [answer(row, False) for row in range(4, 9)]
    tuned[0] = dataclasses.replace(tuned[0], answer_index=0)
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
      return answer(
        row,
        True,
        answer="x y z" if score else "u",
        references=references,
        score=score,
        choice=None,
      )

    base = [said(0, 0.0), said(1, 100.0), said(2, 0.0, ("other",))]
    tuned = [said(0, 100.0), said(1, 100.0), said(2, 0.0)]
    found = difference(base, tuned, "bleu")
    self.assertEqual((found.rows, found.left_out, found.won), (2, 1, 1))


class TableTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    output = self.create_tempdir().full_path
    self.folders, self.evaluations = [], []
    for label, first in (("base", 20), ("tuned", 8)):
      folder = prediction_log.folder_of(output, label)
      lines = [answer(row, row >= first) for row in range(30)]
      kept = prediction_log.PredictionLog(folder, "rte", {}, 30, 30)
      kept.write(0, lines)
      kept.finish()
      score = results.TemplateScore(0, test=100 * (30 - first) / 30)
      result = results.TaskResult(
        task="rte",
        dataset="rte",
        cluster="nli",
        kind=schema.TaskKind.CLASSIFICATION,
        metric="accuracy",
        templates=(score,),
        examples=30,
      )
      self.folders.append(folder)
      self.evaluations.append(
        results.EvaluationResults(label, label, (result,))
      )

  def test_the_table(self):
    found = differences.read(self.evaluations, self.folders)
    (heads, row) = differences.table(found)
    self.assertEqual(heads[0], "task")
    self.assertEqual(row[:4], ["rte", "accuracy", "30", "+40.0"])
    self.assertRegex(row[4], r"^\+\d\d\.\d to \+\d\d\.\d$")
    self.assertEqual(row[5:], ["12", "0"])
    text = differences.text(found, ["base", "tuned"])
    self.assertIn("tuned less base", text)
    self.assertIn("leaves 0 out: rte.", text)

  def test_without_predictions_there_is_none(self):
    for folders in ((), ("", ""), (self.folders[0], ""), ("a", "b")):
      self.assertEmpty(differences.read(self.evaluations, folders))
    self.assertEmpty(differences.read(self.evaluations[:1], self.folders[:1]))
    self.assertEqual(differences.text({}, ["base", "tuned"]), "")

  def test_what_was_left_out_is_said(self):
    found = differences.read(self.evaluations, self.folders)
    found["rte"] = dataclasses.replace(
      found["rte"], left_out=3, interval=None, won=None, value=float("nan")
    )
    text = differences.text(found, ["base", "tuned"])
    self.assertIn("rte: 3 rows left out", text)
    self.assertRegex(text, r"undef\. +– +– +0")
    self.assertIn("leaves 0 out: of no task.", text)


if __name__ == "__main__":
  absltest.main()
