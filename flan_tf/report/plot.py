"""Draws the scores of every template: one row per task, one color per model."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flan_tf.eval import task_result
from flan_tf.report import cells, comparison, dot_positions
from flan_tf.report.task_comparison import TaskComparison

if TYPE_CHECKING:
  from matplotlib import artist, axes

# The last two, orange and blue, are those for one and two evaluations: nearly
# everyone can tell them apart, also in a gray print.
_COLORS = ("#7a6aa8", "#3d8b63", "#d9822b", "#1f5fa8")
_INK, _GRID, _BAND, _QUIET = "#333333", "#dddddd", "#f3f3f0", "#777777"

_WIDTH, _MARGINS = 9.5, 1.6  # inches
_TASK_HEIGHT, _MODEL_HEIGHT = 0.52, 0.24  # inches per task; at least per model
_MANY_TASKS = 8  # with more, the scores stand above the plot, too
_LEGEND_WIDTH = 100  # characters; a longer legend gets two lines


def templates_png(compared: comparison.Comparison) -> bytes:
  """Returns a PNG image: a dot for each template, a bar for their mean.

  A thin line is the 95 % interval of the mean, if there is one. A dotted line
  is the accuracy of the majority class, if the metric is accuracy, and the gray
  box around it is its 95 % interval. A shaded background separates clusters. A
  task without a value has a text instead.

  Raises:
    ValueError: no evaluation has a task.
  """
  # Not pyplot: it keeps every figure in memory and looks for a display.
  from matplotlib import figure, layout_engine

  tasks = compared.tasks
  if not tasks:
    raise ValueError("There is nothing to draw: no evaluation has a task.")
  models = len(compared.evaluations)
  task_height = max(_TASK_HEIGHT, _MODEL_HEIGHT * models)
  drawing = figure.Figure(
    figsize=(_WIDTH, _MARGINS + task_height * len(tasks)),
    dpi=110,
    layout=layout_engine.ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1),
  )
  ax = drawing.subplots()
  _shade_clusters(ax, compared)
  colors = _COLORS[-models:]
  # The rows of the models are at most 0.4 apart, around the middle of the task.
  distance = min(0.4, 0.8 / models)
  offsets = [distance * (i - (models - 1) / 2) for i in range(models)]
  for y, task in enumerate(tasks):
    _draw_majority(ax, y, task.first)
    for result, offset, color in zip(
      task.results, offsets, colors, strict=True
    ):
      _draw_result(ax, y + offset, result, color)
  _set_axes(ax, tasks)
  handles = _legend_handles(compared, colors)
  text_width = sum(len(str(handle.get_label())) for handle in handles)
  lines = 1 if text_width < _LEGEND_WIDTH else 2
  drawing.legend(
    handles=handles,
    loc="outside upper center",
    ncols=math.ceil(len(handles) / lines),
    frameon=False,
    columnspacing=1.2,
    handletextpad=0.4,
  )
  buffer = io.BytesIO()
  drawing.savefig(buffer, format="png")
  return buffer.getvalue()


def _set_axes(ax: "axes.Axes", tasks: Sequence[TaskComparison]) -> None:
  ax.set_ylim(len(tasks) - 0.5, -0.5)  # the first task is at the top
  existing = [result for task in tasks for result in task.existing]
  scores = [score for result in existing for score in result.by_template]
  lowest = min([0.0, *(score for score in scores if not math.isnan(score))])
  ax.set_xlim(lowest - 2, 102)
  ax.set_yticks(range(len(tasks)), list(map(_task_label, tasks)))
  ax.tick_params(axis="y", length=0)
  ax.tick_params(axis="x", top=True, labeltop=len(tasks) > _MANY_TASKS)
  ax.grid(axis="x", color=_GRID, linewidth=0.6)
  ax.set_axisbelow(True)
  ax.spines[["left", "right", "top", "bottom"]].set_visible(False)
  ax.set_xlabel("score on the test rows (%)")


def _task_label(task: TaskComparison) -> str:
  return f"{task.name}\n{task.first.metric}, {task.first.examples:,} rows"


def _legend_handles(
  compared: comparison.Comparison, colors: Sequence[str]
) -> list["artist.Artist"]:
  from matplotlib import lines, patches

  handles: list[artist.Artist] = [
    lines.Line2D([], [], color=color, marker="o", linewidth=0, label=label)
    for color, label in zip(colors, compared.labels, strict=True)
  ]
  existing = [result for task in compared.tasks for result in task.existing]
  has_interval = any(result.interval for result in existing)
  handles.append(
    lines.Line2D(
      [],
      [],
      color=_INK,
      marker="|",
      markersize=13,
      markeredgewidth=2.5,
      linewidth=1.5 if has_interval else 0,
      label="mean of the templates"
      + (", 95 % interval" if has_interval else ""),
    )
  )
  if any(map(dot_positions.shows_majority, existing)):
    handles.append(
      lines.Line2D([], [], color=_INK, linestyle=":", label="majority class")
    )
    handles.append(patches.Patch(color="#cccccc", label="its 95 % interval"))
  return handles


def _shade_clusters(ax: "axes.Axes", compared: comparison.Comparison) -> None:
  """Shades every second cluster and writes its name at the right edge."""
  start = 0
  for index, cluster in enumerate(compared.clusters):
    stop = start + len(cluster.tasks)
    if index % 2:
      ax.axhspan(start - 0.5, stop - 0.5, color=_BAND, zorder=0)
    if len(compared.clusters) > 1:
      # "reading comprehension commonsense" needs two lines.
      title = cells.cluster_title(cluster.name).replace(" comm", "\ncomm")
      ax.text(
        1.01,
        (start + stop - 1) / 2,
        title,
        transform=ax.get_yaxis_transform(),
        va="center",
        fontsize=8,
        color=_QUIET,
      )
    start = stop


def _draw_majority(ax: "axes.Axes", y: float, result: task_result.TaskResult):
  if not dot_positions.shows_majority(result):
    return
  from matplotlib import patches

  majority, half = result.majority or 0.0, result.majority_interval or 0.0
  ax.add_patch(
    patches.Rectangle(
      (majority - half, y - 0.42),
      width=2 * half,
      height=0.84,
      color="#000000",
      alpha=0.09,
      linewidth=0,
    )
  )
  ax.plot([majority] * 2, [y - 0.42, y + 0.42], ":", color=_INK)


def _draw_result(
  ax: "axes.Axes", y: float, result: task_result.TaskResult | None, color: str
) -> None:
  if result is None:
    _write(ax, y, "not evaluated", color)
    return
  scores = [score for score in result.by_template if not math.isnan(score)]
  if not scores:
    _write(ax, y, f"{result.metric} undefined", color)
    return
  ax.plot(
    scores,
    [y] * len(scores),
    "o",
    color=color,
    alpha=0.5,
    markersize=5.5,
    markeredgewidth=0,
    clip_on=False,
  )
  if result.interval:
    ax.plot(result.interval, [y, y], color=color, linewidth=1.5, alpha=0.7)
  ax.plot(
    [result.mean],
    [y],
    "|",
    color=color,
    markersize=15,
    markeredgewidth=3,
    clip_on=False,
    zorder=4,
  )


def _write(ax: "axes.Axes", y: float, text: str, color: str) -> None:
  ax.text(0.5, y, text, color=color, fontsize=8, style="italic", va="center")
