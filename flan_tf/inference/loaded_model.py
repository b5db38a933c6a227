"""The weights of a checkpoint on a mesh, for scoring and generation."""

import dataclasses
from typing import Self

import tensorflow as tf

from flan_tf import config
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.config import checks
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.mesh import program, state
from flan_tf.mesh.devices import Devices
from flan_tf.model import adapters, dims
from flan_tf.model.run_mesh import check_weights, open_run_mesh, run_layout
from flan_tf.model.weights import (
  ModelWeights,
  NamedWeights,
  cast_weights,
  weight_specs,
)
from flan_tf.vocab.base import Vocabulary


class LoadedModel:
  """Weights on a mesh, in the precision of the run's computation.

  Args:
    run: the run that trained the weights; its mesh and precision are used.
    vocabulary: of the run.
    batch: number of rows that are computed at once.
    devices: the devices to use; by default those of `run.mesh` are opened.

  Attributes:
    run: as given.
    vocabulary: as given.
    batch: as given.
    layout: how tensors are split over the mesh.
    devices: the devices of the mesh.
    weights: the model's weights.
    adapters: LoRA matrices and soft prompts; empty without any.
    origin: where the weights come from, for messages.

  Raises:
    ValueError: the batch is too large; or the mesh does not fit the model, or
      spans several hosts: each host would see its own rows only.
  """

  def __init__(
    self,
    run: config.RunConfig,
    vocabulary: Vocabulary,
    batch: int = 16,
    devices: Devices | None = None,
  ):
    self.run, self.vocabulary = run, vocabulary
    mesh = run.mesh
    self.origin = "the model"
    self.layout = run_layout(mesh)
    length = run.data.length
    dims.check_length(run.model, length)
    checks.positive("batch", batch)
    checks.batch_size("batch", batch, "data.length", length)
    d = dims.dims_for(run.model, batch, length)
    # Before devices are made for a mesh that does not fit.
    self.layout.check(d.tokens)
    check_weights(self.layout, run)
    self.devices = devices or open_run_mesh(mesh).devices
    if self.devices.hosts > 1:
      raise ValueError(
        "A model is scored and generates text on one host, but TF_CONFIG names"
        f" {self.devices.hosts} hosts. Unset TF_CONFIG."
      )
    self.batch = batch
    self._dtype = tf.as_dtype(mesh.precision)
    specs = weight_specs(run.model, d)
    self.weights = state.State(self.devices, self.layout, specs, self._dtype)
    adapted = adapters.adapter_specs(run.model, run.adapter, d)
    self.adapters = state.State(self.devices, self.layout, adapted)

  @classmethod
  def load(
    cls,
    path: str,
    mesh: config.MeshConfig | None = None,
    batch: int = 16,
    data: config.DataConfig | None = None,
    adapter_base: str = "",
  ) -> Self:
    """Loads a checkpoint, or the newest one of a workdir.

    Args:
      path: a checkpoint or a workdir.
      mesh: the mesh to run on; by default one core, in the run's precision.
      batch: number of rows that are computed at once.
      data: prompt lengths and separator to use; by default those of the run.
      adapter_base: for adapters, where the model that they adapt lies now; by
        default where it was.

    Raises:
      CheckpointError: there is none, or it is corrupt.
      ValueError: the mesh does not fit the model.
    """
    bundle = Bundle.open(path, adapter_base)
    run = bundle.run
    if mesh is None:
      mesh = dataclasses.replace(run.mesh, shape="")
    model = cls(
      dataclasses.replace(run, mesh=mesh, data=data or run.data),
      bundle.vocabulary,
      batch,
    )
    model.origin = bundle.path
    if model.adapters.specs:
      bundle.restore([model.adapters])
      bundle = bundle.open_base()
    bundle.restore([model.weights])
    return model

  def read(self, core: program.CoreProgram) -> ModelWeights:
    """Returns the weights and adapters in the precision of the computation."""
    return ModelWeights.of(self.run.model, self.read_named(core))

  def read_named(self, core: program.CoreProgram) -> NamedWeights:
    """Returns the weights and adapters by name; see `read`."""
    added = adapters.scale_lora(self.run.adapter, core.read(self.adapters))
    weights = {**core.read(self.weights), **added}
    return cast_weights(weights, self._dtype)

  @property
  def prompt_format(self) -> PromptFormat:
    """The prompt format of the model's run."""
    return PromptFormat.from_run(self.run, self.vocabulary)
