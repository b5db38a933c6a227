"""Beam search for one prompt, in NumPy; the model's programs are elsewhere.

The search is defined as in transformers. In each step the best continuations of
all beams become the new beams. A continuation that ends is set aside if it is
among the best `beams`. The value of a text is

    log-probability / number of tokens ^ length_penalty

where the end counts as a token. The search is finished when no beam can have a
higher value than the texts that were set aside, if it ended now.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from flan_tf.inference.stop_strings import Continuation
from flan_tf.sampling import Sampling

# Log-probability of beams that do not exist, e.g. before the first step, when
# all beams are the same.
_NO_BEAM = -1e9


@dataclasses.dataclass(frozen=True)
class _Beam:
  """The new ids of a text, and their log-probability."""

  ids: tuple[int, ...] = ()
  log_prob: float = 0.0


def candidate_count(beams: int, ends: int) -> int:
  """Returns how many tokens of each beam the search must look at.

  Args:
    beams: number of beams.
    ends: number of ids that end a text. All of them may be among the most
      likely tokens, and enough others must remain.
  """
  return max(2, 1 + ends) * beams


def check_vocabulary(beams: int, ends: int, pieces: int) -> None:
  """Checks that a vocabulary has enough tokens for the candidates of a beam.

  Args:
    beams: number of beams; 1 for no search.
    ends: number of ids that end a text.
    pieces: number of tokens to choose from.

  Raises:
    ValueError: it has fewer.
  """
  candidates = candidate_count(beams, ends)
  if beams > 1 and candidates > pieces:
    raise ValueError(
      f"beams={beams}: the search looks at {candidates} tokens of each beam,"
      f" but the vocabulary has {pieces}. Take at most"
      f" {pieces * beams // candidates} beams."
    )


class BeamSearch:
  """A beam search in progress.

  Args:
    sampling: number of beams, and length penalty.
    ends: ids that end a text.
    max_new: maximum number of tokens of a text.
    new_continuation: returns an empty continuation, which tells where a text
      ends.

  Attributes:
    finished: True if `best` is the result.
    parents: int32 [beams], the previous beam that each beam continues.
    tokens: int32 [beams], the new token of each beam.
  """

  def __init__(
    self,
    sampling: Sampling,
    ends: Iterable[int],
    max_new: int,
    new_continuation: Callable[[], Continuation],
  ):
    self._size, self._length_penalty = sampling.beams, sampling.length_penalty
    self._num_candidates = candidate_count(self._size, len(tuple(ends)))
    self._max_new, self._new_continuation = max_new, new_continuation
    self._beams = [_Beam()] + [_Beam((), _NO_BEAM)] * (self._size - 1)
    # (value, text) of the texts that were set aside, best first.
    self._ended: list[tuple[float, _Beam]] = []
    self.finished = False
    self.parents = np.zeros([self._size], np.int32)
    self.tokens = np.zeros([self._size], np.int32)

  def add(self, log_probs: np.ndarray, ids: np.ndarray) -> None:
    """Extends all beams by one token.

    Args:
      log_probs: log-probability of each candidate token, [beams, candidates],
        the most likely one first.
      ids: id of each candidate token, [beams, candidates].
    """
    continued = self._split_candidates(log_probs, ids)
    self.finished = not continued or (
      len(self._ended) == self._size
      and self._value(continued[0][1]) <= self._ended[-1][0]
    )
    # Stop strings may end so many texts that beams are missing.
    missing = self._size - len(continued)
    self._beams = [beam for _, beam in continued]
    self._beams += [_Beam((), _NO_BEAM)] * missing
    self.parents[:], self.tokens[:] = 0, 0
    for row, (parent, beam) in enumerate(continued):
      self.parents[row], self.tokens[row] = parent, beam.ids[-1]

  @property
  def best(self) -> list[int]:
    """The ids of the best text so far."""
    if not self._ended:
      return list(self._beams[0].ids)
    return list(self._ended[0][1].ids)

  def _split_candidates(
    self, log_probs: np.ndarray, ids: np.ndarray
  ) -> list[tuple[int, _Beam]]:
    """Sets aside the texts that end; returns (parent, beam) of the others."""
    totals = np.array([[beam.log_prob] for beam in self._beams])
    totals = totals + log_probs.astype(np.float64)
    # A stable sort: among equals, the first beam and the likelier token win.
    order = np.argsort(-totals.reshape([-1]), kind="stable")
    continued: list[tuple[int, _Beam]] = []
    for rank, index in enumerate(order[: self._num_candidates]):
      parent, column = divmod(int(index), ids.shape[1])
      text = (*self._beams[parent].ids, int(ids[parent, column]))
      beam = _Beam(text, float(totals[parent, column]))
      if not self._ends(text):
        continued.append((parent, beam))
      elif rank < self._size:
        self._ended.append((self._value(beam), beam))
    self._ended.sort(key=lambda pair: -pair[0])
    del self._ended[self._size :]
    return continued[: self._size]

  def _value(self, beam: _Beam) -> float:
    return beam.log_prob / len(beam.ids) ** self._length_penalty

  def _ends(self, ids: tuple[int, ...]) -> bool:
    if len(ids) == self._max_new:
      return True
    continuation = self._new_continuation()
    continuation.add(ids)
    return continuation.finished
