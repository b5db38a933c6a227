"""The versions of what computes an evaluation's numbers."""

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


def versions() -> dict[str, str]:
  """Package -> version, Python's own among them."""
  import tensorflow as tf

  return {
    "python": platform.python_version(),
    "flan_tf": __version__,
    # A distribution of it may have another name.
    "tensorflow": tf.__version__,
    **{name: importlib.metadata.version(name) for name in _NAMES},
  }
