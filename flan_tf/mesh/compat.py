"""Imports mesh_tensorflow 0.1.21 on TensorFlow 2.16 and later.

Two names that it imports are gone from TensorFlow. They are lent to it here,
and only while it is imported. Each loan has a test that fails once it is no
longer needed (`tests/mesh/compat_test.py`); then this file can go, and
`import mesh_tensorflow as mtf` takes its place.
"""

import contextlib
import sys
import types
import typing

import tensorflow as tf
from tensorflow.python.framework import ops, tensor_conversion_registry


@contextlib.contextmanager
def estimator_lent():
  """tf.compat.v1.estimator left TensorFlow in 2.16.

  Mesh-TF derives a checkpoint listener and a restore hook from its classes.
  We use neither; the classes only have to exist.
  """
  name = "tensorflow.compat.v1.estimator"
  module = types.ModuleType(name)
  v1 = tf.compat.v1
  lent = "SessionRunHook", "CheckpointSaverListener", "CheckpointSaverHook"
  for hook in lent:
    setattr(module, hook, getattr(v1.train, hook))
  sys.modules[name] = module
  v1.estimator = module
  try:
    yield
  finally:
    del sys.modules[name]
    del v1.estimator


@contextlib.contextmanager
def conversion_registry_lent():
  """ops.register_tensor_conversion_function moved to a module of its own."""
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
    with estimator_lent(), conversion_registry_lent():
      import mesh_tensorflow
      import mesh_tensorflow.simd_mesh_impl
  finally:
    tf.compat.v1.logging.set_verbosity(level)
  return mesh_tensorflow


if typing.TYPE_CHECKING:
  import mesh_tensorflow as mtf
else:
  mtf = _import_mesh_tensorflow()
