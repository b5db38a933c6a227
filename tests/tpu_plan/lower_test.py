"""A plan lowers the function that a strategy runs on each core."""

import contextlib
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.inference.generator import GenerationRequest, Generator
from flan_tf.inference.scorer import Scorer
from flan_tf.tpu_plan.compiler import programs
from flan_tf.tpu_plan.compiler.abstract_devices import open_abstract_devices
from flan_tf.tpu_plan.compiler.lower import lower_program
from flan_tf.training.step import TrainStep
from tests.helpers import toys

MESH = "data:2;model:2"


def setUpModule():
  toys.open_cores()


@contextlib.contextmanager
def recorded_functions(strategy):
  """Gives a list that collects the functions passed to `strategy.run`."""
  functions, run = [], strategy.run

  def recording_run(fn, *args, **kwargs):
    functions.append(fn)
    return run(fn, *args, **kwargs)

  with mock.patch.object(strategy, "run", recording_run):
    yield functions


def run_config(mesh: str, **train) -> config.RunConfig:
  run = config.replace(toys.run_config(mesh, **train), "model", layers=1)
  return config.replace(run, "data", input_length=16, target_length=16)


class LowerTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enterContext(toys.unoptimized_graphs())

  @parameterized.parameters(("", 1), (MESH, 1), ("model:4", 2))
  def test_training(self, mesh, microbatches):
    run = run_config(mesh, microbatches=microbatches)
    devices, layout = toys.mesh(mesh)
    step = TrainStep(devices, layout, run)
    with recorded_functions(devices.strategy) as functions:
      step(toys.batch(8, 16), 1, 1e-2)
    executed = [spec.program for spec in step.programs()]
    self.assertEqual({fn.__self__ for fn in functions}, set(executed))
    for fn in functions:
      self.assertIs(fn, fn.__self__.replica_fn)

    abstract = open_abstract_devices(layout.cores)
    planned = TrainStep(abstract, layout, run).programs()
    for program, spec in zip(executed, planned, strict=True):
      self.check_lowered(abstract, spec, program)

  def test_scoring(self):
    def score(model):
      ids = np.arange(2, 9)
      Scorer(model).score([ids, ids[:3]], [[ids[:1]]] * 2)

    self.check_inference(score, programs.scoring_program)

  def test_decoding(self):
    def decode(model):
      request = GenerationRequest(2, (-1,), numbers=range(2))
      ids = np.arange(2, 9)
      Generator(model).continuations([ids, ids[:3]], request)

    self.check_inference(decode, programs.decode_program)

  def check_inference(self, infer, plan_program):
    run = run_config(MESH)
    devices, layout = toys.mesh(MESH)
    with recorded_functions(devices.strategy) as functions:
      infer(programs.create_model(run, devices, 4))
    for fn in functions:
      self.assertIs(fn, fn.__self__.replica_fn)
    abstract = open_abstract_devices(layout.cores)
    spec = plan_program(programs.create_model(run, abstract, 4))
    self.check_lowered(abstract, spec, functions[-1].__self__)

  def check_lowered(self, devices, spec, executed):
    """Checks that a plan lowers `replica_fn`, made of the executed step."""
    with recorded_functions(devices.strategy) as functions:
      # This TensorFlow traces the function, but cannot lower it for TPUs.
      with self.assertRaisesRegex(ValueError, "unsupported .* XLA_TPU_JIT"):
        lower_program(devices, spec.program, spec.feeds)
    (traced,) = functions
    self.assertIs(traced, spec.program.replica_fn)
    self.assertIs(traced.__func__, executed.replica_fn.__func__)
    self.assertIs(spec.program._step.__code__, executed._step.__code__)


if __name__ == "__main__":
  absltest.main()
