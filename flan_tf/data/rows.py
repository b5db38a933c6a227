"""Reads the rows of prepared data sets, always in the same order."""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow_datasets.core import file_adapters

from flan_tf import name_lists
from flan_tf.data import row_ranges
from flan_tf.data.prepared_dataset import PreparedDataset, prepare_command

# Key that `read_rows` adds to the features of a row.
ROW_INDEX = "row_index"


class DataCorruptionError(RuntimeError):
  """A record of a data set cannot be read; the message names the file."""


def read_rows(
  dataset: PreparedDataset,
  row_range: row_ranges.RowRange,
  convert: Callable[[dict[str, Any]], Any] | None = None,
) -> tf.data.Dataset:
  """Reads rows in file order, as dicts of features and `row_index`.

  `row_index` (int64 []) is the number of the row in its split. It is the same
  in every run, however many threads decode.

  Iterate inside `naming_corrupt_files`, so that errors name the broken file.

  Args:
    dataset: the data set.
    row_range: the rows to read.
    convert: applied to each row, with TensorFlow ops. It is part of the graph
      that decodes: tracing one more graph takes as long as a thousand rows.

  Raises:
    ValueError: the data set has no such split.
  """
  split = row_range.split
  if split not in dataset.counts and len(row_range):
    raise ValueError(
      f"{dataset.source.name}: "
      + name_lists.unknown_name("split", split, dataset.counts)
    )

  parse = dict
  if dataset.builder is not None:
    parse = dataset.builder.info.features.deserialize_example

  # AutoGraph would take longer than the rest of tracing, and change nothing.
  @tf.autograph.experimental.do_not_convert
  def decode(index, record):
    row = {**parse(record), ROW_INDEX: index}
    return convert(row) if convert else row

  return (
    _read_records(dataset, row_range)
    .enumerate(start=row_range.start)
    .map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
  )


@contextlib.contextmanager
def naming_corrupt_files(
  dataset: PreparedDataset, split: str
) -> Iterator[None]:
  """Turns TensorFlow's reading errors into an error that names the file.

  Raises:
    DataCorruptionError: reading failed, and a file of the split is broken.
  """
  try:
    yield
  except (
    tf.errors.DataLossError,
    tf.errors.OutOfRangeError,
    tf.errors.InvalidArgumentError,
    tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError,
  ) as error:
    problem = _describe_broken_file(dataset, split)
    if problem is None:
      raise  # No file is broken: the error has another cause.
    raise DataCorruptionError(
      f"{dataset.source.name}, split {split!r}: {problem}\nPrepare it again:"
      f" remove {dataset.path} and run\n  "
      + prepare_command(dataset.source, dataset.data_dir)
    ) from error


def _read_records(
  dataset: PreparedDataset, row_range: row_ranges.RowRange
) -> tf.data.Dataset:
  """Reads serialized rows, one file after another.

  The rows of a file of prompts are not serialized. TFDS's own `as_dataset` is
  not used: it interleaves files, and parses in graphs of its own, whose tracing
  takes longer than reading a small data set.
  """
  if dataset.columns:
    stretch = slice(row_range.start, row_range.stop)
    columns: Any = {
      name: tf.constant(values[stretch], tf.string)
      for name, values in dataset.columns.items()
    }
    return tf.data.Dataset.from_tensor_slices(columns)
  if len(row_range) <= 0:
    return tf.data.Dataset.from_tensor_slices(tf.zeros([0], tf.string))
  info = dataset.builder.info
  # Old versions of TFDS did not write the format.
  file_format = info.file_format or file_adapters.DEFAULT_FILE_FORMAT
  adapter = file_adapters.ADAPTER_FOR_FORMAT[file_format]
  files = []
  for instruction in info.splits[str(row_range)].file_instructions:
    file = adapter.make_tf_data(os.fspath(instruction.filename))
    files.append(file.skip(instruction.skip).take(instruction.take))
  records = functools.reduce(tf.data.Dataset.concatenate, files)
  # A file that ends too early is an error, not a smaller data set.
  return records.apply(tf.data.experimental.assert_cardinality(len(row_range)))


def _describe_broken_file(dataset: PreparedDataset, split: str) -> str | None:
  """Reads the files of a split; describes the first broken one, if any."""
  if dataset.builder is None:
    return None
  info = dataset.builder.info
  shards = info.splits[split]
  for path, expected in zip(
    shards.filepaths, shards.shard_lengths, strict=True
  ):
    count = 0
    try:
      for record in tf.data.TFRecordDataset(str(path)):
        info.features.deserialize_example(record)
        count += 1
    except tf.errors.OpError as error:
      reason = re.sub(r"\{\{.*?\}\} ?| \[Op:.*", "", str(error.message))
      return (
        f"{path} is corrupt: {count} of {expected} records can be read"
        f" ({reason.strip()})."
      )
    if count != expected:
      return f"{path} holds {count} records where {expected} are expected."
  return None
