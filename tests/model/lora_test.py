"""LoRA: small weights train, nothing else moves, merged is the same model."""

import dataclasses
import functools
import json
import pathlib

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.mesh import state
from flan_tf.model import adapters, dims
from flan_tf.model.weights import weight_specs
from tests.helpers import tiny, toys

TINY = tiny.Tiny()
LORA = {"adapter__lora_rank": 4}


def setUpModule():
  toys.open_cores()
  TINY.open()
  TINY.base = TINY.folder / "base"
  TINY.train(TINY.run(train__steps=2), TINY.base)


tearDownModule = TINY.close


def lora_run(**changes) -> config.RunConfig:
  return TINY.run(train__init_from=str(TINY.base), **LORA, **changes)


class TrainingTest(parameterized.TestCase):
  def test_the_first_step_sees_the_model_below(self):
    plain = TINY.open_run(
      TINY.run(train__init_from=str(TINY.base)),
      self.create_tempdir().full_path,
    )
    adapted = TINY.open_run(lora_run(), self.create_tempdir().full_path)
    batch = next(plain.batches).features
    one = plain.train_step(batch, 1, 0.0)
    other = adapted.train_step(batch, 1, 0.0)
    self.assertAlmostEqual(one.loss, other.loss, places=5)

  def test_only_adapters_train_and_are_saved(self):
    workdir = self.create_tempdir().full_path
    run = TINY.open_run(lora_run(), workdir)
    frozen = run.train_step.frozen
    before = {name: frozen.gather(name) for name in frozen.specs}
    losses = []
    batch = next(run.batches).features
    for step in range(1, 9):
      losses.append(run.train_step(batch, step, 0.05).loss)
    self.assertLess(losses[-1], losses[0])
    for name, value in before.items():
      np.testing.assert_array_equal(frozen.gather(name), value)
    path = run.save(workdir, run.batches.state)
    saved = tf.train.load_checkpoint(str(pathlib.Path(path, "state")))
    names = saved.get_variable_to_shape_map()
    self.assertNotEmpty(names)
    for name in names:
      self.assertIn("lora_", name)

  def test_a_quarter_of_the_optimizer_s_memory_or_less(self):
    """At rank 8, for the sizes that are tuned in earnest."""
    from flan_tf.training import adafactor
    from launch.configs import sizes

    for name in ("422m", "2b"):
      model = dataclasses.replace(sizes.SIZES[name], vocab=32_000)
      d = dims.dims_for(model)
      adapter = config.AdapterConfig(lora_rank=8)

      def elements(specs):
        return sum(spec.shape.size for spec in specs.values())

      whole = weight_specs(model, d)
      small = adapters.adapter_specs(model, adapter, d)
      slots = elements(adafactor.slot_specs(small))
      # The gradients are as large as what trains.
      of_lora = slots + elements(small)
      of_all = elements(adafactor.slot_specs(whole)) + elements(whole)
      self.assertLess(of_lora, of_all / 4)

  def test_resumes_where_it_was(self):
    workdir = self.create_tempdir().full_path
    TINY.train(lora_run(train__steps=6, train__save_every=3), workdir)
    whole = TINY.open_run(lora_run(train__steps=6), workdir)
    again = self.create_tempdir().full_path
    TINY.train(lora_run(train__steps=3, train__save_every=3), again)
    TINY.train(lora_run(train__steps=6, train__save_every=3), again)
    resumed = TINY.open_run(lora_run(train__steps=6), again)
    self.assertEqual(resumed.base, whole.base)
    for name in whole.train_step.weights.specs:
      np.testing.assert_array_equal(
        whole.train_step.weights.gather(name),
        resumed.train_step.weights.gather(name),
      )

  def test_refusals(self):
    workdir = self.create_tempdir().full_path
    with self.assertRaisesRegex(ValueError, "no weights to adapt"):
      TINY.open_run(TINY.run(**LORA), workdir)
    TINY.train(lora_run(train__steps=1), workdir)
    with self.assertRaisesRegex(ValueError, "(?s)holds adapters only.*convert"):
      TINY.open_run(
        TINY.run(train__init_from=workdir), self.create_tempdir().full_path
      )
    with self.assertRaisesRegex(ValueError, "Did you mean 'attention/q'"):
      config.AdapterConfig(lora_weights="atention/q")


class EvaluationTest(absltest.TestCase):
  def test_merged_weights_score_as_unmerged_ones(self):
    from flan_tf.inference import language_model

    workdir = self.create_tempdir().full_path
    TINY.train(lora_run(train__steps=4, train__learning_rate=0.1), workdir)
    adapted = language_model.LanguageModel.load(workdir, batch=4)
    self.assertNotEmpty(adapted.adapters.specs)
    plain = language_model.LanguageModel.load(str(TINY.base), batch=4)
    examples = [
      language_model.ScoredExample(
        np.arange(3, 3 + size, dtype=np.int32), size // 2
      )
      for size in (4, 7, 20)
    ]
    unmerged = adapted.score(examples)
    self.assertGreater(np.abs(unmerged - plain.score(examples)).max(), 1e-2)
    adapter = adapted.run.adapter
    values = {n: plain.weights.gather(n) for n in plain.weights.specs}
    for name in values:
      if f"{name}/lora_a" in adapted.adapters.specs:
        a, b = (
          adapted.adapters.gather(f"{name}/{x}") for x in ("lora_a", "lora_b")
        )
        values[name] = adapters.merge_lora(adapter, values[name], a, b)
    toys.assign(plain.weights, values)
    np.testing.assert_allclose(plain.score(examples), unmerged, rtol=1e-5)
    prompts = [example.ids for example in examples]
    for one, other in zip(
      plain.generate(prompts, 5), adapted.generate(prompts, 5), strict=True
    ):
      np.testing.assert_array_equal(one, other)

  def test_data_names_the_model_below(self):
    from flan_tf.checkpoints import checkpoint_dirs

    workdir = self.create_tempdir().full_path
    TINY.train(lora_run(train__steps=1), workdir)
    path = checkpoint_dirs.find(workdir)
    base = json.loads(checkpoint_dirs.read_file(path, "data.json"))["base"]
    self.assertStartsWith(base, str(TINY.base))

  def assertStartsWith(self, text: str, start: str):
    self.assertEqual(text[: len(start)], start)


@functools.cache
def train_on(mesh: str) -> np.ndarray:
  """Loss and gradient norm of some steps, [steps, 2]."""
  from flan_tf.training.step import TrainStep

  run = dataclasses.replace(
    toys.run_config(mesh),
    model=toys.one_layer(toys.MODEL),
    adapter=config.AdapterConfig(lora_rank=4),
  )
  step = TrainStep(*toys.mesh(mesh), run)
  step.frozen.initialize(seed=3)
  step.weights.initialize(seed=4)
  step.slots.initialize(seed=3)
  made = []
  with toys.unoptimized_graphs():
    for index in range(1, 4):
      result = step(toys.batch(8, 16, seed=index), index, 3e-2)
      made.append((result.loss, result.grad_norm))
  return np.array(made)


class MeshTest(parameterized.TestCase):
  @parameterized.parameters("model:2", "data:2;model:2")
  def test_no_mesh_changes_training(self, mesh):
    np.testing.assert_allclose(
      train_on(mesh), train_on(""), rtol=2e-5, atol=1e-5
    )

  def test_what_does_not_train_is_held_in_the_precision_of_products(self):
    from flan_tf.training.step import TrainStep

    run = dataclasses.replace(
      config.replace(toys.run_config(), "mesh", precision="bfloat16"),
      adapter=config.AdapterConfig(lora_rank=4),
    )
    devices, layout = toys.mesh("")
    losses = []
    for dtype in (None, tf.float32):
      step = TrainStep(devices, layout, run)
      if dtype is not None:
        step.frozen = state.State(devices, layout, step.frozen.specs, dtype)
      for weights in (step.frozen, step.weights, step.slots):
        weights.initialize(seed=3)
      (_, variables), *_ = step.frozen.shards("embedding")
      self.assertEqual(variables[0].dtype, dtype or tf.bfloat16)
      losses.append(
        [step(toys.batch(8, 16, seed=i), i, 3e-2).loss for i in range(1, 4)]
      )
    self.assertEqual(*losses)


if __name__ == "__main__":
  absltest.main()
