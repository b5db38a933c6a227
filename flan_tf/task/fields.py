"""Builders of field functions, which turn the rows of a data set into slots.

A field function takes a row (a dict of tensors) and returns slots (a dict of
tensors); `flan_tf.task.schema.Task` describes both. TensorFlow is imported when
the function is called, so that a task table can be read without it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flan_tf.task import schema

Row = Mapping[str, Any]
# A function that rewrites texts: strings [...] -> strings [...].
Clean = Callable[[Any], Any]


def slots(
  label: str | None = None,
  answer: str | None = None,
  clean: Clean | None = None,
  **features: str,
) -> schema.Fields:
  """Returns a field function that copies features of a row into slots.

  `slots(premise="sentence1", label="label")` copies the feature "sentence1"
  into the slot "premise".

  Args:
    label: name of the feature with the class index. It becomes the slot
      `answer_index`, int64, -1 for a hidden label.
    answer: name of the feature with the text of the answer.
    clean: function applied to every text, e.g. `one_line`; by default, white
      space is stripped from both ends.
    **features: the feature's name for each slot.
  """

  def fields(row: Row) -> dict[str, Any]:
    import tensorflow as tf

    clean_text = clean or tf.strings.strip
    out = {slot: clean_text(row[name]) for slot, name in features.items()}
    if label is not None:
      out["answer_index"] = tf.cast(row[label], tf.int64)
    if answer is not None:
      out["answer"] = clean_text(row[answer])
    return out

  return fields


def generation(
  answer: str,
  references: str | None = None,
  clean: Clean | None = None,
  excluded: str = "",
  **features: str,
) -> schema.Fields:
  """Returns the field function of a generation task.

  It gives the slots of `features`, `answer`, `references` and `keep`.

  Args:
    answer: name of the feature with the text of the answer. If the text is
      empty, the first reference is the answer.
    references: name of the feature with all right answers (strings [n]). The
      answer is always one of the references.
    clean: function applied to every text, as for `slots`.
    excluded: a pattern (RE2). Rows whose slots or answer contain a match are
      left out, as are rows in which one of these texts is empty.
    **features: the feature's name for each slot.
  """
  copy_slots = slots(answer=answer, clean=clean, **features)

  def fields(row: Row) -> dict[str, Any]:
    import tensorflow as tf

    out = dict(copy_slots(row))
    right_answers = out["answer"][tf.newaxis]
    if references is not None:
      clean_text = clean or tf.strings.strip
      right_answers = tf.concat([right_answers, clean_text(row[references])], 0)
      right_answers = tf.unique(
        tf.boolean_mask(right_answers, right_answers != "")
      ).y
      out["answer"] = tf.concat([right_answers, [""]], 0)[0]
    texts = tf.stack([out[name] for name in (*features, "answer")])
    keep = tf.reduce_all(texts != "")
    if excluded:
      is_match = tf.strings.regex_full_match(texts, f"(?s).*({excluded}).*")
      keep &= ~tf.reduce_any(is_match)
    return {**out, "references": right_answers, "keep": keep}

  return fields


def one_line(text):
  """Strips a text and replaces each run of white space by one blank.

  White space of all scripts counts, such as no-break spaces; RE2's `\\s` knows
  ASCII only.
  """
  import tensorflow as tf

  return tf.strings.strip(tf.strings.regex_replace(text, r"[\s\p{Z}]+", " "))


def cleaner(*replacements: tuple[str, str]) -> Clean:
  """Returns a function that applies replacements in order, then strips.

  Args:
    *replacements: (pattern, rewrite) in the syntax of RE2.
  """

  def clean(text):
    import tensorflow as tf

    for pattern, rewrite in replacements:
      text = tf.strings.regex_replace(text, pattern, rewrite)
    return tf.strings.strip(text)

  return clean
