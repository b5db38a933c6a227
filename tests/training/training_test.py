"""Training in this process: metrics, checkpoints, resuming, refusals."""

import glob
import json
import logging
import math
import os
import pathlib
import shutil

import numpy as np
from absl.testing import absltest

import tasks
from flan_tf import config, json_lines
from flan_tf.task import registry
from tests.helpers import tiny

TINY = tiny.Tiny()


def setUpModule():
  TINY.open()
  logging.getLogger("flan_tf").setLevel(logging.ERROR)


def tearDownModule():
  TINY.close()


def resolve(run: config.RunConfig, workdir):
  from flan_tf.training import starting_point

  return starting_point.resolve_run(run, str(workdir))


def weights_of(opened) -> dict[str, np.ndarray]:
  weights = opened.train_step.weights
  return {name: weights.gather(name) for name in weights.specs}


class TrainedTest(absltest.TestCase):
  """What one run leaves behind; no method changes its folder."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.workdir = TINY.folder / "base"
    cls.run_config = TINY.run(train__steps=12)
    cls.opened = TINY.train(cls.run_config, cls.workdir)
    cls.lines = json_lines.read_jsonl(str(cls.workdir / "metrics.jsonl"))

  def copy(self) -> pathlib.Path:
    """A workdir of its own with the same checkpoints and metrics."""
    path = pathlib.Path(self.create_tempdir().full_path, "run")
    shutil.copytree(self.workdir, path)
    return path

  def test_loss_falls(self):
    losses = [line["loss"] for line in self.lines]
    self.assertLess(np.mean(losses[-3:]), np.mean(losses[:3]) - 0.5)
    # It began as a guess among all pieces.
    self.assertLess(abs(losses[0] - math.log(384)), 1.5)

  def test_metrics(self):
    self.assertEqual([line["step"] for line in self.lines], [*range(1, 13)])
    for line in self.lines:
      self.assertEqual(line["learning_rate"], 0.02)
      self.assertGreater(line["tokens_per_second"], 0)
      self.assertGreater(line["grad_norm"], 0)
      self.assertBetween(line["fill"], 0.5, 1.0)
      shares = [line[f"share/{name}"] for name in tiny.TASKS]
      self.assertAlmostEqual(sum(shares), 1.0)
      self.assertLen(line, 8)

  def test_tensorboard(self):
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util

    events = event_accumulator.EventAccumulator(
      str(self.workdir / "tensorboard"), size_guidance={"tensors": 0}
    )
    events.Reload()
    expected = set(self.lines[0]) - {"step"} | {"prompts"}
    self.assertEqual(set(events.Tags()["tensors"]), expected)
    losses = {
      event.step: float(tensor_util.make_ndarray(event.tensor_proto))
      for event in events.Tensors("loss")
    }
    for line in self.lines:
      self.assertAlmostEqual(losses[line["step"]], line["loss"], places=5)
    (prompts,) = events.Tensors("prompts")
    text = tensor_util.make_ndarray(prompts.tensor_proto).item().decode()
    for name in tiny.TASKS:
      self.assertIn(f"    === {name} ===\n", text)
    self.assertRegex(text, r"\n    >>> (yes|no|positive|negative)\n")

  def test_checkpoints(self):
    from flan_tf.checkpoints import checkpoint_dirs
    from flan_tf.checkpoints.bundle import Bundle

    self.assertEqual(
      checkpoint_dirs.completed_steps(str(self.workdir)), [9, 12]
    )
    path = checkpoint_dirs.find(str(self.workdir))
    saved = Bundle.open(path).run
    self.assertEqual(saved, self.opened.config)
    self.assertEqual(saved.model.vocab, 384)
    data = json.loads(checkpoint_dirs.read_file(path, "data.json"))
    self.assertEqual(data["step"], 12)
    self.assertEqual(set(data["examples"]), set(tiny.TASKS))

  def test_the_same_workdir_resumes(self):
    workdir = self.copy()
    opened = TINY.open_run(TINY.run(train__steps=14, name="longer"), workdir)
    self.assertEqual(opened.step, 12)
    self.assertIn("step_00000012", opened.started_from)
    want = weights_of(self.opened)
    for name, value in weights_of(opened).items():
      np.testing.assert_array_equal(value, want[name], name)
    TINY.train(TINY.run(train__steps=14), workdir)
    lines = json_lines.read_jsonl(str(workdir / "metrics.jsonl"))
    self.assertEqual(lines[:12], self.lines)
    self.assertEqual([line["step"] for line in lines[12:]], [13, 14])
    self.assertLess(lines[-1]["loss"], self.lines[0]["loss"] - 0.5)

  def test_a_finished_run_does_nothing(self):
    workdir = self.copy()
    opened = TINY.train(self.run_config, workdir)
    self.assertEqual(opened.step, 12)
    lines = json_lines.read_jsonl(str(workdir / "metrics.jsonl"))
    self.assertEqual(lines, self.lines)

  def test_learning_rate_may_change(self):
    run = TINY.run(train__learning_rate=0.001, train__schedule="rsqrt")
    self.assertTrue(resolve(run, self.workdir).resumes)

  def test_other_settings_are_refused(self):
    for changes, message in (
      ({"seed": 7}, "seed: 7 asked for, 0 in the checkpoint"),
      ({"train__batch": 8}, "train.batch: 8 asked for, 4 in the"),
      ({"data__length": 96}, "data.length: 96 asked for, 80 in"),
      ({"data__tasks": "rte"}, "data.tasks: 'rte' asked for, 'rte,sst2' in"),
      ({"held_out": "misc"}, "held_out: 'misc' asked for, '' in"),
      ({"model__layers": 3}, "model.layers: 3 asked for, 1 in the"),
      ({"model__mlp": "relu"}, "model.mlp: 'relu' asked for, 'geglu' in"),
    ):
      with self.subTest(str(changes)):
        with self.assertRaisesRegex(ValueError, message) as caught:
          resolve(TINY.run(**changes), self.workdir)
        self.assertIn("step_00000012", str(caught.exception))

  def test_several_differences_are_all_named(self):
    run = TINY.run(seed=7, train__batch=8)
    with self.assertRaisesRegex(
      ValueError, r"seed: 7 (.*\n)+.*train.batch: 8 (.*\n)+Use a new --workdir"
    ):
      resolve(run, self.workdir)

  def test_another_vocabulary_is_refused(self):
    from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

    path = str(TINY.folder / "other.model")
    SentencePieceVocabulary.train(["some other words, so few"], 280, path)
    with self.assertRaisesRegex(
      ValueError, "other.model .* is not the vocabulary of the checkpoint"
    ):
      resolve(TINY.run(data__vocabulary=path), self.workdir)
    with self.assertRaisesRegex(ValueError, "is not the vocabulary of the"):
      resolve(self.started_from_base(data__vocabulary=path), "nowhere")

  def test_other_data_is_refused(self):
    with self.assertRaisesRegex(
      ValueError, "data changed since .*Examples then and now: sst2 23 and 0"
    ):
      TINY.open_run(self.run_config, self.workdir, names=("rte",))

  def started_from_base(self, **changes) -> config.RunConfig:
    return TINY.run(train__init_from=str(self.workdir), **changes)

  def test_init_from(self):
    workdir = self.create_tempdir().full_path
    run = self.started_from_base(
      data__vocabulary="", data__length=64, data__tasks="rte", train__batch=2
    )
    opened = TINY.open_run(run, workdir, ("rte",))
    self.assertEqual(opened.step, 0)
    self.assertEqual(opened.config.model, self.opened.config.model)
    self.assertEqual(
      opened.vocabulary.fingerprint, self.opened.vocabulary.fingerprint
    )
    want = weights_of(self.opened)
    for name, value in weights_of(opened).items():
      np.testing.assert_array_equal(value, want[name], name)
    for name in opened.train_step.slots.specs:
      self.assertFalse(opened.train_step.slots.gather(name).any(), name)

  def test_weights_that_have_seen_the_held_out_cluster_are_refused(self):
    # The run itself does not train on NLI, but its initial weights did.
    run = self.started_from_base(held_out="nli", data__tasks="sst2")
    with self.assertRaisesRegex(
      ValueError, "'nli' is held out, but .*has seen rte"
    ):
      TINY.open_run(run, TINY.folder / "leak", ("sst2",))

  def test_init_from_refuses_another_model(self):
    with self.assertRaisesRegex(
      ValueError, "conflicts with .*\n.*model.d_ff: 128 asked for, 64 in the"
    ):
      resolve(self.started_from_base(model__d_ff=128), "nowhere")
    with self.assertRaisesRegex(ValueError, "No complete checkpoint at 'none'"):
      resolve(TINY.run(train__init_from="none"), "nowhere")

  def test_weights_that_are_nan(self):
    from flan_tf.checkpoints import checkpoint_dirs
    from flan_tf.training import divergence, loop

    workdir = self.copy()
    opened = TINY.open_run(TINY.run(train__steps=15), workdir)
    weights = opened.train_step.weights
    name = min(weights.specs)
    for _, variables in weights.shards(name):
      for variable in variables:
        variable.assign(variable * math.nan)
    with self.assertRaisesRegex(
      divergence.DivergedError,
      "Step 13 gave loss nan.*weights after step 12 are",
    ):
      loop.train(opened, str(workdir))
    self.assertEqual(checkpoint_dirs.completed_steps(str(workdir)), [9, 12])
    # The checkpoint on disk is good, and the run continues from it.
    self.assertEqual(TINY.train(TINY.run(train__steps=13), workdir).step, 13)

  def test_diverging(self):
    from flan_tf.training import divergence

    workdir = self.create_tempdir().full_path
    run = TINY.run(train__learning_rate=1e30)
    with self.assertRaisesRegex(
      divergence.DivergedError,
      r"Step 2 gave .* norm (nan|inf): .*after step 1 are not usable. There is"
      r" no checkpoint yet.*lower train.learning_rate \(1e\+30",
    ):
      TINY.train(run, workdir)
    with self.assertRaisesRegex(
      divergence.DivergedError,
      "checkpoint of step 1 holds these .*: remove its",
    ):
      run = TINY.run(train__learning_rate=1e30, train__save_every=1)
      TINY.train(run, self.create_tempdir().full_path)

  def test_files_are_few(self):
    """The files that a checkpoint was merged from are removed."""
    found = glob.glob(f"{self.workdir}/checkpoints/step_00000012/*")
    self.assertCountEqual(
      [os.path.basename(path) for path in found],
      [
        "COMPLETE",
        "data.json",
        "run.json",
        "state.data-00000-of-00001",
        "state.index",
        "vocabulary.model",
      ],
    )


class StepTest(absltest.TestCase):
  def test_microbatches_are_one_batch(self):
    results = []
    for microbatches in (1, 2):
      run = TINY.run(train__microbatches=microbatches, train__clip_norm=0.5)
      opened = TINY.open_run(run, self.create_tempdir().full_path)
      batches = [next(opened.batches) for _ in range(2)]
      measured = [
        opened.train_step(batch.features, step, 0.02)
        for step, batch in enumerate(batches, start=1)
      ]
      results.append((measured, weights_of(opened)))
    (whole, whole_weights), (parts, parts_weights) = results
    for one, other in zip(whole, parts, strict=True):
      self.assertEqual(one.tokens, other.tokens)
      self.assertAlmostEqual(one.loss, other.loss, places=5)
      self.assertAlmostEqual(one.grad_norm, other.grad_norm, places=4)
    for name, value in whole_weights.items():
      np.testing.assert_allclose(
        value, parts_weights[name], rtol=1e-4, atol=2e-5, err_msg=name
      )

  def test_shuffled_labels(self):
    from flan_tf.training import training_data

    chosen = registry.TaskRegistry(tasks.ALL).select(["rte"])
    answers = []
    for shuffle in (False, True):
      run = TINY.run(data__shuffle_labels=shuffle, data__overflow="end")
      tables, _ = training_data.load_tables(
        resolve(run, "nowhere"), chosen, TINY.data_dir
      )
      table = tables["rte"]
      answers.append(
        [
          bytes(table.example(i)[table.prompt_lengths[i] :])
          for i in range(len(table))
        ]
      )
    right, shuffled = answers
    self.assertEqual(len(right), len(shuffled))
    same = sum(a == b for a, b in zip(right, shuffled, strict=True))
    self.assertBetween(same, 1, len(right) - 1)


if __name__ == "__main__":
  absltest.main()
