"""Buckets that do not answer are announced, and given up."""

import threading
from unittest import mock

import tensorflow as tf
from absl import flags
from absl.testing import absltest
from ml_collections import config_dict

from flan_tf import waits
from launch import failures, remote_paths


class RemotePathsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", "gs://first/a/b", "", values)
    flags.DEFINE_list("corpus", ["local", "gs://second/*.gz"], "", values)
    config_flag = flags.DEFINE_string("config", None, "", values)
    values(["program"])
    values[config_flag.name].value = config_dict.ConfigDict(
      {"data": {"tfds_data_dir": "gs://third/c"}}
    )
    self.enter_context(mock.patch.object(flags, "FLAGS", values))

  def test_an_answer_is_enough(self):
    asked = []

    def exists(path):
      asked.append(path)
      raise tf.errors.PermissionDeniedError(None, None, "not yours")

    with mock.patch.object(tf.io.gfile, "exists", exists):
      remote_paths.check_network()
    self.assertEqual(asked, ["gs://first/", "gs://second/", "gs://third/"])

  def test_no_answer(self):
    never = threading.Event()
    self.addCleanup(never.set)
    with (
      mock.patch.object(tf.io.gfile, "exists", lambda path: never.wait()),
      mock.patch.object(remote_paths, "PATIENCE", 0.1),
      mock.patch.object(waits, "EVERY", 0.01),
      self.assertLogs("flan_tf.waits", "INFO") as log,
      self.assertRaises(TimeoutError) as caught,
    ):
      remote_paths.check_network()
    self.assertIn("Waiting for an answer of gs://first (0 s)", log.output[0])
    self.assertRegex(
      failures.message(caught.exception) or "",
      "gs://first: no answer within 0 seconds. The network .* https_proxy",
    )


if __name__ == "__main__":
  absltest.main()
