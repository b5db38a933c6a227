"""What stands around prompts and targets, and how long they may be.

    separator   ids of one example                       loss on
    flan        prompt ids, EOS, target ids, EOS         target ids, last EOS
    plain       prompt ids, target ids                   target ids
    newline     prompt ids, a new line, target ids       target ids
    chat        before, prompt ids, between,             target ids, after
                target ids, after

The parts of a chat are the model's own (`config.ChatConfig`), special pieces
among them. They stay whole whatever is cut, and count in all lengths.
"""

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf import config, suggest
from flan_tf.data import vocabulary as vocabulary_lib


class Separator(enum.Enum):
  """What stands around a prompt and its target."""

  FLAN = "flan"
  PLAIN = "plain"
  NEWLINE = "newline"
  CHAT = "chat"


class Overflow(enum.Enum):
  """What happens to a prompt that is too long."""

  MIDDLE = "middle"  # its middle is cut
  END = "end"  # its end is cut, as published
  SKIP = "skip"  # the example is left out, for a long target too


@dataclasses.dataclass(frozen=True)
class Wrapper:
  """What stands around prompts and targets, and what tokenizes them.

  Attributes:
    before: int32 ids before a prompt.
    between: int32 ids between prompt and target.
    after: int32 ids after a target.
    vocabulary: tokenizes prompts and targets.
    leads: what goes before the text of a prompt, and of a target: a blank, or
      nothing. A blank at the end of `before` is one token with the first word
      of the prompt, as it was where the model was trained.
  """

  before: np.ndarray
  between: np.ndarray
  after: np.ndarray
  vocabulary: vocabulary_lib.AnyVocabulary
  leads: tuple[str, str] = ("", "")

  @property
  def of_prompt(self) -> int:
    """Tokens that come with a prompt."""
    return len(self.before) + len(self.between)

  @property
  def ends(self) -> tuple[int, ...]:
    """Ids at which an answer is over: end of text, and what begins `after`."""
    return (self.vocabulary.eos_id, *map(int, self.after[:1]))

  def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
    """Prompts and targets [2, n] to ids [2 n, None]; empty texts stay empty."""
    if any(self.leads):
      led = tf.constant(self.leads)[:, tf.newaxis] + texts
      texts = tf.where(tf.equal(texts, ""), "", led)
    return self.vocabulary.tokenize(tf.reshape(texts, [-1]))

  def encode(
    self, texts: Sequence[str], targets: bool = False
  ) -> list[np.ndarray]:
    """Prompts, or targets, to ids; empty texts stay empty."""
    lead = self.leads[targets]
    return self.vocabulary.encode([text and lead + text for text in texts])

  def prompt(self, ids: np.ndarray) -> np.ndarray:
    """The ids of a prompt with what belongs to it."""
    return np.concatenate([self.before, ids, self.between])


@dataclasses.dataclass(frozen=True)
class Limits:
  """Lengths in tokens, with what the separator puts around a text.

  Attributes:
    input_length: of a prompt.
    target_length: of a target; a longer one loses its end.
    row_length: of a packed row, which must hold prompt and target. A target
      takes half of it at most, a prompt what its target leaves.
    overflow: see Overflow.
    separator: see Separator.
    chat: what the separator "chat" puts around a prompt and its target.
  """

  input_length: int = 1024
  target_length: int = 256
  row_length: int = 1280
  overflow: Overflow = Overflow.MIDDLE
  separator: Separator = Separator.FLAN
  chat: config.ChatConfig = config.ChatConfig()

  def __post_init__(self):
    for name, least in (
      ("input_length", 2),
      ("target_length", 2),
      ("row_length", 4),
    ):
      if getattr(self, name) < least:
        raise ValueError(
          f"{name} is {getattr(self, name)}; it must be {least} or more."
        )
    if self.separator is Separator.CHAT and not self.chat.given:
      raise ValueError(
        'The separator is "chat", but there is no chat wrapper: the model came'
        " with none. Convert it again with launch.convert --chat=chatml (or"
        " another), set --config.chat.before, .between and .after for training,"
        ' or take the separator "plain" or "flan".'
      )

  @classmethod
  def of(
    cls,
    input_length: int,
    target_length: int,
    row_length: int,
    overflow: str,
    separator: str,
    chat: config.ChatConfig | None = None,
  ) -> "Limits":
    """Limits from plain values, as a configuration has them."""
    return cls(
      input_length,
      target_length,
      row_length,
      _member(Overflow, "overflow", overflow),
      _member(Separator, "separator", separator),
      chat or config.ChatConfig(),
    )

  @property
  def longest_target(self) -> int:
    """Most tokens of a target, with what comes after it."""
    return min(self.target_length, self.row_length // 2)

  def wrapper(self, vocabulary: vocabulary_lib.AnyVocabulary) -> Wrapper:
    """What the separator puts around prompts and targets.

    Raises:
      ValueError: it leaves no room for them.
    """
    none = np.zeros(0, np.int32)
    if self.separator is Separator.PLAIN:
      return Wrapper(none, none, none, vocabulary)
    if self.separator is Separator.NEWLINE:
      # The last one: SentencePiece may put a blank before it.
      newline = vocabulary.encode(["\n"])[0][-1:]
      return Wrapper(none, newline, none, vocabulary)
    if self.separator is Separator.FLAN:
      eos = np.array([vocabulary.eos_id], np.int32)
      return Wrapper(none, eos, eos, vocabulary)
    made = _chat_wrapper(self.chat, vocabulary)
    room = min(self.input_length, self.row_length - self.longest_target)
    if made.of_prompt >= room or len(made.after) >= self.longest_target:
      raise ValueError(
        f"The chat wrapper takes {made.of_prompt} tokens of a prompt's {room}"
        f" and {len(made.after)} of an answer's {self.longest_target}, so that"
        " nothing else fits. Raise data.input_length, data.target_length or"
        " data.length, or shorten chat.before."
      )
    return made


def _chat_wrapper(
  chat: config.ChatConfig, vocabulary: vocabulary_lib.AnyVocabulary
) -> Wrapper:
  """Its texts as ids.

  A blank at the end of a part goes to the text behind it. Where texts of a
  vocabulary start with a blank (SentencePiece), the whole has one too.
  """
  verbatim = vocabulary.verbatim
  before, between = chat.before, chat.between
  if verbatim is not vocabulary and not _starts_special(before, vocabulary):
    before = f" {before}"
  return Wrapper(
    vocabulary.encode_special(before.removesuffix(" ")),
    vocabulary.encode_special(between.removesuffix(" ")),
    vocabulary.encode_special(chat.after),
    verbatim,
    (_last_blank(before), _last_blank(between)),
  )


def _last_blank(text: str) -> str:
  return " " if text.endswith(" ") else ""


def _starts_special(
  text: str, vocabulary: vocabulary_lib.AnyVocabulary
) -> bool:
  return text.startswith(tuple(vocabulary.special_pieces))


def cut(ids: np.ndarray, length: int, overflow: Overflow) -> np.ndarray:
  """Shortens ids to a length.

  0 1 2 3 4 5 6 7 8 9 cut to 5 is 0 1 2 8 9 (middle) or 0 1 2 3 4 (end).
  """
  if len(ids) <= length:
    return ids
  if overflow is Overflow.END:
    return ids[:length]
  tail = length // 2
  return np.concatenate([ids[: length - tail], ids[len(ids) - tail :]])


def _member(kind: Any, name: str, value: str) -> Any:
  known = {member.value: member for member in kind}
  if value not in known:
    raise ValueError(suggest.unknown(name, value, known))
  return known[value]
