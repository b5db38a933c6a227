"""Runs each test file with pytest in a process of its own, two at a time.

TensorFlow's logical devices are set once in a process, before anything else
uses TensorFlow, and the files need different numbers of them. So no two files
share a process. A file that does not end within `LIMIT` seconds is stopped and
counts as failed: a lost collective waits for ever.

Arguments that are files choose what to run; all others go to pytest. The last
line is `N passed, N failed, N skipped`.
"""

import collections
import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from xml.etree import ElementTree

TESTS = pathlib.Path(__file__).absolute().parent
JOBS = int(os.environ.get("FLAN_TEST_JOBS", "2"))
LIMIT = float(os.environ.get("FLAN_TEST_LIMIT", "900"))
NO_TESTS = 5  # pytest's exit status when -k or -m leaves nothing.

Counts = collections.Counter  # of "passed", "failed" and "skipped"


def run_file(
  path: pathlib.Path, arguments: Sequence[str]
) -> tuple[Counts, str]:
  """Runs one file; returns its counts and what there is to say about it."""
  with tempfile.TemporaryDirectory() as directory:
    report = pathlib.Path(directory, "report.xml")
    start = time.monotonic()
    status, output = _communicate(
      [
        *(sys.executable, "-m", "pytest", str(path), f"--junitxml={report}"),
        *("-p", "no:cacheprovider", "-q", "-rs", "--tb=short"),
        # Says where a test hangs, before the whole file is stopped.
        *("-o", f"faulthandler_timeout={0.9 * LIMIT:.0f}", *arguments),
      ]
    )
    seconds = time.monotonic() - start
    counts = read_counts(report) if report.exists() else Counts()
  if status == NO_TESTS and not arguments:
    output += "\nThe file has no tests."
    counts["failed"] += 1
  elif status not in (0, NO_TESTS) and not counts["failed"]:
    output += f"\npytest ended with status {status}."
    counts["failed"] += 1
  verdict = "FAILED" if counts["failed"] else "ok"
  line = f"{verdict:6} {path.name}: {summary(counts)} in {seconds:.1f} s"
  # The last line of pytest counts warnings; without any, all went silently.
  quiet = verdict == "ok" and not counts["skipped"] and "warning" not in output
  return counts, line if quiet else f"{line}\n{_indented(output)}"


def read_counts(report: pathlib.Path) -> Counts:
  """Counts the cases of a junit report; an error counts as a failure."""
  counts = Counts()
  for case in ElementTree.parse(report).iter("testcase"):
    outcomes = {child.tag for child in case}
    if outcomes & {"failure", "error"}:
      counts["failed"] += 1
    elif "skipped" in outcomes:
      counts["skipped"] += 1
    else:
      counts["passed"] += 1
  return counts


def summary(counts: Counts) -> str:
  return ", ".join(f"{counts[k]} {k}" for k in ("passed", "failed", "skipped"))


def _communicate(command: Sequence[str]) -> tuple[int, str]:
  process = subprocess.Popen(
    command,
    cwd=TESTS.parent,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors="replace",
    start_new_session=True,  # So that its own children can be stopped too.
  )
  try:
    output, _ = process.communicate(timeout=LIMIT)
  except subprocess.TimeoutExpired:
    os.killpg(process.pid, signal.SIGKILL)
    output, _ = process.communicate()
    output += f"\nStopped: not done after {LIMIT:.0f} s (FLAN_TEST_LIMIT)."
  return process.returncode, output


def _indented(text: str) -> str:
  return "\n".join(f"    {line}" for line in text.strip().splitlines())


def main(argv: Sequence[str]) -> int:
  files = [pathlib.Path(a).absolute() for a in argv if a.endswith(".py")]
  arguments = [a for a in argv if not a.endswith(".py")]
  missing = [str(file) for file in files if not file.exists()]
  if missing:
    print(f"No such test file: {', '.join(missing)}.", file=sys.stderr)
    return 2
  files = files or sorted(TESTS.rglob("*_test.py"))
  total = Counts()
  with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
    runs = [pool.submit(run_file, file, arguments) for file in files]
    for run in concurrent.futures.as_completed(runs):
      counts, text = run.result()
      total += counts
      print(text, flush=True)
  if not total["passed"] + total["failed"] + total["skipped"]:
    print("No test was run.", file=sys.stderr)
    total["failed"] += 1
  print(summary(total))
  return 1 if total["failed"] else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
