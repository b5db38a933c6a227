"""The programs of a run: those that train, score and decode.

The classes that train, score and decode create them, for any devices. Nothing
is loaded, so a plan needs neither a vocabulary nor a checkpoint.
"""

import dataclasses
import typing

from flan_tf import config
from flan_tf.inference.decode_programs import DecodePrograms, ProgramKey
from flan_tf.inference.loaded_model import LoadedModel
from flan_tf.inference.prefix_trees import TreeBatchShape
from flan_tf.inference.scorer import Scorer
from flan_tf.mesh.devices import Devices
from flan_tf.mesh.program import ProgramSpec
from flan_tf.model.run_mesh import run_layout
from flan_tf.sampling import Sampling
from flan_tf.tpu_plan.request import CompileRequest
from flan_tf.training.step import TrainStep
from flan_tf.vocab.base import Vocabulary

# Share of a row's tokens that a planned scoring call scores: 1 / 8.
_TOKENS_PER_SCORED_TOKEN = 8


@dataclasses.dataclass(frozen=True)
class VocabularySizes:
  """Takes the place of a vocabulary: only what programs depend on."""

  size: int
  pad_id: int = 0
  bos_id: int = 1
  has_start: bool = True


def create_train_step(run: config.RunConfig, devices: Devices) -> TrainStep:
  """Returns the training step of a run on the given devices."""
  return TrainStep(devices, run_layout(run.mesh), run)


def create_model(
  run: config.RunConfig, devices: Devices, rows: int
) -> LoadedModel:
  """Returns a model for scoring and decoding, without weights.

  Args:
    run: the run.
    devices: the devices of the run's mesh.
    rows: batch size.
  """
  data = run.data
  length = data.input_length + data.target_length
  run = config.replace(run, "data", length=length)
  vocabulary = VocabularySizes(run.model.pieces or run.model.vocab)
  return LoadedModel(run, typing.cast(Vocabulary, vocabulary), rows, devices)


def request_programs(
  request: CompileRequest, devices: Devices
) -> tuple[list[ProgramSpec], int]:
  """Returns the programs of a request, and the number of parameters."""
  if request.program == "train":
    step = create_train_step(request.run, devices)
    weights = step.frozen or step.weights
    return step.programs(), weights.parameters
  model = create_model(request.run, devices, request.rows)
  create = {"score": scoring_program, "decode": decode_program}
  return [create[request.program](model)], model.weights.parameters


def scoring_program(model: LoadedModel) -> ProgramSpec:
  """Returns the program of a scoring call whose rows have no padding."""
  length = model.run.data.length
  shape = TreeBatchShape(
    model.batch, length, max(length // _TOKENS_PER_SCORED_TOKEN, 1)
  )
  compiled = Scorer(model).program_for(shape)
  return ProgramSpec(compiled.program, (compiled.specs(model.layout),))


def decode_program(model: LoadedModel) -> ProgramSpec:
  """Returns the program that appends a token to each of the longest prompts."""
  key = ProgramKey(
    rows=model.batch,
    columns=model.run.data.input_length,
    memory=model.run.data.length,
    ends=1,
    sampling=Sampling(),
  )
  programs = DecodePrograms(model)
  return ProgramSpec(programs.decode(key), (programs.decode_specs(key),))
