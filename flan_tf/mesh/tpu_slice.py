"""Connects to a TPU slice and places the mesh on its torus of chips.

One Python process, on the first worker, drives the whole slice: TensorFlow
servers run on all workers, and each core belongs to one of them. (Without TPUs,
every host has a Python process.)

Cores that exchange the most data should be neighbors. The last mesh axis varies
fastest in the core's number and carries the sums within every layer. So axes
are nested, from the last to the first: each axis arranges the blocks of the
axes after it as a larger block, and visits them in a ring in which each step
goes to a neighboring block. Four chips in a square with two cores each, under
"data:2;model:4", get these core numbers:

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

from flan_tf import waits
from flan_tf.mesh import tf_errors, tpu_servers

# Sizes of a box of cores along (x, y, z, core of a chip).
Block = tuple[int, ...]

LOCAL = "local"


def open_slice(
  cores: int, name: str = "", axes: Sequence[int] = ()
) -> tuple[tf.distribute.Strategy, tuple[str, ...]]:
  """Connects to a TPU slice and initializes it.

  Args:
    cores: number of cores of the mesh.
    name: name of a Cloud TPU, or "grpc://HOST:PORT", or "local" for the TPU of
      this machine. If empty, the environment variable TPU_NAME is used, and
      "local" if that is not set.
    axes: sizes of the mesh's axes; by default a single axis.

  Returns:
    The strategy, and for each core the CPU device of its worker.

  Raises:
    ValueError: there is no TPU, or its number of cores is not that of the mesh.
  """
  name = name or os.environ.get("TPU_NAME", "") or LOCAL
  try:
    with waits.announced(f"Looking for the TPU {name!r}", later=waits.EVERY):
      resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
    if name != LOCAL:
      tpu_servers.wait_for_servers(resolver)
    with waits.announced(f"Connecting to the TPU {name!r}"):
      tf.config.experimental_connect_to_cluster(resolver)
      topology = tf.tpu.experimental.initialize_tpu_system(resolver)
  # Outside Google Cloud, the lookup of a name raises OSError.
  except (ValueError, OSError, RuntimeError, tf.errors.OpError) as error:
    raise ValueError(_no_tpu_message(name, error)) from error
  _check_size(topology, cores, name)
  assignment = tf.tpu.experimental.DeviceAssignment(
    topology, arrange_cores(topology.mesh_shape, axes or [cores])
  )
  strategy = tf.distribute.TPUStrategy(
    resolver, experimental_device_assignment=assignment
  )
  # The TPU of this machine is not part of a cluster, so it has no job name.
  job = None if name == LOCAL else resolver.get_job_name()
  hosts = [assignment.host_device(core, job=job) for core in range(cores)]
  return strategy, tuple(hosts)


def arrange_cores(torus: Sequence[int], axes: Sequence[int]) -> np.ndarray:
  """Assigns the cores of a slice to the cores of a mesh.

  All nestings of blocks are compared by the average number of hops from a core
  to the next one in its ring: first for the last axis, then for the axis before
  it, and so on. Among equals, the nesting with the most compact blocks is
  taken. A hop is a link between two chips; the cores of a chip have distance 0.
  Wrap-around links of the torus are not used, since not all slices have them.

  Args:
    torus: number of chips along x, y and z, and number of cores of a chip.
    axes: sizes of the mesh's axes; their product must be that of `torus`.

  Returns:
    int32 [cores, 1, 4]: coordinates (x, y, z, core of the chip) of each core of
    the mesh.
  """
  torus = tuple(int(n) for n in torus)
  nested = min(_nestings(torus, tuple(axes)), key=_distances)
  place = np.zeros([1, 4], np.int32)
  for block, stride in _with_strides(nested):
    place = (_ring(block) * stride)[:, None] + place
    place = place.reshape(-1, 4)
  return place[:, None]


def _nestings(torus: Block, axes: tuple[int, ...]) -> Iterator[list[Block]]:
  """Yields all ways to choose a block for each axis, the last axis first."""
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
  """Yields each block, and the size of one step in it along each dimension."""
  stride = np.ones(4, np.int32)
  for block in nested:
    yield block, stride
    stride = stride * block


def _distances(nested: list[Block]) -> list[float]:
  """Returns the distances that `arrange_cores` minimizes, in hops.

  They are compared in order: the first one counts most. First come the average
  hops along the ring of each axis, then the diameters of the blocks.
  """
  hops, diameters = [], []
  for block, stride in _with_strides(nested):
    ring = (_ring(block) * stride)[:, :3]
    hops.append(np.abs(ring - np.roll(ring, 1, axis=0)).sum() / len(ring))
    diameters.append(((np.array(block) - 1) * stride)[:3].sum())
  return hops + diameters


@functools.cache
def _ring(block: Block) -> np.ndarray:
  """Returns the coordinates of a block's cores in ring order: [cores, 4].

  The cores of a chip follow one another. A rectangle of chips with an even side
  is traversed so that the last chip is a neighbor of the first one:

    0 1 2 3
    7 6 5 4

  For a line of chips this is impossible; it is traversed from end to end.
  """
  *chips, per_chip = block
  wide = [d for d in range(3) if chips[d] > 1]
  # The dimension of the way back comes first; its size must be even.
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
  """Returns all points of a box, each one a neighbor of the one before it."""
  if not sizes:
    return [()]
  rest = _snake(sizes[1:])
  return [
    (i, *point)
    for i in range(sizes[0])
    for point in (rest if i % 2 == 0 else rest[::-1])
  ]


def _check_size(topology, cores: int, name: str) -> None:
  """Raises ValueError unless a slice is complete and has that many cores."""
  shape = [int(n) for n in topology.mesh_shape]
  available = topology.num_tasks * topology.num_tpus_per_task
  chips = "x".join(map(str, shape[:3]))
  description = (
    f"TPU {name!r} has {available} cores ({chips} chips of {shape[3]},"
    f" {topology.num_tasks} workers)"
  )
  if available != math.prod(shape):
    raise ValueError(
      f"{description}, so chips are missing. Delete the slice and create it"
      " again."
    )
  if available != cores:
    sizes = [n for n in range(1, available + 1) if available % n == 0]
    shapes = [_mesh_shape(available // model, model) for model in sizes]
    raise ValueError(
      f"The mesh has {cores} cores, but {description}. Meshes that fill it:"
      f" {', '.join(filter(None, shapes)) or 'one core'}. Set mesh.shape to one"
      f" of them, or take a slice of {cores} cores."
    )


def _mesh_shape(data: int, model: int) -> str:
  """Returns a mesh shape as `mesh.shape` takes it, without axes of size 1."""
  axes = (("data", data), ("model", model))
  return ";".join(f"{name}:{size}" for name, size in axes if size > 1)


def _no_tpu_message(name: str, error: Exception) -> str:
  """Returns the message for a TPU that cannot be used, with advice."""
  summary = tf_errors.error_summary(error)
  if "No OpKernel was registered" in str(error):
    advice = (
      "The TensorFlow of this environment has no TPU kernels. On the machine"
      " with the TPU, use the environment for TPUs: source"
      " tools/python/environment.sh tpu."
    )
  elif name == LOCAL:
    advice = (
      "Run on a TPU VM whose TPU no other process uses, in the environment for"
      " TPUs (source tools/python/environment.sh tpu). Name a slice of several"
      " workers: --tpu=NAME."
    )
  else:
    advice = (
      "Name a Cloud TPU of this machine's zone and project (--tpu=NAME or"
      " grpc://HOST:PORT), whose workers run TensorFlow servers; --tpu=local is"
      " the TPU of this machine."
    )
  return (
    f"No TPU found: {name!r} cannot be used. {advice} Without one, set"
    f" mesh.platform to 'cpu'. TensorFlow reported: {summary[:300]}"
  )
