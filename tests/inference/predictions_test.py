"""What options are ranked by, from scores that are known."""

import types
import typing
from typing import Any

import numpy as np
from absl.testing import absltest, parameterized

import tasks
from flan_tf.config import SCORES
from flan_tf.data import prompt_format, requests
from flan_tf.inference import predictions
from flan_tf.task import registry
from flan_tf.vocab import vocabulary
from tests.helpers import tiny

TINY = tiny.Tiny()
RTE = registry.TaskRegistry(tasks.ALL).get("rte")
LIMITS = prompt_format.Limits(64, 32, 128)
OPTIONS = ("it is not so", "no")
REQUEST = requests.Request(0, "Is it so?", OPTIONS, 1, ("no",))


def setUpModule():
  TINY.open()


tearDownModule = TINY.close


class ScoresTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.asked = []

  def predict(self, score: str, scores, alone=(0.0, 0.0)):
    """With log-probabilities behind the prompt, and behind an empty one."""
    pieces = vocabulary.load_vocabulary(TINY.vocabulary)

    def score_options(prompts, options):
      self.asked.append((prompts, options))
      # One token is the separator alone.
      if len(prompts) == 2:  # Each option behind nothing, in sorted order.
        return [np.array([x]) for x in alone]
      return [np.array(scores)]

    model = types.SimpleNamespace(
      vocabulary=pieces, score_options=score_options
    )
    (found,) = predictions.predict(
      typing.cast(Any, model), RTE, [REQUEST], LIMITS, score=score
    )
    return found

  def test_the_sum_prefers_short_options(self):
    found = self.predict("sum", (-8.0, -4.0))
    self.assertEqual((found.choice, found.text), (1, "no"))
    self.assertEqual(found.values, found.scores)

  def test_per_token_counts_what_ends_an_answer(self):
    found = self.predict("per_token", (-8.0, -4.0))
    sizes = [len(ids) for ids in self.asked[0][1][0]]
    alone = vocabulary.load_vocabulary(TINY.vocabulary).encode(OPTIONS)
    self.assertEqual(sizes, [len(ids) + 1 for ids in alone])
    self.assertEqual(found.values, (-8 / sizes[0], -4 / sizes[1]))
    self.assertEqual(found.choice, 0)
    self.assertEqual(found.scores, (-8.0, -4.0))

  def test_per_character(self):
    found = self.predict("per_character", (-8.0, -4.0))
    self.assertEqual(found.values, (-8 / 12, -4 / 2))
    self.assertEqual(found.choice, 0)

  def test_unconditional_takes_off_what_an_option_has_anyway(self):
    found = self.predict("unconditional", (-8.0, -4.0), alone=(-3.0, -10.0))
    self.assertEqual(
      dict(zip(OPTIONS, found.values, strict=True)),
      {"it is not so": -5.0, "no": 6.0},
    )
    (prompts, _), (empty, options) = self.asked
    self.assertLen(prompts, 1)
    self.assertEqual([len(ids) for ids in empty], [1, 1])
    self.assertEqual([len(few) for few in options], [1, 1])

  @parameterized.parameters(*SCORES)
  def test_of_equals_the_first(self, score):
    request = requests.Request(0, "Is it so?", ("no", "so"), 1, ("so",))
    found = []
    for _ in range(2):
      model = types.SimpleNamespace(
        vocabulary=vocabulary.load_vocabulary(TINY.vocabulary),
        score_options=lambda _, options: [np.zeros(len(o)) for o in options],
      )
      found += predictions.predict(
        typing.cast(Any, model), RTE, [request], LIMITS, score=score
      )
    self.assertEqual([answer.choice for answer in found], [0, 0])

  def test_an_unknown_score(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'per_token'"):
      self.predict("per_tokens", (0.0, 0.0))


if __name__ == "__main__":
  absltest.main()
