"""Compares the files of a prepared data set with its dataset_info.json.

Both may be damaged: the files of records have checksums, dataset_info.json has
none. A number of rows that is too small would leave out the other rows, and a
split without its name would be a split that is not there.
"""

import os
import re
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

INFO, FEATURES = "dataset_info.json", "features.json"
_TFRECORD = "tfrecord"
# Bytes that a file of records has in addition to each record: its length and
# two checksums.
_BYTES_PER_RECORD = 16
# Records are counted in splits of up to so many bytes.
_MOST_BYTES_COUNTED = 1 << 32
# "trec-train.tfrecord-00000-of-00001"
_RECORD_FILE = r".+\.{format}-\d{{5}}-of-\d{{5}}"


def unnamed_files(info: Any, folder: str) -> list[str]:
  """Lists the files of records that belong to no split, by their names.

  Args:
    info: the data set's `tfds.core.DatasetInfo`.
    folder: the folder of the prepared version, local or gs://.
  """
  pattern = _RECORD_FILE.format(format=_format(info))
  named = {name for split in info.splits.values() for name in split.filenames}
  return sorted(
    name
    for name in tf.io.gfile.listdir(folder)
    if re.fullmatch(pattern, name) and name not in named
  )


def wrong_count(info: Any, split: str) -> str:
  """Describes a file that has more or fewer rows than dataset_info.json says.

  No row is read if the sizes of the files are as recorded: a file of records
  has the bytes of its rows, which TFDS sums up in `numBytes`, and 16 more for
  each row. If the sizes differ, the rows of the split are counted, because old
  versions of TFDS recorded no bytes.

  A wrong number goes unnoticed here if the sizes differ and the split is larger
  than 4 GiB, which is logged, and if the files are not TFRecord files. Reading
  still notices it in each file that is read to its end.

  Args:
    info: the data set's `tfds.core.DatasetInfo`.
    split: name of one of its splits.

  Returns:
    A sentence that names the file, or "".

  Raises:
    tf.errors.OpError: a file is missing or damaged.
  """
  if _format(info) != _TFRECORD:
    return ""
  found = info.splits[split]
  paths = [os.fspath(path) for path in found.filepaths]
  size = sum(tf.io.gfile.stat(path).length for path in paths)
  recorded = int(found.num_bytes) + _BYTES_PER_RECORD * found.num_examples
  if size == recorded:
    return ""
  if size > _MOST_BYTES_COUNTED:
    logging.warning(
      "%s: split %r has %d bytes and should have %d, according to %s. Its rows"
      " are not counted.",
      os.path.dirname(paths[0]),
      split,
      size,
      recorded,
      INFO,
    )
    return ""
  for path, expected in zip(paths, found.shard_lengths, strict=True):
    count = _count_records(path)
    if count != expected:
      return (
        f"{path} holds {count} records where {expected} are expected, according"
        f" to {INFO} beside it. One of the two files is damaged."
      )
  return ""


def unknown_feature(info: Any, split: str) -> str:
  """Describes a feature of the first row that features.json does not name.

  Without this check, a list whose name is damaged would be read as empty.

  Args:
    info: the data set's `tfds.core.DatasetInfo`.
    split: name of one of its splits, which has rows.

  Returns:
    A sentence that names the file, or "".

  Raises:
    tf.errors.OpError: a file is missing or damaged.
  """
  if _format(info) != _TFRECORD:
    return ""
  path, *_ = (os.fspath(path) for path in info.splits[split].filepaths)
  beside = os.path.join(os.path.dirname(path), FEATURES)
  if not tf.io.gfile.exists(beside):
    return ""  # The features are those of TFDS's code.
  known = _feature_names(info.features)
  for record in tf.data.TFRecordDataset(path).take(1):
    names = tf.train.Example.FromString(record.numpy()).features.feature
    for name in sorted(names):
      parts = name.split("/")
      prefixes = {"/".join(parts[:n]) for n in range(1, len(parts) + 1)}
      if not known & prefixes:
        return (
          f"{beside} does not name {name!r}, which the rows of {path} have. One"
          " of the two files is damaged."
        )
  return ""


def _feature_names(feature: Any, prefix: str = "") -> set[str]:
  """Returns the names of features as records have them: "choices/text"."""
  inner = getattr(feature, "feature", feature)  # That of a sequence.
  if not isinstance(inner, tfds.features.FeaturesDict):
    return {prefix}
  names = set()
  for name, part in inner.items():
    names |= _feature_names(part, f"{prefix}/{name}" if prefix else name)
  return names


def _count_records(path: str) -> int:
  records = tf.data.TFRecordDataset(path)
  return int(records.reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))


def _format(info: Any) -> str:
  """Returns the format of the files; old versions of TFDS did not record it."""
  return info.file_format.file_suffix if info.file_format else _TFRECORD
