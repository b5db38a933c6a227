"""Versions of the packages that compute an evaluation's numbers."""

import importlib.metadata
import platform

from flan_tf.version import __version__

_NAMES = (
  "mesh-tensorflow",
  "numpy",
  "scikit-learn",
  "scipy",
  "sacrebleu",
  "rouge-score",
  "rapidfuzz",
)


def package_versions() -> dict[str, str]:
  """Returns package -> version, with Python's own version."""
  import tensorflow as tf

  return {
    "python": platform.python_version(),
    "flan_tf": __version__,
    # TensorFlow may be installed under another distribution name.
    "tensorflow": tf.__version__,
    **{name: importlib.metadata.version(name) for name in _NAMES},
  }
