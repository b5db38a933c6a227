"""Opens a checkpoint of this project as a model to be converted.

A checkpoint that holds LoRA adapters only is merged with the model that they
were trained on, so that the result needs no other checkpoint:

  W [*inputs, *outputs] + alpha / rank * A [*inputs, rank] B [rank, *outputs]

One tensor is read and merged at a time, or some of its rows.
"""

import dataclasses
import functools
import os
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.bridges.model_source import (
  ModelSource,
  Shape,
  SourceError,
  SourceTensor,
)
from flan_tf.checkpoints.bundle import Bundle, bundle_files
from flan_tf.checkpoints.restore import damaged_tensors, stored_shapes
from flan_tf.model import dims
from flan_tf.model.adapters import merge_lora
from flan_tf.model.weights import LORA_A, LORA_B, SOFT_PROMPT, weight_specs
from flan_tf.vocab.base import Vocabulary


@dataclasses.dataclass(frozen=True)
class NativeSource(ModelSource):
  """A checkpoint of this project; see `ModelSource` for further attributes.

  Attributes:
    path: its folder.
    requested_path: the path that it was opened by: the folder or its workdir.
    run: the run that wrote it.
    data: content of its data.json; see `flan_tf.checkpoints.bundle.Bundle`.
    soft_prompt: [prompt, d_model]; None if it has none.
  """

  path: str = ""
  requested_path: str = ""
  run: config.RunConfig = dataclasses.field(default_factory=config.RunConfig)
  data: dict[str, Any] = dataclasses.field(default_factory=dict)
  soft_prompt: SourceTensor | None = None

  @property
  def changed_run(self) -> config.RunConfig:
    """The run, with model, chat template and separator of this source."""
    run = config.replace(self.run, "data", separator=self.separator)
    return dataclasses.replace(run, model=self.model, chat=self.chat)


def open_source(
  path: str,
  vocabulary: Vocabulary | None = None,
  soft_prompt: bool = False,
  adapter_base: str = "",
) -> NativeSource:
  """Opens the model of a checkpoint; reads none of its tensors.

  Args:
    path: a checkpoint, or a workdir for its newest one; local or gs://.
    vocabulary: used in place of the checkpoint's.
    soft_prompt: whether the target can hold a soft prompt.
    adapter_base: for adapters, where the model that they adapt lies now.

  Raises:
    CheckpointError: there is no checkpoint, or one of its files is missing or
      cut short.
    SourceError: it has a soft prompt that the target cannot hold, the model
      below its adapters is missing or has changed, or tensors are missing.
  """
  requested_path = os.path.expanduser(path)
  bundle = Bundle.open(requested_path, adapter_base)
  run = bundle.run
  if run.adapter.soft_prompt and not soft_prompt:
    raise SourceError(
      f"{bundle.path} has a soft prompt of {run.adapter.soft_prompt} vectors,"
      " which are no tokens and cannot be merged into a model's weights. It can"
      " be evaluated as it is, or become a SavedModel. To convert a tuned model"
      " to another format, tune it with adapter.lora_rank, or without adapters."
    )
  origin = f"checkpoint {bundle.path} (step {bundle.step})"
  tensors = _checkpoint_tensors(bundle)
  prompt = None
  if run.adapter.trains:
    base = _open_base(bundle)
    if run.adapter.soft_prompt:
      shape = run.adapter.soft_prompt, run.model.d_model
      prompt = _checkpoint_tensor(bundle.tensor_prefix, SOFT_PROMPT, shape)
    tensors = _merge_adapters(
      run.adapter, _checkpoint_tensors(base), adapters=tensors
    )
    link = "merged into" if run.adapter.lora_rank else "before the tokens of"
    origin += f", its adapters {link} {base.path}"
  return NativeSource(
    run.model,
    vocabulary or bundle.vocabulary,
    tensors,
    origin,
    context_length=run.data.length,
    chat=run.chat,
    separator=run.data.separator,
    path=bundle.path,
    requested_path=requested_path,
    run=run,
    data=dict(bundle.data),
    soft_prompt=prompt,
  )


def side_files(source: NativeSource) -> dict[str, bytes]:
  """Returns the small files of a checkpoint with the source's weights.

  They keep the record of the tasks that the weights have seen. They name no
  adapters, as these are merged, and no place in a training run.
  """
  run = dataclasses.replace(source.changed_run, adapter=config.AdapterConfig())
  of_run = ("next_batch", "meter")
  of_base = ("base_relative", "base_fingerprint")
  data = {k: v for k, v in source.data.items() if k not in (*of_run, *of_base)}
  data |= {"base": "", "source": source.origin}
  return bundle_files(run, data, source.vocabulary)


def _open_base(bundle: Bundle) -> Bundle:
  """Opens the checkpoint that adapters were trained on."""
  base = bundle.open_base()
  if base.run.model != bundle.run.model:
    raise SourceError(
      f"{bundle.path} holds adapters, but the model in {base.path} is not the"
      " one that they were trained on: its sizes or options differ."
    )
  return base


def _checkpoint_tensors(bundle: Bundle) -> dict[str, SourceTensor]:
  """Returns the weights and adapters that a checkpoint has."""
  model = bundle.run.model
  prefix = bundle.tensor_prefix
  shapes = stored_shapes(bundle.path)
  weights = list(weight_specs(model, dims.dims_for(model)))
  adapters = [f"{name}/{x}" for name in weights for x in (LORA_A, LORA_B)]
  return {
    name: _checkpoint_tensor(prefix, name, tuple(shapes[name]))
    for name in [*weights, *adapters]
    if name in shapes  # ModelSource reports missing weights.
  }


def _checkpoint_tensor(prefix: str, name: str, shape: Shape) -> SourceTensor:
  read_rows = functools.partial(_restore_rows, prefix, name, shape)
  return SourceTensor(shape, lambda: read_rows(0, shape[0]), read_rows)


def _restore_rows(
  prefix: str, name: str, shape: Shape, begin: int, end: int
) -> np.ndarray:
  """Reads the rows begin to end of a tensor of a checkpoint.

  Args:
    prefix: the checkpoint's files, as TensorFlow names them.
    name: the tensor.
    shape: its shape.
    begin: first row.
    end: row after the last one.
  """
  sizes = " ".join(map(str, shape))
  # "begin,size" of the first dimension, "-" for all of each other one.
  slices = ":".join([f"{begin},{end - begin}", *["-"] * (len(shape) - 1)])
  try:
    with tf.device("/cpu:0"):
      (value,) = tf.raw_ops.RestoreV2(
        prefix=prefix,
        tensor_names=[name],
        shape_and_slices=[f"{sizes} {slices}"],
        dtypes=[tf.float32],
      )
  except tf.errors.OpError as error:
    raise damaged_tensors(os.path.dirname(prefix), error) from error
  return value.numpy()


def _merge_adapters(
  adapter_config: config.AdapterConfig,
  weights: dict[str, SourceTensor],
  adapters: dict[str, SourceTensor],
) -> dict[str, SourceTensor]:
  """Returns the weights, merged with the LoRA adapters that they have."""
  merged = dict(weights)
  for name, weight in weights.items():
    if f"{name}/{LORA_A}" in adapters:
      merged[name] = _MergedWeight(
        adapter_config,
        weight,
        adapters[f"{name}/{LORA_A}"],
        adapters[f"{name}/{LORA_B}"],
      ).source_tensor()
  return merged


@dataclasses.dataclass(frozen=True)
class _MergedWeight:
  """A weight with a LoRA adapter.

  Attributes:
    adapter: rank and alpha.
    weight: [*inputs, *outputs].
    a: [*inputs, rank].
    b: [rank, *outputs].
  """

  adapter: config.AdapterConfig
  weight: SourceTensor
  a: SourceTensor
  b: SourceTensor

  def source_tensor(self) -> SourceTensor:
    """Returns the merged weight."""
    rows = self.weight.shape[0]
    return SourceTensor(
      self.weight.shape, lambda: self._read_rows(0, rows), self._read_rows
    )

  def _read_rows(self, begin: int, end: int) -> np.ndarray:
    # The weight's first dimension is one of its inputs, so it is also the
    # first one of A.
    assert self.weight.read_rows and self.a.read_rows
    return merge_lora(
      self.adapter,
      self.weight.read_rows(begin, end),
      self.a.read_rows(begin, end),
      self.b.read(),
    )
