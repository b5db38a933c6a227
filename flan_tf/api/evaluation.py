"""Evaluates models by the paper's protocol, and compares two evaluations.

result = evaluate("runs/tuned", base="runs/base", held_out="nli")
result["rte"].mean           of the evaluated model, over all templates
print(result)                the table, beside the untuned model
result.report("runs/report")
"""

import dataclasses
import functools
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Unpack

from flan_tf import config, name_lists, write_lock
from flan_tf.api import cache, report_files
from flan_tf.api.evaluation_settings import (
  BOTH,
  EvaluationSettings,
  make_config,
  select_tasks,
)
from flan_tf.api.models import Model
from flan_tf.api.task_table import UnknownTaskError
from flan_tf.api.task_table import tasks as task_table
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.data import prompt_format
from flan_tf.eval import prediction_log, protocol
from flan_tf.eval.results import EvaluationResults
from flan_tf.eval.task_result import TaskResult
from flan_tf.inference.language_model import LanguageModel
from flan_tf.report import terminal
from flan_tf.report.comparison import Comparison
from flan_tf.task import wordings


class Evaluation(Mapping[str, TaskResult]):
  """The evaluation of a model, perhaps beside that of an untuned model.

  A mapping from the names of the evaluated tasks to the model's results, with
  `mean`, `interval`, `by_template` and more.

  Args:
    evaluations: one to three, the untuned model first.
    folders: for each, the folder that has its prediction logs.
    temporary_folder: folder that is removed together with this object; "" for
      none. Its prediction logs are copied into a report.
    protected: folders whose results a report must not replace.

  Attributes:
    evaluations: the results of each model, the evaluated model last.
  """

  def __init__(
    self,
    evaluations: Sequence[EvaluationResults],
    folders: Sequence[str],
    temporary_folder: str = "",
    protected: Sequence[str] = (),
  ):
    self.evaluations = tuple(evaluations)
    self._folders = tuple(folders)
    self._temporary_folder = temporary_folder
    self._protected = set(map(os.path.abspath, protected))
    if temporary_folder:
      weakref.finalize(self, shutil.rmtree, temporary_folder, True)

  @property
  def results(self) -> EvaluationResults:
    """All results of the evaluated model."""
    return self.evaluations[-1]

  @property
  def base(self) -> EvaluationResults | None:
    """All results of the untuned model; None if there is none."""
    return self.evaluations[-2] if len(self.evaluations) > 1 else None

  @property
  def clusters(self) -> dict[str, float]:
    """Cluster -> mean of its tasks' means."""
    return self.results.clusters

  @property
  def not_evaluated(self) -> Mapping[str, str]:
    """Task without a result -> the reason."""
    return self.results.not_read

  @functools.cached_property
  def comparison(self) -> Comparison:
    """The evaluations side by side: differences, samples of answers."""
    return Comparison.load(
      self.evaluations,
      [
        prediction_log.folder_of(folder, one.label)
        for folder, one in zip(self._folders, self.evaluations, strict=True)
      ],
      template_inputs={
        task.name: [template.inputs for template in task.templates]
        for task in task_table.registry()
      },
    )

  def report(self, folder: str | os.PathLike) -> str:
    """Writes results.json, scores.csv, report.md, report.html and more.

    Args:
      folder: local or gs://; it is created if it does not exist.

    Returns:
      The path of report.md.

    Raises:
      ValueError: two evaluations are compared, and `folder` has one of them.
    """
    folder = os.path.expanduser(os.fspath(folder))
    if os.path.abspath(folder) in self._protected:
      raise ValueError(
        f"{folder} has one of the two evaluations, and the report would replace"
        " its results.json. Choose another folder for the report (--output)."
      )
    report = report_files.write_report(self.comparison, folder)
    if self._temporary_folder:
      report_files.copy_folder(self._temporary_folder, folder)
    return report

  def __getitem__(self, task: str) -> TaskResult:
    result = self.results.get(task)
    if result is not None:
      return result
    if task in self.not_evaluated:
      raise UnknownTaskError(
        f"Task {task!r} was not evaluated: {self.not_evaluated[task]}"
      )
    raise UnknownTaskError(
      name_lists.unknown_name("evaluated task", str(task), self)
    )

  def __iter__(self) -> Iterator[str]:
    return (result.task for result in self.results.tasks)

  def __len__(self) -> int:
    return len(self.results.tasks)

  def __str__(self) -> str:
    return terminal.text(self.comparison)

  def __repr__(self) -> str:
    means = ", ".join(f"{k} {v:.1f}" for k, v in self.clusters.items())
    labels = ", ".join(one.label for one in self.evaluations)
    return (
      f"<Evaluation of {labels}: {len(self)} tasks; {means or 'no scores'}>"
    )


def evaluate(
  model: Model | str | os.PathLike,
  *,
  base: Model | str | os.PathLike | None = None,
  held_out: str | Sequence[str] = (),
  tasks: str | Sequence[str] = (),
  clusters: str | Sequence[str] = (),
  data_dir: str = "",
  output: str = "",
  restart: bool = False,
  label: str = "",
  base_wording: str = "",
  separator: str = "",
  data: config.DataConfig | None = None,
  mesh: config.MeshConfig | None = None,
  batch: int = 16,
  adapter_base: str | os.PathLike = "",
  **settings: Unpack[EvaluationSettings],
) -> Evaluation:
  """Evaluates a model on all templates of tasks, zero-shot or few-shot.

  Lists of names are tuples, or one text with commas.

  Args:
    model: a loaded model; or a checkpoint or workdir, which is loaded for the
      evaluation.
    base: the untuned model, evaluated on the same prompts for comparison.
    held_out: clusters or tasks to evaluate which neither model was trained on.
    tasks: tasks to evaluate, whatever the models were trained on.
    clusters: clusters to evaluate, whatever the models were trained on.
    data_dir: a prepared TFDS directory; "" for the shipped rows.
    output: folder for the predictions, which are written while they are made:
      an evaluation that was stopped resumes. By default a temporary folder.
    restart: whether to remove the predictions in `output` first.
    label: name of the model in the report; by default "tuned" beside an untuned
      model, and else "model".
    base_wording: wording for the untuned model, e.g. "baseline"; "both" for
      the baseline prompts and, once more, the wording of the other model.
    separator: text between prompts and answers, for models that are loaded
      here; by default that of the evaluated model.
    data: lengths and separator for models that are loaded here; by default
      those of the evaluated model.
    mesh: devices, layout and precision for models that are loaded here.
    batch: rows that are computed at once by models that are loaded here.
    adapter_base: if `model` is a checkpoint of adapters, where the checkpoint
      of the model that they adapt lies now; by default where it was.
    **settings: settings of `EvaluationConfig`: max_examples, seed, templates,
      wording, shots, exemplars, score, markers, max_new, chunk, resamples.

  Raises:
    CheckpointError: there is no complete checkpoint.
    LockedError: another process is evaluating into `output`.
    TypeError: an unknown setting.
    ValueError: nothing is named to be evaluated, or an unknown name; a model
      was trained on what is held out; or `output` has predictions of another
      evaluation.
  """
  evaluation_config = make_config(settings)
  held_out_names, chosen = select_tasks(held_out, tasks, clusters)
  label = label or ("model" if base is None else "tuned")
  evaluated = _open_model(label, model, os.fspath(adapter_base))
  others = [] if base is None else [_open_model("base", base)]
  data = _evaluation_data(evaluated, separator, data)
  for opened in (*others, evaluated):  # All checks come before hours of work.
    opened.check(held_out_names, data)
  temporary = "" if output else tempfile.mkdtemp(prefix="flan_tf-")
  output = output or temporary
  results, loaded = [], None
  with write_lock.hold(output, "evaluating"):
    for asked in _evaluations(
      others, evaluated, base_wording, evaluation_config.wording
    ):
      if loaded is None or loaded[0] is not asked.model:
        loaded = None  # Two models at once might not fit on the devices.
        loaded = asked.model, asked.model.load(mesh, batch, data)
      result = protocol.evaluate(
        loaded[1],
        asked.label,
        asked.model.path,
        chosen,
        cache.data_dir(data_dir),
        dataclasses.replace(evaluation_config, wording=asked.wording),
        output,
        restart,
        asked.model.bundle.adapter_base,
      )
      if held_out_names:
        # No model was trained on it, whether its run names it or not.
        joined = name_lists.join_names(held_out_names)
        result = dataclasses.replace(result, held_out=joined)
      results.append(result)
  return Evaluation(results, [output] * len(results), temporary)


def compare(first: str | os.PathLike, second: str | os.PathLike) -> Evaluation:
  """Compares two evaluations that were written before.

  Args:
    first: the folder of an evaluation, whose last model is taken, or a results
      file in it.
    second: the other evaluation.

  Raises:
    FileNotFoundError: there is no evaluation.
    ValueError: a file is not a results file.
  """
  paths = [os.path.expanduser(os.fspath(path)) for path in (first, second)]
  evaluations = [report_files.read_results(path)[-1] for path in paths]
  folders = [
    os.path.dirname(path) if path.endswith(".json") else path for path in paths
  ]
  return Evaluation(evaluations, folders, protected=folders)


def read_evaluation(
  folder: str | os.PathLike, count: int | None = None
) -> Evaluation:
  """Reads an evaluation from the folder of its report.

  Args:
    folder: the folder, or a results file in it.
    count: number of models to read, the last ones; None for all.

  Raises:
    FileNotFoundError: there are no results.
    ValueError: a file is not a results file.
  """
  path = os.path.expanduser(os.fspath(folder))
  evaluations = report_files.read_results(path, count)
  if path.endswith(".json"):
    path = os.path.dirname(path)
  return Evaluation(evaluations, [path] * len(evaluations))


@dataclasses.dataclass(frozen=True)
class _OpenedModel:
  """A model to evaluate: loaded, or a checkpoint that is loaded later.

  Attributes:
    label: its name in the report.
    bundle: its checkpoint.
    model: the loaded model; None for a checkpoint.
  """

  label: str
  bundle: Bundle
  model: Model | None

  @property
  def path(self) -> str:
    return self.bundle.path

  def check(self, held_out: tuple[str, ...], data: config.DataConfig) -> None:
    """Checks that the model may be evaluated, with these lengths.

    Raises:
      ValueError: it was trained on what is held out, it has no chat template
        for the separator, or it was loaded with other lengths.
    """
    self.bundle.check_not_seen(
      held_out,
      advice="So its evaluation would not be zero-shot. Evaluate it with"
      " --clusters or --tasks instead, or train with the same held_out.",
    )
    prompt_format.check_chat_template(
      prompt_format.Separator(data.separator), self.bundle.run.chat
    )
    if self.model and _lengths(self.model.run.data) != _lengths(data):
      raise ValueError(
        f"The model {self.path} was loaded with other lengths or another"
        " separator than this evaluation needs:"
        f" {_lengths(self.model.run.data)}, not {_lengths(data)}. Load it with"
        " data= or separator=, or pass the path of its checkpoint."
      )

  def load(
    self,
    mesh: config.MeshConfig | None,
    batch: int,
    data: config.DataConfig,
  ) -> LanguageModel:
    if self.model:
      return self.model.language_model
    return LanguageModel.load(
      self.path, mesh, batch, data, self.bundle.adapter_base
    )


@dataclasses.dataclass(frozen=True)
class _ModelEvaluation:
  """One evaluation to make: a model in one wording."""

  label: str
  model: _OpenedModel
  wording: str


def _open_model(
  label: str, model: Model | str | os.PathLike, adapter_base: str = ""
) -> _OpenedModel:
  if isinstance(model, Model):
    return _OpenedModel(label, model.bundle, model)
  path = os.path.expanduser(os.fspath(model))
  return _OpenedModel(label, Bundle.open(path, adapter_base), None)


def _evaluations(
  others: Sequence[_OpenedModel],
  evaluated: _OpenedModel,
  base_wording: str,
  wording: str,
) -> list[_ModelEvaluation]:
  """Returns the evaluations to make, the untuned model first."""
  made = []
  for model in others:
    if base_wording == BOTH:
      name = f"{model.label} (baseline prompts)"
      made.append(_ModelEvaluation(name, model, wordings.BASELINE))
      made.append(_ModelEvaluation(model.label, model, wording))
    else:
      made.append(_ModelEvaluation(model.label, model, base_wording or wording))
  return [*made, _ModelEvaluation(evaluated.label, evaluated, wording)]


def _evaluation_data(
  evaluated: _OpenedModel, separator: str, data: config.DataConfig | None
) -> config.DataConfig:
  """Returns lengths and separator, which all models share."""
  if data is None:
    model = evaluated.model
    data = model.run.data if model else evaluated.bundle.run.data
  return dataclasses.replace(data, separator=separator) if separator else data


def _lengths(data: config.DataConfig) -> dict[str, int | str]:
  """Returns the settings that decide how a prompt becomes token ids."""
  return {
    name: getattr(data, name)
    for name in (
      "separator",
      "overflow",
      "input_length",
      "target_length",
      "length",
    )
  }
