"""The programs of a run: those that train, score and decode.

They are made by the very classes that do so, for whatever devices are given.
Nothing is loaded: a plan needs no vocabulary and no checkpoint.
"""

import dataclasses
import typing

import tensorflow as tf

from flan_tf import config
from flan_tf.data import vocabulary as vocabulary_lib
from flan_tf.eval import decoding, loaded, scoring, tree_rows
from flan_tf.mesh import layout as layout_lib
from flan_tf.mesh import program
from flan_tf.mesh import strategy as strategy_lib
from flan_tf.mesh.compat import mtf
from flan_tf.model import decode
from flan_tf.model import dims as dims_lib
from flan_tf.plan import request
from flan_tf.train import step as step_lib

# Of a planned scoring call: how much of a row is options.
_SCORED_SHARE = 8


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """What programs ask of a vocabulary."""

  size: int
  pad_id: int = 0
  bos_id: int = 1
  has_start: bool = True


def layout_of(run: config.RunConfig) -> layout_lib.Layout:
  """The layout of a run, checked."""
  mesh = run.mesh
  return layout_lib.parse(mesh.shape, mesh.layout, dims_lib.SPLITTABLE)


def train_step(
  run: config.RunConfig, devices: strategy_lib.Devices
) -> step_lib.TrainStep:
  return step_lib.TrainStep(devices, layout_of(run), run)


def loaded_model(
  run: config.RunConfig, devices: strategy_lib.Devices, rows: int
) -> loaded.LoadedModel:
  """A model that answers, without values."""
  data = run.data
  length = data.input_length + data.target_length
  run = config.replace(run, "data", length=length)
  vocabulary = Vocabulary(run.model.pieces or run.model.vocab)
  # It has all that programs ask for.
  vocabulary = typing.cast(vocabulary_lib.AnyVocabulary, vocabulary)
  return loaded.LoadedModel(run, vocabulary, rows, devices)


def of_request(
  asked: request.Request, devices: strategy_lib.Devices
) -> tuple[list[program.Fed], int]:
  """The programs of a request, and how many parameters the model has."""
  if asked.program == "train":
    step = train_step(asked.run, devices)
    weights = step.frozen or step.weights
    return step.programs(), weights.parameters
  model = loaded_model(asked.run, devices, asked.rows)
  made = scored(model) if asked.program == "score" else decoded(model)
  return [made], model.weights.parameters


def scored(model: loaded.LoadedModel) -> program.Fed:
  """One call of full rows."""
  length = model.run.data.length
  shape = tree_rows.Shape(model.batch, length, max(length // _SCORED_SHARE, 1))
  made, shapes = scoring.Scorer(model).program_for(shape)
  part = model.layout.part_shape
  features = [tf.TensorSpec(part(dims), tf.int32) for dims in shapes]
  return program.Fed(made, ([], [], *features))


def decoded(model: loaded.LoadedModel) -> program.Fed:
  """One new token for each row, behind the longest prompts."""
  kind = kind_of(model, model.run.data.input_length)
  made = decoding.Decoder(model).more(kind)
  d = dims_lib.dims_for(model.run.model, model.batch, 1, kind.memory)
  part = model.layout.part_shape
  rows = part(mtf.Shape([d.batch]))
  scalar = tf.TensorSpec([], tf.int32)
  dtype = tf.as_dtype(model.run.mesh.precision)
  cache = tf.TensorSpec(part(decode.cache_shape(d)), dtype)
  feeds = (
    tf.TensorSpec(rows, tf.int32),  # tokens
    tf.TensorSpec(rows, tf.int32),  # start
    scalar,  # column
    scalar,  # steps
    tf.TensorSpec([*rows, decoding.AT_ONCE], tf.float32),  # chance
    tf.TensorSpec(rows, tf.bool),  # over
    tf.TensorSpec([1], tf.int32),  # ends
    tf.TensorSpec(part(mtf.Shape([d.width, d.vocab])), dtype),  # columns
    [cache] * (2 * model.run.model.layers),
  )
  return program.Fed(made, feeds)


def kind_of(model: loaded.LoadedModel, columns: int) -> decoding.Kind:
  """Greedy decoding of as many new tokens as rows have room for."""
  return decoding.Kind(
    rows=model.batch,
    columns=columns,
    memory=model.run.data.length,
    ends=1,
    sampling=decoding.Sampling(),
  )
