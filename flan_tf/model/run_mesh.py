"""Opens the mesh of a run: its devices, and how its tensors are split."""

from typing import NamedTuple

from flan_tf import config
from flan_tf.mesh.devices import Devices, open_devices
from flan_tf.mesh.layout import Layout, parse_layout
from flan_tf.model.dims import SPLITTABLE


class RunMesh(NamedTuple):
  """The devices of a run and the layout of its tensors on them."""

  devices: Devices
  layout: Layout


def run_layout(mesh: config.MeshConfig) -> Layout:
  """Returns the layout of a mesh, without opening a device.

  Raises:
    ValueError: `mesh.shape` or `mesh.layout` cannot be read, or names an
      unknown axis or dimension.
  """
  return parse_layout(mesh.shape, mesh.layout, SPLITTABLE)


def open_run_mesh(mesh: config.MeshConfig) -> RunMesh:
  """Opens the devices of a mesh.

  On CPUs this must come before any other TensorFlow operation of the process,
  because TensorFlow cannot add logical devices once it has started.

  Raises:
    ValueError: the mesh cannot be read, or there are not enough devices.
  """
  layout = run_layout(mesh)
  axis_sizes = [axis.size for axis in layout.shape]
  devices = open_devices(layout.cores, mesh.platform, mesh.tpu, axis_sizes)
  return RunMesh(devices, layout)
