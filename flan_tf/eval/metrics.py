"""The metrics by name: predictions and references in, one percentage out.

A classification metric compares option indices (`classification_metrics`). A
generation metric compares texts with one or more right answers each
(`text_metrics`, and `qa_metrics` for short answers). Values are 0 to 100,
correlations -100 to 100; more is better.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from flan_tf import name_lists
from flan_tf.eval import classification_metrics, qa_metrics, text_metrics
from flan_tf.eval.metric import (
  OURS,
  Metric,
  answer_metric,
  choice_metric,
  rouge_metric,
  text_metric,
)
from flan_tf.task.schema import TaskKind


def compute(
  name: str,
  predictions: Sequence[Any],
  references: Sequence[Any],
  options: int | None = None,
  groups: Sequence[str] = (),
) -> float:
  """Computes a metric, as a percentage.

  Args:
    name: a key of METRICS.
    predictions: for a classification the index of the chosen option of each
      example, int [N]; for a generation N texts.
    references: for a classification the index of the right option, int [N],
      never hidden (-1); for a generation N non-empty lists of right answers.
    options: number of options of a classification; the largest number if
      examples differ in it.
    groups: group of each example, [N]; only for grouped metrics.

  Returns:
    The value; nan where it is undefined, e.g. a correlation with a constant.

  Raises:
    ValueError: the name is unknown, or the arguments do not fit together.
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
    raise ValueError(
      f"Metric {name!r}: no examples to score; expected one or more."
    )
  if metric.kind is TaskKind.CLASSIFICATION:
    choices = _checked_choices(metric, predictions, references, options, groups)
    return float(metric.function(choices))
  _check_texts(name, predictions, references)
  return float(metric.function(predictions, references))


def _checked_choices(
  metric: Metric,
  predictions: Sequence[int],
  references: Sequence[int],
  options: int | None,
  groups: Sequence[str],
) -> classification_metrics.Choices:
  where = f"Metric {metric.name!r}"
  hint = f"Texts need a generation metric: {_names(TaskKind.GENERATION)}."
  chosen, right = (
    classification_metrics.check_indices(f"{where}: {what}", x, options, hint)
    for what, x in (("predictions", predictions), ("references", references))
  )
  if options is None or options < 2:
    raise ValueError(
      f"{where} needs options=, the number of options (2 or more); got"
      f" {options}."
    )
  if metric.grouped and (len(groups) != len(right) or not all(groups)):
    raise ValueError(
      f"{where} needs the group of each of {len(right)} examples; got"
      f" {len(list(filter(None, groups)))}. The task's field function must"
      " return `group`."
    )
  return classification_metrics.Choices(chosen, right, options, groups)


def _check_texts(
  name: str, predictions: Sequence[Any], references: Sequence[Any]
) -> None:
  for index, (text, right) in enumerate(
    zip(predictions, references, strict=True)
  ):
    if not isinstance(text, str):
      raise ValueError(
        f"Metric {name!r}: predictions[{index}] must be a text, got {text!r}."
        " Option indices need a classification metric:"
        f" {_names(TaskKind.CLASSIFICATION)}."
      )
    # A plain string would be read as a list of its letters.
    if isinstance(right, str) or not len(right):
      raise ValueError(
        f"Metric {name!r}: references[{index}] must be a list of one or more"
        f" texts, got {right!r}."
      )


def _names(kind: TaskKind) -> str:
  names = [name for name, metric in METRICS.items() if metric.kind is kind]
  return ", ".join(names)


_ALL = (
  choice_metric(
    "accuracy",
    "scikit-learn",
    "share of right options",
    classification_metrics.accuracy,
  ),
  choice_metric(
    "f1",
    "scikit-learn",
    "F1 of the last of two options",
    classification_metrics.f1,
  ),
  choice_metric(
    "macro_f1",
    "scikit-learn",
    "mean F1 of all options, 0 for one that never occurs",
    classification_metrics.macro_f1,
  ),
  choice_metric(
    "matthews",
    "scikit-learn",
    "100 times Matthews' correlation, 0 for constants",
    classification_metrics.matthews,
  ),
  choice_metric(
    "group_exact_match",
    OURS,
    "share of groups with every option right",
    classification_metrics.group_exact_match,
    grouped=True,
  ),
  choice_metric(
    "pearson",
    "scipy",
    "100 times Pearson's r, undefined for constants",
    classification_metrics.pearson,
  ),
  choice_metric(
    "spearman",
    "scipy",
    "100 times Spearman's rho, undefined for constants",
    classification_metrics.spearman,
  ),
  rouge_metric("rouge1", "single words"),
  rouge_metric("rouge2", "pairs of words"),
  rouge_metric("rougeL", "the longest common subsequence"),
  Metric(
    name="bleu",
    kind=TaskKind.GENERATION,
    package="sacrebleu",
    about="corpus BLEU, case:mixed|eff:no|tok:13a|smooth:exp",
    function=text_metrics.corpus_bleu,
    per_example=text_metrics.sentence_bleu,
    stand_in="sentence BLEU, eff:yes",
  ),
  text_metric(
    "word_similarity",
    "rapidfuzz",
    "1 - edit distance in words / words of the longer text",
    functools.partial(text_metrics.answer_scores, qa_metrics.word_similarity),
  ),
  answer_metric(
    "exact_match",
    "share of equal texts",
    qa_metrics.exact_match,
    qa_metrics.exact_match,
  ),
  answer_metric("turn_f1", "F1 of words, answer by answer", qa_metrics.turn_f1),
  answer_metric(
    "squad_em",
    "share of equal answers, as SQuAD",
    qa_metrics.squad_em,
    qa_metrics.squad_em,
  ),
  answer_metric(
    "squad_f1",
    "F1 of words, as SQuAD",
    qa_metrics.squad_f1,
    qa_metrics.squad_em,
  ),
  answer_metric(
    "trivia_qa_em",
    "share of equal answers, as TriviaQA",
    qa_metrics.trivia_qa_em,
    qa_metrics.trivia_qa_em,
  ),
  answer_metric(
    "trivia_qa_f1",
    "F1 of words, as TriviaQA",
    qa_metrics.trivia_qa_f1,
    qa_metrics.trivia_qa_em,
  ),
  answer_metric(
    "drop_em",
    "share of equal answers, as DROP",
    qa_metrics.drop_em,
    qa_metrics.drop_em,
  ),
  answer_metric(
    "drop_f1", "F1 of words, as DROP", qa_metrics.drop_f1, qa_metrics.drop_em
  ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
