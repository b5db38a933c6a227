"""Stop strings and streamed text: the end of a generated continuation.

A stop string is a text that ends a continuation, and is no part of it.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

# The character that decoders put where the bytes of a character are incomplete.
_INCOMPLETE_CHARACTER = "\ufffd"


class Continuation:
  """The new token ids of one prompt, while they are generated.

  Args:
    ends: ids that end the continuation, such as end-of-text.
    stops: stop strings.
    decode: converts ids to text.

  Attributes:
    ids: the ids so far. The last id of a finished continuation is one of
      `ends`, or the token that completes a stop string.
    finished: True after an end or a stop string.
  """

  def __init__(
    self,
    ends: Iterable[int],
    stops: Sequence[str],
    decode: Callable[[Iterable[int]], str],
  ):
    self.ids: list[int] = []
    self.finished = False
    self._ends, self._stops, self._decode = frozenset(ends), stops, decode

  def add(self, ids: Iterable[int]) -> None:
    """Appends ids; ignores those after the end of the continuation."""
    old_size = len(self.ids)
    for token in map(int, ids):
      if self.finished:
        return
      self.ids.append(token)
      self.finished = token in self._ends
    if self._stops and self._has_stop(len(self.ids)):
      sizes = range(old_size + 1, len(self.ids) + 1)
      size = next(size for size in sizes if self._has_stop(size))
      self.ids, self.finished = self.ids[:size], True

  def ends_within(self, ids: Iterable[int]) -> bool:
    """Returns whether the text has ended, or would with one of these ids."""
    return self.finished or any(int(token) in self._ends for token in ids)

  def _has_stop(self, size: int) -> bool:
    """Returns whether the text of the first `size` ids has a stop string."""
    text = self._decode(self.ids[:size])
    return any(stop in text for stop in self._stops)


class StreamedText:
  """The text of a continuation, written while its tokens are generated.

  Text is written once no later token can change it. The beginning of what may
  become a stop string is not written yet.

  Args:
    stops: stop strings.
    decode: converts ids to text.
    write: receives each new part of the text.

  Attributes:
    text: the text that was written so far.
  """

  def __init__(
    self,
    stops: Sequence[str],
    decode: Callable[[Iterable[int]], str],
    write: Callable[[str], object],
  ):
    self._stops, self._decode, self._write = stops, decode, write
    self.text = ""

  def update(self, ids: Sequence[int], final: bool = False) -> None:
    """Writes the new part of the text.

    Args:
      ids: all ids so far, without an end.
      final: True if no ids will follow; then the whole text is written.
    """
    text = text_before_stop(self._decode(ids), self._stops)
    if not final:
      text = text.rstrip(_INCOMPLETE_CHARACTER)
      text = text[: len(text) - _partial_stop_length(text, self._stops)]
    if len(text) > len(self.text) and text.startswith(self.text):
      self._write(text[len(self.text) :])
      self.text = text


def text_before_stop(text: str, stops: Sequence[str]) -> str:
  """Returns the text before the first stop string, or all of it."""
  positions = [text.find(stop) for stop in stops]
  return text[: min((at for at in positions if at >= 0), default=len(text))]


def check_stops(stops: Sequence[str]) -> None:
  """Raises ValueError if a stop string is empty."""
  if "" in stops:
    raise ValueError(
      f"The stop strings {list(stops)} contain an empty text, which would end"
      " every continuation before its first token. Remove it."
    )


def uniform_draws(seed: int, prompt_number: int, count: int) -> np.ndarray:
  """Returns random numbers for the tokens of one prompt.

  They depend only on the seed and on the number of the prompt, so that the
  batch does not matter.

  Returns:
    float32 [count] in [0, 1).
  """
  generator = np.random.default_rng([seed, prompt_number])
  return generator.random(count, np.float32)


def _partial_stop_length(text: str, stops: Sequence[str]) -> int:
  """Returns how many last characters may be the beginning of a stop string."""
  lengths = [
    length
    for stop in stops
    for length in range(1, len(stop))
    if text.endswith(stop[:length])
  ]
  return max(lengths, default=0)
