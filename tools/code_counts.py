"""Counts what makes code hard to read, from its syntax trees.

  python tools/code_counts.py                 prints the counts, one per line
  python tools/code_counts.py --list          also lists the places counted
  python tools/code_counts.py flan_tf/data    counts in some files or folders

The counts, for `flan_tf`, `launch` and `tasks` unless paths are given (literal
splats and aliases for `tests` and `tools` as well):

  relative_docstrings   docstrings that begin with What, How, Whether, ...
  elliptic_docstrings   docstrings whose first words need the text before them:
                        "Of ...", "The same ...", "As ...", "Its ...", ...
  literal_splats        calls and literals that unpack a literal: f(*(a, b))
  class_homonyms        public classes of flan_tf with the name of another one
  library_aliases       `import x as x_lib`
  import_circles        groups of packages of flan_tf that import one another
  median_lines, largest_lines   of the files
"""

import argparse
import ast
import collections
import pathlib
import re
import statistics
from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).absolute().parent.parent
PACKAGES = ("flan_tf", "launch", "tasks")
# Their docstrings are sentences about what a test claims: not counted.
_CODE_ONLY = ("tests", "tools")

_RELATIVE = re.compile(
  r"(What|How|Whether|Where|Which|Who|Whoever|Whatever|When)\b"
)
_ELLIPTIC = re.compile(
  r"(Of|The same|As|Its|Their|Those|These|Them|This|That|It|They|Such|"
  r"Likewise|Ditto)\b"
)


def files(paths: Iterable[str]) -> list[pathlib.Path]:
  """Returns the Python files at and below the given paths, sorted."""
  found = set()
  for path in paths:
    at = ROOT / path
    found |= {at} if at.is_file() else set(at.rglob("*.py"))
  return sorted(found)


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
  """Yields (line, text) of each docstring, those of attributes excluded."""
  kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
  for node in ast.walk(tree):
    if isinstance(node, kinds) and (text := ast.get_docstring(node)):
      yield node.body[0].lineno, text


def splats(tree: ast.Module) -> Iterator[tuple[int, str]]:
  """Yields (line, "call" or "literal") where a literal is unpacked in place."""
  literals = (ast.Tuple, ast.List, ast.Set, ast.Dict)
  for node in ast.walk(tree):
    if isinstance(node, ast.Call):
      inner, kind = node.args, "call"
    elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
      inner, kind = node.elts, "literal"
    else:
      continue
    for item in inner:
      if isinstance(item, ast.Starred) and isinstance(item.value, literals):
        yield item.lineno, kind


def aliases(tree: ast.Module) -> Iterator[tuple[int, str]]:
  """Yields (line, alias) for each `import x as x_lib`."""
  for node in ast.walk(tree):
    if isinstance(node, (ast.Import, ast.ImportFrom)):
      for alias in node.names:
        if (alias.asname or "").endswith("_lib"):
          yield node.lineno, alias.asname or ""


def imported_packages(tree: ast.Module) -> Iterator[str]:
  """Yields the package or top module of flan_tf that each import names."""
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module:
      parts = node.module.split(".")
      if parts == ["flan_tf"]:
        for alias in node.names:
          yield alias.name
      elif parts[0] == "flan_tf":
        yield parts[1]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
  """Returns the groups of packages that reach one another, each sorted."""

  def reachable(start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
      for other in edges.get(todo.pop(), ()):
        if other not in seen:
          seen.add(other)
          todo.append(other)
    return seen

  reach = {name: reachable(name) for name in edges}
  groups = {
    tuple(sorted({a, *(b for b in reach[a] if a in reach.get(b, ()))}))
    for a in edges
    if a in reach[a]
  }
  return [list(group) for group in sorted(groups)]


class Counts:
  """The counts of a set of files, each with the places that it counts."""

  def __init__(self, paths: Iterable[pathlib.Path]):
    self.places: dict[str, list[str]] = collections.defaultdict(list)
    self.docstrings = 0
    self.lines: dict[str, int] = {}
    classes: dict[str, list[str]] = collections.defaultdict(list)
    edges: dict[str, set[str]] = collections.defaultdict(set)
    for path in paths:
      name = path.relative_to(ROOT).as_posix()
      text = path.read_text(encoding="utf-8")
      tree = ast.parse(text, name)
      self._count_code(name, tree)
      if name.startswith(_CODE_ONLY):
        continue
      if path.name != "__init__.py":
        self.lines[name] = len(text.splitlines())
      self._count_docstrings(name, tree)
      parts = path.relative_to(ROOT).with_suffix("").parts
      if parts[0] != "flan_tf" or len(parts) < 2:
        continue
      if parts[1] not in ("__init__", "api"):
        edges[parts[1]].update(set(imported_packages(tree)) - {parts[1]})
      for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
          classes[node.name].append(f"{name}:{node.lineno} {node.name}")
    for where in classes.values():
      if len(where) > 1:
        self.places["class_homonyms"] += where
    for group in circles(edges):
      self.places["import_circles"].append(" <-> ".join(group))

  def _count_docstrings(self, name: str, tree: ast.Module) -> None:
    for line, text in docstrings(tree):
      self.docstrings += 1
      place = f"{name}:{line} {text.splitlines()[0]}"
      if _RELATIVE.match(text):
        self.places["relative_docstrings"].append(place)
      if _ELLIPTIC.match(text):
        self.places["elliptic_docstrings"].append(place)

  def _count_code(self, name: str, tree: ast.Module) -> None:
    for line, kind in splats(tree):
      self.places["literal_splats"].append(f"{name}:{line} in a {kind}")
    for line, alias in aliases(tree):
      self.places["library_aliases"].append(f"{name}:{line} {alias}")

  def summary(self) -> dict[str, str]:
    """Returns each count by name, as text."""

    def share(name: str) -> str:
      count = len(self.places[name])
      return f"{count} of {self.docstrings} ({count / self.docstrings:.1%})"

    largest = max(self.lines, key=lambda name: self.lines[name])
    return {
      "relative_docstrings": share("relative_docstrings"),
      "elliptic_docstrings": share("elliptic_docstrings"),
      "literal_splats": str(len(self.places["literal_splats"])),
      "class_homonyms": str(len(self.places["class_homonyms"])),
      "library_aliases": str(len(self.places["library_aliases"])),
      "import_circles": str(len(self.places["import_circles"])),
      "median_lines": f"{statistics.median(self.lines.values()):g}",
      "largest_lines": f"{self.lines[largest]} ({largest})",
    }


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("paths", nargs="*", default=(*PACKAGES, *_CODE_ONLY))
  parser.add_argument("--list", action="store_true")
  arguments = parser.parse_args()
  counts = Counts(files(arguments.paths))
  for name, value in counts.summary().items():
    print(f"{name:20} {value}")
    for place in counts.places[name] if arguments.list else ():
      print(f"  {place}")


if __name__ == "__main__":
  main()
