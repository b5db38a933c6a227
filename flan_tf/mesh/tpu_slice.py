"""A slice of TPUs as a tf.distribute strategy, with its mesh laid on the torus.

A slice is driven by one Python process, on its first worker: TensorFlow servers
run on all workers, and each core is on one of them. (On several hosts without
TPUs, every host has a process.)

Cores that talk most should be neighbours. Mesh axes are nested: the last one
varies fastest in the core's number, and carries the sums within every layer. So
each axis gets a block of what the axes behind it fill, and runs through it in a
ring whose steps go to a neighbouring block. Four chips in a square, two cores
each, under "data:2;model:4", number the cores so:

  0 1 | 4 5
  ----+----     model: 0 1 2 3 and 4 5 6 7; data: 0 4, 1 5, 2 6, 3 7
  2 3 | 6 7
"""

import functools
import itertools
import math
import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from flan_tf.mesh import tf_errors

# Of (x, y, z, core of a chip): a box of cores, or how many of them fit a slice.
Block = tuple[int, ...]

LOCAL = "local"


def open_slice(
  cores: int, name: str = "", axes: Sequence[int] = ()
) -> tuple[tf.distribute.Strategy, tuple[str, ...]]:
  """Connects to a slice and starts it.

  Args:
    cores: the size of the mesh.
    name: of a Cloud TPU, or its "grpc://HOST:PORT"; "local" for the TPU of this
      machine. Empty: what TPU_NAME says, else local.
    axes: sizes of the mesh's axes; one axis if empty.

  Returns:
    The strategy, and of each core the CPU device of the worker that it is on.

  Raises:
    ValueError: there is no TPU, or the mesh does not fill it.
  """
  name = name or os.environ.get("TPU_NAME", "") or LOCAL
  try:
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
    tf.config.experimental_connect_to_cluster(resolver)
    topology = tf.tpu.experimental.initialize_tpu_system(resolver)
  # Outside Google Cloud, asking for a name ends in an OSError.
  except (ValueError, OSError, RuntimeError, tf.errors.OpError) as error:
    raise ValueError(_none_found(name, error)) from error
  _check_size(topology, cores, name)
  assignment = tf.tpu.experimental.DeviceAssignment(
    topology, arrange(topology.mesh_shape, axes or [cores])
  )
  strategy = tf.distribute.TPUStrategy(
    resolver, experimental_device_assignment=assignment
  )
  # The TPU of this machine is no server of a cluster, so it has no job.
  job = None if name == LOCAL else resolver.get_job_name()
  hosts = [assignment.host_device(core, job=job) for core in range(cores)]
  return strategy, tuple(hosts)


def arrange(torus: Sequence[int], axes: Sequence[int]) -> np.ndarray:
  """Which core of a slice each core of the mesh is.

  Of all ways to nest blocks, takes the one with the fewest hops from a core to
  the next one of its ring, on average: first of the last axis, then of the axis
  before it, and so on; then the one with the smallest blocks across. A hop is a
  link between two chips. Links that close a torus are not counted on, since
  only some slices have them; two cores of a chip are no hop apart.

  Args:
    torus: number of chips along x, y and z, and cores of a chip.
    axes: sizes of the mesh's axes; their product is that of `torus`.

  Returns:
    [cores, 1, 4]: the coordinates of each core of the mesh.
  """
  torus = tuple(int(n) for n in torus)
  nested = min(_nestings(torus, tuple(axes)), key=_distances)
  place = np.zeros([1, 4], np.int32)
  for block, stride in _with_strides(nested):
    place = (_ring(block) * stride)[:, None] + place
    place = place.reshape(-1, 4)
  return place[:, None]


def _nestings(torus: Block, axes: tuple[int, ...]) -> Iterator[list[Block]]:
  """All ways to give each axis a block, the last axis first."""
  if len(axes) <= 1:
    yield [torus]
    return
  divisors = [[k for k in range(1, n + 1) if n % k == 0] for n in torus]
  for block in itertools.product(*divisors):
    if math.prod(block) == axes[-1]:
      left = tuple(n // k for n, k in zip(torus, block, strict=True))
      for outer in _nestings(left, axes[:-1]):
        yield [block, *outer]


def _with_strides(nested: list[Block]) -> Iterator[tuple[Block, np.ndarray]]:
  """Each block with what one step in it is in cores."""
  stride = np.ones(4, np.int32)
  for block in nested:
    yield block, stride
    stride = stride * block


def _distances(nested: list[Block]) -> list[float]:
  """What `arrange` minimises."""
  steps, across = [], []
  for block, stride in _with_strides(nested):
    ring = (_ring(block) * stride)[:, :3]
    steps.append(np.abs(ring - np.roll(ring, 1, axis=0)).sum() / len(ring))
    across.append(((np.array(block) - 1) * stride)[:3].sum())
  return steps + across


@functools.cache
def _ring(block: Block) -> np.ndarray:
  """The cores of a block in ring order: [cores, 4].

  Both cores of a chip come after one another. A rectangle of chips with an even
  side is walked in a comb, whose end is beside its start:

    0 1 2 3
    7 6 5 4     a line has no such way: it is walked from end to end
  """
  *chips, per_chip = block
  wide = [d for d in range(3) if chips[d] > 1]
  # The even side along which the way back goes comes first.
  wide.sort(key=lambda d: (chips[d] % 2, -chips[d]))
  sizes = [chips[d] for d in wide]
  if len(sizes) > 1 and sizes[0] % 2 == 0:
    first, *others = _snake(sizes[1:])
    walk = [(0, *first)]
    for i in range(sizes[0]):
      walk += [(i, *p) for p in (others if i % 2 == 0 else others[::-1])]
    walk += [(i, *first) for i in range(sizes[0] - 1, 0, -1)]
  else:
    walk = _snake(sizes)
  ring = np.zeros([len(walk), per_chip, 4], np.int32)
  ring[:, :, wide] = np.array(walk, np.int32)[:, None]
  ring[:, :, 3] = np.arange(per_chip)
  return ring.reshape(-1, 4)


def _snake(sizes: list[int]) -> list[tuple[int, ...]]:
  """All points of a box, each beside the one before it."""
  if not sizes:
    return [()]
  rest = _snake(sizes[1:])
  return [
    (i, *point)
    for i in range(sizes[0])
    for point in (rest if i % 2 == 0 else rest[::-1])
  ]


def _check_size(topology, cores: int, name: str) -> None:
  shape = [int(n) for n in topology.mesh_shape]
  have = topology.num_tasks * topology.num_tpus_per_task
  what = (
    f"TPU {name!r} has {have} cores ({'x'.join(map(str, shape[:3]))} chips of"
    f" {shape[3]}, {topology.num_tasks} workers)"
  )
  if have != math.prod(shape):
    raise ValueError(
      f"{what}, so chips of it are missing. Delete the slice and create it"
      " again."
    )
  if have != cores:
    fill = [
      ";".join(f"{a}:{n}" for a, n in (("data", d), ("model", m)) if n > 1)
      for d, m in ((have // m, m) for m in range(1, have + 1) if have % m == 0)
    ]
    raise ValueError(
      f"The mesh has {cores} cores, but {what}. Meshes that fill it:"
      f" {', '.join(filter(None, fill)) or 'one core'}. Set mesh.shape to one"
      f" of them, or take a slice of {cores} cores."
    )


def _none_found(name: str, error: Exception) -> str:
  said = tf_errors.first_line(error)
  if "No OpKernel was registered" in str(error):
    why = (
      "The TensorFlow of this environment has no TPU kernels. On the machine"
      " with the TPU, take the packages for it: source"
      " tools/python/environment.sh tpu."
    )
  elif name == LOCAL:
    why = (
      "Run on a TPU VM, in its environment (source"
      " tools/python/environment.sh tpu), where no other process uses the TPU;"
      " on a slice of several workers name it: --tpu=NAME."
    )
  else:
    why = (
      "Name a Cloud TPU of this machine's zone and project (--tpu=NAME or"
      " grpc://HOST:PORT), whose workers run TensorFlow servers; --tpu=local is"
      " the TPU of this machine."
    )
  return (
    f"No TPU found: {name!r} cannot be used. {why} Without one, set"
    f" mesh.platform to 'cpu'. What TensorFlow said: {said[:300]}"
  )
