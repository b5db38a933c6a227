"""Binaries: `python -m launch.NAME --help`, or `flan-NAME` once installed.

Each defines its flags, calls the Python interface and prints the results.
"""

import os

# Hides the log of TensorFlow's C++ code, which reads this at import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
