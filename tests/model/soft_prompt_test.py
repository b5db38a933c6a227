"""Soft prompts: learned vectors before every example, and nothing else."""

import dataclasses

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.data import example_table
from tests.helpers import byte_pairs, tiny, toys

TINY = tiny.Tiny()
SOFT = {"adapter__soft_prompt": 3}


def setUpModule():
  toys.open_cores()
  TINY.open()
  TINY.base = TINY.folder / "base"
  TINY.train(TINY.run(train__steps=2), TINY.base)


tearDownModule = TINY.close


def soft_run(**changes) -> config.RunConfig:
  return TINY.run(train__init_from=str(TINY.base), **SOFT, **changes)


class TableTest(absltest.TestCase):
  def test_every_example_stands_after_its_prompt(self):
    writer = example_table.TableWriter()
    writer.add(np.int32([5, 6, 1]), 2, row_index=0)
    writer.add(np.int32([7, 1]), 1, row_index=4)
    table = writer.table().prepend(2, token_id=0)
    self.assertEqual(table.ids.tolist(), [0, 0, 5, 6, 1, 0, 0, 7, 1])
    self.assertEqual(table.offsets.tolist(), [0, 5, 9])
    self.assertEqual(table.prompt_lengths.tolist(), [4, 3])
    self.assertEqual(table.row_indices.tolist(), [0, 4])
    same = table.prepend(0, token_id=0)
    np.testing.assert_array_equal(same.ids, table.ids)


class TrainingTest(parameterized.TestCase):
  def test_begins_as_embeddings_of_tokens(self):
    run = TINY.open_run(soft_run(), self.create_tempdir().full_path)
    prompt = run.train_step.weights.gather("soft_prompt")
    table = run.train_step.frozen.gather("embedding")
    self.assertEqual(prompt.shape, (3, 32))
    for vector in prompt:
      self.assertLess(np.abs(table - vector).sum(-1).min(), 1e-6)

  def test_only_the_prompt_trains(self):
    run = TINY.open_run(soft_run(), self.create_tempdir().full_path)
    step, frozen = run.train_step, run.train_step.frozen
    self.assertEqual(list(step.weights.specs), ["soft_prompt"])
    before = {name: frozen.gather(name) for name in frozen.specs}
    batch = next(run.batches).features
    losses = [step(batch, index, 0.3).loss for index in range(1, 12)]
    self.assertLess(losses[-1], losses[0])
    for name, value in before.items():
      np.testing.assert_array_equal(frozen.gather(name), value)

  def test_the_prompt_has_no_loss_and_all_rows_fit(self):
    run = TINY.open_run(soft_run(), self.create_tempdir().full_path)
    features = next(run.batches).features
    inside = (features["positions"] < 3) & (features["segment_ids"] > 0)
    self.assertTrue(inside.any())
    self.assertEqual(features["loss_weights"][inside].sum(), 0)

  def test_texts_without_a_start_have_one_before_the_prompt(self):
    made = byte_pairs.train(["It is so. It is not so."] * 9, size=300)
    self.assertFalse(made.has_start)
    vocabulary = self.create_tempfile("byte_pairs.json").full_path
    made.save(vocabulary)
    base = self.create_tempdir().full_path
    changes = {"data__vocabulary": vocabulary}
    TINY.train(TINY.run(train__steps=1, **changes), base)
    changes |= {"train__init_from": base} | SOFT
    run = TINY.open_run(TINY.run(**changes), self.create_tempdir().full_path)
    features = next(run.batches).features
    first = features["segment_ids"] * (features["positions"] == 0) > 0
    self.assertTrue(first.any())
    self.assertEqual(set(features["inputs"][first]), {made.bos_id})
    inside = (features["positions"] > 0) & (features["positions"] <= 3)
    self.assertEqual(set(features["inputs"][inside]), {made.pad_id})

  @parameterized.parameters("data:2", "model:2")
  def test_no_mesh_changes_training(self, mesh):
    from flan_tf.training.step import TrainStep

    def train(shape):
      run = dataclasses.replace(
        toys.run_config(shape), adapter=config.AdapterConfig(soft_prompt=2)
      )
      step = TrainStep(*toys.mesh(shape), run)
      step.frozen.initialize(seed=3)
      step.weights.initialize(seed=4)
      step.slots.initialize(seed=3)
      made = []
      for index in range(1, 4):
        result = step(toys.batch(8, 16, seed=index), index, 3e-2)
        made.append((result.loss, result.grad_norm))
      return np.array(made)

    np.testing.assert_allclose(train(mesh), train(""), rtol=2e-5, atol=1e-5)


class EvaluationTest(absltest.TestCase):
  def test_a_prompt_of_real_tokens_scores_as_those_tokens(self):
    """Vectors that are embeddings of tokens are those tokens."""
    from flan_tf.inference import language_model

    workdir = self.create_tempdir().full_path
    TINY.train(soft_run(train__steps=1, train__learning_rate=0.0), workdir)
    soft = language_model.LanguageModel.load(workdir, batch=4)
    plain = language_model.LanguageModel.load(str(TINY.base), batch=4)
    table = plain.weights.gather("embedding")
    prompt = soft.adapters.gather("soft_prompt")
    ids = [int(np.abs(table - v).sum(-1).argmin()) for v in prompt]
    examples = [
      language_model.ScoredExample(
        np.arange(5, 5 + size, dtype=np.int32), size // 2
      )
      for size in (4, 7, 20)
    ]
    spelt = [
      dataclasses.replace(e, ids=np.int32([*ids, *e.ids])) for e in examples
    ]
    np.testing.assert_allclose(
      soft.score(examples), plain.score(spelt), atol=1e-4
    )
    asked = [example.ids for example in examples]
    for one, other in zip(
      soft.generate(asked, 5),
      plain.generate([example.ids for example in spelt], 5),
      strict=True,
    ):
      np.testing.assert_array_equal(one, other)

  def test_evaluates(self):
    import tasks
    from flan_tf.eval import evaluation_config, protocol
    from flan_tf.inference import language_model
    from flan_tf.task import registry

    workdir = self.create_tempdir().full_path
    TINY.train(soft_run(train__steps=2), workdir)
    model = language_model.LanguageModel.load(workdir, batch=4)
    self.assertEqual(model.prompt_format.example_length, 77)
    found = protocol.evaluate(
      model,
      "soft",
      workdir,
      [registry.TaskRegistry(tasks.ALL).get("rte")],
      TINY.data_dir,
      evaluation_config.EvaluationConfig(max_examples=2, templates=(0,)),
    )
    self.assertLen(found.tasks, 1)

  def test_refused(self):
    with self.assertRaisesRegex(ValueError, "soft_prompt: expected 0 or more"):
      config.AdapterConfig(soft_prompt=-1)


if __name__ == "__main__":
  absltest.main()
