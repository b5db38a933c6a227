"""Small builders for field functions: a row's features become slots.

Each returns a function from a row (a dict of scalar tensors) to slots. They
import TensorFlow when called, so that a task table can be read without it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flan_tf.task import schema

Row = Mapping[str, Any]
Clean = Callable[[Any], Any]


def slots(
  label: str | None = None,
  answer: str | None = None,
  clean: Clean | None = None,
  **features: str,
) -> schema.Fields:
  """Copies features into slots: `slots(premise="sentence1", label="label")`.

  Args:
    label: the feature that holds the class index; it becomes `answer_index`,
      an int64, -1 where the label is hidden.
    answer: the feature that holds the answer's text.
    clean: applied to every text, e.g. `one_line`.
    **features: slot name = feature name.
  """

  def fields(row: Row) -> dict[str, Any]:
    import tensorflow as tf

    tidy = clean or tf.strings.strip
    out = {slot: tidy(row[feature]) for slot, feature in features.items()}
    if label is not None:
      out["answer_index"] = tf.cast(row[label], tf.int64)
    if answer is not None:
      out["answer"] = tidy(row[answer])
    return out

  return fields


def generation(
  answer: str,
  references: str | None = None,
  clean: Clean | None = None,
  left_out: str = "",
  **features: str,
) -> schema.Fields:
  """Slots, `answer`, `references` and `keep` of a task that is answered freely.

  Args:
    answer: the feature that holds the answer's text. Where it is empty, the
      first of the references takes its place.
    references: the feature that holds all right answers (strings [n]); the
      answer itself always is one.
    clean: applied to every text.
    left_out: a pattern (RE2). `keep` is False for a row with a match in a slot
      or in the answer, and for one where any of them is empty.
    **features: slot name = feature name.
  """
  copied = slots(answer=answer, clean=clean, **features)

  def fields(row: Row) -> dict[str, Any]:
    import tensorflow as tf

    out = dict(copied(row))
    right = out["answer"][tf.newaxis]
    if references is not None:
      tidy = clean or tf.strings.strip
      right = tf.concat([right, tidy(row[references])], 0)
      right = tf.unique(tf.boolean_mask(right, right != "")).y
      out["answer"] = tf.concat([right, [""]], 0)[0]
    texts = tf.stack([out[name] for name in (*features, "answer")])
    keep = tf.reduce_all(texts != "")
    if left_out:
      found = tf.strings.regex_full_match(texts, f"(?s).*({left_out}).*")
      keep &= ~tf.reduce_any(found)
    return {**out, "references": right, "keep": keep}

  return fields


def one_line(text):
  """Strips, and joins the lines of a text with single blanks.

  Blanks that do not break and their like are blanks; RE2's own `\\s` is ASCII.
  """
  import tensorflow as tf

  return tf.strings.strip(tf.strings.regex_replace(text, r"[\s\p{Z}]+", " "))


def replace(*pairs: tuple[str, str]) -> Clean:
  """A cleaner that rewrites patterns (RE2) in order, then strips."""

  def clean(text):
    import tensorflow as tf

    for pattern, rewrite in pairs:
      text = tf.strings.regex_replace(text, pattern, rewrite)
    return tf.strings.strip(text)

  return clean
