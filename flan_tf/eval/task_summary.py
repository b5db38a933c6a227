"""Computes the result of a task from its scored predictions."""

import itertools
import math
from collections.abc import Sequence

from flan_tf.data import opened_tasks, random_draws
from flan_tf.eval import bootstrap, prediction_log, scoring
from flan_tf.eval.classification_metrics import majority_accuracy
from flan_tf.eval.evaluation_config import EvaluationConfig
from flan_tf.eval.scored_prediction import ScoredPrediction
from flan_tf.eval.task_requests import TaskRequests
from flan_tf.eval.task_result import TaskResult, TemplateScore
from flan_tf.task import schema


def summarize_task(
  item: opened_tasks.OpenedTask,
  task_requests: TaskRequests,
  scored: Sequence[ScoredPrediction],
  config: EvaluationConfig,
) -> TaskResult:
  """Computes the result of a task.

  Args:
    item: the task, in the wording that was evaluated, with its row ranges.
    task_requests: the requests of the task.
    scored: the predictions for all requests, in the order of the requests.
    config: settings of the evaluation.
  """
  task, headline = item.task, item.task.metrics[0]
  by_block = {
    key: list(block)
    for key, block in itertools.groupby(
      scored, lambda one: (one.request.template, one.request.part)
    )
  }
  test = [by_block[t, prediction_log.TEST] for t in task_requests.templates]
  dev = [
    by_block.get((t, prediction_log.DEV), []) for t in task_requests.templates
  ]
  intervals = bootstrap.template_intervals(
    headline,
    test,
    random_draws.random_generator(config.seed, "bootstrap", task.name),
    config.resamples,
  )
  majority = None
  if task.kind is schema.TaskKind.CLASSIFICATION:
    right = [example.answer_index for example in task_requests.test.rows]
    majority = majority_accuracy(right)
  return TaskResult(
    task=task.name,
    dataset=task.dataset,
    cluster=task.cluster,
    kind=task.kind,
    metric=headline,
    templates=tuple(
      _template_score(task, template, on_test, on_dev, interval)
      for template, on_test, on_dev, interval in zip(
        task_requests.templates, test, dev, intervals.by_template, strict=True
      )
    ),
    examples=len(task_requests.test.rows),
    dev_examples=len(task_requests.dev.rows),
    left_out=task_requests.left_out,
    trimmed=sum(one.prediction.trimmed for block in test for one in block),
    test_rows_from="; ".join([str(item.ranges.test), *item.notes]),
    majority=majority,
    interval=intervals.mean,
    signature=scoring.bleu_signature(headline, test[0]),
  )


def _template_score(
  task: schema.Task,
  template: int,
  test: Sequence[ScoredPrediction],
  dev: Sequence[ScoredPrediction],
  interval: bootstrap.Interval | None,
) -> TemplateScore:
  headline, *others = task.metrics
  on_test = scoring.compute_metrics(task.metrics, test)
  on_dev = scoring.compute_metrics([headline], dev)
  return TemplateScore(
    template,
    test=on_test[headline],
    dev=on_dev.get(headline, math.nan),
    others={name: on_test[name] for name in others},
    interval=interval,
  )
