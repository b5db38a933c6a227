"""Made-up evaluation results and prediction logs, for tests of reports."""

import dataclasses
import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flan_tf.eval import prediction_log, results, task_result
from flan_tf.eval.scored_prediction import ScoredPrediction
from flan_tf.task import schema
from tests.helpers.fake_predictions import scored

# (task, cluster, metric, majority-class accuracy)
TASKS = (
  ("anli_r1", "nli", "accuracy", 34.0),
  ("anli_r2", "nli", "accuracy", 33.6),
  ("cb", "nli", "macro_f1", 48.0),
  ("mnli_mismatched", "nli", "accuracy", 35.1),
  ("rte", "nli", "accuracy", 52.7),
  ("imdb_reviews", "sentiment", "accuracy", 50.0),
  ("sst2", "sentiment", "accuracy", 51.0),
  ("yelp_polarity_reviews", "sentiment", "accuracy", 52.0),
  ("stsb", "paraphrase", "pearson", 24.0),
  ("paws_wiki", "paraphrase", "accuracy", 55.0),
  ("cosmos_qa", "reading_comprehension_commonsense", "accuracy", 25.7),
  ("definite_pronoun_resolution", "coreference", "accuracy", 50.0),
  ("opinion_abstracts_rotten_tomatoes", "summarization", "rougeL", None),
  ("gigaword", "summarization", "rouge1", None),
  ("wmt16_translate_deen", "translation", "bleu", None),
  ("wmt14_enfr", "translation", "bleu", None),
)


def fake_evaluation(
  label: str, seed: int, tasks=TASKS, **changes: Any
) -> results.EvaluationResults:
  """Returns results of many tasks; equal seeds give equal scores.

  Args:
    label: label of the model; "tuned" gets higher scores.
    seed: seed of the scores.
    tasks: rows as in TASKS.
    **changes: other values for attributes of the results.
  """
  rng = random.Random(seed)
  task_results = []
  for task, cluster, metric, majority in tasks:
    center = (majority or 20) + rng.uniform(-2, 14) * (label == "tuned")
    task_results.append(
      task_result.TaskResult(
        task=task,
        dataset=task,
        cluster=cluster,
        kind=schema.TaskKind.CLASSIFICATION
        if majority
        else schema.TaskKind.GENERATION,
        metric=metric,
        templates=tuple(
          task_result.TemplateScore(
            index,
            test=rng.gauss(center, 4),
            dev=rng.gauss(center, 5),
            others={"accuracy": 50.0} if metric == "macro_f1" else {},
          )
          for index in range(9)
        ),
        examples=277,
        dev_examples=200,
        left_out={"hidden label": 3} if task == "rte" else {},
        test_rows_from="validation[125:250], because test has 3 rows",
        majority=majority,
      )
    )
  attributes = {
    "checkpoint": f"runs/{label}/ckpt-300",
    "label": label,
    "tasks": tuple(task_results),
    "held_out": "nli",
    "not_read": {"snli": "not prepared: no folder snli | 1.1.0"},
    "settings": {"scoring": "LOGLIKELIHOOD", "max_rows": 500},
  }
  return results.EvaluationResults(**(attributes | changes))


def change_task(
  evaluation: results.EvaluationResults, task: str, **changes: Any
) -> results.EvaluationResults:
  """Returns a copy with other attributes of one task."""
  return dataclasses.replace(
    evaluation,
    tasks=tuple(
      dataclasses.replace(result, **changes) if result.task == task else result
      for result in evaluation.tasks
    ),
  )


def remove_values(
  evaluation: results.EvaluationResults, task: str, templates: Collection[int]
) -> results.EvaluationResults:
  """Returns a copy with nan as the test score of some templates of a task."""
  result = evaluation.get(task)
  assert result is not None
  scores = tuple(
    dataclasses.replace(s, test=math.nan) if s.template in templates else s
    for s in result.templates
  )
  return change_task(evaluation, task, templates=scores)


def fake_choice(
  template: int, row: int, right: bool, **changes: Any
) -> ScoredPrediction:
  """Returns a prediction for a question with the options no and yes.

  Args:
    template: number of the template.
    row: number of the row.
    right: whether the model chooses yes, the right answer.
    **changes: other values, by the keys of a prediction log.
  """
  log_probs = (-2.0, -1.0) if right else (-1.0, -2.0)
  fields = {
    "prompt": f"question {row}, asked as {template}",
    "answer": "yes" if right else "no",
    "references": ("yes",),
    "right": right,
    "score": 100.0 * right,
    "options": ("no", "yes"),
    "answer_index": 1,
    "choice": int(right),
    "scores": log_probs,
    "values": log_probs,
  }
  return scored(template=template, row=row, **(fields | changes))


def fake_text(
  template: int, row: int, score: float, answer: str
) -> ScoredPrediction:
  """Returns a generated text; its metric does not say whether it is right."""
  prompt = f"question {row}, asked as {template}"
  return scored(
    template=template,
    row=row,
    prompt=prompt,
    answer=answer,
    references=("yes",),
    score=score,
  )


def write_log(
  folder: str,
  task: str,
  predictions: Sequence[ScoredPrediction],
  header: Mapping[str, Any],
) -> None:
  """Writes the prediction log of a task."""
  count = len(predictions)
  log = prediction_log.PredictionLogWriter(
    folder, task, header, requests=count, chunk=max(1, count)
  )
  log.write(0, predictions)
  log.finish()
