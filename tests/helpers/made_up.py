"""Results that nobody measured, for tests of what shows results."""

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from flan_tf.eval import prediction_log, results
from flan_tf.task import schema

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


def evaluation(label, seed, tasks=TASKS, **changes):
  """Made-up scores of many tasks, the same for the same seed."""
  rng = random.Random(seed)
  found = []
  for task, cluster, metric, majority in tasks:
    centre = (majority or 20) + rng.uniform(-2, 14) * (label == "tuned")
    found.append(
      results.TaskResult(
        task=task,
        dataset=task,
        cluster=cluster,
        kind=schema.TaskKind.CLASSIFICATION
        if majority
        else schema.TaskKind.GENERATION,
        metric=metric,
        templates=tuple(
          results.TemplateScore(
            index,
            test=rng.gauss(centre, 4),
            dev=rng.gauss(centre, 5),
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
  return results.EvaluationResults(
    **{
      "checkpoint": f"runs/{label}/ckpt-300",
      "label": label,
      "tasks": tuple(found),
      "held_out": "nli",
      "not_read": {"snli": "not prepared: no folder snli | 1.1.0"},
      "settings": {"scoring": "LOGLIKELIHOOD", "max_rows": 500},
    }
    | changes
  )


def with_task(found, task, **changes):
  """The same results, one task's changed."""
  return dataclasses.replace(
    found,
    tasks=tuple(
      dataclasses.replace(r, **changes) if r.task == task else r
      for r in found.tasks
    ),
  )


def undefined(found, task, templates):
  """The same results, without a value for some templates of a task."""
  scores = tuple(
    dataclasses.replace(s, test=math.nan if s.template in templates else s.test)
    for s in found.get(task).templates
  )
  return with_task(found, task, templates=scores)


def line(template, row, right, **changes):
  """One answered request, of two options or, with choice=None, a text."""
  value = {
    "part": prediction_log.TEST,
    "template": template,
    "row": row,
    "prompt": f"question {row}, asked as {template}",
    "exemplars": 0,
    "trimmed": False,
    "answer": "yes" if right else "no",
    "references": ("yes",),
    "group": "",
    "right": right,
    "score": 100.0 * bool(right),
    "options": ("no", "yes"),
    "answer_index": 1,
    "choice": int(bool(right)),
    "scores": (-2.0, -1.0) if right else (-1.0, -2.0),
    "values": (-2.0, -1.0) if right else (-1.0, -2.0),
  } | changes
  if value["choice"] is None:
    value |= {"options": (), "answer_index": -1, "scores": (), "values": ()}
  return prediction_log.PredictionLine(**value)


def keep(
  folder: str,
  task: str,
  lines: Sequence[prediction_log.PredictionLine],
  header: Mapping[str, Any],
) -> None:
  """Writes the file of a task's predictions."""
  kept = prediction_log.PredictionLog(
    folder, task, header, len(lines), max(1, len(lines))
  )
  kept.write(0, lines)
  kept.finish()
