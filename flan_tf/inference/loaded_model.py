"""A checkpoint's weights on a mesh, and what every program with them needs."""

import dataclasses
import json
from typing import Self

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.checkpoints import store
from flan_tf.mesh import layout, program, state
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices, open_devices
from flan_tf.model import adapters, decoder, dims
from flan_tf.vocab.vocabulary import Vocabulary, vocabulary_from_bytes


class LoadedModel:
  """Weights on a mesh, in the precision of the run's products.

  Args:
    run: the run that trained them; its mesh and precision are used.
    vocabulary: its vocabulary.
    batch: rows that are run at once.
    devices: where to run; opened for `run.mesh` if not given.

  Raises:
    ValueError: the mesh does not fit the model, or spans several hosts, of
      which each would see its own rows only.
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
    self.layout = layout.parse_layout(mesh.shape, mesh.layout, dims.SPLITTABLE)
    self.devices = devices or open_devices(
      self.layout.cores,
      mesh.platform,
      mesh.tpu,
      [axis.size for axis in self.layout.shape],
    )
    if self.devices.hosts > 1:
      raise ValueError(
        "Models are evaluated on one host; TF_CONFIG names"
        f" {self.devices.hosts}. Unset it."
      )
    self.batch = batch
    # What soft prompts take the place of.
    soft_prompt = run.adapter.soft_prompt
    self._before = np.full([soft_prompt], vocabulary.pad_id, np.int32)
    # A soft prompt is at positions 1, 2, ...: something must come before it.
    self._starts = vocabulary.has_start or soft_prompt > 0
    self._dtype = tf.as_dtype(mesh.precision)
    dims.check_length(run.model, run.data.length)
    d = dims.dims_for(run.model, batch, run.data.length)
    self.layout.check(d.tokens)
    specs = decoder.weight_specs(run.model, d)
    self.weights = state.State(self.devices, self.layout, specs, self._dtype)
    adapted = adapters.specs(run.model, run.adapter, d)
    self.adapters = state.State(self.devices, self.layout, adapted)

  @classmethod
  def load(
    cls,
    path: str,
    mesh: config.MeshConfig | None = None,
    batch: int = 16,
    data: config.DataConfig | None = None,
  ) -> Self:
    """Loads a checkpoint, or the newest one of a workdir.

    Args:
      path: a checkpoint or a workdir.
      mesh: where to run; by default one core in the run's precision.
      batch: rows that are run at once.
      data: lengths and separator to evaluate with; by default the run's.

    Raises:
      CheckpointError: there is none, or it is corrupt.
      ValueError: the mesh does not fit the model.
    """
    path = store.find(path)
    run = config.from_json(store.read_file(path, "run.json").decode())
    if mesh is None:
      mesh = dataclasses.replace(run.mesh, shape="")
    model = cls(
      dataclasses.replace(run, mesh=mesh, data=data or run.data),
      vocabulary_from_bytes(
        store.read_file(path, "vocabulary.model"), where=path
      ),
      batch,
    )
    base = path
    if model.adapters.specs:
      base = json.loads(store.read_file(path, "data.json"))["base"]
      store.restore(path, [model.adapters])
    store.restore(store.find(base), [model.weights])
    return model

  def read(self, core: program.CoreProgram) -> dict[str, mtf.Tensor]:
    """The weights, and what adapters add, in the precision that computes."""
    added = adapters.scaled(self.run.adapter, core.read(self.adapters))
    weights = {**core.read(self.weights), **added}
    return decoder.cast_weights(weights, self._dtype)

  def trunk(self, prompt: np.ndarray) -> np.ndarray:
    """Inputs of a prompt, up to that of the first target behind it."""
    ids = np.concatenate([self._before, prompt])
    # What is scored needs some input before it.
    start = [self.vocabulary.bos_id] if self._starts or not len(ids) else []
    return np.concatenate([start, ids]).astype(np.int32)
