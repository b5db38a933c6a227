"""Prepares one data set, in a process of its own.

`flan_tf.prepare.worker_processes` starts it with a request as JSON:

    python -m flan_tf.prepare.worker '{"name": "super_glue/rte", ...}'

All output of TFDS goes to stderr, which is the log. stdout gets the result
only: {"status": "prepared" | "manual" | "failed", "detail": ...,
"instructions": what a person has to fetch}. A process that was killed gives no
result. The process ends when its stdin is closed, so that no process remains
when its parent is gone.
"""

import importlib
import importlib.util
import inspect
import json
import os
import sys
import threading
import traceback
from collections.abc import Sequence

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

# On this branch, the hub has every public data set as Parquet files. That
# includes data sets that are defined by a Python program, which the package
# `datasets` refuses to run since version 4.
_PARQUET_BRANCH = "refs/convert/parquet"

# Attempts of a download. Pauses between them double; with TFDS's own number, a
# data set takes almost two minutes to fail without a network, and with this one
# 12 seconds.
_RETRIES = 6

# Limits of the text of an error.
_LINES, _COLUMNS = 4, 300


def prepare(
  name: str,
  version: str,
  hub: str,
  data_dir: str,
  manual: str,
  manual_dir: str,
  imports: Sequence[str],
) -> dict[str, str]:
  """Downloads and prepares a data set; returns the result.

  Args:
    name: TFDS name, with the config.
    version: the requested version. If the installed TFDS cannot make it, its
      current version is prepared.
    hub: name on the Hugging Face hub, for a second attempt if TFDS fails.
    data_dir: the TFDS directory to write to.
    manual: instructions for a person; if empty, those of TFDS, if any.
    manual_dir: folder of files that a person fetched.
    imports: modules that define further TFDS data sets.
  """
  instructions = manual
  downloader.MAX_RETRIES = _RETRIES
  try:
    for module in imports:
      importlib.import_module(module)
    # Downloads stay in data_dir, even if a later step fails.
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    try:
      builder = find_builder(name, version, data_dir)
      instructions = manual or inspect.cleandoc(
        builder.MANUAL_DOWNLOAD_INSTRUCTIONS or ""
      )
      if hub and instructions and not has_files(manual_dir):
        raise FileNotFoundError(f"{manual_dir} does not exist or is empty")
      _download_and_prepare(builder, config)
    except Exception:
      if not hub:
        raise
      traceback.print_exc()
      _download_and_prepare(find_hub_builder(hub, data_dir), config)
  except Exception as error:
    traceback.print_exc()
    # TFDS and its data sets raise different types if a file is missing in
    # manual_dir, but the message always names the folder.
    needs_files = instructions and (hub or manual_dir.rstrip("/") in str(error))
    return {
      "status": "manual" if needs_files else "failed",
      "instructions": instructions,
      "detail": short_error(error),
    }
  return {"status": "prepared", "instructions": "", "detail": ""}


def find_builder(
  name: str, version: str, data_dir: str
) -> tfds.core.DatasetBuilder:
  """Returns TFDS's builder of a version, or else of its current version."""
  dataset, _, config = name.partition("/")
  cls = tfds.builder_cls(dataset)
  builder = cls(config=config or None, data_dir=data_dir)
  # TFDS can read more versions than these, but cannot make others.
  makeable = {str(builder.canonical_version), str(max(builder.versions))}
  if version == str(builder.version) or version not in makeable:
    return builder
  return cls(config=config or None, version=version, data_dir=data_dir)


def find_hub_builder(hub: str, data_dir: str) -> tfds.core.DatasetBuilder:
  """Returns TFDS's builder of a Hugging Face data set; needs a network.

  `tfds.builder("huggingface:...")` would do the same, but first asks the hub
  for the names of all its data sets.

  Raises:
    ImportError: the package `datasets` is not installed.
  """
  if importlib.util.find_spec("datasets") is None:
    raise ImportError(
      f"{hub} is read from the Hugging Face hub with the package `datasets`,"
      " which is not installed: pip install datasets"
    )
  builder_class = tfds.core.dataset_builders.HuggingfaceDatasetBuilder
  try:
    return builder_class(hf_repo_id=hub, data_dir=data_dir)
  except Exception:
    traceback.print_exc()
    return builder_class(
      hf_repo_id=hub, data_dir=data_dir, revision=_PARQUET_BRANCH
    )


def has_files(folder: str) -> bool:
  """Returns whether a folder exists and is not empty."""
  path = tfds.core.Path(folder)
  return path.is_dir() and any(path.iterdir())


def short_error(error: BaseException) -> str:
  """Returns the first lines of an error and of its cause."""
  lines = traceback.format_exception_only(error)
  if error.__cause__:
    lines += traceback.format_exception_only(error.__cause__)
  lines = [line for line in "".join(lines).splitlines() if line.strip()]
  return "\n".join(line[:_COLUMNS] for line in lines[:_LINES])


def _download_and_prepare(
  builder: tfds.core.DatasetBuilder, config: tfds.download.DownloadConfig
) -> None:
  path = builder.data_path
  if path.exists() and not (path / "dataset_info.json").exists():
    # TFDS would take the folder for a prepared data set.
    raise FileExistsError(
      f"{path} exists, but has no dataset_info.json, so it is not a"
      " prepared data set. Remove it and run the command again."
    )
  if path.parent.exists():
    # A killed process left them. Only one run at a time works in a directory.
    for unfinished in path.parent.glob(f"incomplete.*_{path.name}"):
      print(f"Removing {unfinished} of an earlier run.", flush=True)
      unfinished.rmtree()
  builder.download_and_prepare(download_config=config)


def _end_with_parent() -> None:
  while os.read(0, 1):
    pass
  os._exit(1)


def main(argv: list[str]) -> None:
  """Prepares the data set of the request in argv[1]."""
  result = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  threading.Thread(target=_end_with_parent, daemon=True).start()
  json.dump(prepare(**json.loads(argv[1])), result)
  result.flush()


if __name__ == "__main__":
  main(sys.argv)
