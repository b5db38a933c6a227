"""Bootstrap intervals agree with scipy, sacrebleu and plain resampling."""

import numpy as np
from absl.testing import absltest, parameterized
from scipy import stats

from flan_tf.eval import bootstrap, classification_metrics, metrics
from flan_tf.eval.scored_prediction import ScoredPrediction
from flan_tf.task import schema
from tests.helpers.fake_predictions import changed, scored

_OPTIONS = ("no", "maybe", "yes")
_WORDS = "the a small old cat dog ran sat on under green hills today".split()


def choice(row, wanted, chosen, options=_OPTIONS, group="") -> ScoredPrediction:
  return scored(
    row=row,
    answer=options[chosen],
    references=(options[wanted],),
    group=group,
    score=100.0 * (wanted == chosen),
    options=options,
    answer_index=wanted,
    choice=chosen,
  )


def choices(random, rows, options=_OPTIONS, groups=0) -> list[ScoredPrediction]:
  """Returns predictions of which about half are right."""
  found = []
  for row in range(rows):
    wanted, other = random.integers(len(options), size=2)
    chosen = wanted if random.random() < 0.4 else other
    group = f"g{row * groups // rows}" if groups else ""
    found.append(choice(row, int(wanted), int(chosen), options, group))
  return found


def texts(random, rows) -> list[ScoredPrediction]:
  found = []
  for row in range(rows):
    right = [str(word) for word in random.choice(_WORDS, 8)]
    said = [w if random.random() < 0.7 else "cow" for w in right]
    found.append(
      scored(row=row, answer=" ".join(said), references=(" ".join(right),))
    )
  return found


def value_of(name: str, lines) -> float:
  """Computes the metric of predictions with `metrics.compute`."""
  if metrics.METRICS[name].kind is schema.TaskKind.GENERATION:
    answers = [x.prediction.answer for x in lines]
    return metrics.compute(name, answers, [x.example.references for x in lines])
  return metrics.compute(
    name,
    [x.prediction.choice for x in lines],
    [x.example.answer_index for x in lines],
    max(len(x.example.options) for x in lines),
    [x.example.group for x in lines],
  )


class DrawTest(parameterized.TestCase):
  @parameterized.parameters(
    ("accuracy", 3),
    ("f1", 2),
    ("macro_f1", 3),
    ("matthews", 2),
    ("matthews", 3),
    ("pearson", 3),
    ("spearman", 3),
    ("bleu", 0),
  )
  def test_a_draw_has_the_score_of_its_rows(self, name, options):
    """The score of a draw equals the metric of its rows, with repetitions."""
    random = np.random.default_rng(5)
    lines = (
      choices(random, 30, _OPTIONS[:options]) if options else texts(random, 30)
    )
    (found,) = bootstrap.draw_scores(
      name, [[lines]], np.random.default_rng(1), 40
    )
    chosen = np.random.default_rng(1).integers(30, size=[40, 30])
    for score, numbers in zip(found[:, 0], chosen, strict=True):
      expected = value_of(name, [lines[i] for i in numbers])
      self.assertAlmostEqual(score, expected, places=9)

  def test_groups_are_drawn_as_a_whole(self):
    lines = choices(np.random.default_rng(2), 24, _OPTIONS[:2], groups=8)
    for name in ("f1", "accuracy", "group_exact_match"):
      (found,) = bootstrap.draw_scores(
        name, [[lines]], np.random.default_rng(1), 40
      )
      chosen = np.random.default_rng(1).integers(8, size=[40, 8])
      for score, groups in zip(found[:, 0], chosen, strict=True):
        drawn = [
          # A group that is drawn twice counts as two groups.
          changed(x, group=f"{copy} {group}")
          for copy, group in enumerate(groups)
          for x in lines
          if x.example.group == f"g{group}"
        ]
        self.assertAlmostEqual(score, value_of(name, drawn), places=9)

  def test_a_correlation_of_constants_has_no_value(self):
    lines = [choice(row, 1, 1) for row in range(10)]
    random = np.random.default_rng(0)
    for name in ("pearson", "spearman"):
      (found,) = bootstrap.draw_scores(name, [[lines]], random, 10)
      self.assertTrue(np.isnan(found).all())
    (found,) = bootstrap.draw_scores("matthews", [[lines]], random, 10)
    self.assertTrue((found == 0).all())

  def test_many_draws_come_in_parts(self):
    lines = choices(np.random.default_rng(3), 50)
    args = ("accuracy", [[lines]])
    (whole,) = bootstrap.draw_scores(*args, np.random.default_rng(1), 100)
    at_once, bootstrap._NUMBERS_AT_ONCE = bootstrap._NUMBERS_AT_ONCE, 7 * 50
    try:
      (parts,) = bootstrap.draw_scores(*args, np.random.default_rng(1), 100)
    finally:
      bootstrap._NUMBERS_AT_ONCE = at_once
    np.testing.assert_array_equal(parts, whole)

  def test_other_rows_are_refused(self):
    lines = choices(np.random.default_rng(0), 5)
    with self.assertRaisesRegex(ValueError, "same rows.*has 4 rows, the first"):
      bootstrap.template_intervals(
        "accuracy", [lines, lines[1:]], np.random.default_rng(0)
      )


class IntervalTest(absltest.TestCase):
  def test_scipy_agrees_on_means(self):
    lines = choices(np.random.default_rng(4), 200)
    (found,), mean = bootstrap.template_intervals(
      "accuracy", [lines], np.random.default_rng(0), 20_000
    )
    self.assertEqual(found, mean)
    scores = np.array([x.score for x in lines])
    expected = stats.bootstrap(
      (scores,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose(found, expected, atol=0.6)
    # For so many rows the normal approximation agrees, too.
    half = classification_metrics.half_interval(scores.mean(), len(scores))
    np.testing.assert_allclose(found[1] - found[0], 2 * half, rtol=0.05)

  def test_scipy_agrees_on_correlations(self):
    lines = choices(np.random.default_rng(4), 150)
    (found,), _ = bootstrap.template_intervals(
      "pearson", [lines], np.random.default_rng(0), 5_000
    )
    pairs = [(x.prediction.choice, x.example.answer_index) for x in lines]
    expected = stats.bootstrap(
      tuple(np.array(pairs).T),
      lambda x, y: 100 * stats.pearsonr(x, y).statistic,
      paired=True,
      vectorized=False,
      n_resamples=2_000,
      method="percentile",
      rng=1,
    ).confidence_interval
    np.testing.assert_allclose(found, expected, atol=1.5)

  def test_sacrebleu_agrees_on_bleu(self):
    """sacrebleu gives mean and half width of its own bootstrap."""
    from sacrebleu.metrics.bleu import BLEU

    lines = texts(np.random.default_rng(6), 100)
    (found,), _ = bootstrap.template_intervals(
      "bleu", [lines], np.random.default_rng(0), 3_000
    )
    answers = [x.prediction.answer for x in lines]
    references = [[x.example.references[0] for x in lines]]
    theirs = BLEU().corpus_score(answers, references, n_bootstrap=3_000)
    self.assertAlmostEqual(sum(found) / 2, theirs._mean, delta=0.5)
    self.assertAlmostEqual((found[1] - found[0]) / 2, theirs._ci, delta=0.5)

  def test_covers_the_truth_95_times_in_100(self):
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
      right = random.random(120) < 0.3
      lines = [choice(row, 0, 0 if r else 1) for row, r in enumerate(right)]
      (found,), _ = bootstrap.template_intervals(
        "accuracy", [lines], random, 300
      )
      covered += found[0] <= 30 <= found[1]
    self.assertBetween(covered / 400, 0.91, 0.98)

  def test_of_the_mean_rows_come_with_all_templates(self):
    """A second, different template makes the interval narrower."""
    random = np.random.default_rng(8)
    lines, others = choices(random, 100), choices(random, 100)

    def width(*by_template):
      rng = np.random.default_rng(0)
      _, (low, high) = bootstrap.template_intervals(
        "accuracy", by_template, rng
      )
      return high - low

    self.assertAlmostEqual(width(lines, lines), width(lines))
    self.assertLess(width(lines, others), 0.85 * width(lines))

  def test_a_template_without_value_is_left_aside(self):
    lines = choices(np.random.default_rng(9), 60)
    constant = [
      choice(row, x.example.answer_index, 1) for row, x in enumerate(lines)
    ]
    (first, none), mean = bootstrap.template_intervals(
      "pearson", [lines, constant], np.random.default_rng(0)
    )
    self.assertIsNone(none)
    self.assertEqual(first, mean)

  def test_one_row_has_no_interval(self):
    found = bootstrap.template_intervals(
      "accuracy", [[choice(0, 1, 1)]] * 2, np.random.default_rng(0)
    )
    self.assertEqual(found, ([None, None], None))

  def test_the_seed_gives_the_same(self):
    lines = choices(np.random.default_rng(9), 60)
    first, second, third = (
      bootstrap.draw_scores("accuracy", [[lines]], np.random.default_rng(seed))[
        0
      ]
      for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    self.assertFalse((first == third).all())


if __name__ == "__main__":
  absltest.main()
