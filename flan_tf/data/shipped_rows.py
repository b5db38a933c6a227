"""Rows written for this project become a prepared TFDS directory.

`rows_dir` holds one file a data set, `super_glue_rte.jsonl` for
`super_glue/rte`, and a line a row:

    {"split": "train", "row": {"premise": "...", "label": "entailment", ...}}

They are written in the data set's own TFDS features, so everything downstream
reads them exactly as it reads the real data set.
"""

import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from flan_tf.task import schema

# Says which rows a directory was made from; its absence says "not ours".
_STAMP = "sample_rows.sha256"


def file_name(dataset: str) -> str:
  """The rows file of a data set: "super_glue/rte" -> "super_glue_rte.jsonl"."""
  return dataset.replace("/", "_") + ".jsonl"


def read_sample_rows(path: str | os.PathLike) -> dict[str, list[Any]]:
  """Reads a rows file: split -> rows, in file order.

  Raises:
    ValueError: a line is not {"split": ..., "row": {...}}; names file and line.
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
  """One written row as TFDS would yield it: class names become numbers.

  Args:
    features: `tfds.builder(name).info.features`.
    row: the value of "row" in a line of a rows file.
  """
  example = features.serialize_example(features.encode_example(row))
  return features.deserialize_example(example)


def prepare_sample_rows(
  tasks: Iterable[schema.Task],
  rows_dir: str | os.PathLike,
  out_dir: str | os.PathLike,
) -> str:
  """Writes the rows files of these tasks as a TFDS directory.

  A data set is written whole or not at all, and skipped where `out_dir` holds
  it already. A directory that someone else prepared there is left alone.

  Args:
    tasks: whose data sets are wanted; those without a rows file are left out.
    rows_dir: the folder of the .jsonl files.
    out_dir: the TFDS data directory to make; local.

  Returns:
    `out_dir`, for `data_dir=`.

  Raises:
    ValueError: a row does not fit the data set's features; names the line.
  """
  out_dir = pathlib.Path(out_dir)
  out_dir.mkdir(parents=True, exist_ok=True)
  for name in dict.fromkeys(task.source.name for task in tasks):
    path = pathlib.Path(rows_dir) / file_name(name)
    if not path.exists():
      logging.info("No rows were written for %s: %s is absent.", name, path)
      continue
    stamp = _stamp(path)
    made = [p.read_text() for p in _stamps(out_dir / name)]
    if made != [stamp]:
      _prepare(name, path, out_dir, stamp)
  return str(out_dir)


def write_dataset(
  folder: pathlib.Path,
  dataset: str,
  features: Any,
  version: str,
  splits: Mapping[str, Iterable[Any]],
) -> None:
  """Writes rows as one shard a split, with the metadata that TFDS reads.

  Args:
    folder: the version directory to fill; it exists.
    dataset: the name without its config: files are `{dataset}-train.tfrecord-`.
    features: tfds features.
    version: e.g. "1.0.2".
    splits: split name -> rows.
  """
  infos = []
  for split, rows in splits.items():
    shard = folder / f"{dataset}-{split}.tfrecord-00000-of-00001"
    count = size = 0
    with tf.io.TFRecordWriter(str(shard)) as writer:
      for count, row in enumerate(rows, 1):
        try:
          record = features.serialize_example(features.encode_example(row))
        except Exception as error:  # TFDS raises many kinds
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
  root = pathlib.Path(tempfile.mkdtemp(prefix=".incomplete-", dir=out_dir))
  try:
    # An empty directory: what `out_dir` holds must not speak for TFDS.
    builder = tfds.builder(name, data_dir=str(root))
    # Below a config's folder, where the name leaves the default config out.
    work = pathlib.Path(builder.data_path)
    target = out_dir / work.relative_to(root)
    if target.exists() and not (target / _STAMP).exists():
      logging.info("%s is a data set that is not ours; left as it is.", target)
      return
    work.mkdir(parents=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
      write_dataset(
        work,
        builder.name,
        builder.info.features,
        str(builder.version),
        read_sample_rows(path),
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
      # Another process was faster; its rows are the same.
      if not (target / _STAMP).exists():
        raise
  finally:
    shutil.rmtree(root, ignore_errors=True)


def _stamps(folder: pathlib.Path) -> list[pathlib.Path]:
  """Stamps of the versions in a data set's folder."""
  return [*folder.glob(f"*/{_STAMP}"), *folder.glob(f"*/*/{_STAMP}")]


def _stamp(path: pathlib.Path) -> str:
  """Changes with the rows and with the features that TFDS has for them."""
  version = importlib.metadata.version("tensorflow_datasets")
  return hashlib.sha256(path.read_bytes() + version.encode()).hexdigest()
