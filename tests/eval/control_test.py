"""A small positive control: a model learns the labels it is trained on."""

from unittest import mock

import numpy as np
from absl.testing import absltest

import tasks
from flan_tf.eval import control
from flan_tf.task import registry
from tests.helpers import tiny

TINY = tiny.Tiny()
tearDownModule = TINY.close
SST2 = registry.TaskRegistry(tasks.ALL).get("sst2")
_CAP = 64


def setUpModule():
  global RIGHT, SHUFFLED
  TINY.open()
  RIGHT, SHUFFLED = _trained("right", False), _trained("shuffled", True)


def _trained(name: str, shuffle_labels: bool):
  from flan_tf.inference.language_model import LanguageModel

  run = TINY.run(
    train__steps=250,
    train__save_every=250,
    train__batch=8,
    train__learning_rate=0.02,
    train__schedule="cosine",
    train__warmup=10,
    train__log_every=50,
    model__layers=2,
    model__d_model=64,
    data__overflow="skip",
    data__input_length=240,
    data__target_length=16,
    data__length=256,
    data__train_cap=_CAP,
    data__shuffle_labels=shuffle_labels,
  )
  workdir = TINY.folder / name
  TINY.train(run, workdir, ("sst2",))
  return LanguageModel.load(str(workdir), batch=8)


class ControlTest(absltest.TestCase):
  def test_training_rows_are_memorized(self):
    right = control.training_accuracy(RIGHT, SST2, TINY.data_dir, _CAP, seed=0)
    self.assertGreaterEqual(right, 95)

  def test_shuffled_labels_are_not_the_true_ones(self):
    # This model learned its shuffled labels, so its accuracy on the true ones
    # is close to chance.
    right = control.training_accuracy(
      SHUFFLED, SST2, TINY.data_dir, _CAP, seed=0
    )
    self.assertLess(right, 85)

  def test_held_back_rows_and_their_majority(self):
    found = control.score_held_back_rows(RIGHT, SST2, TINY.data_dir)
    self.assertEqual(found.task, "sst2")
    self.assertBetween(found.accuracy, 0, 100)
    self.assertBetween(found.auc, 0, 1)
    self.assertGreaterEqual(found.majority, 50)
    self.assertGreater(found.examples, 4)

  def test_a_scorer_that_knows_beats_chance_and_one_that_guesses_does_not(self):
    with self._scores(lambda right: 2 * right - 1):
      found = control.score_held_back_rows(RIGHT, SST2, TINY.data_dir)
    self.assertEqual((found.accuracy, found.auc), (100, 1))
    self.assertTrue(found.beats_chance)
    with self._scores(lambda right: 1 + 0 * right):
      found = control.score_held_back_rows(RIGHT, SST2, TINY.data_dir)
    self.assertEqual(found.auc, 0.5)
    self.assertFalse(found.beats_chance)

  def test_where_one_class_has_nearly_all_rows_ranks_decide(self):
    def found(p_value):
      return control.HeldBackResult(
        "imdb_reviews", 97.2, 97.2, 2.0, 0.8, p_value, 250
      )

    self.assertFalse(found(0.01).can_beat_majority)
    self.assertTrue(found(0.01).beats_chance)
    self.assertFalse(found(0.03).beats_chance)
    even = control.HeldBackResult("sst2", 57.0, 51.6, 6.2, 0.8, 1e-9, 250)
    self.assertTrue(even.can_beat_majority)
    self.assertFalse(even.beats_chance)

  def test_a_gain_over_what_was_known_before(self):
    def found(accuracy):
      return control.HeldBackResult("sst2", accuracy, 50.0, 9.8, 0.9, 1e-9, 100)

    self.assertTrue(found(90.0).improves_on(found(70.0)))
    self.assertFalse(found(75.0).improves_on(found(70.0)))
    self.assertFalse(found(50.0).improves_on(found(70.0)))
    self.assertTrue(found(97.0).improves_on(found(97.0)))  # No room for a gain.

  def test_fewer_rows(self):
    found = control.score_held_back_rows(
      RIGHT, SST2, TINY.data_dir, max_examples=4
    )
    self.assertEqual(found.examples, 4)

  def test_only_two_options_can_be_judged(self):
    snli = registry.TaskRegistry(tasks.ALL).get("snli")
    with self.assertRaisesRegex(
      ValueError, "'snli' has 3 options, .*needs a task with two"
    ):
      control.score_held_back_rows(RIGHT, snli, TINY.data_dir)

  def _scores(self, margin):
    """Scores the second option of each request by its right answer."""
    from flan_tf.data import opened_tasks, requests

    (item,), _ = opened_tasks.open_tasks([SST2], TINY.data_dir)
    read = requests.read_evaluation_rows(SST2, item.dataset, item.ranges.test)
    right = np.array([row.answer_index for row in read.rows])

    def score(prompts, options):
      self.assertLen(prompts, len(right))
      self.assertEqual(set(map(len, options)), {2})
      return list(np.stack([0 * right, margin(right)], axis=1))

    return mock.patch.object(RIGHT, "score_options", score)


if __name__ == "__main__":
  absltest.main()
