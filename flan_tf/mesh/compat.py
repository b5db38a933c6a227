"""Imports mesh_tensorflow 0.1.21 on TensorFlow 2.16 and later.

Two names that mesh_tensorflow imports do not exist in TensorFlow any more. This
module adds them while mesh_tensorflow is imported, and removes them again. For
each of them `tests/mesh/compat_test.py` has a test that fails once it is no
longer needed. When both fail, replace this module by
`import mesh_tensorflow as mtf`.
"""

import contextlib
import sys
import types
import typing

import tensorflow as tf
from tensorflow.python.framework import ops, tensor_conversion_registry


@contextlib.contextmanager
def temporary_estimator():
  """Provides tf.compat.v1.estimator, which TensorFlow 2.16 removed.

  Mesh-TF derives a checkpoint listener and a restore hook from its classes. We
  use neither of them; the classes only have to exist.
  """
  name = "tensorflow.compat.v1.estimator"
  module = types.ModuleType(name)
  v1 = tf.compat.v1
  hooks = "SessionRunHook", "CheckpointSaverListener", "CheckpointSaverHook"
  for hook in hooks:
    setattr(module, hook, getattr(v1.train, hook))
  sys.modules[name] = module
  v1.estimator = module
  try:
    yield
  finally:
    del sys.modules[name]
    del v1.estimator


@contextlib.contextmanager
def temporary_conversion_registry():
  """Provides ops.register_tensor_conversion_function at its former place."""
  name = "register_tensor_conversion_function"
  setattr(
    ops, name, tensor_conversion_registry.register_tensor_conversion_function
  )
  try:
    yield
  finally:
    delattr(ops, name)


def _import_mesh_tensorflow() -> types.ModuleType:
  level = tf.compat.v1.logging.get_verbosity()
  tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
  try:
    with temporary_estimator(), temporary_conversion_registry():
      import mesh_tensorflow
      import mesh_tensorflow.simd_mesh_impl
  finally:
    tf.compat.v1.logging.set_verbosity(level)
  return mesh_tensorflow


if typing.TYPE_CHECKING:
  import mesh_tensorflow as mtf
else:
  mtf = _import_mesh_tensorflow()
