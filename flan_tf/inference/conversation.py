"""A conversation with a model, whose answers appear while they are made.

In a chat the turns before are part of the prompt,

  before PROMPT between ANSWER after   again PROMPT between ANSWER after ...

where `again` is `before` without the system prompt in it: what stands behind
the last `after` there. Where all is too long, the oldest turns are left out.
With other separators each prompt is answered alone, for a tuned model has seen
one.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from flan_tf.data import prompt_format
from flan_tf.inference import predictions, stop_strings
from flan_tf.inference.language_model import LanguageModel
from flan_tf.sampling import GREEDY, Sampling
from flan_tf.task import wordings

# The ids of what was asked, and of what was answered.
_Turn = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Reply:
  """An answer.

  Attributes:
    text: all of it.
    ended: whether it came to an end, or was cut at the limit.
    trimmed: whether the prompt was too long by itself, and lost a part.
    forgotten: how many old turns were left out, to make room.
  """

  text: str
  ended: bool
  trimmed: bool
  forgotten: int = 0


class Conversation:
  """Answers prompts, one after the other.

  Args:
    model: what answers.
    max_new: most new tokens; 0 for the target length of the model's run.
    markers: what stands around a prompt, as `wordings.markers` takes it; empty
      for what the model was trained with.
    sampling: how tokens are chosen.
    stops: texts that end an answer; they are no part of it.

  Raises:
    ValueError: unknown markers, or no room for the chat wrapper.
  """

  def __init__(
    self,
    model: LanguageModel,
    max_new: int = 0,
    markers: str = "",
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
  ):
    self._model, self._sampling, self._stops = model, sampling, tuple(stops)
    self._markers = wordings.markers(markers or model.run.data.markers)
    self._limits = limits = predictions.limits_of(model)
    self._wrapper = limits.wrapper(model.vocabulary)
    most = limits.longest_target
    self._max_new = min(max_new or most, most)
    self._again = self._wrapper.before
    chat = model.run.chat
    self.remembers = limits.separator is prompt_format.Separator.CHAT
    if self.remembers and chat.after and chat.after in chat.before:
      again = chat.before.rpartition(chat.after)[2]
      self._again = model.vocabulary.encode_special(again.removesuffix(" "))
    self._turns: list[_Turn] = []
    self._asked = 0

  def forget(self) -> None:
    """The next prompt begins a conversation."""
    self._turns = []

  def answer(
    self, prompt: str, write: Callable[[str], object] = lambda text: None
  ) -> Reply:
    """Answers a prompt.

    Args:
      prompt: a text.
      write: takes each part of the answer's text once it is there.
    """
    text = self._markers.join(prompt)
    (ids,) = self._wrapper.encode_prompts([text])
    before = len(self._turns)
    ids, trimmed = self._fitted(ids)
    forgotten = before - len(self._turns)
    decode = self._model.vocabulary.decode
    ends = self._wrapper.ends
    shown = stop_strings.StreamedText(self._stops, decode, write)
    (made,) = self._model.continuations(
      *([self._joined(ids)], self._max_new, ends),
      sampling=self._sampling,
      stops=self._stops,
      numbers=[self._asked],
      show=lambda _, ids, last: shown.show(
        [i for i in ids if i not in ends], last
      ),
    )
    self._asked += 1
    kept = np.array([i for i in made if i not in ends], np.int32)
    whole = decode(kept)
    if self.remembers:
      self._turns.append((ids, kept))
    text = stop_strings.until(whole, self._stops)
    ended = len(kept) < len(made) or text != whole
    return Reply(text, ended, trimmed, forgotten)

  def _fitted(self, ids: np.ndarray) -> tuple[np.ndarray, bool]:
    """A prompt's ids, cut if they fill a row alone; forgets old turns."""
    limits = self._limits
    longest = min(limits.input_length, limits.row_length - self._max_new)
    room = longest - self._wrapper.of_prompt
    overflow = limits.overflow
    if overflow is prompt_format.Overflow.SKIP:
      overflow = prompt_format.Overflow.MIDDLE
    cut = prompt_format.cut(ids, room, overflow)
    while self._turns and len(self._joined(cut)) > longest:
      del self._turns[0]
    return cut, len(cut) < len(ids)

  def _joined(self, ids: np.ndarray) -> np.ndarray:
    """All turns, and a prompt, as the model reads them."""
    wrapper, parts = self._wrapper, []
    for asked, answered in self._turns:
      begin = self._again if parts else wrapper.before
      parts += [begin, asked, wrapper.between, answered, wrapper.after]
    begin = self._again if parts else wrapper.before
    return np.concatenate([*parts, begin, ids, wrapper.between])
