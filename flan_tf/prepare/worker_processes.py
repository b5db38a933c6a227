"""Starts `flan_tf.prepare.worker` in processes and reads their results."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence

import tensorflow as tf

from flan_tf import waits
from flan_tf.task import schema

# Bytes of a log that are looked at for its last line, and the line's limit.
_TAIL, _COLUMNS = 4_000, 200


class WorkerProcesses:
  """The worker processes of one run; may be used from several threads."""

  def __init__(self, data_dir: str, manual_dir: str, imports: Sequence[str]):
    """Configures the processes; none is started yet.

    Args:
      data_dir: the TFDS directory that the processes write to.
      manual_dir: folder of files that a person fetched.
      imports: modules that each process imports first.
    """
    self._data_dir = data_dir
    self._manual_dir = manual_dir
    self._imports = tuple(imports)
    self._lock = threading.Lock()
    self._stopped = False
    self._running: set[subprocess.Popen] = set()

  def run(self, source: schema.Source, log: str) -> dict[str, str]:
    """Prepares a data set in a new process; returns the worker's result.

    Args:
      source: the data set.
      log: path of the file that gets the output of TFDS.

    Returns:
      `status` and `detail`, and perhaps `instructions`, as `worker.prepare`
      returns them. A process that was killed counts as failed.
    """
    request = {
      "name": source.name,
      "version": source.version,
      "hub": source.hub,
      "data_dir": self._data_dir,
      "manual": source.manual,
      "manual_dir": self._manual_dir,
      "imports": self._imports,
    }
    command = [
      sys.executable,
      "-m",
      "flan_tf.prepare.worker",
      json.dumps(request),
    ]
    with _local_file(log) as log_file:
      with self._lock:
        if self._stopped:
          return {"status": "failed", "detail": "The run was stopped."}
        process = subprocess.Popen(
          command,
          # The process ends when this pipe is closed.
          stdin=subprocess.PIPE,
          stdout=subprocess.PIPE,
          stderr=log_file,
          env=_environment(),
        )
        self._running.add(process)
      with waits.announced(lambda: _progress(source.name, log_file.name)):
        text = process.stdout.read() if process.stdout else b""
        status = process.wait()
      with self._lock:
        self._running.discard(process)
      for stream in (process.stdin, process.stdout):
        if stream:
          stream.close()
    try:
      return json.loads(text)
    except ValueError:
      return {"status": "failed", "detail": _exit_reason(status)}

  def stop(self) -> None:
    """Terminates the running processes, and prevents further ones."""
    with self._lock:
      self._stopped = True
      for process in self._running:
        process.terminate()


@contextlib.contextmanager
def _local_file(path: str) -> Iterator:
  """Opens a file for a process to write to; copies it to gs:// at the end."""
  if "://" not in path:
    with open(path, "wb") as file:
      yield file
    return
  with tempfile.NamedTemporaryFile() as file:
    yield file
    tf.io.gfile.copy(file.name, path, overwrite=True)


def _progress(name: str, log: str) -> str:
  """Returns a line about a data set that is being prepared.

  Args:
    name: name of the data set.
    log: path of the local file with the output of TFDS.
  """
  with open(log, "rb") as file:
    file.seek(max(0, os.path.getsize(log) - _TAIL))
    text = file.read().decode(errors="replace")
  lines = [line.strip() for line in re.split(r"[\r\n]|\x1b\[A", text)]
  last = next((line for line in reversed(lines) if line), "no output yet")
  return f"{name}: {last[:_COLUMNS]}"


def _environment() -> dict[str, str]:
  """Returns the workers' environment: our modules, no GPU, few log lines."""
  return {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    **os.environ,
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": os.pathsep.join(sys.path),
  }


def _exit_reason(status: int) -> str:
  """Returns a sentence on a process that gave no result.

  Args:
    status: its exit status; negative for the signal that killed it.
  """
  if status >= 0:
    return f"The process ended with status {status} and gave no result."
  name = signal.Signals(-status).name
  advice = " If memory was short, try fewer jobs." if name == "SIGKILL" else ""
  return f"The process was killed by {name}.{advice}"
