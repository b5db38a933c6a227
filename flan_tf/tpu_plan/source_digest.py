"""The source that a program hangs on, in a few letters, without importing it.

A compiled answer is true as long as the modules that made it are the same:
those that the worker imports, directly or not, which a look into the files
tells. A change to anything else (a table, a message) leaves it true, and so
does one of comments, docstrings or line breaks.
"""

import ast
import functools
import hashlib
import pathlib

_ROOT = pathlib.Path(__file__).parents[2]
# The compiler's version: the environment is made from this list.
_REQUIREMENTS = _ROOT / "tools/python/requirements-tpu.txt"


def digest(module: str) -> bytes:
  """Of all files that a module imports, and of the pinned environment."""
  whole = hashlib.sha256()
  for name in files_of(module):
    whole.update(name.encode())
    whole.update(meaning((_ROOT / name).read_bytes()))
  if _REQUIREMENTS.exists():
    whole.update(hashlib.sha256(_REQUIREMENTS.read_bytes()).digest())
  return whole.digest()


@functools.cache
def meaning(source: bytes) -> bytes:
  """A digest of what Python reads in a source: comments and docstrings not."""
  tree = ast.parse(source)
  for node in ast.walk(tree):
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and _is_text(body[0]):
      del body[0]
  return hashlib.sha256(ast.dump(tree).encode()).digest()


def _is_text(node: ast.AST) -> bool:
  return (
    isinstance(node, ast.Expr)
    and isinstance(node.value, ast.Constant)
    and isinstance(node.value.value, str)
  )


def files_of(module: str) -> list[str]:
  """Of the project's own modules that one imports, sorted, itself included."""
  seen: dict[str, pathlib.Path] = {}
  waiting = [module]
  while waiting:
    name = waiting.pop()
    path = _file(name)
    if name in seen or path is None:
      continue
    seen[name] = path
    waiting.extend(_imports(path.read_bytes()))
  return sorted({str(path.relative_to(_ROOT)) for path in seen.values()})


@functools.cache
def _imports(source: bytes) -> tuple[str, ...]:
  """By content: a file that changes while a table is made is read anew."""
  names = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
      names += [node.module]
      names += [f"{node.module}.{alias.name}" for alias in node.names]
  return tuple(names)


def _file(module: str) -> pathlib.Path | None:
  """Of a module of the project; None for others, and for names inside one."""
  if not module.startswith("flan_tf"):
    return None
  path = _ROOT.joinpath(*module.split("."))
  for candidate in (path.with_suffix(".py"), path / "__init__.py"):
    if candidate.exists():
      return candidate
  return None
