"""Metrics of generated texts, computed by rouge-score and sacrebleu.

Each prediction has one or more references, i.e. right answers. All values are
percentages. More is better.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flan_tf.eval import qa_metrics


def rouge_scores(
  name: str, predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
  """Returns the ROUGE F-measure of each prediction, float64 [N].

  Args:
    name: "rouge1", "rouge2" or "rougeL".
    predictions: N texts.
    references: right answers of each prediction; the best match counts.
  """
  scorer = _rouge_scorer(name)
  scores = [
    scorer.score_multi(texts, prediction)[name].fmeasure
    for prediction, texts in zip(predictions, references, strict=True)
  ]
  return 100 * np.array(scores)


@functools.cache
def _rouge_scorer(name: str):
  from rouge_score import rouge_scorer

  return rouge_scorer.RougeScorer([name])


def answer_scores(
  score: Callable[[str, str], float],
  predictions: Sequence[str],
  references: Sequence[Sequence[str]],
) -> np.ndarray:
  """Returns the score of each short answer, float64 [N].

  Args:
    score: one of the functions of `qa_metrics`.
    predictions: N texts.
    references: right answers of each prediction; the best match counts.
  """
  scores = [
    qa_metrics.best_score(score, text, right)
    for text, right in zip(predictions, references, strict=True)
  ]
  return 100 * np.array(scores)


def corpus_bleu(
  predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
  """Returns BLEU of all predictions together."""
  return _corpus_bleu(predictions, references)[0]


def bleu_signature(
  predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> str:
  """Returns sacrebleu's signature of `corpus_bleu` on the same texts.

  >>> bleu_signature(["a cat"], [["a cat"]])
  'nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0'
  """
  return _corpus_bleu(predictions, references)[1]


def _corpus_bleu(
  predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[float, str]:
  """Returns (BLEU, signature).

  sacrebleu expects the first references of all predictions, then the second
  ones, and so on. None fills the gaps:

    [[a1, a2], [b1]]  becomes  [[a1, b1], [a2, None]]
  """
  from sacrebleu.metrics.bleu import BLEU

  most = max(len(texts) for texts in references)
  streams: list[Any] = [
    [texts[rank] if rank < len(texts) else None for texts in references]
    for rank in range(most)
  ]
  bleu = BLEU()
  score = bleu.corpus_score(list(predictions), streams).score
  return score, str(bleu.get_signature())


def sentence_bleu(
  predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
  """Returns BLEU of each prediction alone, float64 [N]."""
  scores = _sentence_scores(predictions, references)
  return np.array([score.score for score in scores])


def bleu_counts(
  predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
  """Returns the counts that corpus BLEU is computed from.

  Summed over predictions, they give corpus BLEU: see `bleu_of_counts`.

  Returns:
    int64 [N, 10]: number of matching n-grams of 1 to 4 words, number of
    n-grams of 1 to 4 words, number of words of the prediction, and number of
    words of the closest reference.
  """
  counts = [
    [*score.counts, *score.totals, score.sys_len, score.ref_len]
    for score in _sentence_scores(predictions, references)
  ]
  return np.array(counts, np.int64)


def bleu_of_counts(counts: np.ndarray) -> float:
  """Returns corpus BLEU for a sum of `bleu_counts`, [10]."""
  from sacrebleu.metrics.bleu import BLEU

  *ngrams, words, reference_words = (int(count) for count in counts)
  return BLEU.compute_bleu(
    ngrams[:4], ngrams[4:], words, reference_words, smooth_method="exp"
  ).score


def _sentence_scores(
  predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> list[Any]:
  from sacrebleu.metrics.bleu import BLEU

  # sacrebleu recommends the effective order for single sentences.
  bleu = BLEU(effective_order=True)
  return [
    bleu.sentence_score(text, list(right))
    for text, right in zip(predictions, references, strict=True)
  ]
