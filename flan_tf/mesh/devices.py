"""The devices of a mesh's cores, as a tf.distribute strategy.

* One host without TPUs: logical CPU devices, or GPUs, under `MirroredStrategy`.
* Several such hosts (TF_CONFIG is set): `MultiWorkerMirroredStrategy`, with one
  process on every host.
* TPUs: `TPUStrategy`, where one process drives the TensorFlow servers of all
  workers.

A step function is the same under all of them.
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from flan_tf import name_lists, waits
from flan_tf.config import PLATFORMS
from flan_tf.mesh import cluster_config, tpu_slice

_log = logging.getLogger(__name__)

# Each is a thread of TensorFlow; more of them than a machine has cores only
# take memory.
_MOST_CPU_DEVICES = 512


@dataclasses.dataclass(frozen=True)
class Devices:
  """A strategy, and facts about its devices that the engine needs.

  Attributes:
    strategy: runs a function on every core.
    platform: "cpu", "gpu" or "tpu".
    cores: number of cores on all hosts together.
    host: index of this host.
    hosts: number of hosts, each of which runs this program in a process.
    host_devices: on TPUs, for each core the CPU device of its worker, whose
      TensorFlow server drives the core; else empty.
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
    cores_per_host = self.cores // self.hosts
    first = self.host * cores_per_host
    return range(first, first + cores_per_host)

  def host_device(self, core: int) -> str:
    """Returns the CPU device of a core's host; "" for TensorFlow's default."""
    if self.host_devices:
      return self.host_devices[core]
    return "/cpu:0" if self.platform == "gpu" else ""

  @property
  def cores_by_worker(self) -> dict[str, list[int]]:
    """The cores of this process by the CPU device of their worker.

    Workers are in the order of their first cores. Without TPUs there is only
    one worker.
    """
    cores: dict[str, list[int]] = {}
    for core in self.local_cores:
      cores.setdefault(self.host_device(core), []).append(core)
    return cores

  def worker_index(self, core: int) -> int:
    """Returns the index of a core's worker in `cores_by_worker`."""
    return list(self.cores_by_worker).index(self.host_device(core))

  def create_beside(self, core: int, create: Callable[[], Any]) -> Any:
    """Calls `create` with the CPU device of a core's host as the default.

    So a worker is sent only the values for its own cores.
    """
    with on_device(self.host_device(core)):
      return create()

  def new_shard(
    self, name: str, shape: Sequence[int], dtype: tf.DType
  ) -> tf.Variable:
    """Creates a variable that has a separate value on every core.

    On a core it reads as the core's own value. Values are never averaged.

    Args:
      name: name of the variable.
      shape: shape of each core's value.
      dtype: type of the values.
    """
    with self.strategy.scope():
      return tf.Variable(
        tf.zeros(shape, dtype),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.NONE,
        name=name,
      )

  def compile_program(self, program: Any, jit_compile: bool) -> Callable:
    """Turns a program into a function of per-core values.

    Args:
      program: a `flan_tf.mesh.program.Program`. Its method `run_replicas` is
        traced at the first call.
      jit_compile: whether XLA compiles it.
    """
    return tf.function(
      program.run_replicas,
      autograph=False,
      jit_compile=True if jit_compile else None,
    )


def on_device(name: str) -> contextlib.AbstractContextManager[None]:
  """Places operations on a device; an empty name changes nothing."""
  return tf.device(name) if name else contextlib.nullcontext()


def open_devices(
  cores: int,
  platform: str = "auto",
  tpu_name: str = "",
  axes: Sequence[int] = (),
) -> Devices:
  """Opens devices for a number of cores.

  Args:
    cores: number of cores of the mesh.
    platform: one of PLATFORMS. "auto" takes GPUs if there are enough of them,
      else CPUs. It never takes TPUs, since looking for them takes long.
    tpu_name: name of the TPU; see `flan_tf.mesh.tpu_slice.open_slice`.
    axes: sizes of the mesh's axes, which decide the order of TPU cores.

  Raises:
    ValueError: there are too few devices, or the mesh does not fill the TPU
      (the message has both numbers), or TF_CONFIG is wrong.
  """
  if platform not in PLATFORMS:
    raise ValueError(name_lists.unknown_name("platform", platform, PLATFORMS))
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
  """Opens named devices of this host."""
  if len(names) == 1:
    strategy = tf.distribute.OneDeviceStrategy(names[0])
  else:
    strategy = tf.distribute.MirroredStrategy(names)
  return Devices(strategy, platform, len(names))


def _open_workers(cores: int) -> Devices:
  """Opens the devices of all hosts that TF_CONFIG names."""
  cluster_config.check_cluster_config(os.environ["TF_CONFIG"])
  _log.info("Waiting for all hosts of TF_CONFIG: %s", os.environ["TF_CONFIG"])
  with waits.announced("Waiting for all hosts of TF_CONFIG"):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
  resolver = strategy.cluster_resolver
  if strategy.num_replicas_in_sync != cores:
    raise ValueError(
      f"The mesh has {cores} cores, but the cluster of TF_CONFIG has"
      f" {strategy.num_replicas_in_sync} devices."
    )
  # If the cluster names a chief, it comes before the workers.
  cluster = resolver.cluster_spec().as_dict()
  chiefs, workers = (len(cluster.get(job, ())) for job in ("chief", "worker"))
  host = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
  gpus = tf.config.list_physical_devices("GPU")
  platform = "gpu" if gpus else "cpu"
  return Devices(strategy, platform, cores, host, chiefs + workers)


def _split_cpu(cores: int) -> None:
  """Splits the host's CPU into at least `cores` logical devices."""
  if cores > _MOST_CPU_DEVICES:
    raise ValueError(
      f"The mesh has {cores:,} cores, but a CPU is split into at most"
      f" {_MOST_CPU_DEVICES} devices. Make mesh.shape (--mesh) smaller, or use"
      " other devices (mesh.platform)."
    )
  cpu = tf.config.list_physical_devices("CPU")[0]
  if cores > 1 and not tf.config.get_logical_device_configuration(cpu):
    devices = [tf.config.LogicalDeviceConfiguration()] * cores
    try:
      tf.config.set_logical_device_configuration(cpu, devices)
    except RuntimeError:  # TensorFlow has already started.
      pass
  available = len(tf.config.list_logical_devices("CPU"))
  if available < cores:
    raise ValueError(
      f"The mesh has {cores} cores, but TensorFlow has already started with"
      f" {available} CPU devices. Open the devices before any other TensorFlow"
      " operation of the process, or use a new process."
    )
