"""Reads prepared TFDS directories, and files: always the same rows in order.

Nothing is downloaded. A directory may hold another version of a data set than
the tasks were written against; it is read, and the difference is said.
"""

import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.core.utils import conversion_utils

from flan_tf import name_lists
from flan_tf.data import prompt_file, row_ranges
from flan_tf.task import schema

ROW_INDEX = "row_index"


class NotPreparedError(FileNotFoundError):
  """A data set is not in the data directory; says how to put it there."""


class DataCorruptionError(RuntimeError):
  """A record of a data set cannot be read; names the file."""


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A prepared data set.

  Attributes:
    source: as the task names it.
    data_dir: where it was found.
    path: the directory of the version that is read.
    version: that version.
    counts: rows of each split that is there.
    notes: what a person should know, e.g. that the version differs.
    builder: of TFDS; None for a file of prompts and answers.
    columns: all that such a file has, by feature.
  """

  source: schema.Source
  data_dir: str
  path: str
  version: str
  counts: dict[str, int]
  notes: tuple[str, ...]
  builder: Any = dataclasses.field(repr=False, compare=False)
  columns: dict[str, list[bytes]] = dataclasses.field(
    default_factory=dict, repr=False, compare=False
  )


def open_dataset(source: schema.Source, data_dir: str) -> Dataset:
  """Finds a data set in a directory (local or gs://), or reads a file.

  The version that the task was written against is preferred, then the newest.
  Where TFDS's own copy is not there, one that it made from the Hugging Face hub
  is read, if the source names the hub.

  Raises:
    NotPreparedError: it is not there, with the command that prepares it.
    ValueError: a file of prompts has a line that cannot be used, or another
      version than the source.
  """
  if source.file:
    return _open_file(source)
  data_dir = os.path.expanduser(os.fspath(data_dir))
  name = source.name
  versions = _versions(os.path.join(data_dir, name))
  if not versions and (config := _default_config(name)):
    name = f"{name}/{config}"
    versions = _versions(os.path.join(data_dir, name))
  folder = os.path.join(data_dir, name)
  notes = []
  if not versions and source.hub:
    from_hub = os.path.join(data_dir, hub_folder(source.hub))
    if versions := _versions(from_hub):
      folder = from_hub
      notes.append(f"it comes from the Hugging Face hub's {source.hub}")
  if not versions:
    raise NotPreparedError(_how_to_prepare(source, data_dir, folder))
  version = source.version if source.version in versions else versions[-1]
  path = os.path.join(folder, version)
  if notes:
    builder = tfds.builder_from_directory(path)  # By name it asks the hub.
  else:
    builder = tfds.builder(f"{name}:{version}", data_dir=data_dir)
  if version != source.version:
    notes.append(
      f"version {version} is read, the task was written against"
      f" {source.version}"
    )
  return Dataset(
    source=source,
    data_dir=data_dir,
    path=path,
    version=version,
    counts={n: s.num_examples for n, s in builder.info.splits.items()},
    notes=tuple(notes),
    builder=builder,
  )


def hub_folder(hub: str) -> str:
  """Where TFDS puts a data set of the Hugging Face hub.

  >>> hub_folder("EdinburghNLP/xsum")
  'edinburghnlp__xsum'
  """
  return conversion_utils.to_tfds_name(hub)


def read_rows(
  dataset: Dataset,
  row_range: row_ranges.RowRange,
  convert: Callable[[dict[str, Any]], Any] | None = None,
) -> tf.data.Dataset:
  """Rows of a range in file order, as dicts of features and `row_index`.

  `row_index` (int64 []) is the row's number in its split, however many
  threads decode: it names the row in every run.

  Iterate inside `naming_corrupt_files` to hear which file is broken.

  Args:
    dataset: the data set.
    row_range: the rows to read.
    convert: makes something else of each row, with TensorFlow ops. It shares
      the graph that decodes: tracing one more takes as long as a thousand rows.
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

  # AutoGraph would take longer than the rest of tracing, and finds nothing.
  @tf.autograph.experimental.do_not_convert
  def decode(index, record):
    row = {**parse(record), ROW_INDEX: index}
    return convert(row) if convert else row

  return (
    _records(dataset, row_range)
    .enumerate(start=row_range.start)
    .map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
  )


def _records(
  dataset: Dataset, row_range: row_ranges.RowRange
) -> tf.data.Dataset:
  """Serialized rows, one file after the other; of a file the rows themselves.

  TFDS's own `as_dataset` interleaves files and parses in graphs of its own,
  which take longer to build than a small data set to read.
  """
  if dataset.columns:
    part = slice(row_range.start, row_range.stop)
    columns: Any = {
      name: tf.constant(column[part], tf.string)
      for name, column in dataset.columns.items()
    }
    return tf.data.Dataset.from_tensor_slices(columns)
  if len(row_range) <= 0:
    return tf.data.Dataset.from_tensor_slices(tf.zeros([0], tf.string))
  info = dataset.builder.info
  # What TFDS wrote long ago does not say its format.
  kind = info.file_format or file_adapters.DEFAULT_FILE_FORMAT
  adapter = file_adapters.ADAPTER_FOR_FORMAT[kind]
  files = []
  for part in info.splits[str(row_range)].file_instructions:
    file = adapter.make_tf_data(os.fspath(part.filename))
    files.append(file.skip(part.skip).take(part.take))
  whole = functools.reduce(tf.data.Dataset.concatenate, files)
  # A file that ends too early is an error, not a smaller data set.
  return whole.apply(tf.data.experimental.assert_cardinality(len(row_range)))


@contextlib.contextmanager
def naming_corrupt_files(dataset: Dataset, split: str) -> Iterator[None]:
  """Turns TensorFlow's reading errors into one that names the broken file.

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
    found = _first_broken_file(dataset, split)
    if found is None:
      raise  # the files are whole, so the fault is somewhere else
    raise DataCorruptionError(
      f"{dataset.source.name}, split {split!r}: {found}\nPrepare it again:"
      f" remove {dataset.path} and run\n  "
      + _command(dataset.source, dataset.data_dir)
    ) from error


def _first_broken_file(dataset: Dataset, split: str) -> str | None:
  """Reads the files of a split one by one; says what is wrong with which."""
  if dataset.builder is None:
    return None
  info = dataset.builder.info
  shards = info.splits[split]
  for path, expected in zip(
    shards.filepaths, shards.shard_lengths, strict=True
  ):
    record = 0
    try:
      for data in tf.data.TFRecordDataset(str(path)):
        info.features.deserialize_example(data)
        record += 1
    except tf.errors.OpError as error:
      reason = re.sub(r"\{\{.*?\}\} ?| \[Op:.*", "", str(error.message))
      return (
        f"{path} is corrupt: {record} of {expected} records can be read"
        f" ({reason.strip()})."
      )
    if record != expected:
      return f"{path} holds {record} records where {expected} are expected."
  return None


def _open_file(source: schema.Source) -> Dataset:
  """A file of prompts and answers as a data set of one split."""
  found = prompt_file.read(source.file)
  prompt_file.check_fingerprint(found, source.version)
  return Dataset(
    source=source,
    data_dir=os.path.dirname(source.file),
    path=source.file,
    version=found.fingerprint,
    counts={source.splits.train: len(found)},
    notes=found.notes,
    builder=None,
    columns=found.columns,
  )


def _versions(folder: str) -> list[str]:
  """Complete versions in a data set's folder, oldest first."""
  if not tf.io.gfile.isdir(folder):
    return []
  names = [name.strip("/") for name in tf.io.gfile.listdir(folder)]
  complete = [
    name
    for name in names
    if re.fullmatch(r"\d+\.\d+\.\d+", name)
    and tf.io.gfile.exists(os.path.join(folder, name, "dataset_info.json"))
  ]
  return sorted(complete, key=lambda name: [int(n) for n in name.split(".")])


def _default_config(name: str) -> str:
  """The config that TFDS takes for a name without one; "" if there is none."""
  if "/" in name:
    return ""
  try:
    configs = tfds.builder_cls(name).BUILDER_CONFIGS
  except tfds.core.DatasetNotFoundError:
    return ""  # not one of TFDS's own
  return configs[0].name if configs else ""


def _how_to_prepare(source: schema.Source, data_dir: str, folder: str) -> str:
  lines = [f"Data set {source.name!r} is not prepared: no version in {folder}."]
  if not tf.io.gfile.isdir(data_dir):
    lines = [f"Data set {source.name!r}: there is no directory {data_dir}."]
  lines.append(f"Prepare it with\n  {_command(source, data_dir)}")
  lines += filter(None, (source.manual, source.broken))
  return "\n".join(lines)


def _command(source: schema.Source, data_dir: str) -> str:
  return (
    f"python -m launch.prepare --tfds_data_dir={data_dir}"
    f" --sources={source.name}"
  )
