"""Helpers of the summarization tasks."""

from typing import Any

ROUGE = ("rouge1", "rouge2", "rougeL")


def summary_fields(answer: Any, **slots: Any) -> dict[str, Any]:
  """Returns the slots of a row; leaves rows with an empty text out.

  Args:
    answer: the summary.
    **slots: the texts that templates use.
  """
  import tensorflow as tf

  return {
    **slots,
    "answer": answer,
    "references": answer[tf.newaxis],
    "keep": tf.reduce_all(tf.stack([answer, *slots.values()]) != ""),
  }


def numbered_lines(texts: Any) -> Any:
  """Returns the first ten texts that are not empty, as lines: "1. ...".

  Args:
    texts: strings [n].
  """
  import tensorflow as tf

  texts = tf.boolean_mask(texts, texts != "")[:10]
  numbers = tf.as_string(tf.range(1, tf.size(texts) + 1))
  return tf.strings.reduce_join(
    tf.strings.join([numbers, texts], ". "), separator="\n"
  )
