"""Names of the files of a KerasHub preset."""

import os

from flan_tf import foreign_values
from flan_tf.bridges.model_source import SourceError
from flan_tf.foreign_values import ForeignValues

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


def shard_files(index: ForeignValues) -> list[str]:
  """Returns the names of the files that a shard index names.

  Args:
    index: content of the index; its "weight_map" has the file of each layer,
      or a list if its variables are in several files.

  Raises:
    SourceError: there are none, or one is not the name of a file.
  """
  weight_map = index.section("weight_map")
  names = {
    file
    for layer in weight_map.names()
    for file in weight_map.file_names(layer, ".h5")
  }
  if not names:
    raise SourceError(f"{index.origin} names no files in 'weight_map'.")
  return sorted(names)


def read_json(folder: str, name: str) -> ForeignValues:
  """Reads a JSON file; raises SourceError if it is missing or damaged."""
  return foreign_values.read_json(os.path.join(folder, name), SourceError)
