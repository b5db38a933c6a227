"""Names of the files of a KerasHub preset."""

import json
import os
from collections.abc import Mapping
from typing import Any

from flan_tf.bridges.model_source import SourceError

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
# All weights in one file, or an index of several files.
WEIGHTS, SHARD_INDEX = "model.weights.h5", "model.weights.json"
# The vocabulary as this project saves it; only its own presets have it.
VOCABULARY = "vocabulary.model"
TOKENIZER_FOLDER = "assets/tokenizer"
TOKENIZER_ASSETS = tuple(
  f"{TOKENIZER_FOLDER}/{name}"
  for name in ("vocabulary.spm", "vocabulary.json", "merges.txt")
)


def shard_files(weight_map: Mapping[str, str | list[str]]) -> list[str]:
  """Returns the names of the files of a shard index.

  Args:
    weight_map: the file of each layer, or a list if its variables are in
      several files.
  """
  names = set()
  for files in weight_map.values():
    names.update([files] if isinstance(files, str) else files)
  return sorted(names)


def read_json(folder: str, name: str) -> dict[str, Any]:
  """Reads a JSON file; raises SourceError if it is missing or damaged."""
  path = os.path.join(folder, name)
  try:
    with open(path, encoding="utf-8") as file:
      return json.load(file)
  except FileNotFoundError as error:
    raise SourceError(f"There is no file {path}.") from error
  except (OSError, ValueError) as error:
    raise SourceError(f"{path} cannot be read: {error}.") from error
