"""Digests of the files that a model was converted from.

GGUF, safetensors and h5 have no checksums of their tensors. A converted
checkpoint keeps the SHA-256 of each file that it was read from in data.json, so
that anybody can find out later whether two files were the same.
"""

import os
from collections.abc import Sequence

from flan_tf import safe_files

KEY = "source_files"


def sha256_by_name(paths: Sequence[str]) -> dict[str, str]:
  """Returns the SHA-256 of files as 64 hexadecimal digits, by name.

  Args:
    paths: local paths. The names are relative to the folder of the first one.

  Raises:
    OSError: a file cannot be read.
  """
  folder = os.path.dirname(paths[0]) if paths else ""
  return {
    os.path.relpath(path, folder or "."): safe_files.sha256_of_file(path)
    for path in paths
  }
