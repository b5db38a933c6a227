"""The file COMPLETE, which makes a folder a checkpoint.

It is written last and says what all other files are:

  {"format": 2,
   "sizes": {"state.index": 989, "run.json": 2332, ...},
   "sha256": {"state.index": "9f86d0...", "run.json": "...", ...}}

The tensor files have a checksum of each tensor in state.index, in TensorFlow's
own format, so that only their sizes are here. Checkpoints of earlier versions
have the sizes alone: {"state.index": 989, ...}.

An empty file, or one that was cut short, is what a full disk or a power failure
can leave. It is no marker, so that its folder is no checkpoint.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

NAME = "COMPLETE"
FORMAT = 2
_KEYS = {"format", "sizes", "sha256"}
_SHA256 = re.compile(r"[0-9a-f]{64}")


class CheckpointError(ValueError):
  """A checkpoint cannot be read or written; the message says why."""


@dataclasses.dataclass(frozen=True)
class Marker:
  """Sizes and checksums of a checkpoint's files.

  Attributes:
    sizes: file -> number of its bytes.
    digests: file -> SHA-256 of its content, for the small files. None in
      checkpoints of earlier versions.
  """

  sizes: Mapping[str, int]
  digests: Mapping[str, str] | None

  @classmethod
  def parse(cls, content: bytes, path: str) -> "Marker | None":
    """Reads a marker.

    Args:
      content: content of the file.
      path: its path, for messages.

    Returns:
      The marker, or None if the file is empty or was cut short.

    Raises:
      CheckpointError: the file is whole, but no marker.
    """
    if _is_torn(content):
      return None
    try:
      value = json.loads(content)
    except (ValueError, RecursionError) as error:
      raise _corrupt(path, str(error)) from None
    if not isinstance(value, dict):
      raise _corrupt(path, "it is not a JSON object")
    if "format" not in value:
      return cls(_sizes(value, path), None)
    if value["format"] != FORMAT:
      raise CheckpointError(
        f"{path} has the format {value['format']!r}; this version of flan_tf"
        f" reads {FORMAT}. A later version may have written it: install that"
        " version."
      )
    if set(value) != _KEYS:
      raise _corrupt(path, f"expected the keys {sorted(_KEYS)}")
    sizes = _sizes(value["sizes"], path)
    return cls(sizes, _digests(value["sha256"], sizes, path))

  def to_bytes(self) -> bytes:
    """Returns the content of the file COMPLETE."""
    value = {
      "format": FORMAT,
      "sizes": dict(self.sizes),
      "sha256": dict(self.digests or {}),
    }
    return (json.dumps(value, indent=1) + "\n").encode()


def _is_torn(content: bytes) -> bool:
  """Returns whether a file is empty, zeros after a power failure, or cut."""
  # No name of a file has a brace, so that a file that was cut has too few.
  is_cut = content.count(b"{") != content.count(b"}")
  return is_cut or not content.strip(b"\0 \r\n\t")


def _sizes(value: Any, path: str) -> dict[str, int]:
  if (
    not isinstance(value, dict)
    or not value
    or not all(type(size) is int and size >= 0 for size in value.values())
  ):
    raise _corrupt(path, "it does not hold the sizes of files")
  return value


def _digests(value: Any, sizes: Mapping[str, int], path: str) -> dict[str, str]:
  if (
    not isinstance(value, dict)
    or not value.keys() <= sizes.keys()
    or not all(
      isinstance(one, str) and _SHA256.fullmatch(one) for one in value.values()
    )
  ):
    raise _corrupt(path, '"sha256" does not hold checksums of its files')
  return value


def _corrupt(path: str, reason: str) -> CheckpointError:
  folder = path.removesuffix(NAME).rstrip("/")
  return CheckpointError(
    f"{path} is corrupt: {reason}. Remove the folder {folder!r} to continue"
    " from the checkpoint before it."
  )
