"""The marker of a checkpoint: what was written, torn, changed, or older."""

import json
import os
import pathlib
import random
import shutil
from unittest import mock

from absl.testing import absltest, parameterized

from flan_tf import safe_files
from flan_tf.checkpoints import checkpoint_dirs, restore, saver
from flan_tf.checkpoints.checkpoint_dirs import CheckpointError
from flan_tf.mesh import state
from flan_tf.mesh.compat import mtf
from tests.helpers import toys

FILES = {"run.json": b'{"a": 1}', "data.json": b'{"step": 5}', "README.md": b""}


def setUpModule():
  toys.open_cores()


def weights(value: float) -> state.State:
  shape = mtf.Shape([mtf.Dimension("d_model", 16)])
  spec = state.StateSpec(shape, state.constant(value))
  made = state.State(*toys.mesh(""), {"norm": spec})
  made.initialize(0)
  return made


class MarkerTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = self.create_tempdir().full_path
    checkpoint_dirs._logged.clear()

  def save(self, step: int) -> pathlib.Path:
    states = [weights(float(step))]
    return pathlib.Path(
      saver.save_checkpoint(self.workdir, step, states, FILES, keep=9)
    )

  def read(self, path: pathlib.Path) -> list:
    """Reads everything that a checkpoint holds."""
    found = checkpoint_dirs.find(str(path))
    made = weights(0.0)
    restore.restore_states(found, [made])
    names = [name for name in FILES if not name.endswith(".md")]
    texts = [checkpoint_dirs.read_file(found, name) for name in names]
    return [made.gather("norm").tolist(), *texts]

  def test_it_has_sizes_and_checksums(self):
    path = self.save(5)
    value = json.loads((path / "COMPLETE").read_text())
    self.assertEqual(value["format"], 2)
    files = [p for p in path.iterdir() if p.name != "COMPLETE"]
    files = [p for p in files if p.suffix != ".md"]  # These may be edited.
    self.assertEqual(
      value["sizes"], {file.name: file.stat().st_size for file in files}
    )
    self.assertEqual(
      value["sha256"],
      {
        file.name: safe_files.sha256(file.read_bytes())
        for file in files
        if ".data-" not in file.name
      },
    )

  def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(self):
    path = self.save(5)
    expected, generator = self.read(path), random.Random(0)
    copy = pathlib.Path(self.workdir, "copy")
    for file in sorted(path.iterdir()):
      size = 8 * file.stat().st_size
      for bit in generator.sample(range(size), min(size, 25)):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(path, copy)
        content = bytearray(file.read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        (copy / file.name).write_bytes(content)
        with self.subTest(f"{file.name}, bit {bit}"):
          try:
            self.assertEqual(self.read(copy), expected)
          except CheckpointError as error:
            named = file.name.partition(".data-")[0]
            if file.name == "COMPLETE":
              named = "COMPLETE"
            self.assertIn(named, str(error))

  @parameterized.parameters(0, 1, 40, -3)
  def test_a_torn_marker_is_none(self, size):
    self.save(1)
    file = self.save(2) / "COMPLETE"
    file.write_bytes(file.read_bytes()[:size])
    with self.assertLogs("flan_tf", "WARNING") as log:
      self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [1])
    self.assertRegex(
      log.output[0], "step_00000002/COMPLETE is empty or was cut"
    )
    self.assertEndsWith(checkpoint_dirs.find(self.workdir), "step_00000001")
    with self.assertRaisesRegex(CheckpointError, "with a whole file COMPLETE"):
      checkpoint_dirs.find(str(file.parent))

  def test_zeros_in_place_of_a_marker_are_none(self):
    self.save(1)
    file = self.save(2) / "COMPLETE"
    file.write_bytes(bytes(file.stat().st_size))
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [1])

  def test_all_files_are_on_the_disk_before_the_marker(self):
    """A power failure must not leave a marker without its files."""
    flushed, at_marker = [], []
    write = safe_files.write_bytes

    def write_bytes(path, content):
      at_marker[:] = flushed
      write(path, content)

    with (
      mock.patch.object(safe_files, "flush_to_disk", flushed.append),
      mock.patch.object(safe_files, "write_bytes", write_bytes),
    ):
      path = self.save(5)
    self.assertCountEqual(
      at_marker,
      [str(path / "state.index"), str(path / "state.data-00000-of-00001")],
    )

  @parameterized.parameters(
    ("null", "is corrupt: it is not a JSON object"),
    ("{}", "is corrupt: it does not hold the sizes"),
    ("null {}", "is corrupt: Extra data"),
    ("[{}]", "is corrupt: it is not a JSON object"),
    ('{"format": 3}', "has the format 3; this version of flan_tf reads 2"),
    ('{"format": 2}', "is corrupt: expected the keys"),
    ('{"format": 2, "sizes": [], "sha256": {}}', "does not hold the sizes"),
    ('{"format": 2, "sizes": {}, "sha256": {}}', "does not hold the sizes"),
    ('{"format": 2, "sizes": {"a": 1}, "sha256": {"a": 1}}', "not hold check"),
    (
      f'{{"format": 2, "sizes": {{"a": 1}}, "sha256": {{"b": "{"0" * 64}"}}}}',
      "does not hold checksums of its files",
    ),
    ('{"state.index": "9"}', "does not hold the sizes of files"),
    ('{"state.index": true}', "does not hold the sizes of files"),
  )
  def test_a_marker_of_another_shape(self, content, message):
    file = self.save(5) / "COMPLETE"
    file.write_text(content)
    with self.assertRaisesRegex(
      CheckpointError, f"COMPLETE {message}|{message}"
    ):
      checkpoint_dirs.find(self.workdir)

  def test_a_file_without_a_checksum(self):
    path = self.save(5)
    value = json.loads((path / "COMPLETE").read_text())
    del value["sha256"]["run.json"]
    (path / "COMPLETE").write_text(json.dumps(value))
    with self.assertRaisesRegex(
      CheckpointError, "COMPLETE has no checksum of the .*/run.json'"
    ):
      checkpoint_dirs.read_file(str(path), "run.json")

  def test_notes_for_people_may_be_edited(self):
    path = self.save(5)
    (path / "README.md").write_text("my notes")
    self.assertEqual(checkpoint_dirs.find(self.workdir), str(path))

  def test_a_checkpoint_of_an_earlier_version(self):
    path = self.save(5)
    value = json.loads((path / "COMPLETE").read_text())
    (path / "COMPLETE").write_text(json.dumps(value["sizes"]))
    with self.assertLogs("flan_tf", "WARNING") as log:
      expected = self.read(path)
      self.assertEqual(self.read(path), expected)
    self.assertLen(log.output, 1)
    self.assertIn("was written before checkpoints had checksums", log.output[0])

  def test_only_incomplete_checkpoints(self):
    os.makedirs(checkpoint_dirs.step_dir(self.workdir, 7))
    with self.assertLogs("flan_tf", "WARNING") as log:
      checkpoint_dirs.warn_of_incomplete(self.workdir)
    self.assertRegex(
      log.output[0], "of steps 7: the run starts again from step 0"
    )
    self.save(8)
    with self.assertNoLogs("flan_tf", "WARNING"):
      checkpoint_dirs.warn_of_incomplete(self.workdir)


if __name__ == "__main__":
  absltest.main()
