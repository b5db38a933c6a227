"""The report as one page: `report.html`, which needs nothing but a browser.

`page.html.j2` says what stands where, `page.css` how it looks; both go into the
page, which has no script. What it shows is gathered here.
"""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence

from flan_tf.eval import paired, results
from flan_tf.report import (
  cells,
  comparison,
  dot_positions,
  examples,
  paper_averages,
  published,
  sentences,
  tables,
)
from flan_tf.task import wordings as wordings_lib


@dataclasses.dataclass(frozen=True)
class TemplateSection:
  """One template of a task: its text, and one score per result set."""

  template: int
  text: str
  scores: tuple[results.TemplateScore | None, ...]
  marks: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TaskSection:
  """What the page shows of a task; `row` has one result per result set."""

  row: comparison.Row
  first: results.TaskResult
  difference: paired.Difference | None
  wordings: tuple[TemplateSection, ...]
  examples: examples.ComparedRows

  @property
  def gain(self) -> float | None:
    return comparison.gain(self.row)


@dataclasses.dataclass(frozen=True)
class ClusterSection:
  """A section of the page.

  Attributes:
    name: for people.
    anchor: the cluster's own name.
    tasks: what is shown of each.
    means: of each result set the mean over all tasks; None where none has a
      value.
    gain: of the last mean over the one before; None where no comparison.
    systems: those of the paper that have a figure here.
    averages: what the paper names, and ours over the same tasks.
    scale: of the plot.
  """

  name: str
  anchor: str
  tasks: tuple[TaskSection, ...]
  means: tuple[float | None, ...]
  gain: float | None
  systems: tuple[str, ...]
  averages: tuple[
    tuple[paper_averages.NamedAverage, tuple[paper_averages.Average, ...]], ...
  ]
  scale: dot_positions.Scale


def html(
  evaluations: comparison.Evaluations,
  predictions: Sequence[str] = (),
  templates: Mapping[str, Sequence[str]] | None = None,
  differences: sentences.Differences | None = None,
) -> str:
  """The page.

  Args:
    evaluations: one to four result sets, e.g. base first, then tuned.
    predictions: for each the folder of its files of predictions, or "".
    templates: task -> the inputs of each of its templates, which are shown if
      the last model was asked in their words.
    differences: task -> how sure its gain is, where that is known.

  Raises:
    ValueError: not one to four result sets, or predictions that cannot be
      theirs.
  """
  import jinja2

  comparison.check(evaluations)
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    autoescape=True,  # Prompts come from anywhere.
  )
  differences = differences or {}
  worded = evaluations[-1].settings.get("wording", wordings_lib.INSTRUCTIONS)
  if templates is None or worded != wordings_lib.INSTRUCTIONS:
    templates = {}  # It was asked in other words.
  clusters = _clusters(evaluations, predictions, templates, differences)
  means = [mean for c in clusters for mean in c.means if mean is not None]
  labels = comparison.labels(evaluations)
  return environment.get_template("page.html.j2").render(
    evaluations=evaluations,
    differences=differences,
    clusters=clusters,
    overview=dot_positions.around(means),
    labels=labels,
    # The last has the same colour, however many there are.
    colours=[
      f"c{comparison.MOST - len(labels) + i}" for i in range(len(labels))
    ],
    cells=cells,
    compare=comparison,
    examples=examples,
    named=paper_averages,
    published=published,
    sentences=sentences,
    spread=dot_positions,
    tables=tables,
  )


def _clusters(
  evaluations: comparison.Evaluations,
  predictions: Sequence[str],
  templates: Mapping[str, Sequence[str]],
  differences: sentences.Differences,
) -> list[ClusterSection]:
  rows = comparison.rows(evaluations)
  averages = paper_averages.of_any(evaluations)
  found = []
  for name in dict.fromkeys(comparison.any_of(row).cluster for row in rows):
    inside = [row for row in rows if comparison.any_of(row).cluster == name]
    names = [comparison.any_of(row).task for row in inside]
    found.append(
      ClusterSection(
        name=cells.cluster(name),
        anchor=name,
        tasks=tuple(
          TaskSection(
            row=row,
            first=comparison.any_of(row),
            difference=differences.get(task),
            wordings=_wordings(
              _asked_alike(evaluations, row), templates.get(task, ())
            ),
            examples=examples.read(evaluations, predictions, task),
          )
          for task, row in zip(names, inside, strict=True)
        ),
        means=tuple(_defined(e.clusters.get(name)) for e in evaluations),
        gain=comparison.cluster_gain(evaluations, name),
        systems=_systems(names),
        averages=tuple(
          (average, tuple(paper_averages.ours(e, average) for e in evaluations))
          for average in averages
          if average.cluster == name
        ),
        scale=dot_positions.scale_of(inside),
      )
    )
  return found


def _systems(names: Sequence[str]) -> tuple[str, ...]:
  """Those of the paper that have a figure for any of the tasks."""
  found = [published.PUBLISHED[n] for n in names if n in published.PUBLISHED]
  return tuple(s for s in published.SYSTEMS if any(s in x.cells for x in found))


def _asked_alike(evaluations, row: comparison.Row) -> comparison.Row:
  """The results of those who were asked in the words of the last one."""
  *_, last = evaluations
  return tuple(
    result if comparison.same_words(evaluation, last) else None
    for evaluation, result in zip(evaluations, row, strict=True)
  )


def _wordings(
  row: comparison.Row, texts: Sequence[str]
) -> tuple[TemplateSection, ...]:
  """Every template of any result set; the last one's scores are marked."""
  by_index = [
    {score.template: score for score in result.templates} if result else {}
    for result in row
  ]
  *_, last = row
  marks: dict[int, list[str]] = {}
  if last:
    defined = [s for s in last.templates if s.test == s.test]
    ordered = sorted(defined, key=lambda s: (-s.test, s.template))
    if ordered and ordered[0].test > ordered[-1].test:
      marks.setdefault(ordered[0].template, []).append("best")
      marks.setdefault(ordered[-1].template, []).append("worst")
    if last.best_dev_template is not None:
      marks.setdefault(last.best_dev_template, []).append("best dev")
  return tuple(
    TemplateSection(
      template=index,
      text=texts[index] if index < len(texts) else "",
      scores=tuple(scores.get(index) for scores in by_index),
      marks=tuple(marks.get(index, ())),
    )
    for index in sorted({index for scores in by_index for index in scores})
  )


def _defined(value: float | None) -> float | None:
  return None if value is None or math.isnan(value) else value
