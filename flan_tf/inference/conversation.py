"""A conversation with a model; answers can be written while they are generated.

With a chat template the earlier turns are part of the prompt:

  before PROMPT between ANSWER after   next PROMPT between ANSWER after ...

Here `next` is `before` without the system prompt: the part of `before` after
the last `after` in it. If the whole conversation is too long, its oldest turns
are left out. With other separators each prompt is answered alone, because a
tuned model was trained on single prompts.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from flan_tf.data.prompt_format import Separator
from flan_tf.inference.language_model import LanguageModel
from flan_tf.inference.stop_strings import StreamedText, text_before_stop
from flan_tf.sampling import GREEDY, Sampling
from flan_tf.task import wordings


class _Turn(NamedTuple):
  """Token ids of one prompt and its answer, without those around them."""

  prompt: np.ndarray
  answer: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reply:
  """An answer in a conversation.

  Attributes:
    text: the whole answer.
    ended: True if the model ended the answer, False if it was cut at the
      maximum length.
    trimmed: True if the prompt alone was too long, and was cut.
    forgotten: number of old turns that were left out to make room.
  """

  text: str
  ended: bool
  trimmed: bool
  forgotten: int = 0


class Conversation:
  """Answers prompts, one after the other.

  Args:
    model: the model.
    max_new: maximum number of new tokens of an answer; 0 for the target length
      of the model's run.
    markers: texts around a prompt, see `wordings.markers`; empty for those that
      the model was trained with.
    sampling: how tokens are chosen.
    stops: texts that end an answer; they are no part of it.

  Attributes:
    has_memory: True if earlier turns are part of the prompt.

  Raises:
    ValueError: the markers are unknown, or the chat template leaves no room
      for a prompt.
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
    self._format = model.prompt_format
    longest = self._format.max_target_length
    self._max_new = min(max_new or longest, longest)
    self.has_memory = self._format.separator is Separator.CHAT
    self._before_next = self._ids_before_next_turn()
    self._turns: list[_Turn] = []
    self._num_prompts = 0

  def forget(self) -> None:
    """Starts a new conversation."""
    self._turns = []

  def answer(
    self, prompt: str, write: Callable[[str], object] = lambda text: None
  ) -> Reply:
    """Answers a prompt.

    Args:
      prompt: a text.
      write: called with each new part of the answer's text.
    """
    (encoded,) = self._format.tokenizer.encode_prompts(
      [self._markers.join(prompt)]
    )
    num_turns = len(self._turns)
    prompt_ids = self._fit(encoded)
    forgotten = num_turns - len(self._turns)
    new_ids = self._generate(prompt_ids, write)
    answer_ids = self._format.without_ends(new_ids)
    if self.has_memory:
      self._turns.append(_Turn(prompt_ids, answer_ids))
    full_text = self._format.decode(answer_ids)
    text = text_before_stop(full_text, self._stops)
    return Reply(
      text=text,
      ended=len(answer_ids) < len(new_ids) or text != full_text,
      trimmed=len(prompt_ids) < len(encoded),
      forgotten=forgotten,
    )

  def _ids_before_next_turn(self) -> np.ndarray:
    """Returns the ids before a prompt that is not the first one."""
    chat = self._model.run.chat
    if not (self.has_memory and chat.after and chat.after in chat.before):
      return self._format.tokenizer.before
    text = chat.before.rpartition(chat.after)[2]
    # The space belongs to the first token of the prompt.
    return self._model.vocabulary.encode_special(text.removesuffix(" "))

  def _fit(self, prompt: np.ndarray) -> np.ndarray:
    """Cuts a prompt to the room for it alone; forgets turns until it fits."""
    room = int(self._format.prompt_room(self._max_new))
    prompt = self._format.truncate_prompt(prompt, room)
    longest = room + self._format.tokenizer.prompt_overhead
    while self._turns and len(self._with_turns(prompt)) > longest:
      del self._turns[0]
    return prompt

  def _with_turns(self, prompt: np.ndarray) -> np.ndarray:
    """Returns the ids that the model reads: all turns, then the prompt."""
    tokenizer, parts = self._format.tokenizer, []
    begin = tokenizer.before
    for turn in self._turns:
      parts += [begin, turn.prompt, tokenizer.between]
      parts += [turn.answer, tokenizer.after]
      begin = self._before_next
    return np.concatenate([*parts, begin, prompt, tokenizer.between])

  def _generate(
    self, prompt: np.ndarray, write: Callable[[str], object]
  ) -> np.ndarray:
    """Returns the new ids, ends included, and streams their text."""
    streamed = StreamedText(self._stops, self._model.vocabulary.decode, write)

    def show(prompt_index: int, ids: Sequence[int], final: bool) -> None:
      del prompt_index  # There is one prompt.
      streamed.update(self._format.without_ends(ids).tolist(), final)

    (new_ids,) = self._model.continuations(
      [self._with_turns(prompt)],
      self._max_new,
      self._format.end_ids,
      sampling=self._sampling,
      stops=self._stops,
      numbers=[self._num_prompts],
      show=show,
    )
    self._num_prompts += 1
    return new_ids
