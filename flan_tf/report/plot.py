"""The scores of every template, drawn: one row a task, one colour a model."""

import io
import math

from flan_tf.report import cells, comparison, dot_positions

# The last ones are for one and two result sets: orange and blue, told apart by
# nearly all eyes, and in grey print.
_COLOURS = ("#7a6aa8", "#3d8b63", "#d9822b", "#1f5fa8")
_INK = "#333333"
_BAND = "#f3f3f0"


def templates_png(evaluations: comparison.Evaluations) -> bytes:
  """A PNG: a dot for each template, a bar for their mean.

  A thin line is the mean's 95 % interval, where there is one. A dotted line
  marks the majority class where the metric is accuracy; its grey box is the
  95 % interval of that share over the test rows. Shades behind the rows tell
  clusters apart. A task without any value says so.

  Args:
    evaluations: one to four result sets, e.g. base first, then tuned.

  Raises:
    ValueError: not one to four result sets, or none with a task.
  """
  # No pyplot: it would keep figures alive and look for a display.
  from matplotlib import artist, figure, layout_engine, lines, patches

  comparison.check(evaluations)
  rows = comparison.rows(evaluations)
  if not rows:
    raise ValueError("Nothing to draw: no result set has a task.")

  layout = layout_engine.ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
  drawing = figure.Figure(
    figsize=(9.5, 1.6 + max(0.52, 0.24 * len(evaluations)) * len(rows)),
    dpi=110,
    layout=layout,
  )
  axes = drawing.subplots()
  _shade_clusters(axes, rows)
  colours = _COLOURS[-len(evaluations) :]
  # 0.4 apart at most, around the middle of the row.
  apart = min(0.4, 0.8 / len(evaluations))
  middle = (len(evaluations) - 1) / 2
  offsets = [apart * (i - middle) for i in range(len(evaluations))]
  for y, found in enumerate(rows):
    _draw_majority(axes, y, comparison.any_of(found))
    for result, offset, colour in zip(found, offsets, colours, strict=True):
      _draw_result(axes, y + offset, result, colour)

  axes.set_ylim(len(rows) - 0.5, -0.5)  # first task on top
  values = [v for row in rows for r in row if r for v in r.by_template]
  lowest = min([0.0, *(v for v in values if not math.isnan(v))])
  axes.set_xlim(lowest - 2, 102)
  axes.set_yticks(range(len(rows)), [_row_label(found) for found in rows])
  axes.tick_params(axis="y", length=0)
  axes.tick_params(axis="x", top=True, labeltop=len(rows) > 8)
  axes.grid(axis="x", color="#dddddd", linewidth=0.6)
  axes.set_axisbelow(True)
  axes.spines[["left", "right", "top", "bottom"]].set_visible(False)
  axes.set_xlabel("score on the test rows (%)")
  handles: list[artist.Artist] = [
    lines.Line2D([], [], color=colour, marker="o", linewidth=0, label=text)
    for colour, text in zip(
      colours, comparison.labels(evaluations), strict=True
    )
  ]
  interval = any(r.interval for row in rows for r in row if r)
  handles.append(
    lines.Line2D(
      [],
      [],
      color=_INK,
      marker="|",
      markersize=13,
      markeredgewidth=2.5,
      linewidth=1.5 if interval else 0,
      label="mean of the templates" + (", 95 % interval" if interval else ""),
    )
  )
  if any(dot_positions.shows_majority(r) for row in rows for r in row if r):
    handles.append(
      lines.Line2D([], [], color=_INK, linestyle=":", label="majority class")
    )
    handles.append(patches.Patch(color="#cccccc", label="its 95 % interval"))
  width = sum(len(str(handle.get_label())) for handle in handles)
  drawing.legend(
    handles=handles,
    loc="outside upper center",
    # Long labels want two lines.
    ncols=len(handles) if width < 100 else -(-len(handles) // 2),
    frameon=False,
    columnspacing=1.2,
    handletextpad=0.4,
  )
  buffer = io.BytesIO()
  drawing.savefig(buffer, format="png")
  return buffer.getvalue()


def _row_label(found) -> str:
  result = comparison.any_of(found)
  return f"{result.task}\n{result.metric}, {result.examples:,} rows"


def _shade_clusters(axes, rows) -> None:
  """A band behind every second cluster; its name at the right edge."""
  clusters = [comparison.any_of(row).cluster for row in rows]
  start, shaded = 0, False
  for y in range(1, len(clusters) + 1):
    if y < len(clusters) and clusters[y] == clusters[start]:
      continue
    if shaded:
      axes.axhspan(start - 0.5, y - 0.5, color=_BAND, zorder=0)
    if len(set(clusters)) > 1:
      name = cells.cluster(clusters[start])
      axes.text(
        1.01,
        (start + y - 1) / 2,
        name.replace(" comm", "\ncomm"),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
        color="#777777",
      )
    start, shaded = y, not shaded


def _draw_majority(axes, y, result) -> None:
  if not dot_positions.shows_majority(result):
    return
  from matplotlib import patches

  half = result.majority_interval
  axes.add_patch(
    patches.Rectangle(
      (result.majority - half, y - 0.42),
      2 * half,
      0.84,
      color="#000000",
      alpha=0.09,
      linewidth=0,
    )
  )
  axes.plot([result.majority] * 2, [y - 0.42, y + 0.42], ":", color=_INK)


def _draw_result(axes, y, result, colour) -> None:
  if result is None:
    _say(axes, y, "not evaluated", colour)
    return
  values = [v for v in result.by_template if not math.isnan(v)]
  if not values:
    _say(axes, y, f"{result.metric} undefined", colour)
    return
  axes.plot(
    values,
    [y] * len(values),
    "o",
    color=colour,
    alpha=0.5,
    markersize=5.5,
    markeredgewidth=0,
    clip_on=False,
  )
  if result.interval:
    axes.plot(result.interval, [y, y], color=colour, linewidth=1.5, alpha=0.7)
  axes.plot(
    [result.mean],
    [y],
    "|",
    color=colour,
    markersize=15,
    markeredgewidth=3,
    clip_on=False,
    zorder=4,
  )


def _say(axes, y, text, colour) -> None:
  axes.text(0.5, y, text, color=colour, fontsize=8, style="italic", va="center")
