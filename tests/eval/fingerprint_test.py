"""Fingerprints in prediction logs stay the same from version to version."""

from typing import Any, cast

from absl.testing import absltest

from flan_tf.data.prompt_format import PromptFormat
from flan_tf.data.requests import Example
from flan_tf.eval.fingerprint import fingerprint_requests
from flan_tf.task.schema import Baseline, Template

EXAMPLE = Example(
  row_index=3,
  references=("yes",),
  options=("no", "yes"),
  answer_index=1,
  group="g",
  slots={"answer": "yes", "text": 'It\'s "so".\n'},
)
# The vocabulary is part of the fingerprint of the weights.
FORMAT = PromptFormat(cast(Any, None), 64, 32, 128)


class FingerprintTest(absltest.TestCase):
  """The expected values were computed by version 0.1 of flan_tf."""

  def test_requests_without_baseline(self):
    templates = [Template("{text}?"), Template("Q: {text}", "A: {answer}")]
    self.assertEqual(
      fingerprint_requests(templates, [EXAMPLE], FORMAT, None),
      "d0c655541c0ef755",
    )

  def test_requests_with_baseline(self):
    baseline = Baseline("{text}", ("false", "true"), ("\n",))
    self.assertEqual(
      fingerprint_requests(
        [Template("{text}?")], [EXAMPLE, EXAMPLE], FORMAT, baseline
      ),
      "99b8817e01ef1549",
    )


if __name__ == "__main__":
  absltest.main()
