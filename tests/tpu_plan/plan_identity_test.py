"""What a strategy runs on each core is the very object that a plan lowers."""

import contextlib
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.inference import generator, scorer
from flan_tf.tpu_plan.compiler import abstract_devices, lower, programs
from flan_tf.training.step import TrainStep
from tests.helpers import toys

MESH = "data:2;model:2"


def setUpModule():
  toys.open_cores()


@contextlib.contextmanager
def given_to_run(strategy):
  """The functions that `strategy.run` is given."""
  given, run = [], strategy.run

  def noted(fn, *args, **more):
    given.append(fn)
    return run(fn, *args, **more)

  with mock.patch.object(strategy, "run", noted):
    yield given


def run_config(mesh: str, **train) -> config.RunConfig:
  run = config.replace(toys.run_config(mesh, **train), "model", layers=1)
  return config.replace(run, "data", input_length=16, target_length=16)


class IdentityTest(parameterized.TestCase):
  @parameterized.parameters(("", 1), (MESH, 1), ("model:4", 2))
  def test_training(self, mesh, microbatches):
    run = run_config(mesh, microbatches=microbatches)
    devices, layout = toys.mesh(mesh)
    step = TrainStep(devices, layout, run)
    with given_to_run(devices.strategy) as given:
      step(toys.batch(8, 16), 1, 1e-2)
    made = [fed.program for fed in step.programs()]
    self.assertEqual({fn.__self__ for fn in given}, set(made))
    for fn in given:
      self.assertIs(fn, fn.__self__.core_step)

    planned = abstract_devices.open_abstract_devices(layout.cores)
    of_plan = TrainStep(planned, layout, run)
    for ours, fed in zip(made, of_plan.programs(), strict=True):
      self.check_lowered(planned, fed, ours)

  def test_scoring(self):
    def score(model):
      ids = np.arange(2, 9)
      scorer.Scorer(model).score([ids, ids[:3]], [[ids[:1]]] * 2)

    self.check_answering(score, programs.scored)

  def test_decoding(self):
    def decode(model):
      wanted = generator.GenerationRequest(2, (-1,), numbers=range(2))
      ids = np.arange(2, 9)
      generator.Generator(model).continuations([ids, ids[:3]], wanted)

    self.check_answering(decode, programs.decoded)

  def check_answering(self, ask, planned_program):
    run = run_config(MESH)
    devices, layout = toys.mesh(MESH)
    with given_to_run(devices.strategy) as given:
      ask(programs.loaded_model(run, devices, 4))
    for fn in given:
      self.assertIs(fn, fn.__self__.core_step)
    planned = abstract_devices.open_abstract_devices(layout.cores)
    fed = planned_program(programs.loaded_model(run, planned, 4))
    self.check_lowered(planned, fed, given[-1].__self__)

  def check_lowered(self, devices, fed, ours):
    """A plan lowers a program's `core_step`, made of what ours is made of."""
    with given_to_run(devices.strategy) as given:
      # Once it is traced, this TensorFlow has no TPU kernels to lower it with.
      with self.assertRaisesRegex(ValueError, "unsupported .* XLA_TPU_JIT"):
        lower.lower(devices, fed.program, fed.feeds)
    (traced,) = given
    self.assertIs(traced, fed.program.core_step)
    self.assertIs(traced.__func__, ours.core_step.__func__)
    self.assertIs(fed.program._step.__code__, ours._step.__code__)


if __name__ == "__main__":
  absltest.main()
