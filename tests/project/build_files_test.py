"""What pip and Bazel are told about the project is what the tree holds."""

import fnmatch
import pathlib
import re
import runpy

from absl.testing import absltest, parameterized

import flan_tf
from tools import layers, update_build

ROOT = pathlib.Path(__file__).absolute().parents[2]
_UPDATE = "Run `python tools/update_build.py`."


def _targets(directory: str) -> str:
  path = ROOT / directory / "BUILD"
  return path.read_text(encoding="utf-8") if path.exists() else ""


def _rules(directory: str) -> dict[str, str]:
  """The text of each rule of a BUILD file by its name."""
  text = _targets(directory)
  found = re.findall(r"^py_\w+\((.*?)^\)", text, re.DOTALL | re.MULTILINE)
  return {re.search(r'name = "(.+)"', rule).group(1): rule for rule in found}


class BazelTest(parameterized.TestCase):
  def test_build_files_are_up_to_date(self):
    for name, text in update_build.build_files().items():
      path = ROOT / name
      self.assertTrue(path.exists(), f"{name} is missing. {_UPDATE}")
      actual = path.read_text(encoding="utf-8")
      self.assertMultiLineEqual(actual, text, f"{name} differs. {_UPDATE}")

  @parameterized.parameters(*update_build.PACKAGES)
  def test_every_module_is_listed(self, package):
    for path in update_build.sources(package):
      folders = [f for f in path.parents if _targets(f.as_posix())]
      self.assertNotEmpty(folders, f"no BUILD file lists {path}. {_UPDATE}")
      name = path.relative_to(folders[0]).as_posix()
      text = _targets(folders[0].as_posix())
      self.assertTrue(f'"{name}"' in text, f"{path} is not listed. {_UPDATE}")

  def test_every_test_is_a_target_and_runs_itself(self):
    rules = _rules("tests")
    for path in update_build.test_files():
      self.assertTrue(
        path.relative_to("tests").with_suffix("").as_posix() in rules,
        f"{path} is no target. {_UPDATE}",
      )
      text = (ROOT / path).read_text(encoding="utf-8")
      self.assertTrue(
        re.search(r'\nif __name__ == "__main__":\n(  .*\n)*  .*main\(', text),
        f"{path} has no main: Bazel would run it and test nothing.",
      )

  def test_deps_point_down(self):
    labels = {update_build.label(layer): layer for layer in layers.BELOW}
    for own, layer in labels.items():
      directory, _, name = own.removeprefix("//").partition(":")
      name = name or directory.rpartition("/")[2]
      rule = _rules(directory).get(name, "")
      allowed = (*layers.BELOW[layer], *layers.LOADED_BY.get(layer, ()))
      for dep in re.findall(r'"(//[^"]+)"', rule):
        self.assertIn(
          labels[dep],
          allowed,
          f"{directory}/BUILD: {name} depends on {dep}. Layer {layer} may"
          f" depend on: {', '.join(allowed) or 'nothing'}.",
        )

  def test_the_module_has_the_version_of_the_package(self):
    text = (ROOT / "MODULE.bazel").read_text(encoding="utf-8")
    self.assertIn(f'version = "{flan_tf.__version__}"', text)


class PipTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.setup_py = runpy.run_path(str(ROOT / "setup.py"))

  def test_every_binary_is_a_console_script(self):
    self.assertCountEqual(self.setup_py["BINARIES"], update_build.binaries())

  def test_every_folder_of_modules_is_a_package(self):
    for package in update_build.PACKAGES:
      for path in update_build.sources(package):
        if path.parent.as_posix() == "launch/configs":
          continue  # Data: run files, read by name.
        init = ROOT / path.parent / "__init__.py"
        self.assertTrue(init.exists(), f"{path.parent} lacks an __init__.py.")

  def test_files_beside_the_modules_are_installed(self):
    for package, patterns in self.setup_py["PACKAGE_DATA"].items():
      for path in update_build.data_files(package):
        name = path.relative_to(package).as_posix()
        self.assertTrue(
          any(fnmatch.fnmatch(name, pattern) for pattern in patterns),
          f"{path} is not in PACKAGE_DATA of setup.py: {patterns}.",
        )

  def test_every_pattern_of_installed_files_matches(self):
    for package, patterns in self.setup_py["PACKAGE_DATA"].items():
      for pattern in patterns:
        found = list((ROOT / package).glob(pattern))
        self.assertNotEmpty(found, f"{package}: {pattern} matches nothing.")

  def test_every_requirement_is_pinned(self):
    constraints = ROOT / "tools/python/constraints.txt"
    pins = {
      _canonical(line.partition("==")[0])
      for line in constraints.read_text(encoding="utf-8").splitlines()
      if "==" in line
    }
    named = {
      _canonical(re.match(r"[\w.-]+", requirement).group())
      for requirement in self.setup_py["REQUIREMENTS"]
    }
    self.assertContainsSubset(named, pins)
    known = set(map(_canonical, update_build.DISTRIBUTIONS.values()))
    self.assertEqual(named, known, "setup.py and tools/update_build.py differ")


def _canonical(name: str) -> str:
  return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
  absltest.main()
