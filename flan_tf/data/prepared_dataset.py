"""Opens prepared TFDS data sets, and files of prompts and answers.

Nothing is downloaded, and no row is read. A directory may hold another version
of a data set than the version that a task was written for; that version is
opened, and a note reports the difference.
"""

import dataclasses
import os
import re
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import conversion_utils

from flan_tf.data import prompt_file
from flan_tf.task import schema


class NotPreparedError(FileNotFoundError):
  """A data set is not in the data directory; the message says how to add it."""


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


def open_dataset(source: schema.Source, data_dir: str) -> PreparedDataset:
  """Finds a data set in a directory (local or gs://), or reads a file.

  The version that the task was written for is preferred, then the newest one.
  If there is no copy of TFDS's own data set, a copy that TFDS made from the
  Hugging Face hub is opened, provided that the source names the hub.

  Raises:
    NotPreparedError: the data set is not there; the message has the command
      that prepares it.
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
  if notes:
    # Opened by its name, TFDS would ask the hub.
    builder = tfds.builder_from_directory(path)
  else:
    builder = tfds.builder(f"{name}:{version}", data_dir=data_dir)
  if version != source.version:
    notes.append(
      f"version {version} is read, the task was written against"
      f" {source.version}"
    )
  splits = builder.info.splits
  return PreparedDataset(
    source=source,
    data_dir=data_dir,
    path=path,
    version=version,
    counts={name: split.num_examples for name, split in splits.items()},
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
