"""TF_CONFIG of a wrong shape is refused with an example."""

import json
import os
from unittest import mock

from absl.testing import absltest, parameterized

from flan_tf.mesh import cluster_config, devices

CLUSTER = {"worker": ["a:1", "b:1"]}
TASK = {"type": "worker", "index": 0}


class ClusterConfigTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, "1")
  def test_a_good_value(self, index):
    value = {"cluster": CLUSTER, "task": {**TASK, "index": index}}
    cluster_config.check_cluster_config(json.dumps(value))

  @parameterized.parameters(
    ("", "it is not valid JSON"),
    ("[" * 100_000, "it is not valid JSON"),
    ("null", "it is not a JSON object"),
    ("[]", "it is not a JSON object"),
    ("{}", '"cluster" does not name the hosts'),
    ('{"cluster": []}', '"cluster" does not name the hosts'),
    ('{"cluster": {"worker": []}}', 'no list of "HOST:PORT" for .*worker'),
    ('{"cluster": {"worker": "a:1"}}', 'no list of "HOST:PORT"'),
    ('{"cluster": {"worker": ["a"]}}', 'no list of "HOST:PORT"'),
    ('{"cluster": {"worker": ["a:1"]}}', '"task" has no "type"'),
    (
      json.dumps({"cluster": CLUSTER, "task": {"type": "ps", "index": 0}}),
      '"task" has no "type"',
    ),
    (
      json.dumps({"cluster": CLUSTER, "task": {**TASK, "index": 2}}),
      '"index" of "task" is no number from 0 to 1, but 2',
    ),
    (
      json.dumps({"cluster": CLUSTER, "task": {**TASK, "index": None}}),
      "from 0 to 1, but None",
    ),
  )
  def test_a_bad_value(self, text, message):
    with (
      mock.patch.dict(os.environ, TF_CONFIG=text),
      self.assertRaisesRegex(
        ValueError, rf"TF_CONFIG is .*{message}.*\. Expected for example .*2222"
      ),
    ):
      devices.open_devices(2, "cpu")


if __name__ == "__main__":
  absltest.main()
