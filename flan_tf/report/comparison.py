"""The comparison of evaluations: the one value that a report is built from.

    compared = Comparison.load(evaluations, prediction_folders, template_inputs)

builds it once per report. Every part of a report (tables, sentences, page,
plot, files) takes the comparison and reads the evaluations through it only.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from flan_tf.eval import paired, prediction_log
from flan_tf.eval.prediction_log import TaskLog
from flan_tf.eval.results import EvaluationResults
from flan_tf.report import answer_samples, paper_averages
from flan_tf.report.task_comparison import ClusterComparison, TaskComparison
from flan_tf.task import wordings

MAX_EVALUATIONS = 4


@dataclasses.dataclass(frozen=True)
class Comparison:
  """One to four evaluations side by side, e.g. the untuned model, then tuned.

  Differences and gains are those of the last evaluation and the one before it.

  Attributes:
    evaluations: one to four, the untuned model first.
    differences: task -> paired difference of the last two evaluations, for the
      tasks where it is known.
    samples: task -> some answers of the last two evaluations.
    template_inputs: task -> input text of each template, by template number.

  Raises:
    ValueError: there are no evaluations, or more than four.
  """

  evaluations: tuple[EvaluationResults, ...]
  differences: Mapping[str, paired.Difference] = dataclasses.field(
    default_factory=dict
  )
  samples: Mapping[str, answer_samples.AnswerSamples] = dataclasses.field(
    default_factory=dict
  )
  template_inputs: Mapping[str, Sequence[str]] = dataclasses.field(
    default_factory=dict
  )

  def __post_init__(self):
    if not 1 <= len(self.evaluations) <= MAX_EVALUATIONS:
      raise ValueError(
        f"A report shows one to {MAX_EVALUATIONS} evaluations, the last two of"
        f" which are compared (untuned, then tuned); got"
        f" {len(self.evaluations)}."
      )

  @classmethod
  def load(
    cls,
    evaluations: Sequence[EvaluationResults],
    prediction_folders: Sequence[str] = (),
    template_inputs: Mapping[str, Sequence[str]] | None = None,
  ) -> "Comparison":
    """Compares evaluations, with what their prediction logs tell.

    The log of each task is read once, and dropped before the next is read.

    Args:
      evaluations: one to four, the untuned model first.
      prediction_folders: for each evaluation the folder of its prediction logs
        (`prediction_log.folder_of`), or "" if they were not saved. Empty if
        none were.
      template_inputs: task -> input text of each of its templates.

    Raises:
      ValueError: not one to four evaluations, another number of folders than
        evaluations, or a file that is not a prediction log.
    """
    compared = cls(tuple(evaluations), template_inputs=template_inputs or {})
    if not any(prediction_folders):
      return compared
    if len(prediction_folders) != len(compared.evaluations):
      raise ValueError(
        "Expected one folder of prediction logs for each evaluation, or none;"
        f" got {len(prediction_folders)} for {len(compared.evaluations)}."
      )
    pair = list(zip(compared.labels, prediction_folders, strict=True))[-2:]
    differences, samples = {}, {}
    for task in compared.tasks:
      logs = {label: _read_log(folder, task.name) for label, folder in pair}
      samples[task.name] = (
        answer_samples.draw(logs)
        if compared.pair_shares_wording
        else answer_samples.OTHER_WORDING
      )
      difference = compared._paired_difference(task, list(logs.values()))
      if difference is not None:
        differences[task.name] = difference
    return dataclasses.replace(
      compared, differences=differences, samples=samples
    )

  @functools.cached_property
  def labels(self) -> tuple[str, ...]:
    """The label of each evaluation, numbered if two have the same label."""
    names = [evaluation.label for evaluation in self.evaluations]
    if len(set(names)) == len(names):
      return tuple(names)
    return tuple(f"{name} {i}" for i, name in enumerate(names, start=1))

  @property
  def labeled(self) -> list[tuple[str, EvaluationResults]]:
    """(label, evaluation) pairs."""
    return list(zip(self.labels, self.evaluations, strict=True))

  @functools.cached_property
  def tasks(self) -> tuple[TaskComparison, ...]:
    """Every task that was evaluated at least once.

    Tasks of one cluster are neighbors. Clusters, and tasks within a cluster,
    keep the order in which they first appear in the evaluations.
    """
    cluster_of = {}
    for evaluation in self.evaluations:
      for result in evaluation.tasks:
        cluster_of.setdefault(result.task, result.cluster)
    clusters = list(dict.fromkeys(cluster_of.values()))
    names = sorted(
      cluster_of, key=lambda name: clusters.index(cluster_of[name])
    )
    return tuple(self._task(name) for name in names)

  @functools.cached_property
  def clusters(self) -> tuple[ClusterComparison, ...]:
    """Every cluster of `tasks`."""
    by_cluster: dict[str, list[TaskComparison]] = {}
    for task in self.tasks:
      by_cluster.setdefault(task.first.cluster, []).append(task)
    return tuple(
      ClusterComparison(
        name=name,
        tasks=tuple(tasks),
        means=tuple(e.clusters.get(name) for e in self.evaluations),
        averages=tuple(a for a in self.averages if a.named.cluster == name),
      )
      for name, tasks in by_cluster.items()
    )

  @functools.cached_property
  def averages(self) -> tuple[paper_averages.ComparedAverage, ...]:
    """The paper's averages over tasks evaluated here, and ours."""
    return paper_averages.compared_averages(self.evaluations)

  @property
  def not_evaluated(self) -> list[str]:
    """The tasks that at least one evaluation could not evaluate."""
    return list(
      dict.fromkeys(name for e in self.evaluations for name in e.not_read)
    )

  @property
  def has_pair(self) -> bool:
    """True if there are two evaluations to compare."""
    return len(self.evaluations) > 1

  @property
  def shares_last_wording(self) -> tuple[bool, ...]:
    """For each evaluation whether it used the wording of the last one.

    Only then does a template number mean the same text in both.
    """
    wording = self.evaluations[-1].settings.get("wording")
    return tuple(
      evaluation.settings.get("wording") == wording
      for evaluation in self.evaluations
    )

  @property
  def pair_shares_wording(self) -> bool:
    """True if the last two evaluations used the same wording."""
    return all(self.shares_last_wording[-2:])

  def _task(self, name: str) -> TaskComparison:
    wording = self.evaluations[-1].settings.get("wording")
    # The texts are those of the instruction templates.
    has_known_text = wording in (None, wordings.INSTRUCTIONS)
    return TaskComparison(
      results=tuple(evaluation.get(name) for evaluation in self.evaluations),
      difference=self.differences.get(name),
      samples=self.samples.get(name, answer_samples.NOT_SAVED),
      template_inputs=self.template_inputs.get(name, ())
      if has_known_text
      else (),
    )

  def _paired_difference(
    self,
    task: TaskComparison,
    logs: Sequence[TaskLog | None],
  ) -> paired.Difference | None:
    """Returns the difference on one task, None if it cannot be computed."""
    first, second = (None, *task.results)[-2:]
    if first is None or second is None or first.metric != second.metric:
      return None
    first_log, second_log = logs
    if first_log is None or second_log is None:
      return None
    difference = paired.difference(
      task=task.name,
      metric=second.metric,
      first=first_log,
      second=second_log,
      seed=self.evaluations[-1].seed,
    )
    if difference is not None and not self.pair_shares_wording:
      # A template number means another text in each of the two.
      difference = dataclasses.replace(difference, won=None, lost=None)
    return difference


def _read_log(folder: str, task: str) -> TaskLog | None:
  """Reads a task's prediction log; None if it was not saved."""
  if not folder:
    return None
  try:
    return prediction_log.read_log(folder, task)
  except FileNotFoundError:
    return None
