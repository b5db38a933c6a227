"""The report as text for a terminal of 80 columns."""

import textwrap

from flan_tf.report import comparison, sentences, table_format, tables
from flan_tf.terminal_text import visible

WIDTH = 80  # characters


def text(compared: comparison.Comparison) -> str:
  """Returns the scores, their differences, and what a reader must know.

  Control characters, which labels and settings of strangers' results may have,
  are shown and not obeyed.
  """
  parts = [sentences.title(compared)]
  if compared.tasks:
    scores = [_table(tables.brief_scores(compared))]
    scores += [
      _item(f"* {sentence}")
      for sentence in sentences.undefined_scores(compared)
    ]
    parts.append("\n".join(scores))
    parts.append(_table(tables.clusters(compared)))
    parts.append(_wrap(sentences.verdict(compared)))
  notes = _notes(compared)
  if notes:
    parts.append("\n".join(map(_item, notes)))
  if compared.differences:
    parts += _difference_parts(compared)
  return visible("\n\n".join(parts) + "\n")


def _notes(compared: comparison.Comparison) -> list[str]:
  _, *missing = tables.not_evaluated(compared)
  return [f"Not evaluated: {task}: {reason}" for task, reason in missing] + [
    f"{caveat.heading}: {sentence}"
    for caveat in sentences.caveats(compared)
    for sentence in caveat.sentences
  ]


def _difference_parts(compared: comparison.Comparison) -> list[str]:
  base, tuned = compared.labels[-2:]
  clear = [name for name, d in compared.differences.items() if d.is_clear]
  left_out = [
    f"{name}: {sentences.count(difference.left_out, 'row')} left out, because"
    " only one model answered them or their right answers differ."
    for name, difference in compared.differences.items()
    if difference.left_out
  ]
  explanation = (
    f"Difference: {tuned} minus {base}, on the test rows that both models"
    " answered. It is the difference of the means over templates, with its 95 %"
    " interval. An answer is one row in one template: won counts the answers on"
    f" which {tuned} scores higher, lost those on which {base} does."
  )
  conclusion = (
    f"The interval does not include 0 for: {', '.join(clear)}."
    if clear
    else "The interval includes 0 for every task."
  )
  return [
    _wrap(explanation),
    _table(tables.paired_differences(compared)),
    "\n".join(map(_item, [conclusion, *left_out])),
  ]


def _table(table: table_format.Table) -> str:
  return table_format.to_text(table, max_width=WIDTH)


def _wrap(paragraph: str, indent: str = "") -> str:
  return textwrap.fill(
    paragraph,
    WIDTH,
    subsequent_indent=indent,
    break_long_words=False,
    break_on_hyphens=False,
  )


def _item(paragraph: str) -> str:
  """Wraps a paragraph; lines after the first are indented."""
  return _wrap(paragraph, indent="  ")
