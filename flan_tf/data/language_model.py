"""Plain text of the same rows: no templates, loss on every token.

A document is the task's `documents` slots, joined by blank lines, with EOS at
its end. One that is longer than a row goes on in the next example; nothing is
cut away. Tables serve `batches.Batches` like those of instructions.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from flan_tf.data import example_table, prompts, row_ranges, rows
from flan_tf.task import schema
from flan_tf.vocab.vocabulary import Vocabulary

_BATCH = 256


def build_table(
  task: schema.Task,
  dataset: rows.Dataset,
  row_range: row_ranges.RowRange,
  vocabulary: Vocabulary,
  row_length: int,
) -> tuple[example_table.TokenTable, example_table.Counts]:
  """Reads and tokenizes the documents of a task.

  The same text in several rows (one passage, many questions) counts once.

  Args:
    task: the task.
    dataset: its data set.
    row_range: the rows to read.
    vocabulary: what tokenizes.
    row_length: longest example, in tokens.

  Raises:
    rows.DataCorruptionError: a file cannot be read.
  """
  counts, writer = example_table.Counts(), example_table.TableWriter()
  seen: set[bytes] = set()
  batches = documents(task, dataset, row_range).batch(_BATCH).prefetch(2)
  with rows.naming_corrupt_files(dataset, row_range.split):
    for batch in batches:
      keep, texts = batch[prompts.KEEP].numpy(), batch["text"].numpy()
      numbers = batch[rows.ROW_INDEX].numpy()
      pieces = vocabulary.tokenize(batch["text"])
      for i, ids in enumerate(example_table.ragged_rows(pieces)):
        counts.rows += 1
        if not keep[i]:
          counts.left_out += 1
        elif not len(ids):
          counts.empty_target += 1
        elif texts[i] in seen:
          counts.duplicates += 1
        else:
          seen.add(texts[i])
          counts.tokens += len(ids) + 1
          for part in _parts(ids, vocabulary.eos_id, row_length):
            writer.add(part, 0, row=int(numbers[i]))
            counts.examples += 1
  return writer.table(), counts


def documents(
  task: schema.Task, dataset: rows.Dataset, row_range: row_ranges.RowRange
) -> tf.data.Dataset:
  """Rows of a range as {text, row_index, keep}."""
  if not task.documents:
    raise ValueError(
      f"Task {task.name!r} has no running text: its `documents` are empty."
    )

  def text(row):
    slots = prompts.fill_slots(task, row)
    parts = tf.stack([slots[name] for name in task.documents])
    parts = tf.boolean_mask(parts, tf.strings.length(parts) > 0)
    return {
      "text": tf.strings.reduce_join(parts, separator="\n\n"),
      rows.ROW_INDEX: row[rows.ROW_INDEX],
      prompts.KEEP: slots[prompts.KEEP],
    }

  return rows.read_rows(dataset, row_range, text)


def texts(
  task: schema.Task, dataset: rows.Dataset, row_range: row_ranges.RowRange
) -> Iterator[str]:
  """The documents of a task as strings, e.g. to train a vocabulary."""
  read = documents(task, dataset, row_range)
  with rows.naming_corrupt_files(dataset, row_range.split):
    for row in read.prefetch(64):
      text = row["text"].numpy()
      if row[prompts.KEEP] and text:
        yield text.decode("utf-8", "replace")


def _parts(ids: np.ndarray, eos_id: int, length: int) -> Iterator[np.ndarray]:
  ids = np.append(ids, eos_id).astype(np.int32)
  for start in range(0, len(ids), length):
    yield ids[start : start + length]
