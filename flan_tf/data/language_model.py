"""Plain text of the same rows: no templates, and a loss on every token.

A document is the text of a task's `documents` slots, joined by blank lines. In
an example table it ends with the end-of-text id. A document that is longer than
an example continues in the next example; nothing is cut off.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from flan_tf.data import (
  example_table,
  opened_tasks,
  prompts,
  ragged,
  row_ranges,
  rows,
)
from flan_tf.data.prepared_dataset import PreparedDataset
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.task import schema

_BATCH = 256
_TEXT = "text"


def build_table(
  task: schema.Task,
  dataset: PreparedDataset,
  row_range: row_ranges.RowRange,
  prompt_format: PromptFormat,
) -> tuple[example_table.ExampleTable, example_table.RowCounts]:
  """Reads and tokenizes the documents of a task.

  Rows with a text that came before (one passage, many questions) are skipped
  and counted as duplicates.

  Args:
    task: the task.
    dataset: the task's data set.
    row_range: the rows to read.
    prompt_format: its vocabulary and its longest example are used.

  Raises:
    rows.DataCorruptionError: a file cannot be read.
  """
  vocabulary = prompt_format.vocabulary
  counts, writer = example_table.RowCounts(), example_table.TableWriter()
  seen: set[bytes] = set()
  batches = read_documents(task, dataset, row_range).batch(_BATCH).prefetch(2)
  with rows.naming_corrupt_files(dataset, row_range.split):
    for batch in batches:
      keep, texts = batch[prompts.KEEP].numpy(), batch[_TEXT].numpy()
      row_indices = batch[rows.ROW_INDEX].numpy()
      pieces = vocabulary.tokenize(batch[_TEXT])
      for i, ids in enumerate(ragged.split_ragged(pieces)):
        counts.rows += 1
        if not keep[i]:
          counts.left_out += 1
        elif not len(ids):
          counts.empty_target += 1
        elif texts[i] in seen:
          counts.duplicates += 1
        else:
          seen.add(texts[i])
          document = np.append(ids, vocabulary.eos_id).astype(np.int32)
          counts.tokens += len(document)
          for part in _split(document, prompt_format.example_length):
            writer.add(part, 0, int(row_indices[i]))
            counts.examples += 1
  return writer.table(), counts


def read_documents(
  task: schema.Task,
  dataset: PreparedDataset,
  row_range: row_ranges.RowRange,
) -> tf.data.Dataset:
  """Reads the rows of a range as {text, row_index, keep}.

  Raises:
    ValueError: the task has no `documents`.
  """
  if not task.documents:
    raise ValueError(
      f"Task {task.name!r} has no running text: its `documents` are empty."
    )

  def join_documents(row):
    slots = prompts.fill_slots(task, row)
    parts = tf.stack([slots[name] for name in task.documents])
    parts = tf.boolean_mask(parts, tf.strings.length(parts) > 0)
    return {
      _TEXT: tf.strings.reduce_join(parts, separator="\n\n"),
      rows.ROW_INDEX: row[rows.ROW_INDEX],
      prompts.KEEP: slots[prompts.KEEP],
    }

  return rows.read_rows(dataset, row_range, join_documents)


def read_texts(
  task: schema.Task,
  dataset: PreparedDataset,
  row_range: row_ranges.RowRange,
) -> Iterator[str]:
  """Yields the documents of a task as strings."""
  documents = read_documents(task, dataset, row_range)
  with rows.naming_corrupt_files(dataset, row_range.split):
    for row in documents.prefetch(64):
      text = row[_TEXT].numpy()
      if row[prompts.KEEP] and text:
        yield text.decode("utf-8", "replace")


def read_training_texts(
  tasks: Sequence[schema.Task],
  data_dir: str,
  train_cap: int = row_ranges.TRAIN_CAP,
) -> Iterator[str]:
  """Yields the running text of the tasks' training rows, each text once.

  Vocabularies are trained on these texts. Tasks that cannot be read are logged.

  Raises:
    opened_tasks.NothingToTrainError: no task has any text.
  """
  opened, left_out = opened_tasks.open_training_tasks(
    tasks, data_dir, train_cap, opened_tasks.LANGUAGE_MODEL
  )
  seen = set()
  for item in opened:
    for text in read_texts(item.task, item.dataset, item.ranges.train):
      key = hash(text)
      if key not in seen:
        seen.add(key)
        yield text
  for name, reason in left_out.items():
    logging.warning("%s is left out: %s", name, reason)
  if not seen:
    raise opened_tasks.nothing_to_train(data_dir, left_out)


def _split(ids: np.ndarray, length: int) -> Iterator[np.ndarray]:
  """Cuts ids into stretches of at most `length`."""
  for start in range(0, len(ids), length):
    yield ids[start : start + length]
