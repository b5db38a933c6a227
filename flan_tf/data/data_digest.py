"""Digests of training data: equal data have equal digests, on every host."""

import hashlib
from collections.abc import Mapping

import numpy as np

from flan_tf.data.example_table import ExampleTable

_DIGITS = 16


def data_digests(
  tables: Mapping[str, ExampleTable], rates: Mapping[str, int]
) -> dict[str, str]:
  """Returns 16 hexadecimal digits for each task that identify its batches.

  They follow from the token ids of all examples in their order, and so from the
  rows, the templates that were drawn, the separator or chat template, the
  lengths, the seed and the vocabulary; and from where the loss of each example
  starts, and the mixing rate. A part of a row that no example has, such as the
  end of a truncated text, does not count.

  Args:
    tables: the examples of each task.
    rates: the mixing rate of each task.
  """
  return {name: _digest(table, rates[name]) for name, table in tables.items()}


def _digest(table: ExampleTable, rate: int) -> str:
  digest = hashlib.sha256(f"rate {rate}\n".encode())
  for values, kind in (
    (table.ids, "<i4"),
    (table.offsets, "<i8"),
    (table.prompt_lengths, "<i4"),
  ):
    # The same bytes on every machine, and no copy on most.
    digest.update(np.ascontiguousarray(values, kind).data.cast("B"))
  return digest.hexdigest()[:_DIGITS]
