"""Writes what a run measures: JSON lines for programs, TensorBoard for people.

Both go below the workdir, which may be a `gs://` path:

  metrics.jsonl    one object a line, with "step"
  tensorboard/     scalars and texts
"""

import json
import os
from collections.abc import Mapping

from flan_tf.json_lines import read_jsonl


class MetricWriter:
  """Appends measurements; a resumed run goes on where its checkpoint was.

  Args:
    workdir: of the run.
    step: the step that the run starts after; lines beyond it are dropped,
      since they come again.
    writes: False for the hosts of a cluster that leave it to another one.
  """

  def __init__(self, workdir: str, step: int = 0, writes: bool = True):
    import tensorflow as tf

    self._tf, self._writes = tf, writes
    if not writes:
      return
    tf.io.gfile.makedirs(workdir)
    self._path = os.path.join(workdir, "metrics.jsonl")
    lines = read_jsonl(self._path)
    self._file = tf.io.gfile.GFile(self._path, "w")
    kept = [line for line in lines if line["step"] <= step]
    # In one write, also of nothing: without any the old file would stay.
    self._file.write("".join(json.dumps(line) + "\n" for line in kept))
    self._file.flush()
    self._summaries = tf.summary.create_file_writer(
      os.path.join(workdir, "tensorboard")
    )

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """One line, and one TensorBoard scalar for each value."""
    if not self._writes:
      return
    self._file.write(json.dumps({"step": step, **values}) + "\n")
    self._file.flush()
    with self._summaries.as_default(step=step):
      for name, value in values.items():
        self._tf.summary.scalar(name, value)
    self._summaries.flush()

  def text(self, step: int, name: str, value: str) -> None:
    """A text for TensorBoard, shown as it is."""
    if not self._writes:
      return
    indented = "\n".join("    " + line for line in value.splitlines())
    with self._summaries.as_default(step=step):
      self._tf.summary.text(name, indented)
    self._summaries.flush()

  def close(self) -> None:
    if self._writes:
      self._file.close()
      self._summaries.close()
