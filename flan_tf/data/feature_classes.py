"""Keeps TFDS from importing modules that the files of a data set name.

features.json gives the Python class of each feature, and TFDS imports the
module of a class that it does not know. So a directory of a stranger could
have any module imported that Python finds. The classes of TFDS are enough.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

_FILE, _KEY, _ALLOWED = (
  "features.json",
  "pythonClassName",
  "tensorflow_datasets.",
)


def check_feature_classes(folder: str) -> None:
  """Checks the classes in the features.json of a data set's version.

  A missing or damaged file passes: TFDS refuses it when it opens the data set.

  Args:
    folder: the folder of the version, local or gs://.

  Raises:
    ValueError: a class is not one of TFDS.
  """
  path = os.path.join(folder, _FILE)
  if not tf.io.gfile.exists(path):
    return
  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      names = list(_class_names(json.loads(file.read())))
  except (ValueError, RecursionError):
    return
  for name in names:
    if not str(name).startswith(_ALLOWED):
      raise ValueError(
        f"{_FILE} names the Python class {str(name)[:80]!r}; expected classes"
        f" of TFDS ({_ALLOWED}...), as others are not imported"
      )


def _class_names(value: Any) -> Iterator[Any]:
  """Yields the values of all keys "pythonClassName", at any depth."""
  if isinstance(value, list):
    value = dict(enumerate(value))
  if isinstance(value, dict):
    if _KEY in value:
      yield value[_KEY]
    for part in value.values():
      yield from _class_names(part)
