"""Beam search for one prompt, in NumPy; the model's part is elsewhere.

As transformers defines it: of all continuations of all beams the best go on;
those that end with an end are put aside, if they are among the best `beams`.
A text's value is its log-probability / tokens ^ length_penalty, its end among
the tokens. The search is over when no beam could become better than the texts
put aside, were it to end now.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from flan_tf.inference import stop_strings
from flan_tf.sampling import Sampling

# Of beams that there are not yet: at first all rows are the same.
_NONE = -1e9


@dataclasses.dataclass(frozen=True)
class _Beam:
  """Ids of a text and their log-probability."""

  ids: tuple[int, ...] = ()
  log_prob: float = 0.0


def candidates(beams: int, ends: int) -> int:
  """So many of the likeliest tokens of a beam, or some end may fill all."""
  return max(2, 1 + ends) * beams


class Search:
  """A search in progress.

  Attributes:
    over: whether `best` is what it found.
    parents: int32 [beams], the beam that each goes on from.
    tokens: int32 [beams], its new token.

  Args:
    sampling: beams and length penalty.
    ends: ids that end a text.
    max_new: most tokens of a text.
    growing: makes what tells where a text is over.
  """

  def __init__(
    self,
    sampling: Sampling,
    ends: Iterable[int],
    max_new: int,
    growing: Callable[[], stop_strings.Continuation],
  ):
    self._size, self._penalty = sampling.beams, sampling.length_penalty
    self._keep = candidates(self._size, len(tuple(ends)))
    self._max_new, self._growing = max_new, growing
    self._beams = [_Beam()] + [_Beam((), _NONE)] * (self._size - 1)
    self._done: list[tuple[float, _Beam]] = []  # (value, text), best first.
    self.over = False
    self.parents = np.zeros([self._size], np.int32)
    self.tokens = np.zeros([self._size], np.int32)

  def add(self, log_probs: np.ndarray, ids: np.ndarray) -> None:
    """Takes the next tokens of all beams: [beams, candidates], best first."""
    before = np.array([[beam.log_prob] for beam in self._beams])
    sums = before + log_probs.astype(np.float64)
    # The first beam, then the better token, of equals.
    order = np.argsort(-sums.reshape([-1]), kind="stable")[: self._keep]
    going: list[tuple[int, _Beam]] = []
    for place, at in enumerate(order):
      parent, column = divmod(int(at), ids.shape[1])
      made = (*self._beams[parent].ids, int(ids[parent, column]))
      beam = _Beam(made, float(sums[parent, column]))
      if not self._is_over(made):
        going.append((parent, beam))
      elif place < self._size:
        self._done.append((self._value(beam), beam))
    self._done.sort(key=lambda pair: -pair[0])
    del self._done[self._size :]
    going = going[: self._size]
    self.over = not going or (
      len(self._done) == self._size
      and self._value(going[0][1]) <= self._done[-1][0]
    )
    # Stop strings may end so many that beams are missing: these never win.
    missing = self._size - len(going)
    self._beams = [beam for _, beam in going] + [_Beam((), _NONE)] * missing
    self.parents[:], self.tokens[:] = 0, 0
    for row, (parent, beam) in enumerate(going):
      self.parents[row], self.tokens[row] = parent, beam.ids[-1]

  @property
  def best(self) -> list[int]:
    """The ids of the best text so far."""
    if not self._done:
      return list(self._beams[0].ids)
    return list(self._done[0][1].ids)

  def _value(self, beam: _Beam) -> float:
    return beam.log_prob / len(beam.ids) ** self._penalty

  def _is_over(self, ids: tuple[int, ...]) -> bool:
    if len(ids) == self._max_new:
      return True
    row = self._growing()
    row.add(ids)
    return row.over
