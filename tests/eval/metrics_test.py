"""Metrics agree with their packages and with values computed by hand."""

import math
import warnings

import numpy as np
import sacrebleu
from absl.testing import absltest, parameterized
from rouge_score import rouge_scorer
from scipy import stats
from sklearn import metrics as sklearn_metrics

from flan_tf.eval import classification_metrics, metrics, text_metrics
from flan_tf.task import schema

_REFERENCES = np.array([0, 1, 2, 0, 1, 2, 2, 0])
_PREDICTIONS = np.array([0, 2, 2, 0, 1, 1, 2, 1])


class ClassificationTest(parameterized.TestCase):
  """Metrics of option indices."""

  @parameterized.named_parameters(
    # 5 of 8 are right.
    ("accuracy", "accuracy", 62.5),
    # F1 = 2 TP / (2 TP + FP + FN): 4/5, 2/5, 4/6.
    ("macro_f1", "macro_f1", 100 * (4 / 5 + 2 / 5 + 4 / 6) / 3),
  )
  def test_three_options_by_hand(self, name, expected):
    value = metrics.compute(name, _PREDICTIONS, _REFERENCES, options=3)
    self.assertAlmostEqual(value, expected)

  def test_f1_by_hand(self):
    """TP 2, FP 1, FN 1: precision and recall are both 2/3."""
    value = metrics.compute("f1", [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], options=2)
    self.assertAlmostEqual(value, 200 / 3)

  def test_f1_takes_the_last_option_as_positive(self):
    half_found = metrics.compute("f1", [1, 0], [1, 1], options=2)
    self.assertAlmostEqual(half_found, 200 / 3)
    self.assertEqual(metrics.compute("f1", [0, 0], [1, 1], options=2), 0)
    self.assertEqual(metrics.compute("f1", [0, 0], [0, 0], options=2), 0)

  def test_f1_is_binary(self):
    with self.assertRaisesRegex(ValueError, "3 options.*'macro_f1'"):
      metrics.compute("f1", _PREDICTIONS, _REFERENCES, options=3)

  def test_macro_f1_counts_options_that_never_occur(self):
    """F1 of 1, 1 and 0."""
    value = metrics.compute("macro_f1", [0, 1], [0, 1], options=3)
    self.assertAlmostEqual(value, 200 / 3)

  def test_scikit_learn_agrees(self):
    rng = np.random.default_rng(0)
    references, predictions = rng.integers(0, 4, size=(2, 300))
    self.assertAlmostEqual(
      metrics.compute("accuracy", predictions, references, options=4),
      100 * sklearn_metrics.accuracy_score(references, predictions),
    )
    self.assertAlmostEqual(
      metrics.compute("macro_f1", predictions, references, options=4),
      100 * sklearn_metrics.f1_score(references, predictions, average="macro"),
    )

  def test_matthews_by_hand(self):
    """TP 3, TN 2, FP 1, FN 0: (3 * 2 - 1 * 0) / sqrt(4 * 3 * 3 * 2)."""
    args = ([1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0])
    value = metrics.compute("matthews", *args, options=2)
    self.assertAlmostEqual(value, 100 * 6 / math.sqrt(72))
    self.assertEqual(metrics.compute("matthews", [1, 1], [0, 1], options=2), 0)

  def test_groups_are_right_as_a_whole(self):
    """One of three groups has a wrong choice."""
    args = ([1, 0, 1, 0, 1], [1, 0, 1, 1, 1])
    value = metrics.compute(
      "group_exact_match", *args, options=2, groups=["a", "a", "b", "b", "c"]
    )
    self.assertAlmostEqual(value, 200 / 3)
    with self.assertRaisesRegex(ValueError, "group of each of 5 examples; got"):
      metrics.compute("group_exact_match", *args, options=2)

  def test_correlations_by_hand(self):
    """Ranks [1 2 3 4] and [1 3 2 4]: 1 - 6 * 2 / (4 * 15) = 0.8."""
    args = ([0, 2, 1, 3], [0, 1, 2, 3])
    self.assertAlmostEqual(metrics.compute("pearson", *args, options=4), 80)
    self.assertAlmostEqual(metrics.compute("spearman", *args, options=4), 80)
    falling = ([3, 2, 1, 0], [0, 1, 2, 3])
    self.assertAlmostEqual(
      metrics.compute("pearson", *falling, options=4), -100
    )

  def test_scipy_agrees(self):
    rng = np.random.default_rng(1)
    references, predictions = rng.integers(0, 6, size=(2, 200))
    for name, function in (
      ("pearson", stats.pearsonr),
      ("spearman", stats.spearmanr),
    ):
      self.assertAlmostEqual(
        metrics.compute(name, predictions, references, options=6),
        100 * function(predictions, references)[0],
      )

  @parameterized.product(
    name=("pearson", "spearman"),
    texts=(([2, 2, 2], [0, 1, 2]), ([0, 1, 2], [1, 1, 1]), ([1], [2])),
  )
  def test_correlation_with_a_constant_is_nan_in_silence(self, name, texts):
    with warnings.catch_warnings():
      warnings.simplefilter("error")
      self.assertTrue(math.isnan(metrics.compute(name, *texts, options=3)))

  @parameterized.named_parameters(
    ("lengths", [0], [0, 1], 2, "1 predictions but 2 references"),
    ("empty", [], [], 2, "no examples"),
    ("hidden", [0, 1], [0, -1], 2, r"references\[1\] is -1.*Leave out"),
    ("too_large", [0, 2], [0, 1], 2, r"predictions\[1\] is 2.*0 to 1"),
    ("texts", ["yes"], ["no"], 2, "option indices.*rouge1"),
    ("no_options", [0], [0], None, "needs options="),
    ("matrix", [[0]], [[0]], 2, r"int \[N\]"),
  )
  def test_errors(self, predictions, references, options, message):
    with self.assertRaisesRegex(ValueError, message):
      metrics.compute("accuracy", predictions, references, options=options)


class GenerationTest(parameterized.TestCase):
  """Metrics of texts with one or more references each."""

  @parameterized.named_parameters(
    # "the cat sat" against "the cat ate": two of three words on both sides;
    # one of two pairs; the longest common subsequence is "the cat".
    ("rouge1", "rouge1", 200 / 3),
    ("rouge2", "rouge2", 50.0),
    ("rougeL", "rougeL", 200 / 3),
  )
  def test_rouge_by_hand(self, name, expected):
    value = metrics.compute(name, ["the cat sat"], [["the cat ate"]])
    self.assertAlmostEqual(value, expected)

  @parameterized.parameters("rouge1", "rouge2", "rougeL")
  def test_rouge_is_the_best_reference_averaged(self, name):
    predictions = ["A dog runs over the wide field.", "It snowed all night."]
    references = [
      ["The dog runs.", "A dog ran over a field.", "Nothing."],
      ["Snow fell all night."],
    ]
    scorer = rouge_scorer.RougeScorer([name])
    best = [
      max(scorer.score(text, prediction)[name].fmeasure for text in texts)
      for prediction, texts in zip(predictions, references, strict=True)
    ]
    value = metrics.compute(name, predictions, references)
    self.assertAlmostEqual(value, 100 * sum(best) / 2)

  def test_bleu_by_hand(self):
    """Precisions 5/6, 3/5, 1/4 and, smoothed, 1 of 2 * 3; equal lengths."""
    value = metrics.compute("bleu", ["a b c d x e"], [["a b c y x e"]])
    # Matching n-grams: a b c x e; ab bc xe; abc; none of 4 words, which is
    # smoothed to 1 / (2 * 3).
    expected = 100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25
    self.assertAlmostEqual(value, expected)

  def test_sacrebleu_agrees(self):
    predictions = ["The house is small.", "He bought two red apples today."]
    references = [["The house is little."], ["Today he bought two red apples."]]
    direct = sacrebleu.corpus_bleu(predictions, [[r[0] for r in references]])
    value = metrics.compute("bleu", predictions, references)
    self.assertAlmostEqual(value, direct.score)

  def test_bleu_with_different_numbers_of_references(self):
    predictions = ["the small house", "two red apples were bought"]
    references = [["the little house", "the small house"], ["he bought two"]]
    streams = [["the little house", "he bought two"], ["the small house", None]]
    self.assertAlmostEqual(
      metrics.compute("bleu", predictions, references),
      sacrebleu.corpus_bleu(predictions, streams).score,
    )
    self.assertRegex(
      text_metrics.bleu_signature(predictions, references), "^nrefs:var"
    )

  def test_bleu_signature_is_what_the_metric_says_of_itself(self):
    signature = text_metrics.bleu_signature(["a cat"], [["a cat"]])
    self.assertIn("case:mixed|eff:no|tok:13a|smooth:exp", signature)
    self.assertIn(
      "case:mixed|eff:no|tok:13a|smooth:exp",
      metrics.METRICS["bleu"].describe(),
    )
    self.assertIn(sacrebleu.__version__, signature)

  def test_empty_predictions_score_nothing(self):
    for name in ("rouge1", "rougeL", "bleu"):
      self.assertEqual(metrics.compute(name, [""], [["a cat"]]), 0)

  @parameterized.named_parameters(
    ("bare_string", ["a"], ["a"], r"references\[0\] must be a list"),
    ("no_reference", ["a"], [[]], r"references\[0\]"),
    ("index", [1], [["a"]], r"predictions\[0\] must be a text.*accuracy"),
  )
  def test_errors(self, predictions, references, message):
    with self.assertRaisesRegex(ValueError, message):
      metrics.compute("rouge1", predictions, references)


class TableTest(parameterized.TestCase):
  def test_unknown_metric_is_answered_with_a_guess(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'accuracy'"):
      metrics.compute("acuracy", [0], [0], options=2)

  @parameterized.parameters(*metrics.METRICS)
  def test_a_perfect_answer_scores_100(self, name):
    if metrics.METRICS[name].kind is schema.TaskKind.CLASSIFICATION:
      value = metrics.compute(
        name, [0, 1], [0, 1], options=2, groups=["a", "b"]
      )
    else:
      text = "one two three four five"
      value = metrics.compute(name, [text], [[text]])
    self.assertAlmostEqual(value, 100)
    self.assertRegex(metrics.METRICS[name].describe(), r"\d+\.\d+")


class ExamplesTest(parameterized.TestCase):
  """Scores of single examples, and their relation to the metric of a set."""

  @parameterized.parameters(
    *(name for name, m in metrics.METRICS.items() if not m.stand_in)
  )
  def test_a_metric_is_the_mean_of_its_examples(self, name):
    metric = metrics.METRICS[name]
    args = (_PREDICTIONS, _REFERENCES)
    if metric.kind is schema.TaskKind.GENERATION:
      args = (
        ["the cat sat", "1. a 7", "", "x"],
        [["a cat sat", "cat"], ["1. a 7"], ["y"], ["the x"]],
      )
    each = metric.per_example(*args)
    self.assertLen(each, len(args[0]))
    value = metrics.compute(name, *args, options=3)
    self.assertAlmostEqual(np.mean(each), value)
    self.assertBetween(value, 1, 99)

  def test_those_that_are_no_mean_say_what_stands_in(self):
    found = {name: m.stand_in for name, m in metrics.METRICS.items()}
    self.assertEqual(found["f1"], "accuracy")
    self.assertIn("sentence BLEU", found["bleu"])
    each = metrics.METRICS["f1"].per_example([1, 0], [1, 1])
    self.assertEqual(each.tolist(), [100, 0])

  def test_bleu_is_that_of_the_sums_of_its_counts(self):
    predictions = ["the small house is old", "two apples", "", "a b c d e"]
    references = [["the little house is old"], ["two red apples", "apples"]]
    references += [["nothing"], ["a b c d e f"]]
    counts = text_metrics.bleu_counts(predictions, references)
    self.assertEqual(counts.shape, (4, 10))
    self.assertAlmostEqual(
      text_metrics.bleu_of_counts(counts.sum(axis=0)),
      metrics.compute("bleu", predictions, references),
    )

  def test_sentence_bleu_is_sacrebleu_s(self):
    (value,) = metrics.METRICS["bleu"].per_example(["a b c"], [["a b d"]])
    expected = sacrebleu.sentence_bleu("a b c", ["a b d"]).score
    self.assertAlmostEqual(value, expected)

  def test_equal_answers(self):
    equal = {name: m.equal for name, m in metrics.METRICS.items()}
    self.assertTrue(equal["squad_f1"]("The sea.", "sea"))
    self.assertTrue(equal["drop_f1"]("7.0", "7"))
    self.assertFalse(equal["exact_match"]("The sea.", "sea"))
    for name in ("bleu", "rouge1", "turn_f1", "accuracy"):
      self.assertIsNone(equal[name])


class MajorityTest(absltest.TestCase):
  def test_majority(self):
    self.assertEqual(classification_metrics.majority_accuracy([0, 1, 1, 2]), 50)
    self.assertEqual(
      classification_metrics.majority_accuracy(np.array([2, 2])), 100
    )
    with self.assertRaisesRegex(ValueError, "hidden"):
      classification_metrics.majority_accuracy([0, -1])
    with self.assertRaisesRegex(ValueError, "list of correct options is empty"):
      classification_metrics.majority_accuracy(np.array([], np.int64))

  def test_half_interval_by_hand(self):
    """p = 1/2, n = 100: 1.96 * sqrt(0.25 / 100) = 9.8 points."""
    self.assertAlmostEqual(
      classification_metrics.half_interval(50, 100), 9.8, places=3
    )
    self.assertEqual(classification_metrics.half_interval(100, 10), 0)
    with self.assertRaisesRegex(ValueError, "1 or more"):
      classification_metrics.half_interval(50, 0)

  def test_half_interval_covers_95_percent_of_draws(self):
    right = np.random.default_rng(0).binomial(400, 0.6, size=20_000) / 4
    half = classification_metrics.half_interval(60, 400)
    covered = np.mean(np.abs(right - 60) <= half)
    self.assertAlmostEqual(covered, 0.95, delta=0.01)


if __name__ == "__main__":
  absltest.main()
