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

  def test_importing_it_does_not_import_tensorflow(self):
    code = (
      "import sys, flan_tf.eval.evaluation_config;"
      " assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, check=True)


if __name__ == "__main__":
  absltest.main()
