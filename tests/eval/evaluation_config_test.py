"""The settings of an evaluation are checked, and load fast."""

import subprocess
import sys

from absl.testing import absltest, parameterized

from flan_tf.eval.evaluation_config import EvaluationConfig
from tests.helpers import tiny


class EvaluationConfigTest(parameterized.TestCase):
  @parameterized.parameters(
    ("wording", "instruction", "Did you mean 'instructions'"),
    ("exemplars", "fixd", "Did you mean 'fixed'"),
    ("score", "per_tokens", "Did you mean 'per_token'"),
  )
  def test_unknown_names_are_refused(self, setting, name, message):
    with self.assertRaisesRegex(ValueError, message):
      EvaluationConfig(**{setting: name})

  @parameterized.parameters(
    ("max_examples", -1, "max_examples: expected 0 or more, got -1"),
    ("shots", 10**10, "shots: expected 2,147,483,647 or less"),
    ("max_new", 10**9, "max_new: expected 1,048,576 or less, got 1000000000"),
    ("chunk", 0, "chunk: expected a positive number, got 0"),
    ("resamples", 0, "resamples: expected a positive number, got 0"),
    ("resamples", 10**9, "resamples: expected 1,000,000 or less"),
    ("seed", 10**20, "seed: expected a number of 64 bits"),
    ("templates", (0, -1), "templates: expected 0 or more, got -1"),
  )
  def test_senseless_numbers_are_refused(self, setting, value, message):
    with self.assertRaisesRegex(ValueError, message):
      EvaluationConfig(**{setting: value})

  def test_importing_it_does_not_import_tensorflow(self):
    code = (
      "import sys, flan_tf.eval.evaluation_config;"
      " assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, check=True)


if __name__ == "__main__":
  absltest.main()
