"""What stands around prompts and targets, and how long they may be.

    separator   ids of one example                       loss on
    flan        prompt ids, EOS, target ids, EOS         target ids, last EOS
    plain       ids of prompt and target                 target ids
    newline     ids of prompt, new line and target       target ids
    blank       ids of prompt, a blank and target        target ids
    chat        before, prompt ids, between,             target ids, after
                target ids, after

With plain, newline and blank, both are one text and tokenized together: a piece
over the border belongs to the target, and none is without pieces of its own.

    "no", "yes" as "noyes"    pieces n oy es    prompt n, target oy es

The parts of a chat are the model's own (`config.ChatConfig`), special pieces
among them. They stay whole whatever is cut, and count in all lengths.
"""

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf import config, name_lists
from flan_tf.vocab.vocabulary import Vocabulary


class Separator(enum.Enum):
  """What stands around a prompt and its target."""

  FLAN = "flan"
  PLAIN = "plain"
  NEWLINE = "newline"
  BLANK = "blank"
  CHAT = "chat"


_GLUE = {Separator.PLAIN: "", Separator.NEWLINE: "\n", Separator.BLANK: " "}


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
    glue: what is between the texts where they are tokenized together; None
      where they are not.
    leads: what goes before the text of a prompt, and of a target: a blank, or
      nothing. A blank at the end of `before` is one token with the first word
      of the prompt, as it was where the model was trained.
  """

  before: np.ndarray
  between: np.ndarray
  after: np.ndarray
  vocabulary: Vocabulary
  leads: tuple[str, str] = ("", "")
  glue: str | None = None

  @property
  def of_prompt(self) -> int:
    """Tokens that come with a prompt."""
    return len(self.before) + len(self.between)

  @property
  def cue(self) -> str:
    """What ends the text of a prompt that is to be continued.

    No blank: it is one token with the first word of what comes.
    """
    return (self.glue or "").rstrip(" ")

  @property
  def ends(self) -> tuple[int, ...]:
    """Ids at which an answer is over: end of text, and what begins `after`."""
    return (self.vocabulary.eos_id, *map(int, self.after[:1]))

  def tokenize(self, texts: tf.Tensor) -> Any:
    """Prompts and targets [2, n] to ids [2 n, None]; empty targets stay empty.

    In the graph.
    """
    prompts, targets = tf.unstack(texts)
    if self.glue is None:
      led = tf.stack([self._led(prompts, 0), self._led(targets, 1)])
      return self.vocabulary.tokenize(tf.reshape(led, [-1]))
    asked = self.vocabulary.tokenize(prompts + self.cue)
    whole = self.vocabulary.tokenize(prompts + self.glue + targets)
    common = _common_beginnings(asked, whole)[:, tf.newaxis]
    place = tf.ragged.range(whole.row_lengths())
    kept = place < tf.cast(common, place.dtype)
    answers = ~kept & (targets != "")[:, tf.newaxis]
    parts = (tf.ragged.boolean_mask(whole, x) for x in (kept, answers))
    return tf.concat(list(parts), axis=0)

  def tokenize_prompts(self, texts: tf.Tensor) -> Any:
    """Prompts that are to be continued, [n] to ids [n, None], in the graph."""
    return self.vocabulary.tokenize(self._led(texts, 0) + self.cue)

  def encode_prompts(self, texts: Sequence[str]) -> list[np.ndarray]:
    """Prompts that are to be continued, to ids."""
    lead = self.leads[0]
    return self.vocabulary.encode(
      [(text and lead + text) + self.cue for text in texts]
    )

  def encode_options(
    self, prompts: Sequence[str], options: Sequence[Sequence[str]]
  ) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Prompts with the options that are to be ranked behind each, to ids.

    Options of one prompt all begin where the first of them departs from the
    prompt, so that their probabilities are those of the same stretch of text.
    """
    if self.glue is None:
      asked = self.encode_prompts(prompts)
      texts = sorted({text for few in options for text in few})
      led = [text and self.leads[1] + text for text in texts]
      ids = dict(zip(texts, self.vocabulary.encode(led), strict=True))
      return [
        (prompt, [ids[text] for text in few])
        for prompt, few in zip(asked, options, strict=True)
      ]
    # What options may change of a prompt's pieces is its end.
    cuts = list(map(self.vocabulary.border, prompts))
    pairs = list(zip(prompts, cuts, strict=True))
    heads = self.vocabulary.encode([prompt[:cut] for prompt, cut in pairs])
    tails = self.vocabulary.encode([p[cut:] + self.cue for p, cut in pairs])
    wholes = iter(
      self.vocabulary.encode(
        [
          prompt[cut:] + self.glue + text if text else ""
          for (prompt, cut), few in zip(pairs, options, strict=True)
          for text in few
        ]
      )
    )
    out = []
    for head, tail, few in zip(heads, tails, options, strict=True):
      found = [next(wholes) for _ in few]
      same = min((in_common(tail, ids) for ids in found), default=len(tail))
      prompt = np.concatenate([head, tail[:same]])
      out.append((prompt, [ids[same:] for ids in found]))
    return out

  def prompt(self, ids: np.ndarray) -> np.ndarray:
    """The ids of a prompt with what belongs to it."""
    return np.concatenate([self.before, ids, self.between])

  def _led(self, texts: tf.Tensor, part: int) -> tf.Tensor:
    lead = self.leads[part]
    return tf.where(texts == "", "", lead + texts) if lead else texts


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

  def wrapper(self, vocabulary: Vocabulary) -> Wrapper:
    """What the separator puts around prompts and targets.

    Raises:
      ValueError: it leaves no room for them.
    """
    none = np.zeros(0, np.int32)
    if self.separator in _GLUE:
      glue = _GLUE[self.separator]
      return Wrapper(none, none, none, vocabulary, glue=glue)
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


def _chat_wrapper(chat: config.ChatConfig, vocabulary: Vocabulary) -> Wrapper:
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


def _starts_special(text: str, vocabulary: Vocabulary) -> bool:
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


def in_common(one: np.ndarray, other: np.ndarray) -> int:
  """How many ids two texts have in common at their beginnings."""
  size = min(len(one), len(other))
  differ = np.flatnonzero(one[:size] != other[:size])
  return int(differ[0]) if len(differ) else size


def _common_beginnings(one: Any, other: Any) -> Any:
  """The same of ragged ids [n, None] each, in the graph: int32 [n]."""
  size = tf.minimum(one.bounding_shape()[1], other.bounding_shape()[1])
  # Their paddings differ, so that nothing is in common behind an end.
  first, second = one.to_tensor(-1), other.to_tensor(-2)
  same = tf.cast(first[:, :size] == second[:, :size], tf.int32)
  return tf.reduce_sum(tf.math.cumprod(same, axis=1), axis=1)


def _member(kind: Any, name: str, value: str) -> Any:
  known = {member.value: member for member in kind}
  if value not in known:
    raise ValueError(name_lists.unknown_name(name, value, known))
  return known[value]
