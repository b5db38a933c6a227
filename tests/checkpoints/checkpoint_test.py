"""Checkpoints are written on one mesh, read on another, and are complete."""

import os
import pathlib
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.checkpoints import checkpoint_dirs, restore, saver
from flan_tf.mesh import state
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.layout import numpy_index
from tests.helpers import toys

WRITTEN_ON = "data:2;model:2"
FILES = {"run.json": b"{}", "vocabulary.model": b"\0\1\2"}


def dims(**sizes) -> mtf.Shape:
  return mtf.Shape([mtf.Dimension(name, n) for name, n in sizes.items()])


WEIGHTS = {
  "embedding": dims(vocab=12, d_model=6),
  "layer_000/attention/q": dims(d_model=6, heads=4, d_kv=2),
  "layer_000/mlp/out": dims(d_ff=8, d_model=6),
  "layer_000/norm": dims(d_model=6),
  "count": dims(),
}
SLOTS = {
  "embedding/row": dims(vocab=12),
  "embedding/column": dims(d_model=6),
}


def setUpModule():
  toys.open_cores()


def states(mesh: str, changes=()) -> list[state.State]:
  """A state of weights and one of slots, all zero."""
  start = state.constant(0.0)
  return [
    state.State(
      *toys.mesh(mesh),
      {name: state.StateSpec(shape, start) for name, shape in shapes.items()},
    )
    for shapes in ({**WEIGHTS, **dict(changes)}, SLOTS)
  ]


def values(seed: int = 0) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(seed)
  return {
    name: np.float32(rng.standard_normal(shape.to_integer_list))
    for name, shape in (WEIGHTS | SLOTS).items()
  }


def write(
  workdir: str, step: int, keep: int = 9, mesh: str = WRITTEN_ON
) -> str:
  made = states(mesh)
  for one in made:
    toys.assign(one, values(seed=step))
  return saver.save_checkpoint(workdir, step, made, FILES, keep)


class CheckpointTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = self.create_tempdir().full_path

  @parameterized.product(
    written_on=("", WRITTEN_ON, "model:4"), reads_on=("", WRITTEN_ON, "model:4")
  )
  def test_any_mesh_reads_the_checkpoint_of_any_other(
    self, written_on, reads_on
  ):
    path = write(self.workdir, 5, mesh=written_on)
    made = states(reads_on)
    restore.restore_states(checkpoint_dirs.find(self.workdir), made)
    expected = values(seed=5)
    self.assertEqual(path, checkpoint_dirs.step_dir(self.workdir, 5))
    for one in made:
      for name in one.specs:
        # Every copy of every shard is exact.
        for at, variables in one.shards(name):
          shard = expected[name][numpy_index(at)]
          for variable in variables:
            np.testing.assert_array_equal(variable.numpy(), shard, name)
        np.testing.assert_array_equal(one.gather(name), expected[name])

  @parameterized.parameters("", WRITTEN_ON)
  def test_a_state_in_another_precision(self, reads_on):
    """Files hold float32; a state may hold a type of lower precision."""
    path = write(self.workdir, 5)
    (specs, _) = (one.specs for one in states(reads_on))
    made = state.State(*toys.mesh(reads_on), specs, tf.bfloat16)
    restore.restore_states(path, [made])
    for name, expected in values(seed=5).items():
      if name in specs:
        rounded = tf.cast(expected, tf.bfloat16).numpy()
        np.testing.assert_array_equal(made.gather(name), rounded, name)
        for _, variables in made.shards(name):
          self.assertEqual({v.dtype for v in variables}, {tf.bfloat16})

  @parameterized.parameters("", WRITTEN_ON)
  def test_tensorflow_reads_whole_tensors(self, mesh):
    path = write(self.workdir, 5, mesh=mesh)
    reader = tf.train.load_checkpoint(os.path.join(path, "state"))
    self.assertEqual(
      reader.get_variable_to_shape_map(),
      {n: shape.to_integer_list for n, shape in (WEIGHTS | SLOTS).items()},
    )
    for name, expected in values(seed=5).items():
      np.testing.assert_array_equal(reader.get_tensor(name), expected, name)

  def test_small_files_are_saved(self):
    path = write(self.workdir, 5)
    for name, content in FILES.items():
      self.assertEqual(checkpoint_dirs.read_file(path, name), content)
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError, "step_00000005' has no file 'data.json'"
    ):
      checkpoint_dirs.read_file(path, "data.json")

  def test_only_the_files_of_the_checkpoint_remain(self):
    path = write(self.workdir, 5)
    self.assertCountEqual(
      os.listdir(path),
      ["COMPLETE", "state.index", "state.data-00000-of-00001", *FILES],
    )

  def test_the_newest_are_kept(self):
    for step in (10, 20, 100, 30):
      write(self.workdir, step, keep=2, mesh="")
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [30, 100])
    self.assertLen(os.listdir(checkpoint_dirs.checkpoints_dir(self.workdir)), 2)
    self.assertEqual(
      checkpoint_dirs.find(self.workdir),
      checkpoint_dirs.step_dir(self.workdir, 100),
    )

  def test_incomplete_ones_are_ignored_and_replaced(self):
    write(self.workdir, 1, mesh="")
    path = pathlib.Path(write(self.workdir, 2, mesh=""))
    (path / "COMPLETE").unlink()
    (path / "left_over").write_text("of a run that was stopped")
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [1])
    self.assertEqual(
      checkpoint_dirs.find(self.workdir),
      checkpoint_dirs.step_dir(self.workdir, 1),
    )
    write(self.workdir, 2, mesh="")
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [1, 2])
    self.assertFalse((path / "left_over").exists())

  def test_a_run_that_is_stopped_while_it_saves(self):
    with (
      mock.patch.object(
        tf.raw_ops, "MergeV2Checkpoints", side_effect=KeyboardInterrupt
      ),
      self.assertRaises(KeyboardInterrupt),
    ):
      write(self.workdir, 1)
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [])
    write(self.workdir, 1)
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [1])

  def test_a_run_that_is_stopped_while_it_removes(self):
    """The rest of an old checkpoint is not taken for a checkpoint."""
    write(self.workdir, 1, mesh="")
    with (
      mock.patch.object(tf.io.gfile, "rmtree", side_effect=KeyboardInterrupt),
      self.assertRaises(KeyboardInterrupt),
    ):
      write(self.workdir, 2, keep=1, mesh="")
    self.assertTrue(os.path.isdir(checkpoint_dirs.step_dir(self.workdir, 1)))
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [2])

  def test_other_folders_are_not_checkpoints(self):
    write(self.workdir, 1, mesh="")
    for name in ("step_1", "step_00000002_old", "notes"):
      folder = pathlib.Path(checkpoint_dirs.checkpoints_dir(self.workdir), name)
      folder.mkdir()
      (folder / "COMPLETE").touch()
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [1])

  @parameterized.parameters("", "no/such/folder")
  def test_no_checkpoint(self, below):
    path = os.path.join(self.workdir, below) if below else self.workdir
    self.assertEqual(checkpoint_dirs.completed_steps(path), [])
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError, "No complete checkpoint at.*COMPLETE"
    ):
      checkpoint_dirs.find(path)

  @parameterized.parameters(
    "state.index", "state.data-00000-of-00001", "run.json"
  )
  def test_a_file_cut_short_or_missing(self, name):
    path = pathlib.Path(write(self.workdir, 5, mesh=""))
    file = path / name
    size = file.stat().st_size
    os.truncate(file, size - 1)
    message = f"step_00000005/{name}' has {size - 1} bytes; {size} were written"
    for where in (path, self.workdir):
      with self.assertRaisesRegex(checkpoint_dirs.CheckpointError, message):
        checkpoint_dirs.find(str(where))
    file.unlink()
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError,
      f"{name}' is missing; {size} were written",
    ):
      checkpoint_dirs.find(self.workdir)

  @parameterized.product(
    name=("state.index", "state.data-00000-of-00001"), mesh=("", "model:4")
  )
  def test_flipped_bytes(self, name, mesh):
    path = pathlib.Path(write(self.workdir, 5))
    content = bytearray((path / name).read_bytes())
    for at in (40, len(content) // 2):
      content[at] ^= 0xFF
    (path / name).write_bytes(content)
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError,
      f"step_00000005' cannot be read; its file '{name}' is corrupt",
    ):
      restore.restore_states(str(path), states(mesh))
    if name == checkpoint_dirs.INDEX:
      with self.assertRaisesRegex(
        checkpoint_dirs.CheckpointError, "state.index' was changed after it"
      ):
        checkpoint_dirs.find(self.workdir)

  def test_what_stopped_runs_left_is_removed(self):
    left = [self.leave_incomplete(step) for step in (1, 2, 9)]
    write(self.workdir, 3, mesh="")
    with self.assertLogs("flan_tf", "INFO") as log:
      write(self.workdir, 4, mesh="")
      self.leave_incomplete(1)
      write(self.workdir, 5, mesh="")
    self.assertIn("step_00000001, which a stopped run left", log.output[0])
    self.assertEqual(
      [os.path.exists(one) for one in left], [False, False, True]
    )
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [3, 4, 5])

  def leave_incomplete(self, step: int) -> str:
    path = checkpoint_dirs.step_dir(self.workdir, step)
    os.makedirs(os.path.join(path, "part-00000-of-00001"))
    return path

  def test_another_writer_stops_the_saver_before_it_replaces_anything(self):
    write(self.workdir, 1, mesh="")
    lost = mock.Mock(side_effect=RuntimeError("taken over"))
    with (
      self.assertRaisesRegex(RuntimeError, "taken over"),
      saver.Saver(check_writer=lost) as writer,
    ):
      writer.save(self.workdir, 2, states(""), FILES, keep=1)
    self.assertEqual(checkpoint_dirs.completed_steps(self.workdir), [1])

  @parameterized.parameters("", "model:4")
  def test_another_shape(self, mesh):
    path = write(self.workdir, 5)
    made = states(mesh, [("embedding", dims(vocab=16, d_model=6))])
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError,
      r"'embedding' has shape \[12, 6\], but the model expects \[16, 6\]"
      r" \(.*vocab.*\)\. Model sizes and vocabulary must be",
    ):
      restore.restore_states(path, made)

  def test_a_missing_tensor(self):
    path = write(self.workdir, 5)
    made = states("", [("layer_001/norm", dims(d_model=6))])
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError,
      r"has no tensor 'layer_001/norm'\. It has 7 tensors, e\.g\. \['count',",
    ):
      restore.restore_states(path, made)

  def test_some_of_the_tensors(self):
    """A warm start restores the weights without the optimizer's slots."""
    path = write(self.workdir, 5)
    weights = states("")[0]
    restore.restore_states(path, [weights])
    np.testing.assert_array_equal(
      weights.gather("embedding"), values(seed=5)["embedding"]
    )


if __name__ == "__main__":
  absltest.main()
