"""The servers of a TPU slice are looked for before TensorFlow connects."""

import contextlib
import socket
import threading
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from flan_tf import waits
from flan_tf.mesh import devices, tpu_servers


def resolver(*addresses: str) -> mock.Mock:
  spec = tf.train.ClusterSpec({"worker": list(addresses)})
  return mock.Mock(**{"cluster_spec.return_value": spec})


class ServersTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.object(tpu_servers, "_PAUSE", 0.01))
    server = self.enter_context(contextlib.closing(socket.socket()))
    server.bind(("127.0.0.1", 0))
    self.server = server
    self.address = f"127.0.0.1:{server.getsockname()[1]}"

  def test_all_listen(self):
    self.server.listen()
    tpu_servers.wait_for_servers(resolver(self.address, self.address))

  def test_one_listens_later(self):
    failed = threading.Event()
    connect = socket.create_connection

    def connect_late(*arguments):
      try:
        return connect(*arguments)
      except OSError:
        self.server.listen()
        failed.set()
        raise

    with mock.patch.object(socket, "create_connection", connect_late):
      tpu_servers.wait_for_servers(resolver(self.address))
    self.assertTrue(failed.is_set())

  def test_nothing_listens(self):
    with (
      mock.patch.object(tpu_servers, "PATIENCE", 0.1),
      mock.patch.object(waits, "EVERY", 0.02),
      self.assertLogs("flan_tf.waits", "INFO") as log,
      self.assertRaisesRegex(
        ValueError,
        f"No TPU found: 'grpc://{self.address}' cannot be used. Name a Cloud"
        f" TPU .* reported: nothing listens at {self.address} .*refused",
      ),
    ):
      devices.open_devices(8, "tpu", f"grpc://{self.address}")
    self.assertIn(
      f"Waiting for the TensorFlow server at {self.address}", log.output[0]
    )


if __name__ == "__main__":
  absltest.main()
