"""Runs TPU programs on virtual cores and compares them with one device.

The virtual cores run what a TPU would run, collectives included; see
`virtual_cores`. The one device is a CPU with ordinary TensorFlow and no mesh.
Both get the same weights and inputs. A large run is reduced first; see
`flan_tf.tpu_plan.reduced_run`. Compared are, by program:

  train   loss and gradient norm of three steps, then all weights and slots
  score   log-probabilities of options after prompts, some with a shared prefix
  decode  the most likely tokens after prompts, and the key/value cache
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from flan_tf import config
from flan_tf.inference.decode_programs import DecodePrograms
from flan_tf.inference.generator import GenerationRequest, Generator
from flan_tf.inference.loaded_model import LoadedModel
from flan_tf.inference.scorer import Scorer
from flan_tf.mesh.devices import Devices, open_devices
from flan_tf.mesh.program import Program
from flan_tf.model import dims, kv_cache
from flan_tf.model.run_mesh import run_layout
from flan_tf.tpu_plan import parameter_count, reduced_run
from flan_tf.tpu_plan.compiler import programs, random_inputs
from flan_tf.tpu_plan.compiler.virtual_cores import open_virtual_devices
from flan_tf.tpu_plan.request import CompileReport, CompileRequest

_SEED = 0
_STEPS = 3
_LEARNING_RATE = 1e-2
_SCORED_PROMPTS = 8
_NEW_TOKENS = 8
_MAX_PROMPT_LENGTH = 24
# No token has this id, so no text ends early.
_NO_END_ID = -1

# Arrays by the name of the result.
_Results = dict[str, list[np.ndarray]]
# Results that are compared in nats. Others are compared relative to the largest
# element of an array.
_IN_NATS = ("loss", "log_probs")


def execute_request(request: CompileRequest) -> CompileReport:
  """Executes a program; `differences` of the report has all differences."""
  reduced = reduced_run.reduce_request(request)
  run, execute = reduced.run, _EXECUTE[request.program]
  layout = run_layout(run.mesh)
  start = time.perf_counter()
  actual = execute(run, reduced.rows, open_virtual_devices(layout.cores))
  middle = time.perf_counter()
  unsplit = config.replace(run, "mesh", shape="")
  expected = execute(unsplit, reduced.rows, _open_one_device())
  end = time.perf_counter()
  return CompileReport(
    program=request.program,
    parameters=parameter_count.count_parameters(request.run.model),
    cores=layout.cores,
    fits=True,
    differences={
      name: _largest_difference(name, actual[name], arrays)
      for name, arrays in expected.items()
    },
    seconds={"virtual cores": middle - start, "one device": end - middle},
  )


class _DevicesWithoutXla(Devices):
  """Devices on which XLA compiles no program.

  tensorflow-tpu has no XLA for CPUs.
  """

  def compile_program(self, program: Program, jit_compile: bool) -> Callable:
    del jit_compile
    return super().compile_program(program, jit_compile=False)


def _open_one_device() -> Devices:
  devices = open_devices(1, "cpu")
  return _DevicesWithoutXla(devices.strategy, devices.platform, devices.cores)


def _train(run: config.RunConfig, rows: int, devices: Devices) -> _Results:
  del rows
  step = programs.create_train_step(run, devices)
  for state in filter(None, (step.frozen, step.weights)):
    random_inputs.assign_random(state, _SEED)
  losses, norms = [], []
  for number in range(1, _STEPS + 1):
    batch = random_inputs.random_batch(run, seed=number)
    metrics = step(batch, number, _LEARNING_RATE)
    losses.append(np.array(metrics.loss))
    norms.append(np.array(metrics.grad_norm))
  results = {"loss": losses, "gradient_norm": norms}
  for name, state in (("weights", step.weights), ("slots", step.slots)):
    results[name] = [
      state.gather(tensor)
      for tensor in state.specs
      if _has_gradient(run.model, tensor)
    ]
  return results


def _has_gradient(model: config.ModelConfig, name: str) -> bool:
  """Returns whether the gradient of a weight is more than rounding error.

  A softmax does not change if the same vector is added to all keys, unless
  rotary positions turn the keys first. The gradient of the keys' bias is then
  rounding error only, but Adafactor scales its update to the usual size.
  """
  return "attention/k_bias" not in name or model.positions == "rotary"


def _score(run: config.RunConfig, rows: int, devices: Devices) -> _Results:
  model = _create_random_model(run, rows, devices)
  prompts, options = random_inputs.random_options(run, _SCORED_PROMPTS, _SEED)
  return {"log_probs": Scorer(model).score(prompts, options)}


def _decode(run: config.RunConfig, rows: int, devices: Devices) -> _Results:
  model = _create_random_model(run, rows, devices)
  recorder = _RecordingPrograms(model)
  prompts = list(
    random_inputs.random_prompts(run, rows, _SEED, _MAX_PROMPT_LENGTH)
  )
  request = GenerationRequest(_NEW_TOKENS, (_NO_END_ID,), numbers=range(rows))
  tokens = Generator(model, recorder).continuations(prompts, request)
  return {"tokens": tokens, "keys_and_values": recorder.cache()}


def _create_random_model(
  run: config.RunConfig, rows: int, devices: Devices
) -> LoadedModel:
  model = programs.create_model(run, devices, rows)
  for state in (model.weights, model.adapters):
    random_inputs.assign_random(state, _SEED)
  return model


class _RecordingPrograms(DecodePrograms):
  """Decode programs that keep the results of the last call."""

  def __init__(self, model: LoadedModel):
    super().__init__(model)
    self._last: tuple

  def compile(self, step: Callable, jit_compile: bool) -> Program:
    """Compiles a step and records what each of its calls returns."""
    compiled = super().compile(step, jit_compile)
    dispatch = compiled.dispatch

    def recording_dispatch(*args):
      results = dispatch(*args)
      self._last = compiled, results
      return results

    compiled.dispatch = recording_dispatch
    return compiled

  def cache(self) -> list[np.ndarray]:
    """Returns the keys and values of all layers after the last call."""
    compiled, (_, _, cache) = self._last
    arrays = []
    for shards in zip(*compiled.local_results(cache), strict=True):
      memory = shards[0].shape[2]
      d = dims.dims_for(self._config, self._model.batch, 1, memory)
      arrays.append(compiled.assemble(list(shards), kv_cache.cache_shape(d)))
    return arrays


def _largest_difference(
  name: str, actual: Sequence[np.ndarray], expected: Sequence[np.ndarray]
) -> float:
  """Returns the largest difference of all arrays; see _IN_NATS for its unit."""
  largest = 0.0
  for one, other in zip(actual, expected, strict=True):
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape:
      raise ValueError(
        f"{name}: virtual cores returned an array of shape {one.shape}, one"
        f" device one of shape {other.shape}."
      )
    scale = 1.0 if name in _IN_NATS else float(np.abs(other).max(initial=0.0))
    difference = np.abs(one - other).max(initial=0.0) / (scale or 1.0)
    largest = float(np.maximum(largest, difference))  # Keeps NaN.
  return largest


_EXECUTE = {"train": _train, "score": _score, "decode": _decode}
