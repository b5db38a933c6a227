"""Writes the BUILD files of the project from its tree and its imports.

  python tools/update_build.py            rewrites those that differ
  python tools/update_build.py --check    only names them; status 1 if any

A layer (tools/layers.py) is one py_library, a test file one py_test, a binary
of launch one py_binary. Deps are what the files import; a test also depends on
the layers it names in strings, because it may start `python -m launch.train`,
and on every file of the tree if it looks for files from `__file__`.
`tests/project/build_files_test.py` fails while a BUILD file differs from what
this script would write.
"""

import ast
import functools
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).absolute().parent.parent
sys.path[:0] = [str(ROOT)]

from tools import layers  # noqa: E402

PACKAGES = ("flan_tf", "tasks", "launch")

# Import name -> distribution. All of setup.py's REQUIREMENTS are here.
DISTRIBUTIONS = {
  "absl": "absl-py",
  "gguf": "gguf",
  "h5py": "h5py",
  "importlib_resources": "importlib-resources",
  "jinja2": "jinja2",
  "keras": "keras",
  "keras_hub": "keras-nlp",
  "keras_nlp": "keras-nlp",
  "matplotlib": "matplotlib",
  "mesh_tensorflow": "mesh-tensorflow",
  "ml_collections": "ml-collections",
  "ml_dtypes": "ml-dtypes",
  "numpy": "numpy",
  "rapidfuzz": "rapidfuzz",
  "rouge_score": "rouge-score",
  "sacrebleu": "sacrebleu",
  "safetensors": "safetensors",
  "scipy": "scipy",
  "sentencepiece": "sentencepiece",
  "sklearn": "scikit-learn",
  "tensorboard": "tensorboard",
  "tensorflow": "tensorflow",
  "tensorflow_datasets": "tensorflow-datasets",
  "tensorflow_text": "tensorflow-text",
  "tokenizers": "tokenizers",
}

# Imported only where an extra is installed: not Bazel's to ask for.
OPTIONAL = frozenset(
  "google IPython jax jaxlib lm_eval pandas psutil pytest seqio torch"
  " transformers".split()
)

_NOTE = "# Written by tools/update_build.py from the tree: run it, do not edit."
_VISIBLE = 'package(default_visibility = ["//visibility:public"])'
# Folders of tests that read files and values and take seconds: Bazel's size
# "small". CI runs these under Bazel as well; all others it leaves to pytest.
_SMALL_FOLDERS = ("project", "task")
# Tests in these folders that run programs of the project, all the same.
_NOT_SMALL = ("pins_test", "wheel_test")
_LOWEST = "flan_tf.version"  # Has flan_tf/__init__.py.
# Its names are imported when they are used: who uses them depends on the layer
# flan_tf.api.
_LAZY = pathlib.Path("flan_tf/__init__.py")
_TREE = "//:tree"  # Every file of the project, for tests that read them.


def sources(directory: str) -> list[pathlib.Path]:
  """Python files under a directory of the project, relative to its root."""
  found = (ROOT / directory).rglob("*.py")
  return sorted(path.relative_to(ROOT) for path in found)


def module_name(path: pathlib.Path) -> str:
  """flan_tf/data/pack.py -> flan_tf.data.pack; __init__.py -> its package."""
  parts = path.with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: pathlib.Path) -> Iterator[tuple[int, str]]:
  """Yields (line, module) for every import, also those inside functions.

  `from flan_tf.task import schema` gives flan_tf.task.schema; in tasks/nli.py,
  `from . import misc` gives tasks.misc. Imports under `if TYPE_CHECKING:`
  count, too.
  """
  for node in _import_nodes(path):
    if isinstance(node, ast.Import):
      for alias in node.names:
        yield node.lineno, alias.name
    else:
      parent = _imported_from(path, node)
      for alias in node.names:
        yield node.lineno, f"{parent}.{alias.name}"


def relative_imports(path: pathlib.Path) -> Iterator[int]:
  """Yields the line of every relative import (`from . import x`)."""
  for node in _import_nodes(path):
    if isinstance(node, ast.ImportFrom) and node.level:
      yield node.lineno


def _import_nodes(
  path: pathlib.Path,
) -> Iterator[ast.Import | ast.ImportFrom]:
  tree = ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))
  for node in ast.walk(tree):
    if isinstance(node, (ast.Import, ast.ImportFrom)):
      yield node


def _imported_from(path: pathlib.Path, node: ast.ImportFrom) -> str:
  """Returns the absolute name of the module that `from X import` names."""
  if not node.level:
    return node.module or ""
  # One dot is the package that holds the file.
  package = list(path.parts[:-1])
  package = package[: len(package) - node.level + 1]
  return ".".join([*package, *([node.module] if node.module else [])])


def build_files() -> dict[str, str]:
  """What each BUILD file should hold, by its path."""
  targets: dict[str, list[str]] = {}
  used: set[str] = set()
  for layer, files in _layers().items():
    directory = _directory(layer)
    deps = _deps(files, inside=layer)
    deps = _sorted({*deps, *map(label, layers.LOADED_BY.get(layer, ()))})
    used.update(deps)
    lists = {"srcs": _inside(directory, files), "deps": deps}
    data = _data(directory) if directory == layer.replace(".", "/") else []
    lists["data"] = data
    targets.setdefault(directory, []).append(
      _rule("py_library", _name(layer), lists)
    )
  targets.setdefault("launch", []).extend(_binaries())
  targets["tests"] = [*_support(used), *_tests(used)]
  texts = {
    f"{directory}/BUILD": _file(directory, rules)
    for directory, rules in targets.items()
    if rules
  }
  texts["BUILD"] = _root_file(sorted(texts))
  texts["tools/python/packages.bzl"] = _packages_file(used)
  return texts


def binaries() -> list[str]:
  """Modules of launch that can be started: those with a function run."""
  return [
    path.stem
    for path in sources("launch")
    if path.parent.name == "launch"
    and re.search(r"^def run\(\)", (ROOT / path).read_text(), re.MULTILINE)
  ]


def test_files() -> list[pathlib.Path]:
  return [p for p in sources("tests") if p.name.endswith("_test.py")]


def label(layer: str) -> str:
  """flan_tf.data -> //flan_tf/data, flan_tf.config -> //flan_tf:config."""
  directory, name = _directory(layer), _name(layer)
  short = directory.rpartition("/")[2] == name
  return f"//{directory}" if short else f"//{directory}:{name}"


@functools.cache
def _layers() -> dict[str, list[pathlib.Path]]:
  files: dict[str, list[pathlib.Path]] = {}
  for package in PACKAGES:
    for path in sources(package):
      module = module_name(path)
      # Every import of the package needs its __init__.py: the lowest layer.
      layer = layers.layer_of(module) if module != "flan_tf" else None
      files.setdefault(layer or _LOWEST, []).append(path)
  return dict(sorted(files.items()))


def _directory(layer: str) -> str:
  directory = layer.replace(".", "/")
  return (
    directory if (ROOT / directory).is_dir() else directory.rpartition("/")[0]
  )


def _name(layer: str) -> str:
  return layer.rpartition(".")[2]


def _inside(directory: str, files: Iterable[pathlib.Path]) -> list[str]:
  return [path.relative_to(directory).as_posix() for path in files]


def _deps(
  files: Iterable[pathlib.Path], inside: str = "", strings: bool = False
) -> list[str]:
  """Labels of what the files import, sorted as buildifier sorts them."""
  deps = set()
  own = {path.stem for path in sources("tests")}
  for path in files:
    found = [] if path == _LAZY else list(imports(path))
    if strings:
      text = (ROOT / path).read_text(encoding="utf-8")
      named = re.findall(r"\b(?:flan_tf|launch|tasks)(?:\.\w+)+", text)
      found += [(0, name) for name in named]
    for line, module in found:
      deps.add(_dep(path, line, module, inside, own))
  if inside.startswith("flan_tf.") and inside != _LOWEST:
    deps.add(label(_LOWEST))
  return _sorted(deps - {""})


def _sorted(labels: Iterable[str]) -> list[str]:
  """As buildifier sorts: our own targets first, `:` before `/`."""
  return sorted(labels, key=lambda x: (x[0] == "@", x.replace(":", "!")))


def _dep(
  path: pathlib.Path, line: int, module: str, inside: str, own: set[str]
) -> str:
  top = module.split(".")[0]
  layer = layers.layer_of(module)
  if layer is None:
    if top in sys.stdlib_module_names or top in OPTIONAL or not top:
      return ""
    if top in own or top == "tests":
      return ":support"
    if top == "tools":
      return "//tools"
    if top not in DISTRIBUTIONS:
      raise ValueError(
        f"{path}:{line} imports {module}, which is not a requirement of the"
        f" project. Known: {', '.join(sorted(DISTRIBUTIONS))}. Add it to"
        " REQUIREMENTS in setup.py and to DISTRIBUTIONS here; if only an extra"
        " needs it, to OPTIONAL here."
      )
    return f"@pypi//{DISTRIBUTIONS[top].replace('-', '_')}"
  return "" if layer == inside or layer not in _layers() else label(layer)


def data_files(directory: str) -> list[pathlib.Path]:
  """What lies beside the modules, e.g. rows/*.jsonl, relative to the root."""
  return [
    path.relative_to(ROOT)
    for path in sorted((ROOT / directory).rglob("*.*"))
    if path.is_file() and path.suffix not in (".py", ".pyc", ".sh")
  ]


def _data(directory: str) -> list[str]:
  """Glob patterns for `data_files`, apart from those of packages below."""
  inside = [path.relative_to(directory) for path in data_files(directory)]
  if directory == "flan_tf":
    inside = [path for path in inside if len(path.parts) == 1]
  return sorted({(p.parent / f"*{p.suffix}").as_posix() for p in inside})


def _binaries() -> list[str]:
  return [
    _rule("py_binary", name, {"srcs": [f"{name}.py"], "deps": [":launch"]})
    for name in binaries()
  ]


# Words of tests that read files of the project, other than those they import.
_READS_THE_TREE = ("__file__", "update_build", "ROOT", "documents.README")


def _support(used: set[str]) -> list[str]:
  """The library of what tests import or start, if there is such a thing."""
  skip = ("conftest.py", "run.py", "__init__.py")
  files = [
    path
    for path in sources("tests")
    if path.name not in skip and not path.name.endswith("_test.py")
  ]
  if not files:
    return []
  deps = [d for d in _deps(files, strings=True) if d != ":support"]
  used.update(deps)
  lists = {"srcs": _inside("tests", files), "deps": deps}
  return [_rule("py_library", "support", lists, "    testonly = True,")]


def _tests(used: set[str]) -> list[str]:
  rules = []
  for path in test_files():
    text = (ROOT / path).read_text(encoding="utf-8")
    deps = _deps([path], strings=True)
    used.update(deps)
    lists = {"srcs": _inside("tests", [path]), "deps": deps}
    if any(word in text for word in _READS_THE_TREE):
      lists["data"] = [_TREE]
    name = path.relative_to("tests").with_suffix("").as_posix()
    is_small = path.parent.name in _SMALL_FOLDERS
    size = "small" if is_small and path.stem not in _NOT_SMALL else "medium"
    extra = f'    size = "{size}",\n    timeout = "long",'
    rules.append(_rule("py_test", name, lists, extra))
  return rules


def _rule(
  kind: str, name: str, lists: dict[str, list[str]], extra: str = ""
) -> str:
  lines = [f"{kind}(", f'    name = "{name}",']
  if extra:
    lines += extra.split("\n")
  for key in ("srcs", "data", "deps"):
    values = [f'"{value}"' for value in lists.get(key) or ()]
    if not values:
      continue
    start, end = "[", "]"
    if any("*" in value for value in values):
      start, end = "glob([", "])"
    if len(values) == 1:
      lines.append(f"    {key} = {start}{values[0]}{end},")
    else:
      lines += [f"    {key} = {start}"]
      lines += [f"        {value}," for value in values]
      lines += [f"    {end},"]
  return "\n".join([*lines, ")"])


def _file(directory: str, rules: list[str]) -> str:
  kinds = sorted({rule.partition("(")[0] for rule in rules})
  named = ", ".join(f'"{kind}"' for kind in kinds)
  load = f'load("@rules_python//python:defs.bzl", {named})'
  return "\n\n".join([load, _NOTE, _VISIBLE, _tree_rule(), *rules]) + "\n"


def _tree_rule(trees: Iterable[str] = ()) -> str:
  """All files of a directory; in the root, those of the other trees too."""
  lines = ["glob(", '        ["**"],']
  lines += ['        exclude = ["**/__pycache__/**"],', "    ),"]
  if trees:
    globs = ["*", ".*", ".ci/*", ".github/**", "docs/**"]
    lines = ["glob([", *(f'        "{glob}",' for glob in globs), "    ]) + ["]
    lines += [*(f'        "{tree}",' for tree in trees), "    ],"]
  body = "\n".join(lines)
  return f'filegroup(\n    name = "tree",\n    srcs = {body}\n)'


def _root_file(files: Iterable[str]) -> str:
  trees = [f"//{f.rpartition('/')[0]}:tree" for f in files]
  trees = _sorted([*trees, "//tools:tree", "//tools/python:tree"])
  return "\n\n".join([_NOTE, _VISIBLE, _tree_rule(trees)]) + "\n"


def _packages_file(used: Iterable[str]) -> str:
  names = {d.removeprefix("@pypi//") for d in used if d.startswith("@pypi//")}
  names = sorted(name.replace("_", "-") for name in names | {"absl_py"})
  lines = "".join(f'    "{name}",\n' for name in names)
  return (
    '"""The distributions that BUILD files name as @pypi//NAME."""\n\n'
    f"{_NOTE}\nPACKAGES = [\n{lines}]\n"
  )


def main(argv: list[str]) -> int:
  changed = 0
  for name, text in build_files().items():
    path = ROOT / name
    if not path.exists() or path.read_text(encoding="utf-8") != text:
      changed += 1
      print(name)
      if "--check" not in argv:
        path.write_text(text, encoding="utf-8")
  return 1 if changed and "--check" in argv else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
