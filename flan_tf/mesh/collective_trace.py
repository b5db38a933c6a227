"""Records the collectives that each core of a program issues.

All cores must issue the same collectives in the same order. Otherwise they
hang, or sum different tensors without an error. So collectives are recorded
while a program is traced, and the cores are compared once all are traced.
"""

import dataclasses
import itertools
import math

import tensorflow as tf

# Instance keys are unique in the process: each trace has a range of its own.
# TensorFlow's strategies count their own keys up from 1.
FIRST_KEY = 1_000_000
_KEYS_PER_TRACE = 100_000
_instance_bases = itertools.count(FIRST_KEY, _KEYS_PER_TRACE)

# All groups of cores that communicate, each a tuple of core numbers.
Groups = tuple[tuple[int, ...], ...]

ADD, MAX, GATHER, SCATTER = KINDS = ("Add", "Max", "Gather", "Scatter")


@dataclasses.dataclass(frozen=True)
class CollectiveCall:
  """One collective as one core issues it.

  Attributes:
    kind: one of KINDS.
    groups: the groups of cores that communicate.
    shape: shape of the core's input.
    dtype: name of its type.
  """

  kind: str
  groups: Groups
  shape: tuple[int, ...]
  dtype: str

  @property
  def bytes(self) -> int:
    """Size of the core's input."""
    return math.prod(self.shape) * tf.as_dtype(self.dtype).size


class CollectiveTrace:
  """The collectives of one traced program, for each core."""

  def __init__(self):
    self._base = next(_instance_bases)
    self._calls: dict[int, list[CollectiveCall]] = {}

  def begin(self, core: int) -> None:
    """Starts an empty list for a core, also if it was traced before."""
    self._calls[core] = []

  def add(self, core: int, call: CollectiveCall) -> int:
    """Records a call; returns its instance key, the same on every core."""
    calls = self._calls.setdefault(core, [])
    calls.append(call)
    if len(calls) > _KEYS_PER_TRACE:
      raise ValueError(
        f"A program has more than {_KEYS_PER_TRACE} collectives."
      )
    return self._base + len(calls)

  @property
  def calls(self) -> tuple[CollectiveCall, ...]:
    """The collectives that each core issues, in order."""
    return tuple(next(iter(self._calls.values()), ()))

  @property
  def bytes(self) -> int:
    """Size of all inputs that one core gives to collectives in one run."""
    return sum(call.bytes for call in self.calls)

  def check(self) -> None:
    """Checks that all cores issue the same collectives in the same order.

    Raises:
      RuntimeError: two cores differ; the message names the first difference.
    """
    first_core, *others = sorted(self._calls) or [0]
    expected = self._calls.get(first_core, [])
    for core in others:
      pairs = itertools.zip_longest(expected, self._calls[core])
      for index, (first_call, call) in enumerate(pairs):
        if first_call != call:
          raise RuntimeError(
            f"Collective {index} of the program differs between cores:\n"
            f"  core {first_core}: {first_call}\n  core {core}: {call}\n"
            "The cores would wait for one another for ever."
          )
