"""Opens prepared TFDS data sets, and files of prompts and answers.

Nothing is downloaded, and no row is read. A directory may hold another version
of a data set than the version that a task was written for; that version is
opened, and a note reports the difference.
"""

import dataclasses
import json
import os
import re
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import conversion_utils

from flan_tf.data import feature_classes, prompt_file, record_files
from flan_tf.task import schema

# File in a directory that `shipped_rows` has written.
SHIPPED_STAMP = "sample_rows.sha256"
# Characters of an error of TFDS.
_LONGEST_REASON = 300


class NotPreparedError(FileNotFoundError):
  """A data set is not in the data directory; the message says how to add it."""


class DamagedDatasetError(ValueError):
  """The files of a data set are damaged; the message names one of them."""


@dataclasses.dataclass(frozen=True)
class PreparedDataset:
  """A data set that can be read.

  Attributes:
    source: the data set as the task names it.
    data_dir: the directory that was searched.
    path: the directory of the version that is read, or the file of prompts.
    version: that version.
    counts: {name of a split: number of its rows}.
    notes: facts for users, e.g. that the version differs.
    builder: the TFDS builder; None for a file of prompts.
    columns: {feature: values of all rows} for a file of prompts; else empty.
    checked_splits: splits whose number of rows agrees with their files.
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
  checked_splits: set[str] = dataclasses.field(
    default_factory=set, repr=False, compare=False
  )


def open_dataset(source: schema.Source, data_dir: str) -> PreparedDataset:
  """Finds a data set in a directory (local or gs://), or reads a file.

  The version that the task was written for is preferred, then the newest one.
  If there is no copy of TFDS's own data set, a copy that TFDS made from the
  Hugging Face hub is opened, provided that the source names the hub.

  Raises:
    NotPreparedError: the data set is not there; the message has the command
      that prepares it.
    DamagedDatasetError: its metadata are damaged.
    ValueError: a line of a file of prompts cannot be used, or the file changed.
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
    hub_copy = os.path.join(data_dir, hub_folder(source.hub))
    if versions := _versions(hub_copy):
      folder = hub_copy
      notes.append(f"it comes from the Hugging Face hub's {source.hub}")
  if not versions:
    raise NotPreparedError(_how_to_prepare(source, data_dir, folder))
  version = source.version if source.version in versions else versions[-1]
  path = os.path.join(folder, version)
  try:
    feature_classes.check_feature_classes(path)
    if notes:
      # Opened by its name, TFDS would ask the hub.
      builder = tfds.builder_from_directory(path)
    else:
      builder = tfds.builder(f"{name}:{version}", data_dir=data_dir)
    counts = _checked_counts(builder.info, path)
  except (OSError, tf.errors.OpError):
    raise  # The file system failed, such as a bucket without a network.
  except Exception as error:  # TFDS raises many types.
    problem = _describe_damage(path, error)
    raise damaged(source, data_dir, path, problem) from error
  if version != source.version:
    notes.append(
      f"version {version} is read, the task was written against"
      f" {source.version}"
    )
  return PreparedDataset(
    source=source,
    data_dir=data_dir,
    path=path,
    version=version,
    counts=counts,
    notes=tuple(notes),
    builder=builder,
  )


def hub_folder(hub: str) -> str:
  """Returns the folder of TFDS for a data set of the Hugging Face hub.

  >>> hub_folder("EdinburghNLP/xsum")
  'edinburghnlp__xsum'
  """
  return conversion_utils.to_tfds_name(hub)


def prepare_command(source: schema.Source, data_dir: str) -> str:
  """Returns the command that prepares a data set."""
  return (
    f"python -m launch.prepare --tfds_data_dir={data_dir}"
    f" --sources={source.name}"
  )


def damaged(
  source: schema.Source, data_dir: str, path: str, problem: str
) -> DamagedDatasetError:
  """Returns the error for a data set with a damaged file.

  Args:
    source: the data set.
    data_dir: the directory that holds it.
    path: the folder of the version that is read.
    problem: a sentence that names the file.
  """
  repair = how_to_repair(source, data_dir, path)
  return DamagedDatasetError(f"Data set {source.name!r}: {problem}\n{repair}")


def how_to_repair(source: schema.Source, data_dir: str, path: str) -> str:
  """Says how to replace a damaged data set; the arguments are `damaged`'s."""
  if tf.io.gfile.exists(os.path.join(path, SHIPPED_STAMP)):
    return f"Remove {path}: the next run writes these shipped rows again."
  return (
    f"Prepare it again: remove {path} and run\n "
    f" {prepare_command(source, data_dir)}"
  )


def _checked_counts(info: Any, folder: str) -> dict[str, int]:
  """Returns the number of rows of each split.

  Raises:
    ValueError: the metadata contradict themselves or the names of the files.
  """
  if info.features is None:
    raise ValueError("there are no features")
  for name, split in info.splits.items():
    if any(length < 0 for length in split.shard_lengths):
      raise ValueError(f"a file of split {name!r} has fewer than 0 rows")
  if unnamed := record_files.unnamed_files(info, folder):
    raise ValueError(
      f"no split has the file {unnamed[0]}; the splits are"
      f" {', '.join(info.splits) or 'none'}"
    )
  return {name: split.num_examples for name, split in info.splits.items()}


def _describe_damage(folder: str, error: Exception) -> str:
  """Names the damaged metadata of a data set that TFDS cannot open."""
  for name in (record_files.INFO, record_files.FEATURES):
    path = os.path.join(folder, name)
    if not tf.io.gfile.exists(path):
      continue
    try:
      with tf.io.gfile.GFile(path, "rb") as file:
        value = json.loads(file.read())
    except (ValueError, RecursionError) as reason:
      return f"{path} is damaged: it is not JSON ({reason})."
    if not isinstance(value, dict):
      return f"{path} is damaged: expected a JSON object."
  # Both files are JSON, and the content of one is not what TFDS expects.
  path = os.path.join(folder, record_files.INFO)
  reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
  return (
    f"{path}, or {record_files.FEATURES} beside it, is damaged:"
    f" {reason[:_LONGEST_REASON]}."
  )


def _open_file(source: schema.Source) -> PreparedDataset:
  """Opens a file of prompts and answers as a data set with one split."""
  file = prompt_file.read_prompt_file(source.file)
  prompt_file.check_fingerprint(file, source.version)
  return PreparedDataset(
    source=source,
    data_dir=os.path.dirname(source.file),
    path=source.file,
    version=file.fingerprint,
    counts={source.splits.train: len(file)},
    notes=file.notes,
    builder=None,
    columns=file.columns,
  )


def _versions(folder: str) -> list[str]:
  """Lists the complete versions in a data set's folder, oldest first."""
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
  """Returns TFDS's config for a name without one; "" if there is none."""
  if "/" in name:
    return ""
  try:
    configs = tfds.builder_cls(name).BUILDER_CONFIGS
  except tfds.core.DatasetNotFoundError:
    return ""  # TFDS does not define this data set.
  return configs[0].name if configs else ""


def _how_to_prepare(source: schema.Source, data_dir: str, folder: str) -> str:
  lines = [f"Data set {source.name!r} is not prepared: no version in {folder}."]
  if not tf.io.gfile.isdir(data_dir):
    lines = [f"Data set {source.name!r}: there is no directory {data_dir}."]
  lines.append(f"Prepare it with\n  {prepare_command(source, data_dir)}")
  lines += filter(None, (source.manual, source.broken))
  return "\n".join(lines)
