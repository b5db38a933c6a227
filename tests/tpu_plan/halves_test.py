"""Planner and compiler share modules and import nothing of each other."""

import os
import pathlib
import subprocess
import sys

from absl.testing import absltest, parameterized

from tools import layers, update_build

ROOT = pathlib.Path(__file__).absolute().parents[2]
PACKAGE = "flan_tf.tpu_plan"
COMPILER, PLANNER = f"{PACKAGE}.compiler", f"{PACKAGE}.planner"
# Layers that the shared modules and the planner may import.
LIGHT_LAYERS = ("flan_tf.config", *layers.BELOW["flan_tf.config"], PACKAGE)


def half_of(module: str) -> str:
  """Returns COMPILER, PLANNER, or PACKAGE for the shared modules."""
  for half in (COMPILER, PLANNER):
    if module == half or module.startswith(f"{half}."):
      return half
  return PACKAGE


def imports_of(half: str):
  """Yields (module, imported module) for all modules of a half."""
  for path in update_build.sources("flan_tf/tpu_plan"):
    module = update_build.module_name(path)
    if half_of(module) == half:
      for _, imported in update_build.imports(path):
        yield module, imported


class HalvesTest(parameterized.TestCase):
  @parameterized.parameters(
    (PACKAGE, COMPILER),
    (PACKAGE, PLANNER),
    (COMPILER, PLANNER),
    (PLANNER, COMPILER),
  )
  def test_imports_between_the_halves(self, half, forbidden):
    imports = list(imports_of(half))
    self.assertNotEmpty(imports)
    for module, imported in imports:
      self.assertNotEqual(
        half_of(imported), forbidden, f"{module} imports {imported}."
      )

  @parameterized.parameters(PACKAGE, PLANNER)
  def test_all_but_the_compiler_import_light_layers(self, half):
    for module, imported in imports_of(half):
      layer = layers.layer_of(imported)
      if layer is not None:
        self.assertIn(layer, LIGHT_LAYERS, f"{module} imports {imported}.")

  def test_all_but_the_compiler_need_no_tensorflow_and_no_jax(self):
    modules = sorted(
      {module for half in (PACKAGE, PLANNER) for module, _ in imports_of(half)}
    )
    code = (
      f"import importlib, sys\n"
      f"for name in {modules!r}: importlib.import_module(name)\n"
      "print({'tensorflow', 'jax', 'mesh_tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run(
      [sys.executable, "-c", code],
      env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
      capture_output=True,
      text=True,
      check=True,
    )
    self.assertEqual(done.stdout, "set()\n")


if __name__ == "__main__":
  absltest.main()
