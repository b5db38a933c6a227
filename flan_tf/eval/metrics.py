"""Metrics by name: predictions and references in, one number out.

A classification metric compares option indices; a generation metric compares
texts with one or more right answers each. Every value is a percentage: 0 to
100, except that correlations run from -100 to 100; more is better. The formulas
are those of scikit-learn, scipy, rouge-score, sacrebleu and rapidfuzz; only how
short answers are compared is written here, in `flan_tf.eval.qa_metrics`.
"""

import dataclasses
import functools
import importlib.metadata
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flan_tf import name_lists
from flan_tf.version import __version__
from flan_tf.eval import qa_metrics
from flan_tf.task import schema

# Standard deviations of the normal distribution that hold 95 % of it.
_Z95 = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Metric:
  """One metric.

  Attributes:
    name: as tasks list it, e.g. `macro_f1`.
    kind: which predictions it takes: option indices or texts.
    package: the distribution that computes it; its version is reported.
    about: what the number is, in a clause.
    function: (predictions, references, number of options or None) -> float;
      where `grouped`, the group of each example takes the number's place.
    per_example: (predictions, references) -> float [N], 0 to 100; the metric
      is their mean, unless there is a `stand_in`.
    stand_in: what `per_example` gives of a metric that only sets have.
    equal: of texts, whether a prediction equals a reference after the metric's
      own normalization; None where it has none.
    grouped: whether examples are judged in groups.
  """

  name: str
  kind: schema.TaskKind
  package: str
  about: str
  function: Callable[..., float]
  per_example: Callable[..., np.ndarray]
  stand_in: str = ""
  equal: Callable[[str, str], float] | None = None
  grouped: bool = False

  def describe(self) -> str:
    """What the number is and which version of which package computed it."""
    if self.package == _OURS:
      return f"{self.about} ({_OURS} {__version__})"
    version = importlib.metadata.version(self.package)
    return f"{self.about} ({self.package} {version})"


def compute(
  name: str,
  predictions: Sequence[Any],
  references: Sequence[Any],
  options: int | None = None,
  groups: Sequence[str] = (),
) -> float:
  """The named metric, as a percentage.

  Args:
    name: a key of METRICS.
    predictions: classification: int [N], the chosen option of each example;
      generation: N texts.
    references: classification: int [N], the right option, never hidden (-1);
      generation: N non-empty lists of right answers.
    options: how many options there are; classification only. Where rows differ
      in it, the largest number.
    groups: which examples belong together, [N]; of grouped metrics only.

  Returns:
    The value; nan where it is undefined: a correlation with a constant.

  Raises:
    ValueError: an unknown name, or inputs that do not fit together.
  """
  if name not in METRICS:
    raise ValueError(name_lists.unknown_name("metric", name, METRICS))
  metric = METRICS[name]
  if len(predictions) != len(references):
    raise ValueError(
      f"Metric {name!r}: {len(predictions)} predictions but"
      f" {len(references)} references; expected one each per example."
    )
  if not len(references):
    raise ValueError(f"Metric {name!r}: no examples to score.")
  if metric.kind is schema.TaskKind.CLASSIFICATION:
    chosen = _indices(name, "predictions", predictions, options)
    right = _indices(name, "references", references, options)
    if not metric.grouped:
      return float(metric.function(chosen, right, options))
    if len(groups) != len(right) or not all(groups):
      raise ValueError(
        f"Metric {name!r} needs the group of each of {len(right)} examples; got"
        f" {len(list(filter(None, groups)))}. The task's field function gives"
        " `group`."
      )
    return float(metric.function(chosen, right, groups))
  _check_texts(name, predictions, references)
  return float(metric.function(predictions, references, options))


def majority(references: Sequence[int] | np.ndarray) -> float:
  """Accuracy of always giving the most frequent right option, 0 to 100."""
  right = _indices("majority", "references", references, None)
  if not right.size:
    raise ValueError("Majority baseline: no examples.")
  return 100.0 * float(np.bincount(right).max()) / right.size


def half_interval(accuracy: float, examples: int) -> float:
  """Half the 95 % interval of an accuracy over `examples` rows, in points.

  The normal approximation of a binomial: 1.96 sqrt(p (1 - p) / n). Too narrow
  for a handful of rows, and 0 where all or none are right.
  """
  if examples < 1 or not 0 <= accuracy <= 100:
    raise ValueError(
      f"Expected an accuracy of 0 to 100 over 1 or more examples, got"
      f" {accuracy} over {examples}."
    )
  share = accuracy / 100
  return 100 * _Z95 * math.sqrt(share * (1 - share) / examples)


def bleu_signature(
  predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> str:
  """sacrebleu's signature of `compute("bleu", ...)` on the same texts.

  >>> bleu_signature(["a cat"], [["a cat"]])
  'nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0'
  """
  _check_texts("bleu", predictions, references)
  return _corpus_bleu(predictions, references)[1]


def _accuracy(predictions, references, options):
  del options
  from sklearn import metrics

  return 100 * metrics.accuracy_score(references, predictions)


def _f1(predictions, references, options):
  if options != 2:
    raise ValueError(
      f"Metric 'f1' is binary, but there are {options} options. Use"
      " 'macro_f1' for more than two."
    )
  from sklearn import metrics

  return 100 * metrics.f1_score(
    references, predictions, pos_label=1, zero_division=0
  )


def _macro_f1(predictions, references, options):
  from sklearn import metrics

  # All options count, as in T5's metric for CB: one that never occurs and is
  # never predicted has an F1 of 0.
  return 100 * metrics.f1_score(
    references,
    predictions,
    labels=range(options),
    average="macro",
    zero_division=0,
  )


def _matthews(predictions, references, options):
  del options
  from sklearn import metrics

  return 100 * metrics.matthews_corrcoef(references, predictions)


def _group_exact_match(predictions, references, groups):
  """Share of groups of which every example is right (MultiRC's EM)."""
  right: dict[str, bool] = {}
  for group, one, other in zip(groups, predictions, references, strict=True):
    right[group] = right.get(group, True) and bool(one == other)
  return 100 * sum(right.values()) / len(right)


def _correlation(function_name, predictions, references, options):
  del options
  # Undefined for constants. scipy says so with a warning; we with nan alone.
  if not (np.ptp(predictions) and np.ptp(references)):
    return math.nan
  from scipy import stats

  return 100 * getattr(stats, function_name)(predictions, references).statistic


def _mean(per_example, predictions, references, options):
  del options
  return float(np.mean(per_example(predictions, references)))


def _is_right(predictions, references) -> np.ndarray:
  return 100.0 * (np.asarray(predictions) == np.asarray(references))


def _rouge(score_name, predictions, references) -> np.ndarray:
  scorer = _rouge_scorer(score_name)
  scores = [
    scorer.score_multi(texts, prediction)[score_name].fmeasure
    for prediction, texts in zip(predictions, references, strict=True)
  ]
  return 100 * np.array(scores)


@functools.cache
def _rouge_scorer(score_name):
  from rouge_score import rouge_scorer

  return rouge_scorer.RougeScorer([score_name])


def _answers(score, predictions, references) -> np.ndarray:
  scores = [
    qa_metrics.best(score, text, right)
    for text, right in zip(predictions, references, strict=True)
  ]
  return 100 * np.array(scores)


def _bleu(predictions, references, options):
  del options
  return _corpus_bleu(predictions, references)[0]


def _corpus_bleu(predictions, references) -> tuple[float, str]:
  """(BLEU, signature).

  sacrebleu wants references by rank, not by example; None fills the gaps:

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


def bleu_counts(
  predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
  """What corpus BLEU is made of, of each sentence: it is that of the sums.

  Returns:
    int64 [N, 10]: matches and n-grams of 1 to 4 words, and the words of the
    prediction and of the closest reference.
  """
  found = [
    [*score.counts, *score.totals, score.sys_len, score.ref_len]
    for score in _sentence_bleu(predictions, references)
  ]
  return np.array(found, np.int64)


def bleu_of_counts(counts: np.ndarray) -> float:
  """Corpus BLEU of sums of `bleu_counts`, [10]."""
  from sacrebleu.metrics.bleu import BLEU

  *numbers, words, wanted = (int(count) for count in counts)
  return BLEU.compute_bleu(
    numbers[:4], numbers[4:], words, wanted, smooth_method="exp"
  ).score


def _sentence_bleu(predictions, references) -> list[Any]:
  from sacrebleu.metrics.bleu import BLEU

  bleu = BLEU(effective_order=True)  # As single sentences want it.
  return [
    bleu.sentence_score(text, list(right))
    for text, right in zip(predictions, references, strict=True)
  ]


def _bleu_per_example(predictions, references) -> np.ndarray:
  scores = _sentence_bleu(predictions, references)
  return np.array([score.score for score in scores])


def _indices(name, what, values, options) -> np.ndarray:
  """`values` as int64 [N], checked."""
  array = np.asarray(values)
  if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
    raise ValueError(
      f"Metric {name!r}: {what} must be option indices, int [N]; got"
      f" {array.dtype} {list(array.shape)}. Texts want a generation metric:"
      f" {', '.join(_names(schema.TaskKind.GENERATION))}."
    )
  if name != "majority" and (options is None or options < 2):
    raise ValueError(
      f"Metric {name!r} needs options=, the number of options (2 or more);"
      f" got {options}."
    )
  limit = math.inf if options is None else options
  wrong = np.flatnonzero((array < 0) | (array >= limit))
  if wrong.size:
    raise ValueError(
      f"Metric {name!r}: {what}[{wrong[0]}] is {array[wrong[0]]}, not one of"
      f" the options 0 to {limit - 1}. Leave out rows whose label is hidden"
      " (-1) before scoring."
    )
  return array.astype(np.int64)


def _check_texts(name, predictions, references) -> None:
  for index, (text, right) in enumerate(
    zip(predictions, references, strict=True)
  ):
    if not isinstance(text, str):
      raise ValueError(
        f"Metric {name!r}: predictions[{index}] must be a text, got {text!r}."
        " Option indices want a classification metric:"
        f" {', '.join(_names(schema.TaskKind.CLASSIFICATION))}."
      )
    # A bare string would be read as a list of its letters.
    if isinstance(right, str) or not len(right):
      raise ValueError(
        f"Metric {name!r}: references[{index}] must be a list of one or more"
        f" texts, got {right!r}."
      )


def _names(kind: schema.TaskKind) -> list[str]:
  return [name for name, metric in METRICS.items() if metric.kind is kind]


_CHOICE = schema.TaskKind.CLASSIFICATION
_TEXT = schema.TaskKind.GENERATION
_OURS = "flan_tf"


def _of_options(name, package, about, function, **more) -> Metric:
  """A metric of choices; where it is no mean, accuracy stands in for one."""
  stand_in = "" if name == "accuracy" else "accuracy"
  return Metric(
    name, _CHOICE, package, about, function, _is_right, stand_in, **more
  )


def _of_texts(name, package, about, per_example, equal=None) -> Metric:
  """A metric that is the mean of what single texts reach."""
  function = functools.partial(_mean, per_example)
  return Metric(name, _TEXT, package, about, function, per_example, equal=equal)


def _of_answers(name, about, score, equal=None) -> Metric:
  """The mean over examples of a score of `answers`."""
  each = functools.partial(_answers, score)
  about = f"{about}, best of the references"
  return _of_texts(name, _OURS, about, each, equal)


def _official(name, script, equal, f1) -> tuple[Metric, Metric]:
  """Exact match and F1 of a data set's own script."""
  return (
    _of_answers(
      f"{name}_em", f"share of equal answers, as {script}", equal, equal
    ),
    _of_answers(f"{name}_f1", f"F1 of words, as {script}", f1, equal),
  )


METRICS: Mapping[str, Metric] = {
  metric.name: metric
  for metric in (
    _of_options(
      "accuracy", "scikit-learn", "share of right options", _accuracy
    ),
    _of_options("f1", "scikit-learn", "F1 of the last of two options", _f1),
    _of_options(
      "macro_f1",
      "scikit-learn",
      "mean F1 of all options, 0 for one that never occurs",
      _macro_f1,
    ),
    _of_options(
      "matthews",
      "scikit-learn",
      "100 times Matthews' correlation, 0 for constants",
      _matthews,
    ),
    _of_options(
      "group_exact_match",
      _OURS,
      "share of groups with every option right",
      _group_exact_match,
      grouped=True,
    ),
    _of_options(
      "pearson",
      "scipy",
      "100 times Pearson's r, undefined for constants",
      functools.partial(_correlation, "pearsonr"),
    ),
    _of_options(
      "spearman",
      "scipy",
      "100 times Spearman's rho, undefined for constants",
      functools.partial(_correlation, "spearmanr"),
    ),
    *(
      _of_texts(
        name,
        "rouge-score",
        f"F-measure of {what}, no stemming, best of the references",
        functools.partial(_rouge, name),
      )
      for name, what in (
        ("rouge1", "single words"),
        ("rouge2", "pairs of words"),
        ("rougeL", "the longest common subsequence"),
      )
    ),
    Metric(
      "bleu",
      _TEXT,
      "sacrebleu",
      "corpus BLEU, case:mixed|eff:no|tok:13a|smooth:exp",
      _bleu,
      _bleu_per_example,
      stand_in="sentence BLEU, eff:yes",
    ),
    _of_texts(
      "word_similarity",
      "rapidfuzz",
      "1 - edit distance in words / words of the longer text",
      functools.partial(_answers, qa_metrics.word_similarity),
    ),
    _of_answers(
      "exact_match", "share of equal texts", qa_metrics.exact, qa_metrics.exact
    ),
    _of_answers("turn_f1", "F1 of words, answer by answer", qa_metrics.turn_f1),
    *_official("squad", "SQuAD", qa_metrics.squad_em, qa_metrics.squad_f1),
    *_official(
      "trivia_qa", "TriviaQA", qa_metrics.trivia_qa_em, qa_metrics.trivia_qa_f1
    ),
    *_official("drop", "DROP", qa_metrics.drop_em, qa_metrics.drop_f1),
  )
}
