"""Options are ranked by each score, from known log-probabilities."""

import types
import typing
from typing import Any

import numpy as np
from absl.testing import absltest, parameterized

import tasks
from flan_tf.config import SCORES
from flan_tf.data import requests
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.inference import predictions
from flan_tf.task import registry
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.load import load_vocabulary
from tests.helpers import tiny

TINY = tiny.Tiny()
RTE = registry.TaskRegistry(tasks.ALL).get("rte")
OPTIONS = ("it is not so", "no")
REQUEST = requests.Request(
  requests.Example(0, ("no",), OPTIONS, 1), "Is it so?"
)


def lengths(pieces: Vocabulary) -> PromptFormat:
  return PromptFormat(pieces, 64, 32, 128)


def setUpModule():
  TINY.open()


tearDownModule = TINY.close


class ScoresTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.asked = []

  def predict(self, score: str, scores, alone=(0.0, 0.0)):
    """Predicts with given log-probabilities.

    Args:
      score: name of the score.
      scores: log-probability of each option after the prompt.
      alone: log-probability of each option after an empty prompt, options in
        sorted order.
    """
    pieces = load_vocabulary(TINY.vocabulary)

    def score_options(prompts, options):
      self.asked.append((prompts, options))
      if len(prompts) == 2:  # One request per option, with an empty prompt.
        return [np.array([x]) for x in alone]
      return [np.array(scores)]

    model = types.SimpleNamespace(
      vocabulary=pieces, score_options=score_options
    )
    (found,) = predictions.predict(
      typing.cast(Any, model), RTE, [REQUEST], lengths(pieces), score=score
    )
    return found

  def test_the_sum_prefers_short_options(self):
    found = self.predict("sum", (-8.0, -4.0))
    self.assertEqual((found.choice, found.answer), (1, "no"))
    self.assertEqual(found.option_scores, found.log_probs)

  def test_per_token_counts_what_ends_an_answer(self):
    found = self.predict("per_token", (-8.0, -4.0))
    sizes = [len(ids) for ids in self.asked[0][1][0]]
    alone = load_vocabulary(TINY.vocabulary).encode(OPTIONS)
    self.assertEqual(sizes, [len(ids) + 1 for ids in alone])
    self.assertEqual(found.option_scores, (-8 / sizes[0], -4 / sizes[1]))
    self.assertEqual(found.choice, 0)
    self.assertEqual(found.log_probs, (-8.0, -4.0))

  def test_per_character(self):
    found = self.predict("per_character", (-8.0, -4.0))
    self.assertEqual(found.option_scores, (-8 / 12, -4 / 2))
    self.assertEqual(found.choice, 0)

  def test_unconditional_takes_off_what_an_option_has_anyway(self):
    found = self.predict("unconditional", (-8.0, -4.0), alone=(-3.0, -10.0))
    self.assertEqual(
      dict(zip(OPTIONS, found.option_scores, strict=True)),
      {"it is not so": -5.0, "no": 6.0},
    )
    (prompts, _), (empty, options) = self.asked
    self.assertLen(prompts, 1)
    self.assertEqual([len(ids) for ids in empty], [1, 1])
    self.assertEqual([len(few) for few in options], [1, 1])

  @parameterized.parameters(*SCORES)
  def test_of_equals_the_first(self, score):
    request = requests.Request(
      requests.Example(0, ("so",), ("no", "so"), 1), "Is it so?"
    )
    found = []
    for _ in range(2):
      pieces = load_vocabulary(TINY.vocabulary)
      model = types.SimpleNamespace(
        vocabulary=pieces,
        score_options=lambda _, options: [np.zeros(len(o)) for o in options],
      )
      found += predictions.predict(
        typing.cast(Any, model), RTE, [request], lengths(pieces), score=score
      )
    self.assertEqual([answer.choice for answer in found], [0, 0])

  def test_an_unknown_score(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'per_token'"):
      self.predict("per_tokens", (0.0, 0.0))


if __name__ == "__main__":
  absltest.main()
