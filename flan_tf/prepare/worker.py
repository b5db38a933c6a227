"""Prepares one data set, in a process of its own.

`flan_tf.prepare.runner` starts it with a request as JSON in its first argument:

    python -m flan_tf.prepare.worker '{"name": "super_glue/rte", ...}'

What TFDS prints, to either stream, goes to stderr, which is the log. All that
stdout gets is the answer: {"status": "prepared" | "manual" | "failed",
"detail": ..., "instructions": what a person has to fetch}. Without an
answer the process was killed. It ends when its stdin does: nothing is left at
work when the parent is gone.
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

# The branch on which the hub keeps every public data set as Parquet files,
# also those that come as a program, which `datasets` 4 refuses to run.
_PARQUET = "refs/convert/parquet"

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
  """Downloads and prepares a data set; returns the answer.

  Args:
    name: of the data set, with its config.
    version: the one asked for; if this TFDS cannot make it, its current one.
    hub: its name on the Hugging Face hub, tried where TFDS's own way fails.
    data_dir: where it goes.
    manual: what a person has to fetch; empty if the task names nothing, TFDS
      may do so all the same.
    manual_dir: where files lie that a person fetched.
    imports: modules that define data sets of the user's own.
  """
  instructions = manual
  try:
    for module in imports:
      importlib.import_module(module)
    # Downloads are kept there, also when a later step fails.
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    try:
      builder = own_builder(name, version, data_dir)
      told = inspect.cleandoc(builder.MANUAL_DOWNLOAD_INSTRUCTIONS or "")
      instructions = manual or told
      if hub and instructions and not is_filled(manual_dir):
        raise FileNotFoundError(f"{manual_dir} does not exist or is empty")
      _prepare(builder, config)
    except Exception:
      if not hub:
        raise
      traceback.print_exc()
      _prepare(hub_builder(hub, data_dir), config)
  except Exception as error:
    traceback.print_exc()
    text = str(error)
    # TFDS and its data sets each raise what they like where a file is not in
    # manual_dir, but they name it.
    waits = instructions and (hub or manual_dir.rstrip("/") in text)
    return {
      "status": "manual" if waits else "failed",
      "instructions": instructions,
      "detail": first_lines(error),
    }
  return {"status": "prepared", "instructions": "", "detail": ""}


def own_builder(
  name: str, version: str, data_dir: str
) -> tfds.core.DatasetBuilder:
  """TFDS's builder of the version asked for, else of its current version."""
  dataset, _, config = name.partition("/")
  cls = tfds.builder_cls(dataset)
  builder = cls(config=config or None, data_dir=data_dir)
  # TFDS reads more versions than these, but makes no others.
  made = {str(builder.canonical_version), str(max(builder.versions))}
  if version == str(builder.version) or version not in made:
    return builder
  return cls(config=config or None, version=version, data_dir=data_dir)


def hub_builder(hub: str, data_dir: str) -> tfds.core.DatasetBuilder:
  """TFDS's builder of a data set of the Hugging Face hub; needs a network.

  It is what `tfds.builder("huggingface:...")` gives, which first asks the hub
  for the names of all its data sets.
  """
  if importlib.util.find_spec("datasets") is None:
    raise ImportError(
      f"{hub} is read from the Hugging Face hub with the package `datasets`,"
      " which is not installed: pip install datasets"
    )
  make = tfds.core.dataset_builders.HuggingfaceDatasetBuilder
  try:
    return make(hf_repo_id=hub, data_dir=data_dir)
  except Exception:
    traceback.print_exc()
    return make(hf_repo_id=hub, data_dir=data_dir, revision=_PARQUET)


def is_filled(folder: str) -> bool:
  """Whether there is such a folder with anything in it."""
  path = tfds.core.Path(folder)
  return path.is_dir() and any(path.iterdir())


def first_lines(error: BaseException) -> str:
  """The beginning of an error's text, and of what caused it."""
  lines = traceback.format_exception_only(error)
  if error.__cause__:
    lines += traceback.format_exception_only(error.__cause__)
  lines = [line for line in "".join(lines).splitlines() if line.strip()]
  return "\n".join(line[:_COLUMNS] for line in lines[:_LINES])


def _prepare(
  builder: tfds.core.DatasetBuilder, config: tfds.download.DownloadConfig
) -> None:
  path = builder.data_path
  if path.exists() and not (path / "dataset_info.json").exists():
    # TFDS would take it for the data set.
    raise FileExistsError(
      f"{path} exists, but holds no dataset_info.json, so it is not a prepared"
      " data set. Remove it and start again."
    )
  if path.parent.exists():
    # Left by a process that was killed: one run at a time works here.
    for old in path.parent.glob(f"incomplete.*_{path.name}"):
      print(f"Removing {old}, which an earlier run left.", flush=True)
      old.rmtree()
  builder.download_and_prepare(download_config=config)


def _end_with_parent() -> None:
  while os.read(0, 1):
    pass
  os._exit(1)


def main(argv: list[str]) -> None:
  answer = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  threading.Thread(target=_end_with_parent, daemon=True).start()
  json.dump(prepare(**json.loads(argv[1])), answer)
  answer.flush()


if __name__ == "__main__":
  main(sys.argv)
