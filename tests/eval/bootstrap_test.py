"""Intervals against scipy, sacrebleu, and metrics computed draw by draw."""

import dataclasses

import numpy as np
from absl.testing import absltest, parameterized
from scipy import stats

from flan_tf.eval import bootstrap, metrics, prediction_log
from flan_tf.task import schema

_OPTIONS = ("no", "maybe", "yes")
_WORDS = "the a small old cat dog ran sat on under green hills today".split()


def line(row, **changes) -> prediction_log.PredictionLine:
  return prediction_log.PredictionLine(
    **{
      **dict(part="test", template=0, row=row, prompt="", exemplars=0),
      **dict(trimmed=False, answer="", references=(), group=""),
      **dict(right=None, score=0.0),
      **changes,
    }
  )


def choice(
  row, wanted, chosen, options=_OPTIONS, group=""
) -> prediction_log.PredictionLine:
  return line(
    row,
    answer=options[chosen],
    references=(options[wanted],),
    group=group,
    score=100.0 * (wanted == chosen),
    options=options,
    answer_index=wanted,
    choice=chosen,
  )


def choices(
  random, rows, options=_OPTIONS, groups=0
) -> list[prediction_log.PredictionLine]:
  """Lines of which about half are right."""
  found = []
  for row in range(rows):
    wanted, other = random.integers(len(options), size=2)
    chosen = wanted if random.random() < 0.4 else other
    group = f"g{row * groups // rows}" if groups else ""
    found.append(choice(row, int(wanted), int(chosen), options, group))
  return found


def texts(random, rows) -> list[prediction_log.PredictionLine]:
  found = []
  for row in range(rows):
    right = [str(word) for word in random.choice(_WORDS, 8)]
    said = [w if random.random() < 0.7 else "cow" for w in right]
    found.append(
      line(row, answer=" ".join(said), references=(" ".join(right),))
    )
  return found


def value_of(name: str, lines) -> float:
  """The metric of lines, by `metrics.compute` itself."""
  if metrics.METRICS[name].kind is schema.TaskKind.GENERATION:
    answers = [x.answer for x in lines]
    return metrics.compute(name, answers, [x.references for x in lines])
  return metrics.compute(
    name,
    [x.choice for x in lines],
    [x.answer_index for x in lines],
    max(len(x.options) for x in lines),
    [x.group for x in lines],
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
    """The rows that a draw holds, each as often as it came, score the same."""
    random = np.random.default_rng(5)
    lines = (
      choices(random, 30, _OPTIONS[:options]) if options else texts(random, 30)
    )
    (found,) = bootstrap.draw(name, [[lines]], np.random.default_rng(1), 40)
    chosen = np.random.default_rng(1).integers(30, size=[40, 30])
    for score, numbers in zip(found[:, 0], chosen, strict=True):
      expected = value_of(name, [lines[i] for i in numbers])
      self.assertAlmostEqual(score, expected, places=9)

  def test_groups_are_drawn_as_a_whole(self):
    lines = choices(np.random.default_rng(2), 24, _OPTIONS[:2], groups=8)
    for name in ("f1", "accuracy", "group_exact_match"):
      (found,) = bootstrap.draw(name, [[lines]], np.random.default_rng(1), 40)
      chosen = np.random.default_rng(1).integers(8, size=[40, 8])
      for score, groups in zip(found[:, 0], chosen, strict=True):
        drawn = [
          # A group that comes twice is two groups.
          dataclasses.replace(x, group=f"{copy} {group}")
          for copy, group in enumerate(groups)
          for x in lines
          if x.group == f"g{group}"
        ]
        self.assertAlmostEqual(score, value_of(name, drawn), places=9)

  def test_a_correlation_of_constants_has_no_value(self):
    lines = [choice(row, 1, 1) for row in range(10)]
    random = np.random.default_rng(0)
    for name in ("pearson", "spearman"):
      (found,) = bootstrap.draw(name, [[lines]], random, 10)
      self.assertTrue(np.isnan(found).all())
    (found,) = bootstrap.draw("matthews", [[lines]], random, 10)
    self.assertTrue((found == 0).all())

  def test_many_draws_come_in_parts(self):
    lines = choices(np.random.default_rng(3), 50)
    args = ("accuracy", [[lines]])
    (whole,) = bootstrap.draw(*args, np.random.default_rng(1), 100)
    at_once, bootstrap._AT_ONCE = bootstrap._AT_ONCE, 7 * 50
    try:
      (parts,) = bootstrap.draw(*args, np.random.default_rng(1), 100)
    finally:
      bootstrap._AT_ONCE = at_once
    np.testing.assert_array_equal(parts, whole)

  def test_other_rows_are_refused(self):
    lines = choices(np.random.default_rng(0), 5)
    with self.assertRaisesRegex(ValueError, "same rows.*has 4 rows, the first"):
      bootstrap.of_templates(
        "accuracy", [lines, lines[1:]], np.random.default_rng(0)
      )


class IntervalTest(absltest.TestCase):
  def test_scipy_agrees_on_means(self):
    lines = choices(np.random.default_rng(4), 200)
    (found,), mean = bootstrap.of_templates(
      "accuracy", [lines], np.random.default_rng(0), 20_000
    )
    self.assertEqual(found, mean)
    scores = np.array([x.score for x in lines])
    expected = stats.bootstrap(
      (scores,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose(found, expected, atol=0.6)
    # And so does the normal approximation, of so many rows.
    half = metrics.half_interval(scores.mean(), len(scores))
    np.testing.assert_allclose(found[1] - found[0], 2 * half, rtol=0.05)

  def test_scipy_agrees_on_correlations(self):
    lines = choices(np.random.default_rng(4), 150)
    (found,), _ = bootstrap.of_templates(
      "pearson", [lines], np.random.default_rng(0), 5_000
    )
    pairs = [(x.choice, x.answer_index) for x in lines]
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
    """Its interval is mean and half a width of its own bootstrap."""
    from sacrebleu.metrics.bleu import BLEU

    lines = texts(np.random.default_rng(6), 100)
    (found,), _ = bootstrap.of_templates(
      "bleu", [lines], np.random.default_rng(0), 3_000
    )
    answers = [x.answer for x in lines]
    references = [[x.references[0] for x in lines]]
    theirs = BLEU().corpus_score(answers, references, n_bootstrap=3_000)
    self.assertAlmostEqual(sum(found) / 2, theirs._mean, delta=0.5)
    self.assertAlmostEqual((found[1] - found[0]) / 2, theirs._ci, delta=0.5)

  def test_covers_the_truth_95_times_in_100(self):
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
      right = random.random(120) < 0.3
      lines = [choice(row, 0, 0 if r else 1) for row, r in enumerate(right)]
      (found,), _ = bootstrap.of_templates("accuracy", [lines], random, 300)
      covered += found[0] <= 30 <= found[1]
    self.assertBetween(covered / 400, 0.91, 0.98)

  def test_of_the_mean_rows_come_with_all_templates(self):
    """Twice the same template says no more than once; another one does."""
    random = np.random.default_rng(8)
    lines, others = choices(random, 100), choices(random, 100)

    def width(*by_template):
      rng = np.random.default_rng(0)
      _, (low, high) = bootstrap.of_templates("accuracy", by_template, rng)
      return high - low

    self.assertAlmostEqual(width(lines, lines), width(lines))
    self.assertLess(width(lines, others), 0.85 * width(lines))

  def test_a_template_without_value_is_left_aside(self):
    lines = choices(np.random.default_rng(9), 60)
    constant = [choice(row, x.answer_index, 1) for row, x in enumerate(lines)]
    (first, none), mean = bootstrap.of_templates(
      "pearson", [lines, constant], np.random.default_rng(0)
    )
    self.assertIsNone(none)
    self.assertEqual(first, mean)

  def test_one_row_has_no_interval(self):
    found = bootstrap.of_templates(
      "accuracy", [[choice(0, 1, 1)]] * 2, np.random.default_rng(0)
    )
    self.assertEqual(found, ([None, None], None))

  def test_the_seed_gives_the_same(self):
    lines = choices(np.random.default_rng(9), 60)
    first, second, third = (
      bootstrap.draw("accuracy", [[lines]], np.random.default_rng(seed))[0]
      for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    self.assertFalse((first == third).all())


if __name__ == "__main__":
  absltest.main()
