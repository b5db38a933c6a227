"""Writes metrics: JSON lines for programs, TensorBoard for people.

Both are below the workdir, which may be a `gs://` path:

  metrics.jsonl    one JSON object in each line, with "step"
  tensorboard/     scalars and texts
"""

import json
import os
from collections.abc import Mapping

from flan_tf.json_lines import read_jsonl


class MetricWriter:
  """Appends metrics to those that a workdir already has.

  Args:
    workdir: workdir of the run.
    step: last step before the run starts or resumes. Lines of later steps are
      dropped, since the run writes them again.
    writes: False for all hosts of a cluster but one: nothing is written.
  """

  def __init__(self, workdir: str, step: int = 0, writes: bool = True):
    import tensorflow as tf

    self._tf, self._writes = tf, writes
    if not writes:
      return
    tf.io.gfile.makedirs(workdir)
    self._path = _metrics_path(workdir)
    lines = read_jsonl(self._path)
    self._file = tf.io.gfile.GFile(self._path, "w")
    kept = [line for line in lines if line["step"] <= step]
    # GFile replaces the old file only when something is written, even if it is
    # an empty text.
    self._file.write("".join(json.dumps(line) + "\n" for line in kept))
    self._file.flush()
    self._summaries = tf.summary.create_file_writer(
      os.path.join(workdir, "tensorboard")
    )

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one line, and one TensorBoard scalar for each value."""
    if not self._writes:
      return
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
    with self._summaries.as_default(step=step):
      self._tf.summary.text(name, indented)
    self._summaries.flush()

  def close(self) -> None:
    """Closes the files."""
    if self._writes:
      self._file.close()
      self._summaries.close()


def read_metrics(workdir: str) -> list[dict[str, float]]:
  """Returns the metrics that a run has logged, each line with its "step"."""
  return read_jsonl(_metrics_path(workdir))


def _metrics_path(workdir: str) -> str:
  return os.path.join(workdir, "metrics.jsonl")
