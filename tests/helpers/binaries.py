"""Binaries called in this process, as starting one takes long."""

import contextlib
import io
import sys
import types
import warnings
from unittest import mock

from absl import flags
from absl.testing import flagsaver


def call(binary: types.ModuleType, *arguments: str) -> tuple[int, str, str]:
  """Runs a module of launch as a shell would.

  Args:
    binary: the module; has `run`.
    *arguments: of its command line.

  Returns:
    Its status, stdout and stderr.
  """
  out, err = io.StringIO(), io.StringIO()
  status: object = 0
  with (
    warnings.catch_warnings(),
    flagsaver.flagsaver(),
    mock.patch.object(sys, "argv", [binary.__name__, *arguments]),
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(err),
  ):
    # How ml_collections loads a run file.
    warnings.filterwarnings("ignore", "the load_module", DeprecationWarning)
    flags.FLAGS.unparse_flags()
    try:
      binary.run()
    except SystemExit as stop:
      status = stop.code or 0
    finally:
      flags.FLAGS.mark_as_parsed()
  if isinstance(status, str):  # What Python does with such a status.
    err.write(status + "\n")
  number = status if isinstance(status, int) else 1
  return number, out.getvalue(), err.getvalue()
