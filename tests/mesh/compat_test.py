"""Names that are added for mesh_tensorflow are needed and are removed again."""

import contextlib
import importlib
import sys

import tensorflow as tf
from absl.testing import absltest, parameterized
from tensorflow.python.framework import ops

from flan_tf.mesh import compat

PATCHES = {
  "temporary_estimator": "tf.compat.v1.estimator",
  "temporary_conversion_registry": "ops.register_tensor_conversion_function",
}


@contextlib.contextmanager
def without_mesh_tensorflow():
  """Makes the next import of mesh_tensorflow execute its code again."""
  loaded = {
    name: sys.modules.pop(name)
    for name in list(sys.modules)
    if name.split(".")[0] == "mesh_tensorflow"
  }
  gin = importlib.import_module("gin")
  try:
    with gin.config.interactive_mode():  # It may register its names again.
      yield
  finally:
    for name in list(sys.modules):
      if name.split(".")[0] == "mesh_tensorflow":
        del sys.modules[name]
    sys.modules.update(loaded)


class CompatTest(parameterized.TestCase):
  def test_the_patches_suffice(self):
    with contextlib.ExitStack() as stack:
      stack.enter_context(without_mesh_tensorflow())
      for name in PATCHES:
        stack.enter_context(getattr(compat, name)())
      importlib.import_module("mesh_tensorflow")

  @parameterized.parameters(*PATCHES)
  def test_each_patch_is_still_needed(self, patch):
    others = [getattr(compat, name) for name in PATCHES if name != patch]
    with contextlib.ExitStack() as stack:
      stack.enter_context(without_mesh_tensorflow())
      for other in others:
        stack.enter_context(other())
      try:
        importlib.import_module("mesh_tensorflow")
      except (ImportError, AttributeError):
        return
    self.fail(
      f"mesh_tensorflow imports without {PATCHES[patch]}: remove `{patch}` from"
      " flan_tf/mesh/compat.py. Once no patch is left, remove the file and"
      " import mesh_tensorflow directly."
    )

  def test_patches_are_removed(self):
    self.assertFalse(hasattr(tf.compat.v1, "estimator"))
    self.assertFalse(hasattr(ops, "register_tensor_conversion_function"))
    self.assertNotIn("tensorflow.compat.v1.estimator", sys.modules)

  @parameterized.parameters(*PATCHES)
  def test_patches_are_removed_after_an_error(self, patch):
    with self.assertRaises(KeyError), getattr(compat, patch)():
      raise KeyError
    self.test_patches_are_removed()

  def test_mesh_tensorflow_is_imported(self):
    self.assertEqual(compat.mtf.__name__, "mesh_tensorflow")
    self.assertTrue(hasattr(compat.mtf, "simd_mesh_impl"))


if __name__ == "__main__":
  absltest.main()
