"""Calls binaries in this process, because starting one takes long."""

import contextlib
import io
import sys
import types
import warnings
from unittest import mock

from absl import flags
from absl.testing import flagsaver

from flan_tf import progress_bars


def call(binary: types.ModuleType, *arguments: str) -> tuple[int, str, str]:
  """Runs a module of launch as a shell would.

  Args:
    binary: the module, with a function `run`.
    *arguments: arguments of its command line.

  Returns:
    (exit status, stdout, stderr).
  """
  out, err = io.StringIO(), io.StringIO()
  status: object = 0
  with (
    warnings.catch_warnings(),
    flagsaver.flagsaver(),
    # Binaries switch progress bars on, for the rest of the process.
    mock.patch.object(progress_bars, "_enabled", False),
    mock.patch.object(sys, "argv", [binary.__name__, *arguments]),
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(err),
  ):
    # ml_collections loads a run file in a deprecated way.
    warnings.filterwarnings("ignore", "the load_module", DeprecationWarning)
    flags.FLAGS.unparse_flags()
    try:
      binary.run()
    except SystemExit as stop:
      status = stop.code or 0
    finally:
      flags.FLAGS.mark_as_parsed()
  if isinstance(status, str):  # Python prints such a status.
    err.write(status + "\n")
  number = status if isinstance(status, int) else 1
  return number, out.getvalue(), err.getvalue()
