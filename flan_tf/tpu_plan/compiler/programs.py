"""The programs of a run: those that train, score and decode.

They are made by the very classes that do so, for whatever devices are given.
Nothing is loaded: a plan needs no vocabulary and no checkpoint.
"""

import dataclasses
import typing

import tensorflow as tf

from flan_tf import config
from flan_tf.inference import generator, prefix_trees, scorer
from flan_tf.inference.loaded_model import LoadedModel
from flan_tf.mesh import layout, program
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.devices import Devices
from flan_tf.model import kv_cache
from flan_tf.model.dims import SPLITTABLE, dims_for
from flan_tf.tpu_plan import request
from flan_tf.training.step import TrainStep
from flan_tf.vocab.vocabulary import Vocabulary

# Of a planned scoring call: how much of a row is options.
_SCORED_SHARE = 8


@dataclasses.dataclass(frozen=True)
class VocabularySizes:
  """What programs ask of a vocabulary."""

  size: int
  pad_id: int = 0
  bos_id: int = 1
  has_start: bool = True


def layout_of(run: config.RunConfig) -> layout.Layout:
  """The layout of a run, checked."""
  mesh = run.mesh
  return layout.parse_layout(mesh.shape, mesh.layout, SPLITTABLE)


def train_step(run: config.RunConfig, devices: Devices) -> TrainStep:
  return TrainStep(devices, layout_of(run), run)


def loaded_model(
  run: config.RunConfig, devices: Devices, rows: int
) -> LoadedModel:
  """A model that answers, without values."""
  data = run.data
  length = data.input_length + data.target_length
  run = config.replace(run, "data", length=length)
  vocabulary = VocabularySizes(run.model.pieces or run.model.vocab)
  # It has all that programs ask for.
  vocabulary = typing.cast(Vocabulary, vocabulary)
  return LoadedModel(run, vocabulary, rows, devices)


def of_request(
  asked: request.CompileRequest, devices: Devices
) -> tuple[list[program.Fed], int]:
  """The programs of a request, and how many parameters the model has."""
  if asked.program == "train":
    step = train_step(asked.run, devices)
    weights = step.frozen or step.weights
    return step.programs(), weights.parameters
  model = loaded_model(asked.run, devices, asked.rows)
  made = scored(model) if asked.program == "score" else decoded(model)
  return [made], model.weights.parameters


def scored(model: LoadedModel) -> program.Fed:
  """One call of full rows."""
  length = model.run.data.length
  shape = prefix_trees.TreeBatchShape(
    model.batch, length, max(length // _SCORED_SHARE, 1)
  )
  made, shapes = scorer.Scorer(model).program_for(shape)
  part = model.layout.part_shape
  features = [tf.TensorSpec(part(dims), tf.int32) for dims in shapes]
  return program.Fed(made, ([], [], *features))


def decoded(model: LoadedModel) -> program.Fed:
  """One new token for each row, behind the longest prompts."""
  kind = kind_of(model, model.run.data.input_length)
  made = generator.Generator(model).more(kind)
  d = dims_for(model.run.model, model.batch, 1, kind.memory)
  part = model.layout.part_shape
  rows = part(mtf.Shape([d.batch]))
  scalar = tf.TensorSpec([], tf.int32)
  dtype = tf.as_dtype(model.run.mesh.precision)
  cache = tf.TensorSpec(part(kv_cache.cache_shape(d)), dtype)
  feeds = (
    tf.TensorSpec(rows, tf.int32),  # tokens
    tf.TensorSpec(rows, tf.int32),  # start
    scalar,  # column
    scalar,  # steps
    tf.TensorSpec([*rows, generator.AT_ONCE], tf.float32),  # chance
    tf.TensorSpec(rows, tf.bool),  # over
    tf.TensorSpec([1], tf.int32),  # ends
    tf.TensorSpec(part(mtf.Shape([d.width, d.vocab])), dtype),  # columns
    [cache] * (2 * model.run.model.layers),
  )
  return program.Fed(made, feeds)


def kind_of(model: LoadedModel, columns: int) -> generator.ProgramKey:
  """Greedy decoding of as many new tokens as rows have room for."""
  return generator.ProgramKey(
    rows=model.batch,
    columns=columns,
    memory=model.run.data.length,
    ends=1,
    sampling=generator.Sampling(),
  )
