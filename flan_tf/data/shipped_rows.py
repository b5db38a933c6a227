"""Writes rows from JSON lines as a prepared TFDS directory.

The rows that are shipped with this project are in such files. `rows_dir` holds
one file per data set, `super_glue_rte.jsonl` for `super_glue/rte`, with one row
per line:

    {"split": "train", "row": {"premise": "...", "label": "entailment", ...}}

Rows are written with the TFDS features of the real data set, so that all code
reads them exactly as it reads the real data set.
"""

import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from flan_tf.data import prepared_dataset, unfinished_folders
from flan_tf.task import schema

# It holds a digest of the rows that a directory was made from. A directory
# without this file was prepared by someone else.
_STAMP = prepared_dataset.SHIPPED_STAMP


def file_name(dataset: str) -> str:
  """Names the file of a data set: super_glue/rte gives super_glue_rte.jsonl."""
  return dataset.replace("/", "_") + ".jsonl"


def read_rows_file(path: str | os.PathLike) -> dict[str, list[Any]]:
  """Reads a file of rows as {split: rows in file order}.

  Raises:
    ValueError: a line is not {"split": ..., "row": {...}}; the message names
      file and line.
  """
  rows: dict[str, list[Any]] = {}
  lines = pathlib.Path(path).read_text(encoding="utf-8").split("\n")
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    try:
      value = json.loads(line)
      rows.setdefault(value["split"], []).append(value["row"])
    except (ValueError, KeyError, TypeError) as error:
      raise ValueError(
        f'{path}, line {number}: expected {{"split": ..., "row": {{...}}}},'
        f" got {line[:80]!r} ({error})."
      ) from error
  return rows


def feature_row(features: Any, row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a row from a file as TFDS would yield it, e.g. labels as numbers.

  Args:
    features: `tfds.builder(name).info.features`.
    row: the value of "row" in a line of a file of rows.
  """
  example = features.serialize_example(features.encode_example(row))
  return features.deserialize_example(example)


def prepare_shipped_rows(
  tasks: Iterable[schema.Task],
  rows_dir: str | os.PathLike,
  out_dir: str | os.PathLike,
) -> str:
  """Writes the rows of the tasks' data sets as a TFDS directory.

  A data set is written completely or not at all. It is skipped if `out_dir`
  has the same rows already, or a data set that someone else prepared. What an
  earlier process left behind unfinished is removed.

  Args:
    tasks: the tasks; those without a file of rows are left out.
    rows_dir: the folder of the .jsonl files.
    out_dir: the TFDS data directory to write, local.

  Returns:
    `out_dir`.

  Raises:
    ValueError: a row does not fit the data set's features; the message names
      the row.
  """
  out_dir = pathlib.Path(out_dir)
  out_dir.mkdir(parents=True, exist_ok=True)
  unfinished_folders.remove_left_behind(out_dir)
  for name in dict.fromkeys(task.source.name for task in tasks):
    path = pathlib.Path(rows_dir) / file_name(name)
    if not path.exists():
      logging.info("%s has no file of rows: there is no %s.", name, path)
      continue
    stamp = _stamp(path)
    present = [path.read_text() for path in _stamps(out_dir / name)]
    if present != [stamp]:
      _prepare(name, path, out_dir, stamp)
  return str(out_dir)


def write_dataset(
  folder: pathlib.Path,
  dataset: str,
  features: Any,
  version: str,
  splits: Mapping[str, Iterable[Any]],
) -> None:
  """Writes rows as one file per split, with the metadata that TFDS reads.

  Args:
    folder: the directory of the version to write; it must exist.
    dataset: name of the data set without its config. Files are called
      `{dataset}-train.tfrecord-...`.
    features: the TFDS features.
    version: e.g. "1.0.2".
    splits: {name of a split: its rows}.

  Raises:
    ValueError: a row does not fit the features.
  """
  infos = []
  for split, rows in splits.items():
    shard = folder / f"{dataset}-{split}.tfrecord-00000-of-00001"
    count = size = 0
    with tf.io.TFRecordWriter(str(shard)) as writer:
      for count, row in enumerate(rows, 1):
        try:
          record = features.serialize_example(features.encode_example(row))
        except Exception as error:  # TFDS raises many types.
          raise ValueError(
            f"{dataset}, split {split!r}, row {count - 1} does not fit its"
            f" features {list(features)}: {error}\n  row: {row!r}"
          ) from error
        writer.write(record)
        size += len(record)
    infos.append(tfds.core.SplitInfo(split, [count], size))
  tfds.folder_dataset.write_metadata(
    data_dir=folder,
    features=features,
    split_infos=infos,
    version=version,
    description="Rows written for flan_tf; not the data set itself.",
    check_data=False,
  )


def _prepare(
  name: str, path: pathlib.Path, out_dir: pathlib.Path, stamp: str
) -> None:
  """Writes one data set into an unfinished folder, then renames that."""
  with unfinished_folders.unfinished_folder(out_dir) as root:
    # In an empty directory, TFDS takes the features from its own code and not
    # from a data set that `out_dir` may hold.
    builder = tfds.builder(name, data_dir=str(root))
    # This path has the default config, which the name may leave out.
    work = pathlib.Path(builder.data_path)
    target = out_dir / work.relative_to(root)
    if target.exists() and not (target / _STAMP).exists():
      logging.info(
        "%s was prepared by someone else; it stays as it is.", target
      )
      return
    work.mkdir(parents=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
      write_dataset(
        work,
        builder.name,
        builder.info.features,
        str(builder.version),
        read_rows_file(path),
      )
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from error
    (work / _STAMP).write_text(stamp)
    for old in target.parent.glob(f"*/{_STAMP}"):
      if old.read_text() != stamp:
        shutil.rmtree(old.parent, ignore_errors=True)
    try:
      os.rename(work, target)
    except OSError:
      # Another process wrote the same rows in the meantime.
      if not (target / _STAMP).exists():
        raise


def _stamps(folder: pathlib.Path) -> list[pathlib.Path]:
  """Lists the stamp files of the versions in a data set's folder."""
  return [*folder.glob(f"*/{_STAMP}"), *folder.glob(f"*/*/{_STAMP}")]


def _stamp(path: pathlib.Path) -> str:
  """Returns a digest of the rows and of the version of TFDS."""
  content = path.read_bytes() + _tfds_version().encode()
  return hashlib.sha256(content).hexdigest()


@functools.cache
def _tfds_version() -> str:
  return importlib.metadata.version("tensorflow_datasets")
