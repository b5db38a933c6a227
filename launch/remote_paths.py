"""Finds out early whether the gs:// buckets that a command names answer.

TensorFlow tries again for minutes, without a word, if there is no network.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

from absl import flags
from ml_collections import config_dict

from flan_tf import waits

# Seconds until a command gives up.
PATIENCE = 60.0

_BUCKET = re.compile(r"gs://[^/,\s'\"]+")


def check_network() -> None:
  """Waits until the buckets in the values of all flags answer.

  Raises:
    TimeoutError: one of them gives no answer within `PATIENCE` seconds.
  """
  for bucket in sorted(set(_buckets())):
    waits.call_within(
      PATIENCE,
      functools.partial(_ask, bucket),
      f"Waiting for an answer of {bucket}",
    )


def _ask(bucket: str) -> None:
  import tensorflow as tf

  try:
    tf.io.gfile.exists(f"{bucket}/")
  except tf.errors.OpError:
    pass  # It is an answer. The first use of the bucket will report it.


def _buckets() -> Iterator[str]:
  for name in flags.FLAGS:
    value: Any = flags.FLAGS[name].value
    if isinstance(value, config_dict.ConfigDict):
      value = value.to_json_best_effort()
    yield from _BUCKET.findall(str(value))
