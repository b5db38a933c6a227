"""The documents say what is so: their commands, trees, links and modules.

Commands are those of fenced blocks that begin with "```bash tested". They are
read, not run: each module, script, flag, run file, configuration key and value
must exist. The tree is the first fenced block below the README's heading with
the word "tree": a path first on each line, below its folder by indentation. The
lines of "```python tested" blocks are run in tests/api/readme_test.py.
"""

import fnmatch
import functools
import os
import pathlib
import re
import runpy
import shlex
from collections.abc import Iterator

from absl.testing import absltest, parameterized

import tasks
from flan_tf import config, name_lists
from flan_tf.task import holdout, registry
from tests.helpers.documents import ROOT, blocks

DOCUMENTS = (
  "README.md",
  "CONTRIBUTING.md",
  *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)

# Commands of others: there is nothing of ours to check.
_OTHERS = (
  "cd",
  "git",
  "pip",
  "source",
  "tensorboard",
  "tfds",
  "bazel",
  "ls",
  "ruff",
  "pyright",
)
_ABSL_FLAGS = {"help", "helpfull", "helpshort", "v", "flagfile"}


def commands(content: str) -> list[str]:
  """The commands of a block, continued lines joined, comments left out."""
  lines = content.replace("\\\n", " ").splitlines()
  stripped = [line.strip() for line in lines]
  return [line for line in stripped if line and not line.startswith("#")]


def check_command(command: str) -> None:
  """Raises ValueError if it names something that the project has not."""
  words = shlex.split(command, comments=True)
  while words and re.match(r"\w+=", words[0]):  # NAME=value before it
    del words[0]
  program, *arguments = words or [""]
  if program in ("python", "python3") and arguments[:1] == ["-m"]:
    module = arguments[1] if len(arguments) > 1 else ""
    if module.startswith("launch."):
      _check_binary(module.removeprefix("launch."), arguments[2:])
    elif module not in ("pip", "pytest", "venv"):
      raise ValueError(f"python -m {module!r}: expected launch.NAME.")
  elif program.startswith("flan-"):
    name = program.removeprefix("flan-").replace("-", "_")
    _check_binary(name, arguments)
  elif program in ("python", "python3", "bash", "sh"):
    _check_exists(arguments[0] if arguments else "")
  elif "/" in program:
    path = _check_exists(program)
    if not path.stat().st_mode & 0o100:
      raise ValueError(f"{program} is not executable.")
  elif program not in _OTHERS:
    raise ValueError(f"{program!r}: add it to _OTHERS of this test.")


def _check_binary(name: str, arguments: list[str]) -> None:
  known = [path.stem for path in (ROOT / "launch").glob("*.py")]
  if name not in known:
    raise ValueError(name_lists.unknown_name("binary", name, known))
  flags = _flags_of(name)
  run_file, changes = "", {}
  for argument in arguments:
    match = re.fullmatch(r"--?([\w.]+)(?:=(.*))?", argument, re.DOTALL)
    if not match:
      raise ValueError(f"{argument!r} is no flag: write --name=value.")
    flag, value = match.group(1), match.group(2)
    if flag.startswith("config."):
      key = flag.removeprefix("config.")
      config.check_key(key)
      changes[key] = value
    elif flag.removeprefix("no") not in flags and flag not in flags:
      raise ValueError(name_lists.unknown_name(f"flag of {name}", flag, flags))
    elif flag == "config":
      run_file = value
  if run_file:
    _check_run(run_file, changes)


@functools.cache
def _flags_of(name: str) -> frozenset[str]:
  """Returns the flags of a binary; some are defined by shared functions."""
  text = (ROOT / "launch" / f"{name}.py").read_text(encoding="utf-8")
  shared = "\n".join(
    (ROOT / "launch" / file).read_text(encoding="utf-8")
    for file in ("cli.py", "config_flag.py")
  )
  functions = dict(
    re.findall(
      r"^def (define_\w+)(.*?)(?=^\S)", shared, re.DOTALL | re.MULTILINE
    )
  )
  for function in re.findall(r"cli\.(define_\w+)\(", text):
    text += functions[function]
  found = re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", text)
  return frozenset(found) | _ABSL_FLAGS


def _check_run(run_file: str, changes: dict[str, str]) -> None:
  """Reads a run file and its changes as the command line would."""
  file, _, settings = run_file.partition(":")
  get_config = runpy.run_path(str(_check_exists(file)))["get_config"]
  values = get_config(settings) if settings else get_config()
  for key, value in changes.items():
    kind = type(functools.reduce(getattr, key.split("."), values))
    new = value in ("", "true", "True") if kind is bool else kind(value or "")
    values.update_from_flattened_dict({key: new})
  run = config.from_mapping(values.to_dict())
  holdout.chosen_training_tasks(
    registry.TaskRegistry(tasks.ALL),
    run.held_out,
    run.data.tasks,
    run.data.clusters,
  )


def _check_exists(name: str) -> pathlib.Path:
  path = ROOT / name
  if not name or not path.exists():
    raise ValueError(f"There is no {name!r} in the project.")
  return path


def tree_paths(content: str) -> Iterator[str]:
  """The paths that a drawn tree names, in its order.

  `a/  what it is` and, two columns to the right, `b.py  what it is` give "a"
  and "a/b.py". Lines may be drawn with any of │├└─, and name several paths
  with a comma behind all but the last one.
  """
  parents: list[tuple[int, str]] = []
  for line in content.splitlines():
    match = re.match(r"[\s│├└─|`]*", line)
    rest = line[match.end() :].split()
    if not rest or rest[0] in (".", "./"):
      continue
    column = match.end()
    while parents and parents[-1][0] >= column:
      parents.pop()
    folder = parents[-1][1] + "/" if parents else ""
    count = next(i for i, word in enumerate(rest, 1) if word[-1] != ",")
    for word in rest[:count]:
      path = folder + word.strip(",").rstrip("/")
      yield path
    parents.append((column, path))


class DocumentsTest(parameterized.TestCase):
  @parameterized.parameters(*DOCUMENTS)
  def test_commands(self, name):
    for info, content in blocks(_read(name)):
      if info.split() == ["bash", "tested"]:
        for command in commands(content):
          with self.subTest(command):
            check_command(command)

  @parameterized.parameters(*DOCUMENTS)
  def test_blocks_of_ours_are_tested(self, name):
    for info, content in blocks(_read(name)):
      if info.strip() in ("bash", "sh", "shell", "console", ""):
        self.assertNotRegex(
          content, r"python -m launch\.|\bflan-\w+ -", f"A block with {info!r}"
        )

  @parameterized.parameters(*DOCUMENTS)
  def test_links(self, name):
    for target in re.findall(r"\]\(([^)\s]+)\)", _read(name)):
      if not re.match(r"[a-z]+:|#", target):
        path = (ROOT / name).parent / target.partition("#")[0]
        self.assertTrue(path.exists(), f"A link to {target}.")

  @parameterized.parameters(*(n for n in DOCUMENTS if n != "docs/moved.md"))
  def test_paths_in_backquotes_exist(self, name):
    """Also of `model/remat`, which stands for flan_tf/model/remat.py."""
    found = re.findall(r"[`\s]((?:\w+/)+\w+(?:\.\w+)?/?)[`\s]", _read(name))
    packages = {path.name for path in (ROOT / "flan_tf").iterdir()}
    for path in found:
      if re.search(r"\d\d\d", path):
        continue  # A file that a run writes.
      first = path.split("/")[0]
      if first in packages and first != "tasks":
        path = f"flan_tf/{path}"
      elif first not in ("flan_tf", "launch", "tests", "tools", "docs"):
        continue
      exists = (ROOT / path).exists() or (ROOT / f"{path}.py").exists()
      self.assertTrue(exists, f"{name} names {path}.")

  def test_the_readme_has_tested_commands_and_python(self):
    infos = [info for info, _ in blocks(_read("README.md"))]
    self.assertIn("bash tested", infos)
    self.assertIn("python tested", infos)

  def test_every_document_is_named_in_the_readme(self):
    text = _read("README.md")
    for name in DOCUMENTS[1:]:
      self.assertIn(f"]({name})", text)

  def test_tree(self):
    if "TEST_SRCDIR" in os.environ:
      self.skipTest("Bazel copies not all of the tree, and adds to it.")
    _, heading, rest = re.split(
      r"^(#+ .*\btree\b.*)$",
      _read("README.md"),
      maxsplit=1,
      flags=re.MULTILINE | re.IGNORECASE,
    )
    (_, content), *_ = blocks(rest)
    named = list(tree_paths(content))
    for path in named:
      self.assertNotEmpty(list(ROOT.glob(path)), f"{heading}: no {path}.")
    for path in sorted(ROOT.iterdir()):
      if not path.name.startswith(".") and not _is_ignored(path.name):
        self.assertIn(path.name, named, f"{heading}: {path.name} is missing.")
    for path in sorted((ROOT / "flan_tf").iterdir()):
      if (path / "__init__.py").exists():
        self.assertIn(f"flan_tf/{path.name}", named)


def _read(name: str) -> str:
  return (ROOT / name).read_text(encoding="utf-8")


def _is_ignored(name: str) -> bool:
  patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
  return name.startswith("bazel-") or any(
    fnmatch.fnmatch(name, pattern.strip("/")) for pattern in patterns
  )


class CheckerTest(parameterized.TestCase):
  """The checks find what they are for."""

  @parameterized.parameters(
    "python -m launch.train --config=launch/configs/small_tune.py --workdir=x",
    "TF_CONFIG='{}' python -m launch.train"
    " --config=launch/configs/small_tune.py --config.train.steps=3"
    " --config.mesh.shape='data:2;model:4' --dry_run",
    "flan-train-vocabulary --output=runs/nli.model --size=4000 --held_out=nli",
    "python tests/run.py",
    "pip install -e .[dev]  # once",
  )
  def test_right(self, command):
    check_command(command)

  @parameterized.parameters(
    ("python -m launch.trian --workdir=x", "Did you mean 'train'"),
    ("python -m launch.train --wrokdir=x", "Did you mean 'workdir'"),
    ("python -m launch.train workdir", "'workdir' is no flag"),
    ("python -m launch.train --config=launch/configs/no.py", "There is no"),
    ("python -m launch.train --config.train.step=3", "'train.steps'"),
    (
      "python -m launch.train --config=launch/configs/small_tune.py"
      " --config.model.mlp=gegul",
      "Did you mean 'geglu'",
    ),
    (
      "python -m launch.train --config=launch/configs/small_tune.py"
      " --config.data.tasks=rte",
      "With 'nli' held out",
    ),
    ("flan-trian --workdir=x", "Did you mean 'train'"),
    ("python tests/runn.py", "There is no 'tests/runn.py'"),
    ("tools/none.sh", "There is no 'tools/none.sh'"),
    ("frobnicate", "add it to _OTHERS"),
  )
  def test_wrong(self, command, message):
    with self.assertRaisesRegex(ValueError, message):
      check_command(command)

  def test_blocks_and_commands(self):
    text = (
      "a\n```bash tested\n# why\nx \\\n  --y=1\n\nz\n```\n```text\nq\n```\n"
    )
    found = blocks(text)
    self.assertEqual([info for info, _ in found], ["bash tested", "text"])
    self.assertEqual(commands(found[0][1]), ["x    --y=1", "z"])

  @parameterized.parameters(
    "a/        one, two\n  b.py, c/  three\n    d.py\ne.md  four\n",
    ".\n├── a/  one\n│   ├── b.py\n│   └── c/\n│       └── d.py\n└── e.md\n",
  )
  def test_tree_paths(self, content):
    self.assertEqual(
      list(tree_paths(content)), ["a", "a/b.py", "a/c", "a/c/d.py", "e.md"]
    )


if __name__ == "__main__":
  absltest.main()
