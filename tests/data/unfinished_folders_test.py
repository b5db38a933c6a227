"""What killed processes leave is removed, and what living ones fill is not."""

import os
import pathlib
import subprocess
import sys
import time

from absl.testing import absltest

from flan_tf.data import unfinished_folders

# Fills a folder until its standard input ends.
_FILL = """
import pathlib, sys
from flan_tf.data import unfinished_folders
with unfinished_folders.unfinished_folder(pathlib.Path(sys.argv[1])) as folder:
  (folder / "rows").write_text("half of them")
  print(folder, flush=True)
  sys.stdin.read()
"""


class UnfinishedFoldersTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.parent = pathlib.Path(self.create_tempdir().full_path)

  def names(self):
    return {path.name for path in self.parent.iterdir()}

  def age(self, folder, seconds):
    then = time.time() - seconds
    os.utime(folder, (then, then))

  def fill(self):
    """Starts a process that fills a folder; returns both."""
    process = subprocess.Popen(
      [sys.executable, "-c", _FILL, str(self.parent)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    self.addCleanup(process.wait)
    self.addCleanup(process.kill)
    self.addCleanup(process.stdin.close)
    self.addCleanup(process.stdout.close)
    folder = pathlib.Path(process.stdout.readline().strip())
    self.assertTrue((folder / "rows").exists())
    return process, folder

  def test_a_folder_is_gone_at_the_end(self):
    with self.assertRaises(KeyError):
      with unfinished_folders.unfinished_folder(self.parent) as folder:
        (folder / "rows").write_text("")
        raise KeyError
    self.assertEmpty(self.names())

  def test_a_killed_process(self):
    process, folder = self.fill()
    self.age(folder, 3_600)
    unfinished_folders.remove_left_behind(self.parent)
    self.assertEqual(self.names(), {folder.name})  # It is still being filled.
    process.kill()
    process.wait()
    unfinished_folders.remove_left_behind(self.parent)
    self.assertEmpty(self.names())

  def test_folders_without_a_lock(self):
    (self.parent / "glue").mkdir()
    for name, hours in ((".incomplete-new", 1), (".incomplete-old", 25)):
      (self.parent / name / "glue").mkdir(parents=True)
      self.age(self.parent / name, 3_600 * hours)
    unfinished_folders.remove_left_behind(self.parent)
    self.assertEqual(self.names(), {"glue", ".incomplete-new"})

  def test_a_new_folder_may_have_no_lock_yet(self):
    (self.parent / ".incomplete-a").mkdir()
    (self.parent / ".incomplete-a" / "lock").write_text("")
    unfinished_folders.remove_left_behind(self.parent)
    self.assertEqual(self.names(), {".incomplete-a"})
    self.age(self.parent / ".incomplete-a", 90)
    unfinished_folders.remove_left_behind(self.parent)
    self.assertEmpty(self.names())


if __name__ == "__main__":
  absltest.main()
