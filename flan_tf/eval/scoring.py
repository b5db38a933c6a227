"""Answers become lines of a journal, and lines become numbers.

Every number of an evaluation comes from lines, whether they were made just now
or read back: what a stopped run finds is what one never stopped does.
"""

import math
from collections.abc import Sequence

from flan_tf.eval import metrics, prediction_log
from flan_tf.inference import predictions
from flan_tf.task import schema


def about_score(metric: str) -> str:
  """What `Line.score` is, where `metric` is the headline metric."""
  return metrics.METRICS[metric].stand_in or metric


def lines_of(
  task: schema.Task,
  places: Sequence[tuple[str, int]],
  answered: Sequence[predictions.Prediction],
) -> list[prediction_log.PredictionLine]:
  """Lines of answered requests.

  Args:
    task: what they are of.
    places: the part and the template of each.
    answered: the answers.
  """
  if not answered:
    return []
  metric = metrics.METRICS[task.metrics[0]]
  given = [
    _choice(p.request.answer_index, p.choice, p.text, p.request.references)
    for p in answered
  ]
  if metric.kind is schema.TaskKind.CLASSIFICATION:
    wanted = [p.request.answer_index for p in answered]
    scores = metric.per_example(given, wanted)
  else:
    scores = metric.per_example(
      [p.text for p in answered], [p.request.references for p in answered]
    )
  return [
    prediction_log.PredictionLine(
      part=part,
      template=template,
      row=p.request.row,
      prompt=p.request.prompt,
      exemplars=p.request.exemplars,
      trimmed=p.trimmed,
      answer=p.text,
      references=p.request.references,
      group=p.request.group,
      right=_is_right(task, metric, p),
      score=float(score),
      options=p.request.options,
      answer_index=p.request.answer_index,
      choice=p.choice,
      scores=p.scores,
      values=p.values,
    )
    for (part, template), p, score in zip(places, answered, scores, strict=True)
  ]


def measure(
  names: Sequence[str], lines: Sequence[prediction_log.PredictionLine]
) -> dict[str, float]:
  """Metrics of the lines of one template and part; empty without lines.

  Args:
    names: the task's metrics, the headline one first.
    lines: what was answered.
  """
  if not lines:
    return {}
  return {name: _value(name, names[0], lines) for name in names}


def _value(
  name: str, headline: str, lines: Sequence[prediction_log.PredictionLine]
) -> float:
  metric = metrics.METRICS[name]
  if name == headline and not metric.stand_in:
    return math.fsum(line.score for line in lines) / len(lines)
  if metric.kind is schema.TaskKind.CLASSIFICATION:
    # Rows may differ in their number of options.
    options = max(len(line.options) for line in lines)
    indices = [line.answer_index for line in lines]
    groups = [line.group for line in lines]
    return metrics.compute(name, choices(lines), indices, options, groups)
  texts = [line.answer for line in lines]
  return metrics.compute(name, texts, [line.references for line in lines])


def signature(
  metric: str, lines: Sequence[prediction_log.PredictionLine]
) -> str:
  """How sacrebleu computes BLEU of these lines; empty for other metrics."""
  if metric != "bleu" or not lines:
    return ""
  texts = [line.answer for line in lines]
  return metrics.bleu_signature(texts, [line.references for line in lines])


def choices(lines: Sequence[prediction_log.PredictionLine]) -> list[int]:
  """What was chosen; of several right options, each counts as the first."""
  return [
    _choice(line.answer_index, line.choice, line.answer, line.references)
    for line in lines
  ]


def _choice(answer_index, choice, text, references) -> int:
  return answer_index if text in references else choice


def _is_right(task, metric, prediction) -> bool | None:
  right = prediction.request.references
  if task.kind is schema.TaskKind.CLASSIFICATION:
    return prediction.text in right
  if metric.equal is None:
    return None
  return any(metric.equal(prediction.text, text) for text in right)
