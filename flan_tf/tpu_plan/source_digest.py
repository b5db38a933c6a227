"""A digest of the source code that a compiled report depends on.

A report in the cache stays valid for as long as the modules that made it stay
the same: the worker and all modules of the project that it imports, directly or
indirectly. Imports are read from the syntax trees, so nothing is imported.
Changes to other modules leave the digest as it is, and so do changes to
comments, docstrings and line breaks.
"""

import ast
import functools
import hashlib
import pathlib

_ROOT = pathlib.Path(__file__).parents[2]
# Pins the version of the compiler: the environment is made from this list.
_REQUIREMENTS = _ROOT / "tools/python/requirements-tpu.txt"
# Gives the public functions of the project lazily: none is imported with it.
_LAZY_PACKAGE = "flan_tf"


def module_digest(module: str) -> bytes:
  """Returns a digest of a module, its imports and the pinned environment.

  Args:
    module: dotted name of a module of this project.
  """
  digest = hashlib.sha256()
  for name in imported_files(module):
    digest.update(name.encode())
    digest.update(code_digest((_ROOT / name).read_bytes()))
  if _REQUIREMENTS.exists():
    digest.update(hashlib.sha256(_REQUIREMENTS.read_bytes()).digest())
  return digest.digest()


@functools.cache
def code_digest(source: bytes) -> bytes:
  """Returns a digest of a file's syntax tree without its docstrings."""
  tree = ast.parse(source)
  for node in ast.walk(tree):
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and _is_docstring(body[0]):
      del body[0]
  return hashlib.sha256(ast.dump(tree).encode()).digest()


def imported_files(module: str) -> list[str]:
  """Returns the project's files that a module imports, itself included.

  Returns:
    Sorted paths relative to the root of the project.
  """
  found: dict[str, pathlib.Path] = {}
  waiting = [module]
  while waiting:
    name = waiting.pop()
    path = _path_of(name)
    if name in found or path is None:
      continue
    found[name] = path
    if name != _LAZY_PACKAGE:
      waiting.extend(_imported_names(path.read_bytes()))
  return sorted({str(path.relative_to(_ROOT)) for path in found.values()})


def _is_docstring(node: ast.AST) -> bool:
  return (
    isinstance(node, ast.Expr)
    and isinstance(node.value, ast.Constant)
    and isinstance(node.value.value, str)
  )


# Cached by content: a file that changes while a table is made is read again.
@functools.cache
def _imported_names(source: bytes) -> tuple[str, ...]:
  """Returns the names in import statements, those in functions included."""
  names = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
      names += [node.module]
      names += [f"{node.module}.{alias.name}" for alias in node.names]
  return tuple(names)


def _path_of(module: str) -> pathlib.Path | None:
  """Returns a module's file; None if `module` is no module of the project."""
  if not module.startswith("flan_tf"):
    return None
  path = _ROOT.joinpath(*module.split("."))
  for candidate in (path.with_suffix(".py"), path / "__init__.py"):
    if candidate.exists():
      return candidate
  return None
