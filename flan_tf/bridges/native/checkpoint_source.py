"""A checkpoint of ours as a source: what goes out again.

A checkpoint that holds LoRA adapters only is given merged with the model below
them, so that it can be written as a checkpoint of its own, or taken elsewhere:

  W [*inputs, *outputs]  +  alpha / rank  A [*inputs, rank] B [rank, *outputs]

One tensor is read and merged at a time, or some of its rows.
"""

import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.bridges import model_source
from flan_tf.checkpoints import store
from flan_tf.model import adapters, decoder, dims
from flan_tf.training import session
from flan_tf.vocab.vocabulary import Vocabulary

# (name, first row, end) -> these rows.
ReadRows = Callable[[str, int, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class NativeSource(model_source.ModelSource):
  """A checkpoint, and what it says of itself.

  Attributes:
    path: its folder.
    asked: what it was found by: the folder, or its workdir.
    run: the run that wrote it.
    data: what the run had read by then.
    soft_prompt: [prompt, d_model], if it has one and that was asked for.
  """

  path: str = ""
  asked: str = ""
  run: config.RunConfig = dataclasses.field(default_factory=config.RunConfig)
  data: dict[str, Any] = dataclasses.field(default_factory=dict)
  soft_prompt: model_source.SourceTensor | None = None

  @property
  def run_now(self) -> config.RunConfig:
    """The run, with what may have been changed on the way."""
    run = config.replace(self.run, "data", separator=self.separator)
    return dataclasses.replace(run, model=self.model, chat=self.chat)


def open_source(
  path: str,
  vocabulary: Vocabulary | None = None,
  soft_prompt: bool = False,
) -> NativeSource:
  """The model of a checkpoint or of a workdir's newest; no tensor is read yet.

  Args:
    path: a folder, local or gs://.
    vocabulary: instead of the checkpoint's.
    soft_prompt: whether the caller can take a soft prompt with the model.

  Raises:
    CheckpointError: there is none, or a file of it is missing or cut short.
    SourceError: it has a soft prompt and nobody asked for one, the model below
      its adapters is gone or is another one, or tensors are missing.
  """
  asked = os.path.expanduser(path)
  path = store.find(asked)
  run = session.saved_config(path)
  data = json.loads(store.read_file(path, session.DATA_FILE))
  if run.adapter.soft_prompt and not soft_prompt:
    raise model_source.SourceError(
      f"{path} has a soft prompt of {run.adapter.soft_prompt} vectors, which"
      " are no tokens and cannot be merged into a model's weights. It can be"
      " evaluated as it is, or become a SavedModel; to take a tuned model"
      " elsewhere, tune it with adapter.lora_rank or as a whole."
    )
  note = f"checkpoint {path} (step {data['step']})"
  tensors = _tensors(path, run.model)
  prompt = None
  if run.adapter.trains:
    base = _base(path, run, data)
    if run.adapter.soft_prompt:
      shape = run.adapter.soft_prompt, run.model.d_model
      name = adapters.SOFT_PROMPT
      prompt = _tensor(os.path.join(path, "state"), name, shape)
    tensors = _merged(run.adapter, _tensors(base, run.model), tensors)
    how = "merged into" if run.adapter.lora_rank else "before the tokens of"
    note += f", its adapters {how} {base}"
  return NativeSource(
    run.model,
    vocabulary or session.saved_vocabulary(path),
    tensors,
    note,
    context=run.data.length,
    path=path,
    asked=asked,
    separator=run.data.separator,
    run=run,
    data=data,
    chat=run.chat,
    soft_prompt=prompt,
  )


def side_files(source: NativeSource) -> dict[str, bytes]:
  """What goes with the tensors into a checkpoint of their own.

  It says what the weights saw, as the one that they come from did; it has no
  adapters and no position in the data.
  """
  run = dataclasses.replace(source.run_now, adapter=config.AdapterConfig())
  data = {k: v for k, v in source.data.items() if k != "next_batch"}
  data |= {"base": "", "source": source.note}
  return {
    session.RUN_FILE: config.to_json(run).encode(),
    session.DATA_FILE: json.dumps(data, indent=2).encode(),
    session.VOCABULARY_FILE: source.vocabulary.model,
  }


def _base(path: str, run: config.RunConfig, data: dict[str, Any]) -> str:
  """The checkpoint that adapters were trained on."""
  try:
    base = store.find(data["base"])
  except store.CheckpointError as error:
    raise model_source.SourceError(
      f"{path} holds adapters only, and the model below them is not where it"
      f" was: {error} Put it there again."
    ) from error
  if session.saved_config(base).model != run.model:
    raise model_source.SourceError(
      f"{path} holds adapters of a model that {base} is no more: its sizes or"
      " choices differ."
    )
  return base


def _tensors(
  path: str, model: config.ModelConfig
) -> dict[str, model_source.SourceTensor]:
  """The weights that a checkpoint has, whole model or adapters."""
  prefix = os.path.join(path, "state")
  shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
  specs = decoder.weight_specs(model, dims.dims_for(model))
  adapted = [f"{name}/{x}" for name in specs for x in (adapters.A, adapters.B)]
  return {
    name: _tensor(prefix, name, tuple(shapes[name]))
    for name in [*specs, *adapted]
    if name in shapes  # Source says which are missing.
  }


def _tensor(prefix: str, name: str, shape: tuple) -> model_source.SourceTensor:
  def read_rows(begin: int, end: int) -> np.ndarray:
    return _restore(prefix, name, shape, begin, end)

  return model_source.SourceTensor(
    shape, lambda: read_rows(0, shape[0]), read_rows
  )


def _restore(
  prefix: str, name: str, shape: tuple, begin: int, end: int
) -> np.ndarray:
  sizes = " ".join(map(str, shape))
  rest = ["-"] * (len(shape) - 1)
  place = f"{sizes} {':'.join([f'{begin},{end - begin}', *rest])}"
  try:
    with tf.device("/cpu:0"):
      (value,) = tf.raw_ops.RestoreV2(
        prefix=prefix,
        tensor_names=[name],
        shape_and_slices=[place],
        dtypes=[tf.float32],
      )
  except tf.errors.OpError as error:
    raise model_source.SourceError(
      f"{prefix} cannot be read; a file of it is corrupt:"
      f" {str(error).splitlines()[0]}"
    ) from error
  return value.numpy()


def _merged(
  adapter: config.AdapterConfig,
  weights: dict[str, model_source.SourceTensor],
  added: dict[str, model_source.SourceTensor],
) -> dict[str, model_source.SourceTensor]:
  """The weights, with what adapters add."""

  def merge(
    name: str, weight: model_source.SourceTensor
  ) -> model_source.SourceTensor:
    if f"{name}/{adapters.A}" not in added:
      return weight
    a, b = (added[f"{name}/{x}"] for x in (adapters.A, adapters.B))

    # The first dimension is one of the inputs, so it is A's first one too.
    def read_rows(begin: int, end: int) -> np.ndarray:
      assert weight.read_rows and a.read_rows
      rows = weight.read_rows(begin, end)
      low = a.read_rows(begin, end)
      return adapters.merged(adapter, rows, low, b.read())

    rows = weight.shape[0]
    return model_source.SourceTensor(
      weight.shape, lambda: read_rows(0, rows), read_rows
    )

  return {name: merge(name, weight) for name, weight in weights.items()}
