"""Tests of folders that models are written to."""

import os
import pathlib

from absl.testing import absltest

from flan_tf import write_lock
from flan_tf.bridges import target_folder
from flan_tf.bridges.model_source import SourceError


class TargetFolderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.parent = pathlib.Path(self.create_tempdir().full_path)
    self.target = str(self.parent / "model")

  def write(self, folder):
    os.makedirs(folder, exist_ok=True)
    pathlib.Path(folder, "weights").write_bytes(b"1")

  def test_a_written_folder_stays(self):
    with target_folder.removed_on_error(self.target):
      self.write(self.target)
    self.assertEqual(os.listdir(self.parent), ["model"])
    self.assertEqual(os.listdir(self.target), ["weights"])

  def test_nothing_remains_after_an_error(self):
    for error in (ValueError, KeyboardInterrupt):
      with self.assertRaises(error):
        with target_folder.removed_on_error(self.target):
          self.write(self.target)
          raise error
      self.assertEmpty(os.listdir(self.parent))

  def test_a_folder_with_files_is_refused_and_stays(self):
    self.write(self.target)
    for context in (
      target_folder.removed_on_error,
      target_folder.renamed_when_complete,
    ):
      with self.assertRaisesRegex(SourceError, "something at .* already"):
        with context(self.target):
          self.fail("The target was taken.")
    self.assertEqual(os.listdir(self.target), ["weights"])

  def test_a_second_writer_is_refused_and_removes_nothing(self):
    for context in (
      target_folder.removed_on_error,
      target_folder.renamed_when_complete,
    ):
      target = f"{self.target}_{context.__name__}"
      with context(target) as partial:
        # Nothing is in the folder yet, so that only the lock can refuse.
        with self.assertRaisesRegex(write_lock.LockedError, "is writing to"):
          with target_folder.removed_on_error(target):
            self.fail("The target was taken twice.")
        self.write(partial or target)
      self.assertEqual(os.listdir(target), ["weights"])

  def test_the_name_is_given_at_the_end(self):
    with target_folder.renamed_when_complete(self.target) as partial:
      self.write(partial)
      self.assertFalse(os.path.exists(self.target))
    self.assertEqual(os.listdir(self.parent), ["model"])
    self.assertEqual(os.listdir(self.target), ["weights"])

  def test_what_a_killed_process_left_is_removed(self):
    self.write(f"{self.target}.part123")
    self.write(f"{self.target}.party")
    self.write(f"{self.target}_2.part123")
    with target_folder.renamed_when_complete(self.target) as partial:
      self.write(partial)
    self.assertCountEqual(
      os.listdir(self.parent), ["model", "model.party", "model_2.part123"]
    )


if __name__ == "__main__":
  absltest.main()
