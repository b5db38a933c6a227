"""The devices that the cores of a mesh run on, as a tf.distribute strategy.

One host without TPUs: logical CPU devices, or GPUs, under `MirroredStrategy`.
Several such hosts (TF_CONFIG is set): `MultiWorkerMirroredStrategy`, and every
host has a process. TPUs: `TPUStrategy`, and one process drives the TensorFlow
servers of all workers. The step function is the same under all of them.
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from flan_tf.mesh import tpu_slice

_log = logging.getLogger(__name__)

PLATFORMS = ("auto", "cpu", "gpu", "tpu")


@dataclasses.dataclass(frozen=True)
class Devices:
  """A strategy and what the engine must know about it.

  Attributes:
    strategy: runs a function on every core.
    platform: "cpu", "gpu" or "tpu".
    cores: number of cores over all hosts.
    host: index of this host.
    hosts: number of hosts: processes that run this program.
    host_devices: on TPUs, of each core the CPU device of the worker whose
      TensorFlow server drives it.
  """

  strategy: tf.distribute.Strategy
  platform: str
  cores: int
  host: int = 0
  hosts: int = 1
  host_devices: tuple[str, ...] = ()

  @property
  def local_cores(self) -> range:
    """The cores that this host drives."""
    each = self.cores // self.hosts
    return range(self.host * each, (self.host + 1) * each)

  def host_device(self, core: int) -> str:
    """The CPU beside a core's device; empty if that is where Python runs."""
    if self.host_devices:
      return self.host_devices[core]
    return "/cpu:0" if self.platform == "gpu" else ""

  @property
  def cores_by_worker(self) -> dict[str, list[int]]:
    """This process's cores by their host device, that of the first core first.

    Without TPUs there is one.
    """
    found: dict[str, list[int]] = {}
    for core in self.local_cores:
      found.setdefault(self.host_device(core), []).append(core)
    return found

  def worker_of(self, core: int) -> int:
    """Which of `cores_by_worker` has a core of this process."""
    return list(self.cores_by_worker).index(self.host_device(core))

  def put(self, core: int, make: Callable[[], Any]) -> Any:
    """What `make` makes, made beside a core: its worker gets nothing else."""
    with on_device(self.host_device(core)):
      return make()

  def new_slice(
    self, name: str, shape: Sequence[int], dtype: tf.DType
  ) -> tf.Variable:
    """A variable of which every core has its own value.

    Reading it on a core gives the core's own, and nothing is ever averaged.
    """
    with self.strategy.scope():
      return tf.Variable(
        tf.zeros(shape, dtype),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.NONE,
        name=name,
      )

  def compiled(self, made: Any, fused: bool) -> Callable:
    """A `flan_tf.mesh.program.Program` as a function of per-core values.

    Args:
      made: the program; its `run_all` is traced at the first call.
      fused: whether XLA compiles it.
    """
    return tf.function(
      made.run_all, autograph=False, jit_compile=True if fused else None
    )


def on_device(name: str) -> contextlib.AbstractContextManager[None]:
  """Places operations on a device; an empty name leaves them as they are."""
  return tf.device(name) if name else contextlib.nullcontext()


def open_devices(
  cores: int,
  platform: str = "auto",
  tpu_name: str = "",
  axes: Sequence[int] = (),
) -> Devices:
  """Finds devices for that many cores.

  Args:
    cores: the size of the mesh.
    platform: one of PLATFORMS; "auto" takes GPUs if there are enough of them,
      else CPUs. TPUs must be asked for, as looking for them takes long.
    tpu_name: which TPUs; see `flan_tf.mesh.tpu_slice.open_slice`.
    axes: sizes of the mesh's axes, by which TPU cores are chosen.

  Raises:
    ValueError: there are too few devices, or TPU cores left over; the message
      says how many.
  """
  if platform not in PLATFORMS:
    raise ValueError(f"Unknown platform {platform!r}. Known: {PLATFORMS}.")
  if platform == "tpu":
    strategy, hosts = tpu_slice.open_slice(cores, tpu_name, axes)
    return Devices(strategy, "tpu", cores, host_devices=hosts)
  if "TF_CONFIG" in os.environ:
    return _open_workers(cores)
  gpus = tf.config.list_physical_devices("GPU")
  if platform == "gpu" and len(gpus) < cores:
    raise ValueError(
      f"The mesh has {cores} cores, but TensorFlow sees {len(gpus)} GPUs."
      " Make mesh.shape smaller, or set mesh.platform to 'cpu'."
    )
  if gpus and len(gpus) >= cores and platform != "cpu":
    return _open_local("gpu", [f"/gpu:{i}" for i in range(cores)])
  _split_cpu(cores)
  return _open_local("cpu", [f"/cpu:{i}" for i in range(cores)])


def _open_local(platform: str, names: list[str]) -> Devices:
  if len(names) == 1:
    strategy = tf.distribute.OneDeviceStrategy(names[0])
  else:
    strategy = tf.distribute.MirroredStrategy(names)
  return Devices(strategy, platform, len(names))


def _open_workers(cores: int) -> Devices:
  _log.info("Waiting for all hosts of TF_CONFIG: %s", os.environ["TF_CONFIG"])
  strategy = tf.distribute.MultiWorkerMirroredStrategy()
  resolver = strategy.cluster_resolver
  if strategy.num_replicas_in_sync != cores:
    raise ValueError(
      f"The mesh has {cores} cores, but the cluster of TF_CONFIG has"
      f" {strategy.num_replicas_in_sync} devices."
    )
  # A chief, where the cluster names one, comes before the workers.
  cluster = resolver.cluster_spec().as_dict()
  chiefs, workers = (len(cluster.get(job, ())) for job in ("chief", "worker"))
  host = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
  gpus = tf.config.list_physical_devices("GPU")
  platform = "gpu" if gpus else "cpu"
  return Devices(strategy, platform, cores, host, chiefs + workers)


def _split_cpu(cores: int) -> None:
  """Makes at least `cores` logical devices out of the host's CPU."""
  cpu = tf.config.list_physical_devices("CPU")[0]
  if cores > 1 and not tf.config.get_logical_device_configuration(cpu):
    devices = [tf.config.LogicalDeviceConfiguration()] * cores
    try:
      tf.config.set_logical_device_configuration(cpu, devices)
    except RuntimeError:  # TensorFlow has already started.
      pass
  have = len(tf.config.list_logical_devices("CPU"))
  if have < cores:
    raise ValueError(
      f"The mesh has {cores} cores, but TensorFlow has already started with"
      f" {have} CPU devices. Open the devices before any other TensorFlow"
      " work of the process, or use a process of its own."
    )
