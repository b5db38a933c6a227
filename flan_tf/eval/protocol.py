"""The paper's evaluation: every template of every task, then what sums it up.

Classification: the option with the largest sum of token log-probabilities
(rank classification). Generation: greedy decoding, compared with the
references. Each template that asks for the answer is evaluated alone, on the
dev rows (to find the best one) and on the test rows (to report).

Answers are kept while they are made, see `flan_tf.eval.prediction_log`. An evaluation
that was stopped asks only what was not answered, and its numbers are those of
one that never stopped.
"""

import dataclasses
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from flan_tf.data import mixture, pipeline
from flan_tf.eval import (
  bootstrap,
  fingerprint,
  metrics,
  package_versions,
  prediction_log,
  results,
  scoring,
)
from flan_tf.eval.task_requests import (
  EvaluationConfig,
  TaskRequests,
  most_requests,
)
from flan_tf.inference import predictions
from flan_tf.inference.language_model import LanguageModel
from flan_tf.inference.progress import Progress
from flan_tf.task import schema, wordings
from flan_tf.version import __version__

_DEFAULT = EvaluationConfig()


def evaluate(
  model: LanguageModel,
  label: str,
  checkpoint: str,
  tasks: Sequence[schema.Task],
  data_dir: str,
  settings: EvaluationConfig = _DEFAULT,
  output: str = "",
  restart: bool = False,
) -> results.EvaluationResults:
  """Evaluates one model on tasks; those without data are named, not skipped.

  Args:
    model: scores and generates.
    label: a short name, e.g. "base".
    checkpoint: where its weights came from.
    tasks: what to evaluate.
    data_dir: a prepared TFDS directory.
    settings: see Settings.
    output: where predictions are kept, and where an evaluation that was
      stopped goes on; empty to keep none.
    restart: whether to remove those of this label that are there.

  Raises:
    journal.JournalError: there are predictions of another evaluation.
  """
  planned, not_read = pipeline.plan_tasks(tasks, data_dir)
  folder = prediction_log.folder_of(output, label) if output else ""
  if folder and restart and tf.io.gfile.exists(folder):
    tf.io.gfile.rmtree(folder)
  about = _settings(model, settings)
  header = {
    "checkpoint": checkpoint,
    "weights": fingerprint.of_checkpoint(checkpoint) if folder else "",
    "flan_tf": __version__,
    "seed": settings.seed,
    **about,
  }
  expected = {i.task.name: most_requests(i, settings) for i in planned}
  progress, found = Progress(label, expected), []
  for item in planned:
    result = _evaluate_task(model, item, settings, folder, header, progress)
    progress.finish_task()
    if isinstance(result, str):
      not_read[item.task.name] = result
    else:
      found.append(result)
  return results.EvaluationResults(
    checkpoint=checkpoint,
    label=label,
    tasks=tuple(found),
    held_out=model.run.held_out,
    not_read=not_read,
    seed=settings.seed,
    # Models that were tuned to answer come with a chat wrapper, others seldom.
    tuned_start=model.run.chat.given,
    settings=about,
    run={"weights": header["weights"], **_run(model, settings)},
    time=progress.time,
  )


def _settings(
  model: LanguageModel, settings: EvaluationConfig
) -> dict[str, Any]:
  """What the answers depend on, but for weights, rows and wordings."""
  data = model.run.data
  about = {
    "separator": data.separator,
    "precision": model.run.mesh.precision,
    "max_examples": settings.max_examples,
    "row_length": data.length,
    "wording": settings.wording,
    "shots": settings.shots,
    "markers": settings.markers or data.markers,
    "score": settings.score,
  }
  # Where nothing is said of one of these, there was none.
  if data.separator == "chat":
    about["chat"] = str(predictions.limits_of(model).chat)
  if settings.shots:
    about["exemplars"] = settings.exemplars
  if settings.max_new:
    most = predictions.limits_of(model).longest_target
    about["max_new"] = min(settings.max_new, most)
  return about


def _run(model: LanguageModel, settings: EvaluationConfig) -> dict[str, Any]:
  """What ran it: for repeating it, or for comparing speeds."""
  mesh = model.run.mesh
  return {
    "mesh": mesh.shape,
    "layout": mesh.layout,
    "platform": model.devices.platform,
    "cores": model.devices.cores,
    "batch": model.batch,
    "chunk": settings.chunk,
    "resamples": settings.resamples,
    "packages": package_versions.versions(),
  }


def _evaluate_task(
  model: LanguageModel,
  item: pipeline.PlannedTask,
  settings: EvaluationConfig,
  folder: str,
  header: Mapping[str, Any],
  progress: Progress,
) -> results.TaskResult | str:
  """The result, or why there is none."""
  task = item.task
  if settings.wording == wordings.BASELINE and task.baseline is None:
    progress.expect(task.name, 0)
    return "no baseline prompt was published for its data set"
  task = wordings.reword(task, settings.wording)
  item = dataclasses.replace(item, task=task)
  limits = predictions.limits_of(model)
  if settings.max_new and task.kind is schema.TaskKind.GENERATION:
    most = min(settings.max_new, limits.target_length)
    limits = dataclasses.replace(limits, target_length=most)
  asked = TaskRequests(model, item, limits, settings)
  if not asked.templates:
    progress.expect(task.name, 0)
    return (
      f"none of the templates {list(settings.templates)} asks for the answer;"
      f" those that do: {list(task.forward_templates)}"
    )
  if not asked.test.rows:
    progress.expect(task.name, 0)
    return (
      f"no row of {item.plan.test} can be scored:"
      f" {asked.left_out or 'it is empty'}"
    )
  ranked = task.kind is schema.TaskKind.CLASSIFICATION
  kept = prediction_log.PredictionLog(
    folder,
    task.name,
    {
      **header,
      "asked": asked.fingerprint if folder else "",
      "metric": task.metrics[0],
      "line_score": scoring.about_score(task.metrics[0]),
    },
    len(asked),
    settings.chunk if ranked else max(settings.chunk // 4, 1),
  )
  lines = _answer(model, task, asked, limits, settings, kept, progress)
  return _result(item, asked, settings, lines)


def _answer(
  model, task, asked, limits, settings, kept, progress
) -> list[prediction_log.PredictionLine]:
  """The lines of all requests, without their prompts: read, or made now."""
  stops = task.baseline.stops if settings.wording == wordings.BASELINE else ()
  progress.expect(task.name, len(asked))
  found = []
  for chunk in range(len(kept)):
    lines = kept.read(chunk)
    if lines is None:
      places, wanted = zip(*asked.ask(kept.requests_of(chunk)), strict=True)
      start = time.perf_counter()
      answered = predictions.predict(
        model, task, wanted, limits, stops, settings.score
      )
      seconds = time.perf_counter() - start
      lines = scoring.lines_of(task, places, answered)
      kept.write(chunk, lines)
      progress.add(len(lines), seconds)
    else:
      progress.add_kept(len(lines))
    # Few-shot prompts are long, and no metric reads them.
    found += [dataclasses.replace(line, prompt="") for line in lines]
  kept.finish()
  return found


def _result(
  item: pipeline.PlannedTask,
  asked: TaskRequests,
  settings: EvaluationConfig,
  lines: list[prediction_log.PredictionLine],
) -> results.TaskResult:
  """What sums up the answers of a task."""
  task, headline = item.task, item.task.metrics[0]
  parts = {
    key: list(those)
    for key, those in itertools.groupby(
      lines, lambda line: (line.template, line.part)
    )
  }
  on_test = [
    parts[template, prediction_log.TEST] for template in asked.templates
  ]
  each, of_mean = bootstrap.of_templates(
    headline,
    on_test,
    mixture.generator(settings.seed, "bootstrap", task.name),
    settings.resamples,
  )
  scores = []
  for template, tested, interval in zip(
    asked.templates, on_test, each, strict=True
  ):
    values = scoring.measure(task.metrics, tested)
    on_dev = parts.get((template, prediction_log.DEV), [])
    scores.append(
      results.TemplateScore(
        template,
        test=values[headline],
        dev=scoring.measure([headline], on_dev).get(headline, math.nan),
        others={name: values[name] for name in task.metrics[1:]},
        interval=interval,
      )
    )
  majority = None
  if task.kind is schema.TaskKind.CLASSIFICATION:
    majority = metrics.majority([row.answer_index for row in asked.test.rows])
  return results.TaskResult(
    task=task.name,
    dataset=task.dataset,
    cluster=task.cluster,
    kind=task.kind,
    metric=headline,
    templates=tuple(scores),
    examples=len(asked.test.rows),
    dev_examples=len(asked.dev.rows),
    left_out=asked.left_out,
    trimmed=sum(line.trimmed for tested in on_test for line in tested),
    test_rows_from="; ".join([str(item.plan.test), *item.notes]),
    majority=majority,
    interval=of_mean,
    signature=scoring.signature(headline, on_test[0]),
  )
