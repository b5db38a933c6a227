"""The paper's evaluation protocol: every template of every task.

Each template that asks for the answer is evaluated alone, on the test rows, to
report its score, and on the dev rows, to find the best template. A
classification is scored by rank classification: the model answers with the
option of the highest log-probability. A generation is decoded greedily and
compared with the references.

For each task the steps are

    requests       task_requests     what the model is asked
    predictions    predictions       what it answers
    log            prediction_log    predictions are saved while they are made
    scores         scoring           metrics of each template
    intervals      bootstrap         uncertainty of these metrics
    result         task_summary      all numbers of the task, one value

An evaluation that was stopped makes only the missing predictions, and its
numbers are those of one that was never stopped.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from flan_tf import name_lists
from flan_tf.data import opened_tasks
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.eval import prediction_log, scoring
from flan_tf.eval.evaluation_config import EvaluationConfig
from flan_tf.eval.fingerprint import fingerprint_checkpoint
from flan_tf.eval.package_versions import package_versions
from flan_tf.eval.results import EvaluationResults
from flan_tf.eval.scored_prediction import ScoredPrediction
from flan_tf.eval.task_requests import TaskRequests, max_requests
from flan_tf.eval.task_result import TaskResult
from flan_tf.eval.task_summary import summarize_task
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
  config: EvaluationConfig = _DEFAULT,
  output: str = "",
  restart: bool = False,
  adapter_base: str = "",
) -> EvaluationResults:
  """Evaluates one model; a task without a result is listed with the reason.

  Args:
    model: the model.
    label: short name of the model in reports, e.g. "base".
    checkpoint: folder that the weights were loaded from.
    tasks: the tasks to evaluate.
    data_dir: a prepared TFDS directory.
    config: settings of the evaluation.
    output: folder for the prediction logs. Predictions that are there already
      are not made again. "" saves none.
    restart: True removes the predictions of this label first.
    adapter_base: for adapters, the path of the model that they adapt, if it
      does not lie where it was.

  Raises:
    PredictionLogError: `output` has predictions of another evaluation.
  """
  opened, not_evaluated = opened_tasks.open_tasks(tasks, data_dir)
  folder = prediction_log.folder_of(output, label) if output else ""
  if folder and restart and tf.io.gfile.exists(folder):
    tf.io.gfile.rmtree(folder)
  weights = fingerprint_checkpoint(checkpoint, adapter_base) if folder else ""
  settings = _answer_settings(model, config)
  evaluation = _Evaluation(
    model=model,
    config=config,
    folder=folder,
    header={
      "checkpoint": checkpoint,
      "weights": weights,
      "flan_tf": __version__,
      "seed": config.seed,
      **settings,
    },
    progress=Progress(
      label, {item.task.name: max_requests(item, config) for item in opened}
    ),
  )
  task_results = []
  for item in opened:
    try:
      task_results.append(evaluation.evaluate_task(item))
    except _NotEvaluatedError as error:
      not_evaluated[item.task.name] = str(error)
      evaluation.progress.set_requests(item.task.name, 0)
    evaluation.progress.finish_task()
  return EvaluationResults(
    checkpoint=checkpoint,
    label=label,
    tasks=tuple(task_results),
    held_out=name_lists.join_names(model.run.held_out),
    not_read=not_evaluated,
    seed=config.seed,
    # A chat template suggests that others tuned the weights on instructions.
    tuned_start=model.run.chat.is_set,
    settings=settings,
    run={"weights": weights, **_run_settings(model, config)},
    time=evaluation.progress.time,
  )


def _answer_settings(
  model: LanguageModel, config: EvaluationConfig
) -> dict[str, Any]:
  """Returns the settings that predictions depend on, as JSON values.

  A key that is missing means that the setting was not used.
  """
  data = model.run.data
  prompt_format = model.prompt_format
  settings = {
    "separator": data.separator,
    "precision": model.run.mesh.precision,
    "max_examples": config.max_examples,
    "row_length": data.length,
    "wording": config.wording,
    "shots": config.shots,
    "markers": config.markers or data.markers,
    "score": config.score,
  }
  if data.separator == "chat":
    settings["chat"] = str(prompt_format.chat)
  if config.shots:
    settings["exemplars"] = config.exemplars
  if config.max_new:
    settings["max_new"] = min(config.max_new, prompt_format.max_target_length)
  return settings


def _run_settings(
  model: LanguageModel, config: EvaluationConfig
) -> dict[str, Any]:
  """Returns what computed the numbers: devices, sizes and package versions."""
  mesh = model.run.mesh
  return {
    "mesh": mesh.shape,
    "layout": mesh.layout,
    "platform": model.devices.platform,
    "cores": model.devices.cores,
    "batch": model.batch,
    "chunk": config.chunk,
    "resamples": config.resamples,
    "packages": package_versions(),
  }


class _NotEvaluatedError(Exception):
  """A task has no result; the message gives the reason."""


@dataclasses.dataclass(frozen=True)
class _Evaluation:
  """One model's evaluation, task by task.

  Attributes:
    model: the model.
    config: settings of the evaluation.
    folder: folder of the prediction logs; "" saves none.
    header: what all logs say about the evaluation.
    progress: counts the requests that are answered.
  """

  model: LanguageModel
  config: EvaluationConfig
  folder: str
  header: Mapping[str, Any]
  progress: Progress

  def evaluate_task(self, item: opened_tasks.OpenedTask) -> TaskResult:
    """Evaluates one task, with the prompt wording that the configuration names.

    Raises:
      _NotEvaluatedError: the task has no result.
    """
    item = dataclasses.replace(item, task=self._reword(item.task))
    prompt_format = self._prompt_format(item.task)
    task_requests = TaskRequests(self.model, item, prompt_format, self.config)
    self._check_has_requests(item, task_requests)
    scored = self._predict(item.task, task_requests, prompt_format)
    return summarize_task(item, task_requests, scored, self.config)

  def _reword(self, task: schema.Task) -> schema.Task:
    if self._is_baseline and task.baseline is None:
      raise _NotEvaluatedError(
        "no baseline prompt was published for its data set"
      )
    return wordings.reword(task, self.config.wording)

  @property
  def _is_baseline(self) -> bool:
    return self.config.wording == wordings.BASELINE

  def _prompt_format(self, task: schema.Task) -> PromptFormat:
    prompt_format, max_new = self.model.prompt_format, self.config.max_new
    if not max_new or task.kind is schema.TaskKind.CLASSIFICATION:
      return prompt_format
    target_length = min(max_new, prompt_format.target_length)
    return dataclasses.replace(prompt_format, target_length=target_length)

  def _check_has_requests(
    self, item: opened_tasks.OpenedTask, task_requests: TaskRequests
  ) -> None:
    if not task_requests.templates:
      raise _NotEvaluatedError(
        f"none of the templates {list(self.config.templates)} asks for the"
        f" answer; those that do: {list(item.task.forward_templates)}"
      )
    if not task_requests.test.rows:
      raise _NotEvaluatedError(
        f"no row of {item.ranges.test} can be scored:"
        f" {task_requests.left_out or 'it is empty'}"
      )

  def _predict(
    self,
    task: schema.Task,
    task_requests: TaskRequests,
    prompt_format: PromptFormat,
  ) -> list[ScoredPrediction]:
    """Returns the scored predictions of all requests, without prompts.

    Predictions that are in the log are read, the others are made.
    """
    log = self._open_log(task, task_requests)
    self.progress.set_requests(task.name, len(task_requests))
    every: list[ScoredPrediction] = []
    for chunk in range(len(log)):
      scored = log.read(chunk)
      if scored is None:
        requests = task_requests.write(log.requests_of(chunk))
        start = time.perf_counter()
        answers = predictions.predict(
          self.model,
          task,
          requests,
          prompt_format,
          task.baseline.stops if self._is_baseline and task.baseline else (),
          self.config.score,
        )
        seconds = time.perf_counter() - start
        scored = scoring.score_predictions(task, answers)
        log.write(chunk, scored)
        self.progress.add_answered(len(scored), seconds)
      else:
        self.progress.add_read_back(len(scored))
      # No metric reads prompts, and few-shot prompts take much memory.
      every += [prediction.without_prompt() for prediction in scored]
    log.finish()
    return every

  def _open_log(
    self, task: schema.Task, task_requests: TaskRequests
  ) -> prediction_log.PredictionLogWriter:
    headline, chunk = task.metrics[0], self.config.chunk
    if task.kind is schema.TaskKind.GENERATION:
      chunk = max(chunk // 4, 1)
    return prediction_log.PredictionLogWriter(
      self.folder,
      task.name,
      header={
        **self.header,
        "asked": task_requests.fingerprint if self.folder else "",
        "metric": headline,
        "line_score": scoring.score_name(headline),
      },
      requests=len(task_requests),
      chunk=chunk,
    )
