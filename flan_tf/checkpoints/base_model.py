"""The model below adapters: where its checkpoint lies, and which one it is.

Adapters are useless on any other weights than those that they were trained on.
A checkpoint of adapters therefore stores, in data.json:

  base              path of the model's checkpoint
  base_relative     the same, relative to the folder of the adapters: it stays
                    right if both are moved together; missing if they lie on
                    different file systems
  base_fingerprint  16 hexadecimal digits of the model's tensors, run and
                    vocabulary, see `fingerprint`
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from flan_tf import safe_files


def fingerprint(parts: Iterable[bytes]) -> str:
  """Returns 16 hexadecimal digits that depend on all parts and their order."""
  of_all = hashlib.sha256()
  for part in parts:
    of_all.update(hashlib.sha256(part).digest())
  return of_all.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class BaseModel:
  """The model below adapters, as it was when its weights were read.

  Attributes:
    path: path of the model's checkpoint.
    fingerprint: fingerprint of that checkpoint.
  """

  path: str
  fingerprint: str

  def entries(self, checkpoint: str) -> dict[str, str]:
    """Returns the entries of data.json that name this model.

    Args:
      checkpoint: folder of the checkpoint of the adapters.
    """
    entries = {
      "base": _absolute(self.path),
      "base_fingerprint": self.fingerprint,
    }
    if safe_files.is_local(self.path) and safe_files.is_local(checkpoint):
      entries["base_relative"] = os.path.relpath(self.path, checkpoint)
    return entries


def _absolute(path: str) -> str:
  return os.path.abspath(path) if safe_files.is_local(path) else path


def possible_paths(data: Mapping[str, Any], checkpoint: str) -> list[str]:
  """Returns the paths where the model below adapters may lie, the best first.

  Args:
    data: content of data.json.
    checkpoint: folder of the checkpoint of the adapters.
  """
  paths = []
  if data.get("base_relative"):
    joined = os.path.join(checkpoint, data["base_relative"])
    paths.append(os.path.normpath(joined))
  if data["base"] not in paths:
    paths.append(data["base"])
  return paths
