"""What is lent to mesh_tensorflow is still needed, and is given back."""

import contextlib
import importlib
import sys

import tensorflow as tf
from absl.testing import absltest, parameterized
from tensorflow.python.framework import ops

from flan_tf.mesh import compat

LOANS = {
  "estimator_lent": "tf.compat.v1.estimator",
  "conversion_registry_lent": "ops.register_tensor_conversion_function",
}


@contextlib.contextmanager
def without_mesh_tensorflow():
  """The next import of mesh_tensorflow runs its code again."""
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
  def test_no_loan_is_missing(self):
    with contextlib.ExitStack() as stack:
      stack.enter_context(without_mesh_tensorflow())
      for name in LOANS:
        stack.enter_context(getattr(compat, name)())
      importlib.import_module("mesh_tensorflow")

  @parameterized.parameters(*LOANS)
  def test_each_loan_is_still_needed(self, loan):
    others = [getattr(compat, name) for name in LOANS if name != loan]
    with contextlib.ExitStack() as stack:
      stack.enter_context(without_mesh_tensorflow())
      for other in others:
        stack.enter_context(other())
      try:
        importlib.import_module("mesh_tensorflow")
      except (ImportError, AttributeError):
        return
    self.fail(
      f"mesh_tensorflow imports without {LOANS[loan]}: take `{loan}` out of"
      " flan_tf/mesh/compat.py. Once no loan is left, take the file out too and"
      " write `import mesh_tensorflow as mtf` where it was imported."
    )

  def test_loans_are_given_back(self):
    self.assertFalse(hasattr(tf.compat.v1, "estimator"))
    self.assertFalse(hasattr(ops, "register_tensor_conversion_function"))
    self.assertNotIn("tensorflow.compat.v1.estimator", sys.modules)

  @parameterized.parameters(*LOANS)
  def test_given_back_after_an_error(self, loan):
    with self.assertRaises(KeyError), getattr(compat, loan)():
      raise KeyError
    self.test_loans_are_given_back()

  def test_the_version_that_was_read(self):
    self.assertEqual(compat.mtf.__name__, "mesh_tensorflow")
    self.assertTrue(hasattr(compat.mtf, "simd_mesh_impl"))


if __name__ == "__main__":
  absltest.main()
