"""The report of an evaluation, for people: Markdown, a plot, a terminal table.

One result set stands alone; two (base and tuned) stand side by side with their
difference. What is missing is named: tasks without data, rows left out, scores
that are undefined, and comparisons that are not like with like.
"""

import math

from flan_tf.eval import metrics
from flan_tf.report import compare, plot, published, summaries, tables

_PLOT_FILE = "templates.png"
_REPORT_FILE = "report.md"

_TEMPLATE = """\
# {{ title }}

{{ summary }}

{{ table(tables.models(evaluations)) }}

{% if tuned_start %}
> **An already instruction-tuned start:** {{ escape(tuned_start) }}

{% endif %}
{% for difference in differences %}
> **Not like with like:** {{ escape(difference) }}.

{% endfor %}
{% if plot_file %}
![Score of every template, by task]({{ plot_file }})

{% endif %}
{% if rows %}
## Clusters

Mean over a cluster's tasks of their mean over templates.

{{ table(tables.clusters(evaluations)) }}

## Tasks

{{ table(tables.tasks(evaluations)) }}

Mean (standard deviation) over the templates that ask for the answer, on the
test rows. **Best dev** is the test score of the template that did best on the
dev rows. **Majority** is the accuracy, whatever the task's metric, of always
giving the most frequent answer, with half its 95 % interval: about as far as
chance alone moves an accuracy over so many rows. **Paper** is the zero-shot
mean of FLAN 137B; † marks another metric than ours, named at the end.
{% for remark in undefined %}

\\* {{ escape(remark) }}
{% endfor %}

## Templates

The headline metric on the test rows, by template number; ★ did best on the dev
rows.

{% for evaluation in evaluations if evaluation.tasks %}
{{ table(tables.templates(evaluation, labels[loop.index0])) }}

{% endfor %}
{% set others = tables.others(evaluations) %}
{% if others | length > 1 %}
## Other metrics

Mean over templates.

{{ table(others) }}

{% endif %}
## Rows

{{ table(tables.rows(evaluations)) }}

{% endif %}
{% set not_read = tables.not_read(evaluations) %}
{% if not_read | length > 1 %}
## Not read

{{ table(not_read) }}

{% endif %}
{% if about %}
## Metrics

{% for name, line in about.items() %}
- **{{ escape(name) }}**: {{ escape(line) }}
{% endfor %}

{% endif %}
{% if sources %}
## Published averages

FLAN 137B, zero-shot, mean over templates: Wei et al. 2021, arXiv 2109.01652.
Its test rows and templates are not those of this report.

{% for task, cell in sources.items() %}
- {{ escape(task) }}: {{ cell.average }} {{ escape(cell.metric) }}, \
{{ cell.source }}{{ ", " + cell.note if cell.note }}
{% endfor %}
{% endif %}
"""


def write(
  directory: str,
  evaluations: compare.Evaluations,
  step: int = 0,
  tensorboard: bool = True,
) -> str:
  """Writes `report.md`, `templates.png` and files for TensorBoard.

  With no task evaluated there is a report of what was not read, and no more.

  Args:
    directory: where to, local or `gs://`; made if it is not there.
    evaluations: one result set, or two: base first, then tuned.
    step: the training step of the weights, for TensorBoard.
    tensorboard: whether to write summaries, below `directory/tensorboard`.

  Returns:
    The path of the report.

  Raises:
    ValueError: not one or two result sets.
  """
  import tensorflow as tf

  compare.check(evaluations)
  join, file = tf.io.gfile.join, tf.io.gfile.GFile
  tf.io.gfile.makedirs(directory)
  path = join(directory, _REPORT_FILE)
  if not compare.rows(evaluations):
    with file(path, "w") as out:
      out.write(markdown(evaluations))
    return path
  png = plot.templates_png(evaluations)
  with file(join(directory, _PLOT_FILE), "wb") as out:
    out.write(png)
  with file(path, "w") as out:
    out.write(markdown(evaluations, _PLOT_FILE))
  if tensorboard:
    folder = join(directory, "tensorboard")
    summaries.write(folder, evaluations, markdown(evaluations), png, step)
  return path


def markdown(evaluations: compare.Evaluations, plot_file: str = "") -> str:
  """The report as GitHub-flavoured Markdown.

  Args:
    evaluations: one result set, or two: base first, then tuned.
    plot_file: the plot's address as seen from the report; empty for none.

  Raises:
    ValueError: not one or two result sets.
  """
  import jinja2

  compare.check(evaluations)
  environment = jinja2.Environment(
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # HTML's rules are not Markdown's: see tables.escape
  )
  text = environment.from_string(_TEMPLATE).render(
    title=_title(evaluations),
    summary=_summary(evaluations),
    differences=compare.differences(evaluations),
    plot_file=plot_file,
    evaluations=evaluations,
    labels=compare.labels(evaluations),
    rows=compare.rows(evaluations),
    undefined=_undefined(evaluations),
    tuned_start=_tuned_start(evaluations),
    about=_about(evaluations),
    sources=_sources(evaluations),
    tables=tables,
    table=tables.to_markdown,
    escape=tables.escape,
  )
  return text.rstrip() + "\n"


def text(evaluations: compare.Evaluations) -> str:
  """The main table for a terminal, and below it what is missing."""
  compare.check(evaluations)
  lines = [_title(evaluations)]
  if compare.rows(evaluations):
    lines += ["", tables.to_text(tables.tasks(evaluations, brief=True))]
    lines += [f"* {line}" for line in _undefined(evaluations)]
    lines += ["", tables.to_text(tables.clusters(evaluations))]
  not_read = tables.not_read(evaluations)[1:]
  missing = [f"not read: {task}: {why}" for task, why in not_read]
  if about_start := _tuned_start(evaluations):
    missing.append(f"an already instruction-tuned start: {about_start}")
  missing += [
    f"not like with like: {line}" for line in compare.differences(evaluations)
  ]
  return "\n".join([*lines, *([""] if missing else []), *missing]) + "\n"


def _title(evaluations: compare.Evaluations) -> str:
  held_out = dict.fromkeys(e.held_out for e in evaluations if e.held_out)
  if not held_out:
    return "Evaluation"
  names = ", ".join(name.replace("_", " ") for name in held_out)
  return f"Evaluation with {names} held out"


def _summary(evaluations: compare.Evaluations) -> str:
  """One sentence: how much was evaluated and, of two, who is ahead."""
  rows = compare.rows(evaluations)
  not_read = len(tables.not_read(evaluations)) - 1
  clusters = {compare.any_of(row).cluster for row in rows}
  counted = (
    f"{_count(len(rows), 'task')} in {_count(len(clusters), 'cluster')},"
    f" {not_read or 'none'} not read."
  )
  if len(evaluations) < 2:
    return counted
  gains = [
    second.mean - first.mean
    for first, second in rows
    if first and second and first.metric == second.metric
  ]
  gains = [gain for gain in gains if not math.isnan(gain)]
  if not gains:
    return f"{counted} No task has a score of both."
  base, tuned = (tables.escape(x) for x in compare.labels(evaluations))
  ahead = sum(gain > 0 for gain in gains)
  return (
    f"{counted} {tuned} is above {base} on {ahead} of"
    f" {_count(len(gains), 'task')}, by {sum(gains) / len(gains):+.1f} points"
    " on average over tasks."
  )


def _tuned_start(evaluations: compare.Evaluations) -> str:
  """What to know of weights that others have tuned before; empty if none."""
  labels = [
    label
    for label, evaluation in zip(
      compare.labels(evaluations), evaluations, strict=True
    )
    if evaluation.tuned_start
  ]
  if not labels:
    return ""
  return (
    f"the weights of {' and '.join(labels)} have a chat wrapper, so others will"
    " have tuned them on instructions before, on data that is not known here."
    " Held out means that our own tuning did not see it."
  )


def _undefined(evaluations: compare.Evaluations) -> list[str]:
  """A sentence for each result with templates that have no value."""
  return [
    f"{result.task}, {label}: {result.metric} is undefined for"
    f" {result.undefined} of {_count(len(result.templates), 'template')};"
    " mean and deviation are those of the rest."
    for label, evaluation in zip(
      compare.labels(evaluations), evaluations, strict=True
    )
    for result in evaluation.tasks
    if result.undefined
  ]


def _about(evaluations: compare.Evaluations) -> dict[str, str]:
  """What each metric of the report is."""
  names = [
    name
    for evaluation in evaluations
    for result in evaluation.tasks
    for name in (result.metric, *result.templates[0].others)
  ]
  return {
    name: metrics.METRICS[name].describe()
    for name in dict.fromkeys(names)
    if name in metrics.METRICS
  }


def _sources(
  evaluations: compare.Evaluations,
) -> dict[str, published.Published]:
  """The published averages of the report's tasks."""
  names = [compare.any_of(row).task for row in compare.rows(evaluations)]
  return {
    name: published.PUBLISHED[name]
    for name in names
    if name in published.PUBLISHED
  }


def _count(number: int, noun: str) -> str:
  return f"{number} {noun}{'' if number == 1 else 's'}"
