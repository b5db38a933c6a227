"""Opens the mesh of a run: its devices, and how its tensors are split."""

import dataclasses
from typing import NamedTuple

from flan_tf import config
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices, open_devices
from flan_tf.mesh.layout import Layout, parse_layout
from flan_tf.model import adapters, dims
from flan_tf.model.weights import weight_specs


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
  return parse_layout(mesh.shape, mesh.layout, dims.SPLITTABLE)


def check_splits(layout: Layout, run: config.RunConfig) -> None:
  """Checks that a mesh can split what a run trains, without opening a device.

  Args:
    layout: the layout of the run.
    run: the run. If `run.model.vocab` is 0, the size of the vocabulary is not
      known yet, and its split is not checked.

  Raises:
    ValueError: a size is not a multiple of the mesh axis that splits it, or one
      axis would split two dimensions of a tensor; or the rows are longer than
      the model's learned positions.
  """
  dims.check_length(run.model, run.data.length)
  rows = run.train.batch // run.train.microbatches
  vocab = run.model.vocab or layout.num_shards("vocab")
  # All layers are alike.
  model = dataclasses.replace(run.model, vocab=vocab, pieces=0, layers=1)
  d = dims.dims_for(model, rows, run.data.length, layout=layout)
  layout.check(d.tokens)
  layout.check(mtf.Shape([d.batch, d.stream]))
  _check_weights(layout, model, run.adapter, d)


def check_weights(layout: Layout, run: config.RunConfig) -> None:
  """Checks that a mesh can split a model's weights, without opening a device.

  Raises:
    ValueError: a size is not a multiple of the mesh axis that splits it.
  """
  model = dataclasses.replace(run.model, layers=1)
  _check_weights(layout, model, run.adapter, dims.dims_for(model))


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


def _check_weights(
  layout: Layout,
  model: config.ModelConfig,
  adapter: config.AdapterConfig,
  d: dims.Dims,
) -> None:
  specs = weight_specs(model, d) | adapters.adapter_specs(model, adapter, d)
  for spec in specs.values():
    layout.check(spec.shape)
