"""The report as GitHub-flavored Markdown; `report.md.j2` is its template."""

from flan_tf.report import (
  comparison,
  published,
  rendering,
  sentences,
  table_format,
  tables,
)


def markdown(compared: comparison.Comparison, plot_file: str = "") -> str:
  """Returns the report as Markdown.

  Args:
    compared: the evaluations.
    plot_file: address of the plot relative to the report; empty for no plot.
  """
  text = rendering.render(
    "report.md.j2",
    compared=compared,
    plot_file=plot_file,
    sentences=sentences,
    tables=tables,
    to_markdown=table_format.to_markdown,
    escape=table_format.escape_markdown,
    about_published=published.ABOUT,
  )
  return text.rstrip() + "\n"
