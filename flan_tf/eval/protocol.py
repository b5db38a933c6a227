"""The paper's evaluation: every template of every task, then what sums it up.

Classification: the option with the largest sum of token log-probabilities
(rank classification). Generation: greedy decoding, compared with the
references. Each template that asks for the answer is evaluated alone, on the
dev rows (to find the best one) and on the test rows (to report).
"""

import dataclasses
import itertools
import logging
import math
import sys
from collections.abc import Callable, Sequence

from flan_tf import schema, wordings
from flan_tf.data import (
  few_shot,
  pipeline,
  requests,
  split_plan,
)
from flan_tf.eval import metrics, predictions, results
from flan_tf.eval.model import Model

_log = logging.getLogger(__name__)

HIDDEN, LEFT_OUT = "hidden label", "left out by the task"


@dataclasses.dataclass(frozen=True)
class Settings:
  """How to evaluate.

  Attributes:
    max_examples: most test rows and most dev rows of a task, drawn at random;
      0 for all.
    seed: of that draw.
    templates: which templates; empty for all that ask for the answer.
    wording: see `flan_tf.wordings`.
    shots: exemplars before each query, drawn from training rows.
    exemplars: "per_query", as the paper draws them, or "fixed": the same ones
      before all queries of a template, which are read once.
    score: what options are ranked by, see `flan_tf.eval.predictions`.
    markers: around prompts and answers, as `wordings.markers` takes them;
      empty for those that the model was trained with.
  """

  max_examples: int = 0
  seed: int = 0
  templates: tuple[int, ...] = ()
  wording: str = wordings.INSTRUCTIONS
  shots: int = 0
  exemplars: str = "per_query"
  score: str = "sum"
  markers: str = ""


def evaluate(
  model: Model,
  label: str,
  checkpoint: str,
  tasks: Sequence[schema.Task],
  data_dir: str,
  settings: Settings = Settings(),
) -> results.EvaluationResults:
  """Evaluates one model on tasks; those without data are named, not skipped.

  Args:
    model: scores and generates.
    label: a short name, e.g. "base".
    checkpoint: where its weights came from.
    tasks: what to evaluate.
    data_dir: a prepared TFDS directory.
    settings: see Settings.
  """
  planned, not_read = pipeline.plan_tasks(tasks, data_dir)
  limits = predictions.limits_of(model)
  found = []
  progress = _progress(len(planned), label)
  for item in planned:
    result = _evaluate_task(model, item, limits, settings, progress)
    if isinstance(result, str):
      not_read[item.task.name] = result
    else:
      found.append(result)
  data = model.run.data
  # Where nothing is said of it, there was none.
  chat = {"chat": str(limits.chat)} if data.separator == "chat" else {}
  return results.EvaluationResults(
    checkpoint=checkpoint,
    label=label,
    tasks=tuple(found),
    held_out=model.run.held_out,
    not_read=not_read,
    seed=settings.seed,
    # Models that were tuned to answer come with a chat wrapper, others seldom.
    tuned_start=model.run.chat.given,
    settings={
      "separator": data.separator,
      **chat,
      "precision": model.run.mesh.precision,
      "max_examples": settings.max_examples,
      "row_length": data.length,
      "wording": settings.wording,
      "shots": settings.shots,
      "markers": settings.markers or data.markers,
      "score": settings.score,
      **({"exemplars": settings.exemplars} if settings.shots else {}),
    },
  )


def _evaluate_task(
  model, item: pipeline.PlannedTask, limits, settings, progress
) -> results.TaskResult | str:
  """The result, or why there is none."""
  baseline = None
  if settings.wording == wordings.BASELINE:
    baseline = item.task.baseline
    if baseline is None:
      progress(1)
      return "no baseline prompt was published for its data set"
  task = wordings.reword(item.task, settings.wording)
  item = dataclasses.replace(item, task=task)
  test = _read(item, item.plan.test, settings)
  dev = _read(item, item.plan.dev, settings)
  left_out = {HIDDEN: test.hidden, LEFT_OUT: test.left_out}
  left_out = {reason: count for reason, count in left_out.items() if count}
  templates = _templates(task, settings)
  if not test.rows:
    progress(1)
    return (
      f"no row of {item.plan.test} can be scored: {left_out or 'it is empty'}"
    )
  # All wordings at once, so that they fill rows and batches together.
  ask = _asker(model, item, limits, settings)
  asked = [
    request
    for template in templates
    for part, rows in ((item.plan.test, test.rows), (item.plan.dev, dev.rows))
    for request in ask(part, rows, template)
  ]
  stops = baseline.stops if baseline else ()
  answers = iter(
    predictions.predict(model, task, asked, limits, stops, settings.score)
  )
  scores, trimmed, headline = [], 0, task.metrics[0]
  for template in templates:
    on_test = list(itertools.islice(answers, len(test.rows)))
    on_dev = list(itertools.islice(answers, len(dev.rows)))
    values = _measure(task, on_test)
    scores.append(
      results.TemplateScore(
        template,
        test=values[headline],
        dev=_measure(task, on_dev).get(headline, math.nan),
        others={name: values[name] for name in task.metrics[1:]},
      )
    )
    trimmed += sum(answer.trimmed for answer in on_test)
  progress(1)
  where = "; ".join([str(item.plan.test), *item.notes])
  majority = None
  if task.kind is schema.Kind.CLASSIFICATION:
    majority = metrics.majority([row.answer_index for row in test.rows])
  return results.TaskResult(
    task=task.name,
    dataset=task.dataset,
    cluster=task.cluster,
    kind=task.kind,
    metric=task.metrics[0],
    templates=tuple(scores),
    examples=len(test.rows),
    dev_examples=len(dev.rows),
    left_out=left_out,
    trimmed=trimmed,
    test_rows_from=where,
    majority=majority,
  )


def _asker(model, item, limits, settings):
  """A function from (row range, rows, template) to requests."""
  task = item.task
  markers = wordings.markers(settings.markers or model.run.data.markers)
  pool: tuple[requests.EvaluationRow, ...] = ()
  if settings.shots:
    train = item.plan.train
    pool = few_shot.read_pool(task, item.dataset, train, settings.seed)

  def ask(part, rows, template) -> list[requests.Request]:
    return few_shot.with_exemplars(
      task,
      requests.prompts_for(task, rows, template),
      template,
      pool,
      settings.shots,
      markers,
      model.vocabulary,
      limits,
      settings.seed,
      same_split=part.split == item.plan.train.split,
      fixed=settings.exemplars == "fixed",
    )

  return ask


def _read(item, rows: split_plan.RowRange, settings: Settings):
  limit = settings.max_examples or None
  return requests.read_evaluation_rows(
    item.task, item.dataset, rows, limit, settings.seed
  )


def _measure(
  task: schema.Task, answered: list[predictions.Prediction]
) -> dict[str, float]:
  """Each metric of the task; empty without predictions."""
  if not answered:
    return {}
  texts = [p.text for p in answered]
  right = [p.request.references for p in answered]
  # Ranked options have a text as well, for metrics that compare texts. They
  # may differ in number from row to row, and several may be right.
  options = max(len(p.request.options) for p in answered)
  indices = [p.request.answer_index for p in answered]
  choices = [
    p.request.answer_index if p.text in p.request.references else p.choice
    for p in answered
  ]
  groups = [p.request.group for p in answered]

  def value(name: str) -> float:
    if metrics.METRICS[name].kind is schema.Kind.CLASSIFICATION:
      return metrics.compute(name, choices, indices, options, groups)
    return metrics.compute(name, texts, right)

  return {name: value(name) for name in task.metrics}


def _templates(task: schema.Task, settings: Settings) -> tuple[int, ...]:
  chosen = settings.templates or task.forward_templates
  return tuple(t for t in chosen if t in task.forward_templates)


def _progress(number: int, label: str) -> Callable[[int], None]:
  """A function that counts tasks done, on a terminal as a bar."""
  if not sys.stdout.isatty():
    done = itertools.count(1)
    return lambda count: _log.info(
      "%s: %d of %d tasks evaluated", label, next(done), number
    )
  import keras

  print(f"Evaluating {label}")
  return keras.utils.Progbar(number, unit_name="task").add
