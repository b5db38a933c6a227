"""The project's documents, and the blocks of code in them."""

import pathlib
import re

ROOT = pathlib.Path(__file__).absolute().parents[2]
README = ROOT / "README.md"


def blocks(text: str) -> list[tuple[str, str]]:
  """Returns (info string, content) of the fenced blocks of a Markdown text."""
  return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
