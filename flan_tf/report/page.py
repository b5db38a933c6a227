"""The report as one HTML page, `report.html`, which needs only a browser.

The template `page.html.j2` has the structure and `page.css` the style; both
become part of the page, which has no script. This module computes the values
that only the page shows.
"""

import dataclasses
import math

from flan_tf.eval import task_result
from flan_tf.report import (
  cells,
  comparison,
  dot_positions,
  paper_averages,
  published,
  rendering,
  sentences,
  table_format,
  tables,
)
from flan_tf.report.task_comparison import ClusterComparison, TaskComparison


@dataclasses.dataclass(frozen=True)
class TemplateSection:
  """One template of a task.

  Attributes:
    number: number of the template.
    text: its input text; empty if not known.
    scores: one for each evaluation, None if it did not use this template.
    marks: "best", "worst" and "best dev", as far as they apply to the score of
      the last evaluation.
  """

  number: int
  text: str
  scores: tuple[task_result.TemplateScore | None, ...]
  marks: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TaskSection:
  """One task and its templates."""

  task: TaskComparison
  templates: tuple[TemplateSection, ...]


@dataclasses.dataclass(frozen=True)
class ClusterSection:
  """One cluster, its tasks and the scale of its plot."""

  cluster: ClusterComparison
  title: str
  tasks: tuple[TaskSection, ...]
  scale: dot_positions.Scale

  @property
  def known_means(self) -> list[float]:
    """The cluster means that have a value."""
    return [
      mean
      for mean in self.cluster.means
      if mean is not None and not math.isnan(mean)
    ]


def html(compared: comparison.Comparison) -> str:
  """Returns the page."""
  sections = [
    ClusterSection(
      cluster=cluster,
      title=cells.cluster_title(cluster.name),
      tasks=tuple(
        TaskSection(task, _template_sections(compared, task))
        for task in cluster.tasks
      ),
      scale=dot_positions.scale_of_tasks(cluster.tasks),
    )
    for cluster in compared.clusters
  ]
  return rendering.render(
    "page.html.j2",
    compared=compared,
    sections=sections,
    overview_scale=dot_positions.round_scale(
      mean
      for cluster in compared.clusters
      for mean in cluster.means
      if mean is not None
    ),
    # The last evaluation has the same color, whatever their number.
    colors=[
      f"c{comparison.MAX_EVALUATIONS - len(compared.labels) + index}"
      for index in range(len(compared.labels))
    ],
    cells=cells,
    format_average=paper_averages.format_average,
    numeric_columns=table_format.numeric_columns,
    published=published,
    sentences=sentences,
    shows_majority=dot_positions.shows_majority,
    tables=tables,
  )


def _template_sections(
  compared: comparison.Comparison, task: TaskComparison
) -> tuple[TemplateSection, ...]:
  """Returns every template that an evaluation used.

  Evaluations with another wording than the last one are left out: their
  template numbers mean other texts.
  """
  scores_by_number = [
    {score.template: score for score in result.templates}
    if result and shares_wording
    else {}
    for result, shares_wording in zip(
      task.results, compared.shares_last_wording, strict=True
    )
  ]
  texts = task.template_inputs
  marks = _marks(task.results[-1])
  return tuple(
    TemplateSection(
      number=number,
      text=texts[number] if number < len(texts) else "",
      scores=tuple(scores.get(number) for scores in scores_by_number),
      marks=tuple(marks.get(number, ())),
    )
    for number in sorted({n for scores in scores_by_number for n in scores})
  )


def _marks(result: task_result.TaskResult | None) -> dict[int, list[str]]:
  """Returns template number -> marks, for the templates that have some."""
  marks: dict[int, list[str]] = {}
  if result is None:
    return marks
  known = [score for score in result.templates if not math.isnan(score.test)]
  known.sort(key=lambda score: (-score.test, score.template))
  if known and known[0].test > known[-1].test:
    marks.setdefault(known[0].template, []).append("best")
    marks.setdefault(known[-1].template, []).append("worst")
  if result.best_dev_template is not None:
    marks.setdefault(result.best_dev_template, []).append("best dev")
  return marks
