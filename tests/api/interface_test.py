"""The names of `import flan_tf`: lazy, complete, and never shadowed."""

import ast
import importlib
import os
import pathlib
import pkgutil
import subprocess
import sys

from absl.testing import absltest, parameterized

import flan_tf

ROOT = pathlib.Path(__file__).absolute().parents[2]


def run_python(program: str) -> str:
  done = subprocess.run(
    [sys.executable, "-c", program],
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    raise AssertionError(done.stderr)
  return done.stdout.strip()


class ImportTest(absltest.TestCase):
  def test_import_is_cheap(self):
    """No package of others is imported, so that it takes milliseconds."""
    program = "import sys, flan_tf; print(*sys.modules)"
    modules = {name.split(".")[0] for name in run_python(program).split()}
    self.assertIn("flan_tf", modules)
    # Modules of the interpreter's own start, such as a site's hooks, may be in.
    started = run_python("import sys; print(*sys.modules)").split()
    others = modules - {*sys.stdlib_module_names, *started, "flan_tf"}
    self.assertEmpty({name for name in others if not name.startswith("_")})

  def test_tasks_and_configuration_need_no_tensorflow(self):
    program = (
      "import sys, flan_tf as flan; rte = flan.tasks['rte'];"
      " run = flan.RunConfig(held_out='nli');"
      " flan.Task, flan.Template, flan.TaskKind, flan.Sampling;"
      " print(rte.cluster, *run.held_out, 'tensorflow' in sys.modules)"
    )
    self.assertEqual(run_python(program), "nli nli False")

  def test_dir_lists_the_names_before_they_are_used(self):
    program = "import flan_tf; print(*dir(flan_tf))"
    self.assertContainsSubset(flan_tf.__all__, run_python(program).split())

  def test_unknown_name(self):
    with self.assertRaisesRegex(
      AttributeError, "no attribute 'evalute'. Public names: .*evaluate, .*"
    ):
      _ = flan_tf.evalute  # pyright: ignore[reportAttributeAccessIssue]

  def test_the_package_says_that_it_has_types(self):
    self.assertTrue((ROOT / "flan_tf" / "py.typed").is_file())


class NamesTest(parameterized.TestCase):
  def test_type_checkers_see_the_same_names_from_the_same_modules(self):
    tree = ast.parse((ROOT / "flan_tf/__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {}
    for node in block.body:
      assert isinstance(node, ast.ImportFrom)
      for alias in node.names:
        # `import x as x`: a type checker takes the name for a public one.
        self.assertEqual(alias.asname, alias.name)
        declared[alias.name] = node.module
    self.assertEqual(declared, flan_tf._MODULES)

  @parameterized.parameters(*flan_tf.__all__)
  def test_public_name(self, name):
    value = getattr(flan_tf, name)
    module = importlib.import_module(flan_tf._MODULES[name])
    self.assertIs(value, getattr(module, name))
    self.assertNotEmpty(value.__doc__)

  def test_no_submodule_has_a_public_name(self):
    submodules = {info.name for info in pkgutil.iter_modules(flan_tf.__path__)}
    self.assertContainsSubset({"api", "data", "training"}, submodules)
    self.assertEmpty(submodules & set(flan_tf.__all__))

  def test_names_survive_the_import_of_every_submodule(self):
    left_out = []
    for info in pkgutil.walk_packages(flan_tf.__path__, "flan_tf."):
      try:
        importlib.import_module(info.name)
      except ImportError as error:
        left_out.append(str(error.name))
    # The TPU compiler has an environment of its own.
    self.assertContainsSubset(left_out, {"jax", "jaxlib"})
    for name, module in flan_tf._MODULES.items():
      expected = getattr(sys.modules[module], name)
      self.assertIs(getattr(flan_tf, name), expected, name)


if __name__ == "__main__":
  absltest.main()
