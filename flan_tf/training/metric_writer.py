"""Writes metrics: JSON lines for programs, TensorBoard for people.

Both are below the workdir, which may be a `gs://` path:

  metrics.jsonl    one JSON object in each line, with "step"
  tensorboard/     scalars and texts
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping

from flan_tf import safe_files
from flan_tf.json_lines import read_jsonl
from flan_tf.mesh import tf_errors


class MetricsError(ValueError):
  """Metrics cannot be written; the message says why."""


class MetricWriter:
  """Appends metrics to those that a workdir already has.

  Args:
    workdir: workdir of the run.
    step: last step before the run starts or resumes. Lines of later steps are
      dropped, since the run writes them again; so are their points in
      TensorBoard, which gets a note to forget them.
    writes: False for all hosts of a cluster but one: nothing is written.

  Raises:
    MetricsError: here and in all methods: a file cannot be written.
    ValueError: a line that is there is not an object with a "step".
  """

  def __init__(self, workdir: str, step: int = 0, writes: bool = True):
    import tensorflow as tf

    self._tf, self._writes = tf, writes
    if not writes:
      return
    self._path = _metrics_path(workdir)
    with self._errors_explained():
      tf.io.gfile.makedirs(workdir)
      self._file = safe_files.open_to_append(
        self._path, _lines_until(self._path, step)
      )
      self._summaries = tf.summary.create_file_writer(
        os.path.join(workdir, "tensorboard")
      )
      self._drop_later_points(step)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one line, and one TensorBoard scalar for each value."""
    if not self._writes:
      return
    with self._errors_explained():
      self._check_is_there()
      self._file.write(json.dumps({"step": step, **values}) + "\n")
      self._file.flush()
      with self._summaries.as_default(step=step):
        for name, value in values.items():
          self._tf.summary.scalar(name, value)
      self._summaries.flush()

  def text(self, step: int, name: str, value: str) -> None:
    """Writes a text for TensorBoard, indented so that it is shown verbatim."""
    if not self._writes:
      return
    indented = "\n".join("    " + line for line in value.splitlines())
    with self._errors_explained():
      with self._summaries.as_default(step=step):
        self._tf.summary.text(name, indented)
      self._summaries.flush()

  def flush_to_disk(self) -> None:
    """Waits until all lines are on the disk.

    A checkpoint that is saved after this has its metrics even if the machine
    loses its power.
    """
    if self._writes:
      self._check_is_there()
      with self._errors_explained():
        safe_files.flush_to_disk(self._path)

  def close(self) -> None:
    """Closes the files."""
    if self._writes:
      with self._errors_explained():
        self._file.close()
        self._summaries.close()

  def _check_is_there(self) -> None:
    """Checks that nobody has removed the file since it was opened.

    A local file that is open can be written to without an error even then.
    """
    if safe_files.is_local(self._path) and not os.path.exists(self._path):
      raise MetricsError(
        f"{self._path} is not there any more: the workdir was removed or"
        " renamed while the run was training, so its metrics are lost. Put the"
        " workdir back and start the same command again: the run resumes from"
        " its newest checkpoint, or from step 0 if there is none."
      )

  def _drop_later_points(self, step: int) -> None:
    """Tells TensorBoard to forget the points that come again."""
    from tensorflow.core.util import event_pb2
    from tensorflow.python.ops import summary_ops_v2

    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    first = step + 1 if step else 0
    event = event_pb2.Event(
      wall_time=time.time(), step=first, session_log=start
    )
    with self._summaries.as_default():
      summary_ops_v2.import_event(event.SerializeToString())
    self._summaries.flush()

  @contextlib.contextmanager
  def _errors_explained(self) -> Iterator[None]:
    """Turns errors of the file system into one with advice."""
    errors = self._tf.errors
    try:
      yield
    except (errors.UnavailableError, errors.AbortedError):
      raise  # Lost devices, or a storage service that has to be called again.
    except (errors.OpError, OSError) as error:
      raise MetricsError(
        f"Metrics could not be written to {self._path}:"
        f" {tf_errors.error_summary(error)}\nFree some space, or make the"
        " folder writable, and start the same command again: the run resumes"
        " from its newest checkpoint."
      ) from error


def read_metrics(workdir: str) -> list[dict[str, float]]:
  """Returns the metrics that a run has logged, each line with its "step"."""
  return read_jsonl(_metrics_path(workdir))


def _lines_until(path: str, step: int) -> str:
  """Returns the lines up to a step, without one that was cut short."""
  lines = read_jsonl(path, types={"step": int})
  kept = [line for line in lines if line["step"] <= step]
  return "".join(json.dumps(line) + "\n" for line in kept)


def _metrics_path(workdir: str) -> str:
  return os.path.join(workdir, "metrics.jsonl")
