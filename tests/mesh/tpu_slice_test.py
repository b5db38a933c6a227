"""The code for TPU slices, as far as it can be tested without TPUs.

Two real TensorFlow servers on loopback are the workers. This process drives
them with TensorFlow's own TPUClusterResolver and TPUStrategy. Only the
initialization of the TPU system and the names of its devices are simulated: the
cores are CPUs of the servers. `strategy.run` needs the TPU compiler; the tests
in tests/tpu_plan cover it.
"""

import contextlib
import itertools
import json
import math
import os
import pathlib
import socket
import sys
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.checkpoints import checkpoint_dirs, restore, saver, shards
from flan_tf.mesh import state, tpu_servers, tpu_slice
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices, open_devices
from flan_tf.mesh.layout import parse_layout
from tests.helpers import tiny  # noqa: F401 (no accelerators, few messages)

WORKERS = 2
LAYOUT = parse_layout(
  "data:2;model:2", "heads:model;batch:data", ("batch", "heads")
)
RESOLVER = tf.distribute.cluster_resolver.TPUClusterResolver

_SERVER = """
import json, sys
import tensorflow as tf
workers, index = json.loads(sys.argv[1]), int(sys.argv[2])
settings = tf.compat.v1.ConfigProto(device_count={"CPU": 2})
server = tf.distribute.Server(
  tf.train.ClusterSpec({"worker": workers}), "worker", index, config=settings
)
sys.stdin.read()
"""
_opened: list[Devices] = []


def setUpModule():
  sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(WORKERS)]
  workers = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
  for each in sockets:
    each.close()
  # The servers read from a pipe and exit when it is closed, which happens when
  # this process exits. (A subprocess.Popen would warn that they still run.)
  ends, _ = os.pipe()
  for index in range(WORKERS):
    os.posix_spawn(
      sys.executable,
      [sys.executable, "-c", _SERVER, json.dumps(workers), str(index)],
      dict(os.environ),
      file_actions=[(os.POSIX_SPAWN_DUP2, ends, 0)],
    )
  name = ",".join(f"grpc://{worker}" for worker in workers)
  # The chips form a column, one on each worker; the last mesh axis is a chip.
  with simulated_slice((1, 2, 1, 2)):
    _opened.append(open_devices(4, "tpu", name, (2, 2)))


@contextlib.contextmanager
def simulated_slice(shape, workers: int = WORKERS, missing: int = 0):
  """Makes TensorFlow find a slice, whose cores are CPUs of the workers.

  Args:
    shape: chips along x, y and z, and cores of a chip.
    workers: number of workers.
    missing: cores that are missing on each worker.
  """

  class Topology(tf.tpu.experimental.Topology):
    def tpu_device_name_at_coordinates(self, device_coordinates, job=None):
      name = super().tpu_device_name_at_coordinates(device_coordinates, job)
      return name.replace("device:TPU", "device:CPU")

  places = list(itertools.product(*map(range, shape)))
  each = len(places) // workers
  coordinates = np.reshape(places, [workers, each, 4])[:, : each - missing]
  topology = Topology(mesh_shape=shape, device_coordinates=coordinates)
  devices = [mock.Mock() for _ in places]
  for core, device in enumerate(devices):
    task, number = divmod(core, each)
    device.name = f"/job:worker/replica:0/task:{task}/device:TPU:{number}"
  system = tf.tpu.experimental.TPUSystemMetadata(
    len(places), workers, each, topology, devices
  )
  with (
    mock.patch.object(RESOLVER, "get_tpu_system_metadata", lambda self: system),
    mock.patch.object(
      tf.tpu.experimental, "initialize_tpu_system", return_value=topology
    ),
  ):
    yield


def hops(cores: np.ndarray, axes) -> list[float]:
  """Returns the mean number of links to the next core of a ring, by axis.

  Args:
    cores: [cores, 4], the coordinates of each core of the mesh.
    axes: sizes of the mesh's axes.
  """
  grid = cores.reshape(*axes, 4)[..., :3]
  return [
    float(np.abs(grid - np.roll(grid, 1, axis)).sum(-1).mean())
    for axis in range(len(axes))
  ]


def in_order(torus) -> np.ndarray:
  """Returns the coordinates of all cores, the last one varying fastest."""
  return np.array(list(itertools.product(*map(range, torus))))


class ArrangeTest(parameterized.TestCase):
  @parameterized.product(
    torus=((8, 8, 1, 2), (4, 4, 4, 2)), axes=((4, 32), (128,), (16, 8))
  )
  def test_no_axis_needs_more_hops_than_in_order(self, torus, axes):
    cores = tpu_slice.arrange_cores(torus, axes)
    self.assertEqual(cores.shape, (math.prod(torus), 1, 4))
    self.assertCountEqual(map(tuple, cores[:, 0]), map(tuple, in_order(torus)))
    ours, before = hops(cores, axes), hops(in_order(torus), axes)
    for axis, (hop, other) in enumerate(zip(ours, before, strict=True)):
      self.assertLessEqual(hop, other, axis)
    # Every second step is to the other core of the same chip.
    self.assertEqual(ours[-1], 0.5)

  @parameterized.parameters(
    ((2, 2, 1, 2), (2, 4)),
    ((4, 4, 4, 1), (4, 4, 4)),
    ((16, 16, 1, 1), (8, 2, 16)),
    ((8, 8, 12, 1), (4, 16, 12)),
    ((2, 4, 1, 1), (8,)),
    ((1, 3, 1, 2), (6,)),
    ((3, 3, 1, 1), (3, 3)),
    ((1, 1, 1, 1), ()),
    ((1, 1, 1, 2), (1, 2, 1)),
    ((8, 8, 16, 2), (2, 32, 32)),
  )
  def test_every_core_once_and_the_last_axis_with_fewest_hops(
    self, torus, axes
  ):
    cores = tpu_slice.arrange_cores(torus, axes)
    self.assertCountEqual(map(tuple, cores[:, 0]), map(tuple, in_order(torus)))
    if axes:
      before = hops(in_order(torus), axes)
      self.assertLessEqual(hops(cores, axes)[-1], before[-1])

  def test_the_drawing(self):
    """The numbers are those of the drawing in the module's docstring."""
    drawn = np.array([[[0, 1], [4, 5]], [[2, 3], [6, 7]]])  # [y, x, core]
    for core, (x, y, _, c) in enumerate(
      tpu_slice.arrange_cores((2, 2, 1, 2), (2, 4))[:, 0]
    ):
      self.assertEqual(drawn[y, x, c], core)

  def test_a_ring_steps_from_neighbor_to_neighbor(self):
    chips = tpu_slice.arrange_cores((4, 4, 2, 1), (32,))[:, 0, :3]
    steps = np.abs(chips - np.roll(chips, 1, axis=0)).sum(axis=1)
    self.assertEqual(set(steps), {1})


class SliceTest(absltest.TestCase):
  """One process drives two workers."""

  def setUp(self):
    super().setUp()
    (self.devices,) = _opened
    self.folder = self.create_tempdir().full_path

  def states(self, devices=None, layout=LAYOUT):
    """Returns two states, initialized to -1."""
    heads, d, batch = (
      mtf.Dimension(name, size)
      for name, size in (("heads", 4), ("d", 3), ("batch", 2))
    )
    shapes = {"a": [heads, d], "b": [d], "c": [batch, heads], "d": []}
    made = [
      state.State(
        devices or self.devices,
        layout,
        {
          n: state.StateSpec(mtf.Shape(shapes[n]), state.constant(-1))
          for n in names
        },
      )
      for names in ("ab", "cd")
    ]
    for one in made:
      one.initialize(0)
    return made

  def fill(self, states) -> dict[str, np.ndarray]:
    """Sets the elements of each tensor to 0, 1, 2, ...; returns them."""
    values = {}
    for one in states:
      for name, spec in one.specs.items():
        shape = spec.shape.to_integer_list
        values[name] = np.float32(np.arange(spec.shape.size)).reshape(shape)
        one.assign(name, values[name])
    return values

  def test_cores_and_their_workers(self):
    """The last axis is a chip; the first one connects the workers."""
    self.assertIsInstance(self.devices.strategy, tf.distribute.TPUStrategy)
    self.assertEqual((self.devices.hosts, self.devices.host), (1, 0))
    self.assertEqual(self.devices.local_cores, range(4))
    hosts = [f"/job:worker/task:{task}/device:CPU:0" for task in (0, 1)]
    self.assertEqual(
      self.devices.cores_by_worker, {hosts[0]: [0, 1], hosts[1]: [2, 3]}
    )
    self.assertEqual(
      [self.devices.worker_index(c) for c in range(4)], [0, 0, 1, 1]
    )

  def test_shards_are_created_on_their_own_cores(self):
    variable = self.states()[0].variable("a")
    local = self.devices.strategy.experimental_local_results(variable)
    self.assertEqual(
      [one.device for one in local],
      [
        f"/job:worker/replica:0/task:{core // 2}/device:CPU:{core % 2}"
        for core in range(4)
      ],
    )
    for core, one in enumerate(local):
      self.assertEqual(one.shape, [2, 3], core)

  def test_each_worker_gets_only_its_own_rows(self):
    for core in range(4):
      made = self.devices.create_beside(core, lambda: tf.constant([1.0]))
      self.assertIn(f"/task:{core // 2}/device:CPU:0", made.device)

  def test_workers_copy_and_write_their_own_shards(self):
    states = self.states()
    values = self.fill(states)
    workers = shards.assign_to_workers(states)
    self.assertLen(workers, WORKERS)
    for task, worker in enumerate(workers):
      for value in worker.copy():
        self.assertIn(f"/task:{task}/device:CPU:0", value.device)
    # A shard that both workers hold is written once; they take turns. Each
    # worker has two shards of a; c has four shards; b and d are not split.
    first, second = (sorted(worker.names) for worker in workers)
    self.assertEqual(sorted(first + second), [*"aabccccd"])
    self.assertLessEqual(abs(len(first) - len(second)), 2)
    path = saver.save_checkpoint(self.folder, 1, states, {}, keep=1)
    reader = tf.train.load_checkpoint(os.path.join(path, "state"))
    for name, value in values.items():
      np.testing.assert_array_equal(reader.get_tensor(name), value, name)
    self.assertCountEqual(
      os.listdir(path),
      [
        "COMPLETE",
        "state.index",
        *(f"state.data-0000{k}-of-00002" for k in range(2)),
      ],
    )

  def test_checkpoints_move_to_other_devices_and_back(self):
    here = Devices(tf.distribute.OneDeviceStrategy("/cpu:0"), "cpu", 1)
    alone = parse_layout("", "", ())
    states = self.states()
    values = self.fill(states)
    path = saver.save_checkpoint(self.folder, 1, states, {}, keep=1)
    for devices, layout in ((here, alone), (self.devices, LAYOUT)):
      read = self.states(devices, layout)
      restore.restore_states(checkpoint_dirs.find(path), read)
      for one in read:
        for name in one.specs:
          np.testing.assert_array_equal(one.gather(name), values[name], name)
      path = saver.save_checkpoint(self.folder, 2, read, {}, keep=1)

  def test_errors_of_a_worker_state_the_cause(self):
    workers = shards.assign_to_workers(self.states())
    copies = [worker.copy() for worker in workers]
    for worker, copy in zip(workers, copies, strict=True):
      with self.assertRaisesRegex(tf.errors.OpError, "No such file"):
        worker.write("/proc/nowhere/state", copy)
    # The workers still work after the error.
    path = saver.save_checkpoint(self.folder, 1, self.states(), {}, keep=1)
    file = pathlib.Path(path, "state.data-00000-of-00002")
    file.write_bytes(file.read_bytes()[::-1])
    with self.assertRaisesRegex(
      checkpoint_dirs.CheckpointError,
      "its file 'state.data-.*' is corrupt: .*[Cc]hecksum",
    ):
      restore.restore_states(path, self.states())

  def test_a_folder_that_a_worker_does_not_share(self):
    saver.check_shared_workdir(self.folder, self.devices)
    self.assertEqual(os.listdir(self.folder), [])
    with (
      mock.patch.object(tf.io, "write_file"),
      self.assertRaisesRegex(
        checkpoint_dirs.CheckpointError,
        "the TPU worker /job:worker/task:.* wrote to .* is not visible here.*"
        "such as gs://BUCKET/RUN",
      ),
    ):
      saver.check_shared_workdir(self.folder, self.devices)


class NoSliceTest(parameterized.TestCase):
  """Does not connect: a process can do that once, in setUpModule."""

  def setUp(self):
    super().setUp()
    self.enter_context(
      mock.patch.object(tf.config, "experimental_connect_to_cluster")
    )
    self.enter_context(mock.patch.object(tpu_servers, "wait_for_servers"))

  def open(self, cores: int, name: str = "local", axes=()):
    open_devices(cores, "tpu", name, axes)

  def test_a_mesh_that_does_not_fill_the_slice(self):
    with (
      simulated_slice((2, 2, 1, 2), 1),
      self.assertRaisesRegex(
        ValueError,
        r"The mesh has 16 cores, but TPU 'local' has 8 cores \(2x2x1 chips of"
        r" 2, 1 workers\). Meshes that fill it: data:8, data:4;model:2,"
        r" data:2;model:4, model:8. Set mesh.shape to one of them, or take a"
        r" slice of 16 cores.",
      ),
    ):
      self.open(16)

  def test_missing_chips(self):
    with (
      simulated_slice((2, 2, 1, 2), 2, missing=1),
      self.assertRaisesRegex(
        ValueError, "has 6 cores .* 2 workers.*chips are missing. Delete"
      ),
    ):
      self.open(8)

  @parameterized.parameters(
    (
      "local",
      "Run on a TPU VM .* in the environment for TPUs .*environment.sh tpu",
    ),
    ("", "'local' cannot be used"),
    ("grpc://10.0.0.1:8470", "Name a Cloud TPU of this machine's zone"),
  )
  def test_no_tpu(self, name, message):
    error = tf.errors.NotFoundError(None, None, "TPUs not found\nin 2 lines")
    with (
      mock.patch.object(
        tf.tpu.experimental, "initialize_tpu_system", side_effect=error
      ),
      mock.patch.dict(os.environ),
      self.assertRaisesRegex(
        ValueError, f"No TPU found: .*{message}"
      ) as caught,
    ):
      os.environ.pop("TPU_NAME", None)
      self.open(8, name)
    said = str(caught.exception)
    self.assertIn("set mesh.platform to 'cpu'", said)
    self.assertEndsWith(said, "TensorFlow reported: TPUs not found")

  def test_a_name_is_looked_up_in_google_cloud(self):
    """On a machine outside Google Cloud there is no metadata server."""
    with (
      mock.patch.dict(os.environ, TPU_NAME="my-slice"),
      mock.patch.object(
        tf.distribute.cluster_resolver,
        "TPUClusterResolver",
        side_effect=OSError("Name or service not known"),
      ) as resolver,
      self.assertRaisesRegex(ValueError, "'my-slice'.*service not known"),
    ):
      self.open(8, "")
    resolver.assert_called_once_with(tpu="my-slice")


if __name__ == "__main__":
  absltest.main()
