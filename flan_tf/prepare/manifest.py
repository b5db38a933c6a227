"""What a data directory holds, in one file: versions, rows and checksums.

`flan_manifest.json` lies beside the data sets. Paths in it are relative, so a
directory may be moved or copied with it:

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
import hashlib
import json
import os
from collections.abc import Iterable, Mapping

import tensorflow as tf
import tensorflow_datasets as tfds

from flan_tf.data import rows
from flan_tf.task import schema

FILE = "flan_manifest.json"

_CHUNK = 1 << 22


class Status(enum.StrEnum):
  """What became of a data set."""

  PREPARED = "prepared"
  MANUAL = "manual"  # A person has to fetch files for it.
  FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class Entry:
  """What the manifest says of one data set.

  Attributes:
    source: its name, with its config.
    status: prepared, manual or failed; the rest is about the last try.
    version: the version that is there; "" where there is none.
    asked: the version that the tasks were written against.
    pinned: the version that FLAN read, where TFDS no longer has it.
    path: of the version's folder, in the data directory.
    splits: rows of each split.
    files: SHA-256 of each file of the folder, in hexadecimal digits.
    bytes: of all these files.
    detail: what a person should know: a version that differs, what to fetch,
      the first lines of an error.
    log: path of the log of the last try, in the data directory.
    when: of the last try, in UTC.
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
    return sum(self.splits.values())


def path_of(data_dir: str) -> str:
  """Where the manifest of a data directory lies."""
  return os.path.join(data_dir, FILE)


def read(data_dir: str) -> dict[str, Entry]:
  """The entries by the data sets' names; none if there is no manifest.

  Raises:
    ValueError: the file is not a manifest.
  """
  path = path_of(data_dir)
  if not tf.io.gfile.exists(path):
    return {}
  with tf.io.gfile.GFile(path) as file:
    text = file.read()
  try:
    return {
      name: Entry(name, Status(values.pop("status")), **values)
      for name, values in json.loads(text)["data_sets"].items()
    }
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{path} is not a manifest that this version can read ({error}). Remove"
      " it: the next run writes it anew, with the checksums of the files as"
      " they are then."
    ) from error


def write(data_dir: str, entries: Iterable[Entry]) -> None:
  """Writes the manifest: readers see the old one or the new one, whole."""
  data_sets = {}
  for entry in sorted(entries, key=lambda entry: entry.source):
    values = dataclasses.asdict(entry)
    data_sets[values.pop("source")] = values
  made = {"tfds": tfds.__version__, "data_sets": data_sets}
  path = path_of(data_dir)
  with tf.io.gfile.GFile(path + ".tmp", "w") as file:
    file.write(json.dumps(made, indent=1) + "\n")
  tf.io.gfile.rename(path + ".tmp", path, overwrite=True)


def new_entry(
  source: schema.Source, status: Status, detail: str = "", **values
) -> Entry:
  """An entry of now."""
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  return Entry(
    source.name,
    status,
    asked=source.version,
    pinned=source.pinned,
    detail=detail,
    when=now,
    **values,
  )


def describe(dataset: rows.Dataset, log: str = "") -> Entry:
  """The entry of a prepared data set; reads all its files for the checksums."""
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


def relative_path(dataset: rows.Dataset) -> str:
  """The path of a data set's version in its data directory."""
  return dataset.path.removeprefix(dataset.data_dir).strip("/")


def differences(data_dir: str, entry: Entry) -> list[str]:
  """Names the files that are not as the manifest says; reads them all.

  Args:
    data_dir: of the manifest.
    entry: of a prepared data set.

  Returns:
    A line for each file that was changed, is missing, or came later.
  """
  folder = os.path.join(data_dir, entry.path)
  present = _file_names(folder) if tf.io.gfile.isdir(folder) else []
  found: Mapping[str, str] = _checksums(folder, present)
  lines = []
  for name in sorted({*found, *entry.files}):
    path = os.path.join(folder, name)
    if name not in found:
      lines.append(f"{path} is missing")
    elif name not in entry.files:
      lines.append(f"{path} is not in the manifest")
    elif found[name] != entry.files[name]:
      lines.append(
        f"{path} was changed: its SHA-256 is {found[name][:12]}..., the"
        f" manifest has {entry.files[name][:12]}..."
      )
  return lines


def _file_names(folder: str) -> list[str]:
  names = sorted(tf.io.gfile.listdir(folder))
  return [n for n in names if not tf.io.gfile.isdir(os.path.join(folder, n))]


def _checksums(folder: str, names: Iterable[str]) -> dict[str, str]:
  found = {}
  for name in names:
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(os.path.join(folder, name), "rb") as file:
      while chunk := file.read(_CHUNK):
        digest.update(chunk)
    found[name] = digest.hexdigest()
  return found
