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
from flan_tf.data import record_files, row_ranges
from flan_tf.data.prepared_dataset import PreparedDataset, how_to_repair

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
    DataCorruptionError: the files are not as their metadata say.
  """
  split = row_range.split
  if len(row_range):
    if split not in dataset.counts:
      raise ValueError(
        f"{dataset.source.name}: "
        + name_lists.unknown_name("split", split, dataset.counts)
      )
    check_split(dataset, split)

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


def check_split(dataset: PreparedDataset, split: str) -> None:
  """Compares the files of a split with the metadata beside them.

  That is done once for an opened data set and split. A file of prompts has no
  metadata.

  Raises:
    DataCorruptionError: the split has more or fewer rows than the metadata say,
      or other features; see `record_files`.
  """
  if dataset.builder is None or split in dataset.checked_splits:
    return
  with naming_corrupt_files(dataset, split):
    info = dataset.builder.info
    problem = record_files.wrong_count(info, split)
    problem = problem or record_files.unknown_feature(info, split)
  if problem:
    raise _corruption(dataset, split, problem)
  dataset.checked_splits.add(split)


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
    raise _corruption(dataset, split, problem) from error


def _corruption(
  dataset: PreparedDataset, split: str, problem: str
) -> DataCorruptionError:
  repair = how_to_repair(dataset.source, dataset.data_dir, dataset.path)
  return DataCorruptionError(
    f"{dataset.source.name}, split {split!r}: {problem}\n{repair}"
  )


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
    file = file.skip(instruction.skip)
    if not instruction.takes_all:
      file = file.take(instruction.take)
    # A file that ends too early or too late is an error, not a smaller data
    # set.
    expected = tf.data.experimental.assert_cardinality(instruction.take)
    files.append(file.apply(expected))
  return functools.reduce(tf.data.Dataset.concatenate, files)


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
      beside = ""
      if isinstance(error, tf.errors.InvalidArgumentError):
        # The record is as it was written, but is not as the features say.
        beside = f", or {record_files.FEATURES} beside it,"
      return (
        f"{path}{beside} is corrupt: {count} of {expected} records can be read"
        f" ({reason.strip(' .')})."
      )
    if count != expected:
      return f"{path} holds {count} records where {expected} are expected."
  return None
