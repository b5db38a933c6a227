"""A data set that takes long is seen to be alive, and downloads give up."""

import os
import pathlib
from unittest import mock

from absl.testing import absltest
from tensorflow_datasets.core.download import downloader

from flan_tf import waits
from flan_tf.prepare import worker, worker_processes
from flan_tf.task.schema import Source

IMPORTS = ("tests.helpers.toy_datasets",)


class ProgressTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    log = self.folder / "toys"
    log.touch()
    self.enter_context(mock.patch.dict(os.environ, TOY_LOG=str(log)))

  def test_lines_while_a_process_works(self):
    processes = worker_processes.WorkerProcesses(
      str(self.folder / "data"), str(self.folder), IMPORTS
    )
    with (
      mock.patch.object(waits, "EVERY", 0.05),
      self.assertLogs("flan_tf.waits", "INFO") as log,
    ):
      result = processes.run(
        Source("toy_fails", "1.1.0"), str(self.folder / "log")
      )
    self.assertEqual(result["status"], "failed")
    self.assertIn("toy_fails: ", log.output[0])
    self.assertRegex(log.output[0], r" \(0 s\)$")

  def test_the_last_line_of_a_log(self):
    path = self.folder / "log"
    for content, expected in (
      (b"", "snli: no output yet"),
      (b"one\ntwo\n\n", "snli: two"),
      (b"one\nDl: 0%\rDl: 10%\x1b[A\n\x1b[A", "snli: Dl: 10%"),
      (b"\xff" * 9_000 + b"\nend of a\xff line", "snli: end of a\ufffd line"),
      (b"x" * 9_000, "snli: " + "x" * 200),
    ):
      path.write_bytes(content)
      self.assertEqual(worker_processes._progress("snli", str(path)), expected)

  def test_a_download_is_not_tried_for_minutes(self):
    with mock.patch.object(downloader, "MAX_RETRIES", 10):
      result = worker.prepare(
        name="toy_nothing",
        version="1.0.0",
        hub="",
        data_dir=str(self.folder),
        manual="",
        manual_dir=str(self.folder / "manual"),
        imports=IMPORTS,
      )
      # TFDS doubles its pauses, beginning with 0.4 seconds.
      pauses = sum(0.4 * 2**i for i in range(downloader.MAX_RETRIES - 1))
    self.assertEqual(result["status"], "failed")
    self.assertBetween(pauses, 5, 20)


if __name__ == "__main__":
  absltest.main()
