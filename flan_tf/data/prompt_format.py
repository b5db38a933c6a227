"""The prompt format of a run: rules that turn texts into token ids and back.

The separator decides which ids stand around a prompt and its target, and which
of them have a loss:

    separator   ids of one example                       loss on
    flan        prompt, EOS, target, EOS                 target, last EOS
    plain       prompt and target                        target
    newline     prompt, a line break and target          target
    blank       prompt, a space and target               target
    chat        before, prompt, between, target, after   target, after

With plain, newline and blank, prompt and target are tokenized as one text. The
ids of a chat template (`config.ChatConfig`) count in all lengths and are never
truncated.

A soft prompt stands before everything else; padding ids keep its place:

    start, soft prompt, before, prompt, between, target, after
"""

import dataclasses
import enum
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from flan_tf import config
from flan_tf.data import prompt_tokenizer
from flan_tf.vocab.base import Vocabulary


class Separator(enum.Enum):
  """The token ids around a prompt and its target; see the table above."""

  FLAN = "flan"
  PLAIN = "plain"
  NEWLINE = "newline"
  BLANK = "blank"
  CHAT = "chat"


_JOINERS = {Separator.PLAIN: "", Separator.NEWLINE: "\n", Separator.BLANK: " "}


class Overflow(enum.Enum):
  """The treatment of a prompt that is too long."""

  MIDDLE = "middle"  # The middle is cut: instructions stand at both ends.
  END = "end"  # The end is cut, as published.
  SKIP = "skip"  # The example is left out, also if its target is too long.


class EncodedPrompt(NamedTuple):
  """A prompt with options as the model reads them.

  Attributes:
    prompt: int32 ids, those around the prompt included.
    options: int32 ids of each option, those after it included.
    trimmed: whether the prompt or an option was too long and lost a part.
  """

  prompt: np.ndarray
  options: tuple[np.ndarray, ...]
  trimmed: bool


@dataclasses.dataclass(frozen=True)
class PromptFormat:
  """Lengths, truncation, separator, chat template and soft prompt of a run.

  Lengths are numbers of tokens and include the ids around a text.

  Attributes:
    vocabulary: tokenizes all texts.
    input_length: maximum length of a prompt, without the soft prompt.
    target_length: maximum length of a target; the end of a longer one is cut.
    row_length: length of a packed row. It must hold the soft prompt, the prompt
      and the target. A target takes at most half of the tokens that the soft
      prompt leaves.
    overflow: the treatment of a prompt that is too long.
    separator: the ids around a prompt and its target.
    chat: the chat template; used if the separator is "chat".
    soft_prompt: the number of learned vectors before every example.

  Raises:
    ValueError: a length is too small, or there is no chat template for the
      separator "chat".
  """

  vocabulary: Vocabulary = dataclasses.field(repr=False)
  input_length: int = 1024
  target_length: int = 256
  row_length: int = 1280
  overflow: Overflow = Overflow.MIDDLE
  separator: Separator = Separator.FLAN
  chat: config.ChatConfig = config.ChatConfig()
  soft_prompt: int = 0

  def __post_init__(self):
    for name in ("input_length", "target_length"):
      if getattr(self, name) < 2:
        raise ValueError(
          f"{name} is {getattr(self, name)}; it must be 2 tokens or more."
        )
    if self.example_length < 4:
      raise ValueError(
        f"A packed row has {self.row_length} tokens, and the soft prompt takes"
        f" {self.soft_prompt} of them; prompt and target need 4 or more. Raise"
        " data.length."
      )
    check_chat_template(self.separator, self.chat)

  @classmethod
  def from_run(cls, run: config.RunConfig, vocabulary: Vocabulary) -> Self:
    """Returns the prompt format that a run trains and is evaluated with."""
    return cls(
      vocabulary,
      input_length=run.data.input_length,
      target_length=run.data.target_length,
      row_length=run.data.length,
      overflow=Overflow(run.data.overflow),
      separator=Separator(run.data.separator),
      chat=run.chat,
      soft_prompt=run.adapter.soft_prompt,
    )

  @property
  def example_length(self) -> int:
    """Maximum length of prompt and target together, without soft prompt."""
    return self.row_length - self.soft_prompt

  @property
  def max_target_length(self) -> int:
    """Maximum length of a target, with the ids after it."""
    return min(self.target_length, self.example_length // 2)

  @functools.cached_property
  def tokenizer(self) -> prompt_tokenizer.PromptTokenizer:
    """Tokenizes prompts and targets.

    Raises:
      ValueError: the chat template leaves no room for a prompt or an answer.
    """
    if self.separator in _JOINERS:
      joiner = _JOINERS[self.separator]
      return prompt_tokenizer.JointTokenizer(self.vocabulary, joiner=joiner)
    if self.separator is Separator.FLAN:
      eos = np.array([self.vocabulary.eos_id], np.int32)
      return prompt_tokenizer.SeparateTokenizer(
        self.vocabulary, between=eos, after=eos
      )
    tokenizer = prompt_tokenizer.chat_tokenizer(self.chat, self.vocabulary)
    overhead, after = tokenizer.prompt_overhead, len(tokenizer.after)
    room = min(self.input_length, self.example_length - self.max_target_length)
    if overhead >= room or after >= self.max_target_length:
      raise ValueError(
        f"The chat template takes {overhead} tokens of a prompt's {room}"
        f" and {after} of an answer's {self.max_target_length}, so that"
        " nothing else fits. Raise data.input_length, data.target_length or"
        " data.length, or shorten chat.before."
      )
    return tokenizer

  def check(self) -> None:
    """Raises ValueError if the chat template leaves no room for texts."""
    _ = self.tokenizer

  @property
  def end_ids(self) -> tuple[int, ...]:
    """Ids that end an answer."""
    return self.tokenizer.end_ids

  @property
  def pad_id(self) -> int:
    """The id that fills packed rows and keeps the place of a soft prompt."""
    return self.vocabulary.pad_id

  @property
  def start_id(self) -> int | None:
    """The input before the first token of an example; None if there is none.

    A soft prompt needs an input before it, even if texts of the vocabulary do
    not start with one.
    """
    if self.vocabulary.has_start or self.soft_prompt:
      return self.vocabulary.bos_id
    return None

  def prompt_room(self, answer_length: Any) -> Any:
    """Returns the number of tokens that the text of a prompt may have.

    Args:
      answer_length: tokens that the answer takes, with the ids after it; an
        int or an int array.
    """
    room = np.minimum(self.input_length, self.example_length - answer_length)
    return room - self.tokenizer.prompt_overhead

  def truncate_prompt(self, ids: np.ndarray, room: int) -> np.ndarray:
    """Shortens a prompt to `room` tokens, for evaluation and generation.

    Only training leaves out prompts. With the overflow "skip", the middle of a
    prompt is cut here.
    """
    end = self.overflow is Overflow.END
    return truncate(ids, room, Overflow.END if end else Overflow.MIDDLE)

  def wrap_prompt(self, ids: np.ndarray) -> np.ndarray:
    """Adds the ids that stand before and after a prompt."""
    return np.concatenate([self.tokenizer.before, ids, self.tokenizer.between])

  def context_tokens(self, prompt: np.ndarray) -> np.ndarray:
    """Returns the model's inputs for a prompt: start, soft prompt, prompt.

    Args:
      prompt: int32 ids, those around the prompt included.
    """
    soft_prompt = np.full([self.soft_prompt], self.pad_id, np.int32)
    ids = np.concatenate([soft_prompt, prompt])
    start = [] if self.start_id is None else [self.start_id]
    if not len(ids):
      # The first token of an answer needs an input before it.
      start = [self.vocabulary.bos_id]
    return np.concatenate([start, ids]).astype(np.int32)

  def encode_options(
    self, prompts: Sequence[str], options: Sequence[Sequence[str]]
  ) -> list[EncodedPrompt]:
    """Tokenizes prompts and their options as a model scores them.

    All options of a prompt share one prompt, truncated so that the longest
    option fits after it. A prompt without options leaves room for an answer of
    `max_target_length`.

    Args:
      prompts: texts.
      options: the texts of each prompt's options; empty for a generation. An
        option without tokens has only the ids after an option.
    """
    after = self.tokenizer.after
    max_option = self.max_target_length - len(after)
    encoded = []
    for ids, option_ids in self.tokenizer.encode_options(prompts, options):
      cut = [np.concatenate([x[:max_option], after]) for x in option_ids]
      longest = max(map(len, cut), default=self.max_target_length)
      room = int(self.prompt_room(longest))
      prompt = self.wrap_prompt(self.truncate_prompt(ids, room))
      trimmed = len(ids) > room or any(len(x) > max_option for x in option_ids)
      encoded.append(EncodedPrompt(prompt, tuple(cut), trimmed))
    return encoded

  def without_ends(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Removes the ids that end an answer: int32 [n]."""
    ends = self.end_ids
    return np.array([i for i in ids if i not in ends], np.int32)

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """Returns the text of an answer's ids; the ids that end it are removed."""
    return self.vocabulary.decode(self.without_ends(ids))


def check_chat_template(separator: Separator, chat: config.ChatConfig) -> None:
  """Raises ValueError if a separator needs a chat template that is missing."""
  if separator is Separator.CHAT and not chat.is_set:
    raise ValueError(
      'The separator is "chat", but there is no chat template: the model came'
      " with none. Convert it again with launch.convert --chat=chatml (or"
      " another), set --config.chat.before, .between and .after for training,"
      ' or take the separator "plain" or "flan".'
    )


def truncate(ids: np.ndarray, length: int, overflow: Overflow) -> np.ndarray:
  """Shortens ids to a length; `overflow` names the part that is removed.

  With length 5, the ids 0 1 2 3 4 5 6 7 8 9 become 0 1 2 8 9 (middle) or
  0 1 2 3 4 (end).
  """
  if len(ids) <= length:
    return ids
  if overflow is Overflow.END:
    return ids[:length]
  tail = length // 2
  return np.concatenate([ids[: length - tail], ids[len(ids) - tail :]])
