"""One continuation while it grows: where it is over, and what may be shown."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

# Of the ids of a piece of a character no text can be made yet.
_HALF = "\ufffd"


class Continuation:
  """The new ids of one prompt.

  Attributes:
    ids: so far; once it is over, up to the end, or to the token that completes
      a stop string.
    over: whether it has come to an end or a stop string.

  Args:
    ends: ids that end it.
    stops: texts that end it.
    decode: ids to text.
  """

  def __init__(
    self,
    ends: Iterable[int],
    stops: Sequence[str],
    decode: Callable[[Iterable[int]], str],
  ):
    self.ids: list[int] = []
    self.over = False
    self._ends, self._stops, self._decode = frozenset(ends), stops, decode

  def add(self, ids: Iterable[int]) -> None:
    """Takes the next ids, and what the model made behind an end."""
    before = len(self.ids)
    for token in map(int, ids):
      if self.over:
        return
      self.ids.append(token)
      self.over = token in self._ends
    if self._stops and self._stopped(len(self.ids)):
      made = range(before + 1, len(self.ids) + 1)
      first = next(size for size in made if self._stopped(size))
      self.ids, self.over = self.ids[:first], True

  def _stopped(self, size: int) -> bool:
    text = self._decode(self.ids[:size])
    return any(stop in text for stop in self._stops)


class StreamedText:
  """The part of a growing text that no later token will change.

  Args:
    stops: texts that end it: what may become one of them waits.
    decode: ids to text.
    write: takes each new part.
  """

  def __init__(
    self,
    stops: Sequence[str],
    decode: Callable[[Iterable[int]], str],
    write: Callable[[str], object],
  ):
    self._stops, self._decode, self._write = stops, decode, write
    self.text = ""

  def show(self, ids: Sequence[int], last: bool = False) -> None:
    """Writes what is new and sure; with `last` all that there is."""
    text = until(self._decode(ids), self._stops)
    if not last:
      # More tokens may complete a character, or a stop string.
      text = text.rstrip(_HALF)
      text = text[: len(text) - _begun(text, self._stops)]
    if len(text) > len(self.text) and text.startswith(self.text):
      self._write(text[len(self.text) :])
      self.text = text


def until(text: str, stops: Sequence[str]) -> str:
  """The text before the first stop string in it."""
  found = [text.find(stop) for stop in stops]
  return text[: min((at for at in found if at >= 0), default=len(text))]


def check_stops(stops: Sequence[str]) -> None:
  """Raises ValueError if a stop string is empty."""
  if "" in stops:
    raise ValueError(
      f"An empty text among the stop strings {list(stops)} would end every"
      " continuation before it begins. Remove it."
    )


def chance(seed: int, row: int, count: int) -> np.ndarray:
  """Chance for the tokens of one prompt: float32 [count], in [0, 1).

  They depend on nothing but the seed and the prompt's number.
  """
  return np.random.default_rng([seed, row]).random(count, np.float32)


def _begun(text: str, stops: Sequence[str]) -> int:
  """How many characters at the end may be the beginning of a stop string."""
  sizes = [
    size
    for stop in stops
    for size in range(1, len(stop))
    if text.endswith(stop[:size])
  ]
  return max(sizes, default=0)
