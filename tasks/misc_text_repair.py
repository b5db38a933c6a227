"""Text repair, in the cluster "misc": punctuation, capitals and blanks.

All three tasks take English sentences from the web and remove something that
the model has to restore. The paper counts FIX_PUNCT among its 62 data sets, but
not TRUE_CASE and WORD_SEGMENT.
"""

import functools
from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import Fields, Source, Splits, Task, TaskKind, Template

# RE2's \s and \w know ASCII only. \pZ are all kinds of blanks, such as no-break
# spaces. A combining mark (\pM) belongs to the letter before it.
_BLANKS = r"[\s\pZ]+"

_SIGNS = r"[^\pL\pM\pN\s\pZ]"


def _repair_fields(slot: str, damage: fields.Clean) -> Fields:
  """Returns a field function with the damaged text as `slot`, to be restored.

  Rows that the damage does not change are left out.

  Args:
    slot: name of the slot of the damaged text.
    damage: function that damages the English text of a row.
  """

  def fields_of_row(row: fields.Row) -> dict[str, Any]:
    import tensorflow as tf

    text = fields.one_line(row["en"])
    broken = damage(text)
    return {
      slot: broken,
      "text": text,
      "answer": text,
      "references": text[tf.newaxis],
      "keep": (broken != text) & (broken != ""),
    }

  return fields_of_row


def _lower(text):
  import tensorflow as tf

  return tf.strings.lower(text, encoding="utf-8")


# Three tasks share one data set. Each trains on its own range of rows.
_web_text = functools.partial(Splits, test="train", test_rows=3_000, parts=3)

FIX_PUNCT = Task(
  name="fix_punct",
  dataset="fix_punct",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source("para_crawl/enda", "1.2.0", _web_text(part=1)),
  # Of two blanks around a removed sign, only one remains.
  fields=_repair_fields("bare", fields.cleaner((_SIGNS, ""), (_BLANKS, " "))),
  slots=("bare", "text"),
  metrics=("word_similarity",),
  documents=("text",),
  published_rows=28_070,
  templates=(
    Template("Put the punctuation back into this text.\n\n{bare}"),
    Template(
      "{bare}\n\nAll punctuation has been lost here. What did the text look like before?"
    ),
    Template("Without punctuation: {bare}\nWith punctuation:"),
    Template(
      "Add the commas, full stops, quotation marks, hyphens, apostrophes and other signs that are missing. Otherwise leave the words as they are.\n\n{bare}"
    ),
    Template(
      "A faulty printer drops every sign that is neither a letter nor a digit. This is what came out of it:\n\n{bare}\n\nRestore what the author had typed."
    ),
    Template("Punctuate: {bare}"),
    Template(
      "{bare}\n\nThis is hard to read, because somebody left out the punctuation. Write it again as it should be."
    ),
    Template(
      "You proofread lines taken from the web. In this one, the marks between and inside the words are gone. Insert them and change nothing else.\n\nLine: {bare}\n\nCorrected line:"
    ),
    Template(
      "What punctuation belongs in the text below? Reply with the whole text, punctuation included.\n{bare}"
    ),
    Template(
      "Delete all punctuation in the following, and any other sign that is not a letter or a digit.\n\n{text}",
      "{bare}",
    ),
  ),
)

TRUE_CASE = Task(
  name="true_case",
  dataset="true_case",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source("para_crawl/enda", "1.2.0", _web_text(part=0)),
  fields=_repair_fields("lower", _lower),
  slots=("lower", "text"),
  metrics=("word_similarity",),
  documents=("text",),
  published_rows=29_260,
  extra=True,
  templates=(
    Template(
      "Write this text with capital letters where they belong.\n\n{lower}"
    ),
    Template(
      "{lower}\n\nEverything above is in small letters. Restore the capitals."
    ),
    Template("Small letters only: {lower}\nWith capitals:"),
    Template(
      "The shift key was broken when somebody typed the following. How should it read?\n\n{lower}"
    ),
    Template(
      "Which letters have to be upper-case here? Answer with the corrected text.\n{lower}"
    ),
    Template(
      "Sentences and names begin with a capital, and many abbreviations consist of capitals, but this text has none. Mend that; touch nothing except the case of the letters.\n\n{lower}"
    ),
    Template("Capitalize correctly: {lower}"),
    Template(
      "A search engine stores its pages without capitals. Here is an entry:\n\n{lower}\n\nShow the line as it was on the original web page."
    ),
    Template(
      "Bring back the upper-case letters of the text in brackets.\n\n[{lower}]"
    ),
    Template(
      "Set the following text in small letters throughout.\n\n{text}",
      "{lower}",
    ),
  ),
)

WORD_SEGMENT = Task(
  name="word_segment",
  dataset="word_segment",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source("para_crawl/enda", "1.2.0", _web_text(part=2)),
  fields=_repair_fields("joined", fields.cleaner((_BLANKS, ""))),
  slots=("joined", "text"),
  metrics=("word_similarity",),
  documents=("text",),
  published_rows=30_000,
  extra=True,
  templates=(
    Template(
      "{joined}\n\nThe spaces between the words have disappeared. Put them back."
    ),
    Template("Separate the words in this string: {joined}"),
    Template("Run together: {joined}\nSet apart:"),
    Template(
      "Where does one word end and the next begin? Write the text with a space in every such place.\n\n{joined}"
    ),
    Template(
      "A message has arrived from a machine that cannot send spaces:\n\n{joined}\n\nMake it readable."
    ),
    Template("Insert the missing spaces and change nothing else.\n{joined}"),
    Template(
      "Scribes in antiquity often left no gaps between words. Someone has done the same to a modern text. Rewrite it in the way that we are used to.\n\n{joined}"
    ),
    Template(
      "When this line was copied out of a document, its words got stuck together. What did it say?\n\n{joined}"
    ),
    Template("Take out all spaces.\n\n{text}", "{joined}"),
    Template(
      "How would this look if it had been typed without ever pressing the space bar?\n\n{text}",
      "{joined}",
    ),
  ),
)
