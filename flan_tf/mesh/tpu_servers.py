"""Waits for the TensorFlow servers of a TPU slice.

TensorFlow's own call waits for ever if nothing listens at an address. So each
address is tried first.
"""

import contextlib
import socket
import time

import tensorflow as tf

from flan_tf import waits

# Seconds until the servers of a slice that was just created listen.
PATIENCE = 60.0
# Seconds for one attempt, and between two attempts.
_ATTEMPT, _PAUSE = 5.0, 1.0


def wait_for_servers(
  resolver: tf.distribute.cluster_resolver.ClusterResolver,
) -> None:
  """Returns as soon as something listens at the address of every worker.

  Raises:
    TimeoutError: nothing listens at one of them within `PATIENCE` seconds.
  """
  jobs = resolver.cluster_spec().as_dict().values()
  addresses = [address for job in jobs for address in job]
  deadline = time.monotonic() + PATIENCE
  for address in addresses:
    with waits.announced(
      f"Waiting for the TensorFlow server at {address}", later=waits.EVERY
    ):
      _wait_for(address, deadline)


def _wait_for(address: str, deadline: float) -> None:
  host, _, port = address.rpartition(":")
  while True:
    try:
      # Square brackets enclose an address of IPv6.
      target = (host.strip("[]"), int(port))
      with contextlib.closing(socket.create_connection(target, _ATTEMPT)):
        return
    except OSError as error:
      if time.monotonic() > deadline:
        raise TimeoutError(
          f"nothing listens at {address} ({error}), tried for"
          f" {PATIENCE:.0f} seconds"
        ) from error
    time.sleep(_PAUSE)
