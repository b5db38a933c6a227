"""Finds values that are NaN or infinite, in arrays and on the cores."""

from collections.abc import Iterable

import numpy as np

from flan_tf.mesh.state import State


class NotFiniteError(ValueError):
  """Weights, or what was computed with them, are NaN or infinite."""


def describe_not_finite(value: np.ndarray) -> str:
  """Counts the values of an array that are not finite.

  >>> describe_not_finite(np.array([1.0, np.nan, np.inf, np.nan]))
  '2 NaN and 1 infinite of 4 values'

  Returns:
    The numbers in words; "" if all values are finite.
  """
  if np.isfinite(value).all():
    return ""
  counts = ((np.isnan, "NaN"), (np.isinf, "infinite"))
  found = [
    f"{np.count_nonzero(of_kind(value)):,} {kind}"
    for of_kind, kind in counts
    if of_kind(value).any()
  ]
  return f"{' and '.join(found)} of {value.size:,} values"


def check_state(
  origin: str, state: State, names: Iterable[str] | None = None
) -> None:
  """Checks the tensors of a state on this host, one after another.

  Args:
    origin: the checkpoint or model, for the message.
    state: the tensors.
    names: names of the tensors to check; None for all.

  Raises:
    NotFiniteError: a tensor has values that are not finite. The message names
      the first such tensor.
  """
  for name in state.specs if names is None else names:
    for at, variables in state.shards(name):
      problem = describe_not_finite(variables[0].numpy())
      if problem:
        shard = ""
        if state.layout.is_split:
          ends = ", ".join(f"{begin}:{begin + size}" for begin, size in at)
          shard = f", shard [{ends}],"
        raise NotFiniteError(
          f"The weights of {origin} are not finite: tensor {name}{shard} has"
          f" {problem}. The model diverged in training, or the file is damaged:"
          " use an earlier checkpoint."
        )
