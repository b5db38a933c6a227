"""A cache of compile reports, keyed by request and source code.

  FOLDER/<fingerprint>.json   {"request": ..., "answer": ...}

The fingerprint covers the request, the source that the compiler's process
imports, and its pinned environment. A change to any of them leads to another
file, so stale files are never read and need not be deleted. A report that the
program does not fit is kept; an error is not.
"""

import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable

from flan_tf.tpu_plan.request import CompileReport, CompileRequest


class ReportCache:
  """Returns reports from a folder, and compiles what the folder lacks.

  Args:
    folder: the folder of the files; created with the first file.
    compiler: makes the report of a request.
    on_compile: called with each request before `compiler` is.

  Attributes:
    hits: number of reports that came from the folder.
    misses: number of reports that `compiler` made.
  """

  def __init__(
    self,
    folder: str,
    compiler: Callable[[CompileRequest], CompileReport],
    on_compile: Callable[[CompileRequest], None] = lambda request: None,
  ):
    self._folder = pathlib.Path(folder)
    self._compiler, self._on_compile = compiler, on_compile
    self.hits = self.misses = 0

  def __call__(self, request: CompileRequest) -> CompileReport:
    """Returns the report of a request, compiling it if necessary."""
    report = self.lookup(request)
    if report is not None:
      self.hits += 1
      return report
    self._on_compile(request)
    report = self._compiler(request)
    self.misses += 1
    _write(self._path(request), request, report)
    return report

  def lookup(self, request: CompileRequest) -> CompileReport | None:
    """Returns the report in the folder, None if there is none."""
    return _read(self._path(request))

  def _path(self, request: CompileRequest) -> pathlib.Path:
    return self._folder / f"{request.fingerprint}.json"


def _read(path: pathlib.Path) -> CompileReport | None:
  if not path.exists():
    return None
  try:
    report = json.loads(path.read_text())["answer"]
    return CompileReport.from_json(json.dumps(report))
  except (ValueError, KeyError, TypeError) as error:
    print(f"{path} cannot be read ({error}): compiling again.", file=sys.stderr)
    return None


def _write(
  path: pathlib.Path, request: CompileRequest, report: CompileReport
) -> None:
  """Writes a temporary file and renames it, so that no file is incomplete."""
  path.parent.mkdir(parents=True, exist_ok=True)
  values = {
    "request": json.loads(request.to_json()),
    "answer": json.loads(report.to_json()),
  }
  with tempfile.NamedTemporaryFile(
    "w", dir=path.parent, suffix=".part", delete=False
  ) as file:
    json.dump(values, file, indent=2)
  os.replace(file.name, path)
