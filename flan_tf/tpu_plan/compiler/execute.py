"""A TPU's programs, run on virtual cores, beside the same ones on one device.

On one side are the virtual cores of `flan_tf.tpu_plan.compiler.virtual_cores`, which run what a
TPU would run, collectives and all; on the other one CPU, TensorFlow and no
mesh. Both get the same weights and the same inputs, and what they answer is
compared. A large run is executed as a small one; see `flan_tf.tpu_plan.reduced_run`.

  train   loss and gradient norm of three steps, then all weights and slots
  score   log-probabilities of options behind prompts, some of which begin alike
  decode  the tokens behind prompts, the most likely ones, and keys and values
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from flan_tf import config
from flan_tf.inference import generator, loaded_model, scorer
from flan_tf.mesh import program
from flan_tf.mesh.devices import Devices, open_devices
from flan_tf.model import dims, kv_cache
from flan_tf.tpu_plan import parameter_count, reduced_run, request
from flan_tf.tpu_plan.compiler import programs, random_inputs, virtual_cores

_SEED = 0
_STEPS, _RATE = 3, 1e-2
_PROMPTS = 8  # That have options.
# New tokens, and the longest prompt.
_NEW, _LONGEST = 8, 24
# No token has it: nothing ends early.
_NO_END = -1

# What was computed -> values. Log-probabilities are compared as they are,
# everything else by its own size.
_Found = dict[str, list[np.ndarray]]
_IN_NATS = ("loss", "log_probs")


def answer(asked: request.CompileRequest) -> request.CompileReport:
  """Executes a request's program; `differences` says how far it is off."""
  executed = reduced_run.shrunk(asked)
  run, made = executed.run, _MADE[asked.program]
  layout = programs.layout_of(run)
  begin = time.perf_counter()
  on_cores = made(
    run, executed.rows, virtual_cores.open_virtual_devices(layout.cores)
  )
  between = time.perf_counter()
  alone = config.replace(run, "mesh", shape="")
  on_one = made(alone, executed.rows, _one_device())
  return request.CompileReport(
    program=asked.program,
    parameters=parameter_count.parameters(asked.run.model),
    cores=layout.cores,
    fits=True,
    differences={
      name: _difference(name, on_cores[name], values)
      for name, values in on_one.items()
    },
    seconds={
      "virtual cores": between - begin,
      "one device": time.perf_counter() - between,
    },
  )


class _Plain(Devices):
  """Without XLA, which tensorflow-tpu does not have for CPUs."""

  def compiled(self, made: program.Program, fused: bool) -> Callable:
    return super().compiled(made, fused=False)


def _one_device() -> Devices:
  found = open_devices(1, "cpu")
  return _Plain(found.strategy, found.platform, found.cores)


def _train(run: config.RunConfig, rows: int, devices: Devices) -> _Found:
  del rows
  step = programs.train_step(run, devices)
  for state in filter(None, (step.frozen, step.weights)):
    random_inputs.assign(state, _SEED)
  losses, norms = [], []
  for number in range(1, _STEPS + 1):
    measured = step(random_inputs.batch(run, number), number, _RATE)
    losses.append(np.array(measured.loss))
    norms.append(np.array(measured.grad_norm))
  found = {"loss": losses, "gradient_norm": norms}
  for name, state in (("weights", step.weights), ("slots", step.slots)):
    found[name] = [
      state.gather(of) for of in state.specs if _has_gradient(run.model, of)
    ]
  return found


def _has_gradient(model: config.ModelConfig, name: str) -> bool:
  """Whether a weight has a gradient, or its slots one to follow.

  A softmax does not change if all keys get the same vector on top, unless they
  are turned first. So the gradient of the keys' bias is nothing but rounding,
  which Adafactor makes as large as any other.
  """
  return "attention/k_bias" not in name or model.positions == "rotary"


def _score(run: config.RunConfig, rows: int, devices: Devices) -> _Found:
  model = _loaded(run, rows, devices)
  prompts, options = random_inputs.options(run, _PROMPTS, _SEED)
  return {"log_probs": scorer.Scorer(model).score(prompts, options)}


def _decode(run: config.RunConfig, rows: int, devices: Devices) -> _Found:
  model = _loaded(run, rows, devices)
  decoder = _Decoder(model)
  prompts = list(random_inputs.prompts(run, rows, _SEED, _LONGEST))
  wanted = generator.GenerationRequest(_NEW, (_NO_END,), numbers=range(rows))
  tokens = decoder.continuations(prompts, wanted)
  return {"tokens": tokens, "keys_and_values": decoder.cache()}


def _loaded(
  run: config.RunConfig, rows: int, devices: Devices
) -> loaded_model.LoadedModel:
  model = programs.loaded_model(run, devices, rows)
  for state in (model.weights, model.adapters):
    random_inputs.assign(state, _SEED)
  return model


class _Decoder(generator.Generator):
  """One that knows what its last program returned."""

  def __init__(self, model: loaded_model.LoadedModel):
    super().__init__(model)
    self._last: tuple

  def _made(self, step: Callable, fused: bool) -> program.Program:
    made = super()._made(step, fused)
    start = made.start

    def kept(*args):
      out = start(*args)
      self._last = made, out
      return out

    made.start = kept
    return made

  def cache(self) -> list[np.ndarray]:
    """Keys and values of all layers, whole."""
    made, (_, _, cache) = self._last
    run, found = self._model.run, []
    for of_cores in zip(*made.local(cache), strict=True):
      memory = of_cores[0].shape[2]
      d = dims.dims_for(run.model, self._model.batch, 1, memory)
      found.append(made.join(list(of_cores), kv_cache.cache_shape(d)))
    return found


def _difference(
  name: str, here: Sequence[np.ndarray], there: Sequence[np.ndarray]
) -> float:
  """The largest of all; of each array by its largest element, or as it is."""
  largest = 0.0
  for one, other in zip(here, there, strict=True):
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape:
      raise ValueError(f"{name}: {one.shape} is not {other.shape}.")
    scale = 1.0 if name in _IN_NATS else float(np.abs(other).max(initial=0.0))
    off = np.abs(one - other).max(initial=0.0) / (scale or 1.0)
    largest = float(np.maximum(largest, off))  # NaN stays.
  return largest


_MADE = {"train": _train, "score": _score, "decode": _decode}
