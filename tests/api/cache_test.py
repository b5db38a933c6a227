"""The folder of files that are made once on a machine."""

import os
import pathlib
from unittest import mock

from absl.testing import absltest

from flan_tf.api import cache
from flan_tf.data import shipped_rows
from flan_tf.task import table


class CacheTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path, "cache")
    patched = mock.patch.dict(os.environ, FLAN_CACHE=str(self.folder))
    patched.start()
    self.addCleanup(patched.stop)
    two = [task for task in table.shipped_tasks() if task.name in ("rte", "cb")]
    patched = mock.patch.object(table, "shipped_tasks", lambda: tuple(two))
    patched.start()
    self.addCleanup(patched.stop)

  def assert_names_the_folder(self, make):
    with self.assertRaises(cache.CacheError) as caught:
      make()
    text = str(caught.exception)
    self.assertIn(f"The folder {self.folder} cannot be written: ", text)
    self.assertIn("Set the environment variable FLAN_CACHE to a folder", text)

  def test_a_folder_that_cannot_be_made(self):
    self.folder.write_text("a file")
    self.assert_names_the_folder(cache.data_dir)
    self.assert_names_the_folder(cache.small_vocabulary)

  def test_a_full_disk(self):
    full = OSError(28, "No space left on device", f"{self.folder}/rows/a")
    with mock.patch.object(
      shipped_rows, "prepare_shipped_rows", side_effect=full
    ):
      with self.assertRaisesRegex(cache.CacheError, "No space left on device"):
        cache.data_dir()

  def test_errors_of_other_files_are_as_they_were(self):
    missing = FileNotFoundError(2, "No such file", "/elsewhere/rows.jsonl")
    with mock.patch.object(
      shipped_rows, "prepare_shipped_rows", side_effect=missing
    ):
      with self.assertRaises(FileNotFoundError) as caught:
        cache.data_dir()
    self.assertIs(caught.exception, missing)

  def test_a_given_directory_needs_no_cache(self):
    self.folder.write_text("a file")
    self.assertEqual(cache.data_dir("~/rows"), os.path.expanduser("~/rows"))

  def test_what_a_killed_process_left_is_removed(self):
    rows = pathlib.Path(cache.data_dir())
    left = rows / ".incomplete-abc"
    (left / "glue").mkdir(parents=True)
    os.utime(left, (0, 0))
    cache.data_dir()
    self.assertEqual({path.name for path in rows.iterdir()}, {"super_glue"})


if __name__ == "__main__":
  absltest.main()
