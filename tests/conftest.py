"""Sets up each test process, before TensorFlow is imported.

tests/run.py imports this module as well, before it imports TensorFlow.
"""

import os
import sys

from absl import flags
from absl.testing import absltest  # noqa: F401, defines --test_tmpdir

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# tests/run.py runs as many files at a time as there are cores.
_THREADS = str(max(1, (os.cpu_count() or 2) // 2))
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", _THREADS)
os.environ.setdefault("OMP_NUM_THREADS", _THREADS)
# LLVM takes longer to optimise a small program than the program takes to run.
os.environ.setdefault(
  "XLA_FLAGS",
  "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)

# pytest owns the command line; absl's flags get their defaults.
flags.FLAGS(sys.argv[:1])
