"""Tests of files that are written whole or not at all."""

import errno
import os
import pathlib
from unittest import mock

from absl.testing import absltest

from flan_tf import safe_files


class WriteBytesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.path = self.folder / "results.json"

  def test_writes_a_new_file_and_replaces_an_old_one(self):
    for content in (b"first", b"second, longer", b""):
      safe_files.write_bytes(str(self.path), content)
      self.assertEqual(self.path.read_bytes(), content)
    self.assertEqual(os.listdir(self.folder), ["results.json"])

  def test_text_is_written_in_utf_8(self):
    safe_files.write_text(str(self.path), "naïve\n")
    self.assertEqual(self.path.read_bytes(), b"na\xc3\xafve\n")

  def test_a_full_disk_leaves_the_old_file_and_no_other(self):
    safe_files.write_bytes(str(self.path), b"old")
    full = OSError(errno.ENOSPC, "No space left on device")
    for call in ("fsync", "replace"):
      with (
        self.subTest(call),
        mock.patch.object(os, call, side_effect=full),
        self.assertRaisesRegex(OSError, "No space"),
      ):
        safe_files.write_bytes(str(self.path), b"new")
      self.assertEqual(self.path.read_bytes(), b"old")
      self.assertEqual(os.listdir(self.folder), ["results.json"])

  def test_a_link_stays(self):
    target = self.folder / "target"
    target.write_bytes(b"old")
    self.path.symlink_to(target)
    safe_files.write_bytes(str(self.path), b"new")
    self.assertTrue(self.path.is_symlink())
    self.assertEqual(target.read_bytes(), b"new")

  def test_a_device(self):
    safe_files.write_bytes(os.devnull, b"content")
    self.assertTrue(os.path.exists(os.devnull))
    self.assertFalse(os.path.isfile(os.devnull))
    if os.path.exists("/dev/full"):
      with self.assertRaisesRegex(OSError, "No space"):
        safe_files.write_bytes("/dev/full", b"content")

  def test_a_folder_that_does_not_exist(self):
    with self.assertRaises(FileNotFoundError):
      safe_files.write_bytes(str(self.folder / "none" / "file"), b"")


class AppendTest(absltest.TestCase):
  def test_the_kept_part_is_on_the_disk_before_anything_is_added(self):
    path = pathlib.Path(self.create_tempdir().full_path, "metrics.jsonl")
    path.write_text("a\nb\nhalf a li")
    with safe_files.open_to_append(str(path), "a\nb\n") as file:
      self.assertEqual(path.read_text(), "a\nb\n")
      file.write("c\n")
      file.flush()
      self.assertEqual(path.read_text(), "a\nb\nc\n")

  def test_a_new_file(self):
    path = pathlib.Path(self.create_tempdir().full_path, "metrics.jsonl")
    safe_files.open_to_append(str(path), "").close()
    self.assertEqual(path.read_text(), "")


class LeftoversTest(absltest.TestCase):
  def test_only_what_belongs_to_the_file_is_removed(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    for name in ("rte.jsonl", "rte.jsonl.7.tmp", "rte.jsonl.tmp", "rte2.tmp"):
      (folder / name).touch()
    safe_files.remove_leftovers(str(folder / "rte.jsonl"))
    self.assertCountEqual(os.listdir(folder), ["rte.jsonl", "rte2.tmp"])


class DigestTest(absltest.TestCase):
  def test_a_file_has_the_digest_of_its_content(self):
    path = pathlib.Path(self.create_tempdir().full_path, "large")
    content = bytes(range(256)) * (1 << 15)  # More than is read at once.
    path.write_bytes(content)
    self.assertEqual(
      safe_files.sha256_of_file(str(path)), safe_files.sha256(content)
    )

  def test_sha256(self):
    # The digest of "abc" that FIPS 180-2 gives.
    self.assertEqual(
      safe_files.sha256(b"abc"),
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    )


if __name__ == "__main__":
  absltest.main()
