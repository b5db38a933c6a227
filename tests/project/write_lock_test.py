"""Tests of the lock that lets one process at a time write to a place."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from unittest import mock

from absl.testing import absltest

from flan_tf import write_lock

_HOLD = """
import sys, time
from flan_tf import write_lock
with write_lock.hold(sys.argv[1], "training"):
  print("held", flush=True)
  time.sleep(600)
"""


class WriteLockTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.place = str(self.folder / "run")
    self.file = pathlib.Path(self.place, write_lock.NAME)

  def hold(self, **arguments):
    return write_lock.hold(self.place, "training", **arguments)

  def read(self):
    return json.loads(self.file.read_text())

  def leave_lock(self, **changes):
    """Writes a lock as another process would have left it."""
    with self.hold():
      value = {**self.read(), **changes}
    os.makedirs(self.place, exist_ok=True)
    self.file.write_text(json.dumps(value))
    return value

  def test_the_file_says_who_writes_and_is_removed(self):
    with self.hold():
      self.assertEqual(self.read()["process"], os.getpid())
      self.assertEqual(self.read()["purpose"], "training")
      self.assertEqual(os.listdir(self.place), [write_lock.NAME])
      pathlib.Path(self.place, "weights").touch()
    self.assertEqual(os.listdir(self.place), ["weights"])

  def test_a_new_folder_that_stays_empty_is_removed(self):
    with self.hold():
      pass
    self.assertEmpty(os.listdir(self.folder))
    os.mkdir(self.place)
    with self.hold():
      pass
    self.assertEqual(os.listdir(self.folder), ["run"])

  def test_beside_a_file(self):
    with self.hold(beside=True):
      self.assertEqual(os.listdir(self.folder), ["run.writer.json"])
    self.assertEmpty(os.listdir(self.folder))

  def test_a_file_in_the_place_of_the_folder(self):
    pathlib.Path(self.place).touch()
    with self.assertRaisesRegex(NotADirectoryError, "Not a directory: '.*run'"):
      with self.hold():
        self.fail("It was taken.")

  def test_it_is_removed_after_an_error(self):
    with self.assertRaisesRegex(ValueError, "mistake"), self.hold():
      raise ValueError("mistake")
    self.assertFalse(self.file.exists())

  def test_a_living_process_is_refused_and_a_killed_one_gives_way(self):
    process = subprocess.Popen(
      [sys.executable, "-c", _HOLD, self.place],
      stdout=subprocess.PIPE,
      text=True,
    )
    self.addCleanup(process.stdout.close)
    self.assertEqual(process.stdout.readline(), "held\n")
    with self.assertRaisesRegex(
      write_lock.LockedError,
      rf"Process {process.pid} on host .* is writing to .*training",
    ):
      with self.hold():
        pass
    self.assertEqual(self.read()["process"], process.pid)
    process.kill()
    # Not waited for yet: the kernel still lists the process, as a zombie.
    while write_lock._start_time(process.pid):
      time.sleep(0.01)
    with self.hold():
      self.assertEqual(self.read()["process"], os.getpid())
    process.wait()

  def test_another_process_with_the_number_of_a_dead_one(self):
    self.leave_lock(process=os.getpid(), began="1", token="other")
    with self.hold():
      self.assertNotEqual(self.read()["token"], "other")

  def test_a_torn_file_is_no_lock(self):
    os.makedirs(self.place)
    for content in (b"", b'{"host": "a', b"[1]", b"\xff"):
      self.file.write_bytes(content)
      with self.hold() as lock:
        lock.check()
        self.assertEqual(self.read()["process"], os.getpid())

  def test_a_silent_host_gives_way_after_some_time(self):
    self.leave_lock(host="elsewhere", token="other")
    with (
      mock.patch.object(write_lock, "PATIENCE", 0.05),
      self.assertLogs("flan_tf", "WARNING") as log,
      self.hold(),
    ):
      self.assertNotEqual(self.read()["host"], "elsewhere")
    self.assertIn("on host elsewhere", log.output[0])

  def test_a_host_with_a_heartbeat_is_refused(self):
    left = self.leave_lock(host="elsewhere", token="other", beats=4)

    def beat(seconds):
      del seconds
      self.file.write_text(json.dumps({**left, "beats": 5}))

    with (
      mock.patch.object(write_lock.time, "sleep", beat),
      self.assertRaisesRegex(write_lock.LockedError, "host elsewhere"),
      self.hold(),
    ):
      pass
    self.assertEqual(self.read()["token"], "other")

  def test_the_heart_beats(self):
    with mock.patch.object(write_lock, "BEAT", 0.01), self.hold():
      while self.read()["beats"] < 3:
        time.sleep(0.01)

  def test_the_one_that_was_taken_over_notices_and_leaves_the_file(self):
    with self.hold() as lock:
      lock.check()
      self.file.write_text(json.dumps({**self.read(), "token": "other"}))
      with self.assertRaisesRegex(write_lock.LockLostError, "has taken over"):
        lock.check()
    self.assertEqual(self.read()["token"], "other")

  def test_a_heartbeat_never_replaces_the_lock_of_another(self):
    with mock.patch.object(write_lock, "BEAT", 0.01), self.hold() as lock:
      self.file.write_text(json.dumps({**self.read(), "token": "other"}))
      lock._thread.join(timeout=60)
      self.assertFalse(lock._thread.is_alive())
      self.assertEqual(self.read()["token"], "other")

  def test_of_many_at_once_one_wins(self):
    wins, losses, begin = [], [], threading.Barrier(8)
    end = threading.Event()

    def work():
      begin.wait()
      try:
        with self.hold():
          wins.append(1)
          end.wait()
      except write_lock.LockedError:
        losses.append(1)
        if len(losses) == 7:
          end.set()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    self.assertLen(wins, 1)
    self.assertLen(losses, 7)

  def test_a_file_system_without_links(self):
    with mock.patch.object(os, "link", side_effect=OSError(95, "no links")):
      with self.hold():
        self.assertEqual(os.listdir(self.place), [write_lock.NAME])
        with self.assertRaises(write_lock.LockedError), self.hold():
          pass
    self.assertFalse(os.path.exists(self.place))


if __name__ == "__main__":
  absltest.main()
