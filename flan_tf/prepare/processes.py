"""Starts the processes of worker, and hears what became of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence

import tensorflow as tf

from flan_tf.task import schema


class WorkerProcesses:
  """The processes at work in one run; used from several threads.

  Args:
    data_dir: where the data sets go.
    manual_dir: where files lie that a person fetched.
    imports: modules to import in each process.
  """

  def __init__(self, data_dir: str, manual_dir: str, imports: Sequence[str]):
    self._data_dir = data_dir
    self._manual_dir = manual_dir
    self._imports = tuple(imports)
    self._lock = threading.Lock()
    self._stopped = False
    self._running: set[subprocess.Popen] = set()

  def answer(self, source: schema.Source, log: str) -> dict[str, str]:
    """Starts a process, waits for its end; the answer of `worker`.

    Args:
      source: the data set.
      log: where what TFDS says is written.
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
    with _local_file(log) as log_file:
      with self._lock:
        if self._stopped:
          return {"status": "failed", "detail": "The run was stopped."}
        process = subprocess.Popen(
          [
            *(sys.executable, "-m", "flan_tf.prepare.worker"),
            json.dumps(request),
          ],
          stdin=subprocess.PIPE,  # Its end tells the process that we are gone.
          stdout=subprocess.PIPE,
          stderr=log_file,
          env=_environment(),
        )
        self._running.add(process)
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
      return {"status": "failed", "detail": _death(status)}

  def stop(self) -> None:
    """Ends the processes at work; those that would start do not."""
    with self._lock:
      self._stopped = True
      for process in self._running:
        process.terminate()


@contextlib.contextmanager
def _local_file(path: str) -> Iterator:
  """A file that a process can write to; copied to gs:// at the end."""
  if "://" not in path:
    with open(path, "wb") as file:
      yield file
    return
  with tempfile.NamedTemporaryFile() as file:
    yield file
    tf.io.gfile.copy(file.name, path, overwrite=True)


def _environment() -> dict[str, str]:
  """What a worker sees: our modules, no accelerator, few log lines."""
  return {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    **os.environ,
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": os.pathsep.join(sys.path),
  }


def _death(status: int) -> str:
  """What is to be said of a process that gave no answer."""
  if status >= 0:
    return f"Its process ended with status {status} and no answer."
  name = signal.Signals(-status).name
  advice = " If memory was short, try fewer jobs." if name == "SIGKILL" else ""
  return f"Its process was ended by {name}.{advice}"
