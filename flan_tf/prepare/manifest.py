"""The manifest of a data directory: versions, rows and checksums.

The file flan_manifest.json lies beside the data sets. Paths in it are relative,
so that the directory may be moved or copied together with it:

    {"tfds": "4.9.10",
     "data_sets": {
       "super_glue/rte": {
         "status": "prepared", "version": "1.0.2", "asked": "1.0.2",
         "path": "super_glue/rte/1.0.2",
         "splits": {"train": 2490, "validation": 277, "test": 3000},
         "files": {"super_glue-train.tfrecord-00000-of-00001": "9f86d0..."},
         ...}}}
"""

import dataclasses
import datetime
import enum
import json
import os
from collections.abc import Iterable

import tensorflow as tf
import tensorflow_datasets as tfds

from flan_tf import safe_files
from flan_tf.data.prepared_dataset import PreparedDataset
from flan_tf.task import schema

FILE = "flan_manifest.json"


class Status(enum.StrEnum):
  """Result of the last attempt to prepare a data set."""

  PREPARED = "prepared"
  MANUAL = "manual"  # A person has to fetch files for it.
  FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class ManifestEntry:
  """The manifest's record of one data set. Its attributes are the JSON keys.

  Attributes:
    source: TFDS name of the data set, with its config.
    status: result of the last attempt.
    version: the prepared version; "" if there is none.
    asked: the version for which the tasks were written.
    pinned: the version that the published FLAN read, if TFDS no longer has it.
    path: folder of the prepared version, relative to the data directory.
    splits: number of rows of each split.
    files: SHA-256 of each file in the folder, in hexadecimal digits.
    bytes: size of all these files together.
    detail: a note for people: another version than requested, files that have
      to be fetched, or the first lines of an error.
    log: path of the log of the last attempt, relative to the data directory.
    when: time of the last attempt, in UTC.
  """

  source: str
  status: Status
  version: str = ""
  asked: str = ""
  pinned: str = ""
  path: str = ""
  splits: dict[str, int] = dataclasses.field(default_factory=dict)
  files: dict[str, str] = dataclasses.field(default_factory=dict)
  bytes: int = 0
  detail: str = ""
  log: str = ""
  when: str = ""

  @property
  def rows(self) -> int:
    """Number of rows of all splits together."""
    return sum(self.splits.values())


def manifest_path(data_dir: str) -> str:
  """Returns the path of the manifest in a data directory."""
  return os.path.join(data_dir, FILE)


def read_manifest(data_dir: str) -> dict[str, ManifestEntry]:
  """Reads the entries by data set; there are none without a manifest.

  Raises:
    ValueError: the file is not a manifest.
  """
  path = manifest_path(data_dir)
  if not tf.io.gfile.exists(path):
    return {}
  with tf.io.gfile.GFile(path) as file:
    text = file.read()
  try:
    return {
      name: ManifestEntry(name, Status(values.pop("status")), **values)
      for name, values in json.loads(text)["data_sets"].items()
    }
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{path} is not a manifest that this version can read ({error}). Remove"
      " it: the next run of launch.prepare writes a new one, with the checksums"
      " that the files have then."
    ) from error


def write_manifest(data_dir: str, entries: Iterable[ManifestEntry]) -> None:
  """Writes the manifest in one atomic step."""
  data_sets = {}
  for entry in sorted(entries, key=lambda entry: entry.source):
    values = dataclasses.asdict(entry)
    data_sets[values.pop("source")] = values
  content = {"tfds": tfds.__version__, "data_sets": data_sets}
  path = manifest_path(data_dir)
  with tf.io.gfile.GFile(path + ".tmp", "w") as file:
    file.write(json.dumps(content, indent=1) + "\n")
  tf.io.gfile.rename(path + ".tmp", path, overwrite=True)


def new_entry(
  source: schema.Source, status: Status, detail: str = "", **values
) -> ManifestEntry:
  """Returns an entry with the current time.

  Keyword arguments (`values`) become further attributes of the entry.
  """
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  return ManifestEntry(
    source.name,
    status,
    asked=source.version,
    pinned=source.pinned,
    detail=detail,
    when=now,
    **values,
  )


def describe_dataset(dataset: PreparedDataset, log: str = "") -> ManifestEntry:
  """Returns the entry of a prepared data set; reads all its files."""
  names = _file_names(dataset.path)
  size = sum(
    tf.io.gfile.stat(os.path.join(dataset.path, name)).length for name in names
  )
  return new_entry(
    dataset.source,
    Status.PREPARED,
    detail="; ".join(dataset.notes),
    version=dataset.version,
    path=relative_path(dataset),
    splits=dict(dataset.counts),
    files=_checksums(dataset.path, names),
    bytes=size,
    log=log,
  )


def relative_path(dataset: PreparedDataset) -> str:
  """Returns the path of a data set's version below its data directory."""
  return dataset.path.removeprefix(dataset.data_dir).strip("/")


def changed_files(data_dir: str, entry: ManifestEntry) -> list[str]:
  """Compares the files of a prepared data set with their checksums.

  Args:
    data_dir: the directory of the manifest.
    entry: the entry of the data set.

  Returns:
    A sentence for each file that was changed, removed or added.
  """
  folder = os.path.join(data_dir, entry.path)
  present = _file_names(folder) if tf.io.gfile.isdir(folder) else []
  checksums = _checksums(folder, present)
  lines = []
  for name in sorted({*checksums, *entry.files}):
    path = os.path.join(folder, name)
    if name not in checksums:
      lines.append(f"{path} is missing")
    elif name not in entry.files:
      lines.append(f"{path} is not in the manifest")
    elif checksums[name] != entry.files[name]:
      lines.append(
        f"{path} was changed: its SHA-256 is {checksums[name][:12]}..., the"
        f" manifest has {entry.files[name][:12]}..."
      )
  return lines


def _file_names(folder: str) -> list[str]:
  names = sorted(tf.io.gfile.listdir(folder))
  return [n for n in names if not tf.io.gfile.isdir(os.path.join(folder, n))]


def _checksums(folder: str, names: Iterable[str]) -> dict[str, str]:
  return {
    name: safe_files.sha256_of_file(os.path.join(folder, name))
    for name in names
  }
