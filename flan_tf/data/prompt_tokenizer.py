"""Tokenizes prompts and targets, separately or as one text.

    SeparateTokenizer   each text has pieces of its own; fixed token ids stand
                        before, between and after the two texts
    JointTokenizer      prompt, joiner and target are one text; nothing is added

In a joint text a piece may span the border of prompt and target. Such a piece
belongs to the target, so that the prompt is never tokenized differently from
the whole text:

    "no" + "yes" = "noyes"    pieces n oy es    prompt n, target oy es
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf import config
from flan_tf.vocab.base import Vocabulary

# For each prompt: its ids, and the ids of each of its options.
PromptWithOptions = tuple[np.ndarray, list[np.ndarray]]

_NO_IDS = np.zeros(0, np.int32)


@dataclasses.dataclass(frozen=True)
class PromptTokenizer(abc.ABC):
  """Turns prompts and targets into token ids.

  An example is the ids  before, prompt, between, target, after.  The methods
  return prompt and target alone, without the ids around them.

  Attributes:
    vocabulary: tokenizes the texts.
    before: int32 ids before a prompt.
    between: int32 ids between prompt and target.
    after: int32 ids after a target.
  """

  vocabulary: Vocabulary
  before: np.ndarray = dataclasses.field(default_factory=lambda: _NO_IDS)
  between: np.ndarray = dataclasses.field(default_factory=lambda: _NO_IDS)
  after: np.ndarray = dataclasses.field(default_factory=lambda: _NO_IDS)

  @property
  def prompt_overhead(self) -> int:
    """Number of tokens that the ids around a prompt take."""
    return len(self.before) + len(self.between)

  @property
  def end_ids(self) -> tuple[int, ...]:
    """Ids that end an answer: end-of-text and the first id of `after`."""
    return (self.vocabulary.eos_id, *map(int, self.after[:1]))

  @property
  @abc.abstractmethod
  def prompt_prefix(self) -> str:
    """Text put before a prompt that the model continues."""

  @property
  @abc.abstractmethod
  def prompt_suffix(self) -> str:
    """Text put after a prompt that the model continues."""

  @abc.abstractmethod
  def tokenize(self, prompts: tf.Tensor, targets: tf.Tensor) -> Any:
    """Tokenizes pairs of prompt and target in the graph.

    Args:
      prompts: strings [n].
      targets: strings [n]. An empty target has no ids.

    Returns:
      Ragged int32 [2 n, None]: all prompts, then all targets.
    """

  @abc.abstractmethod
  def encode_options(
    self, prompts: Sequence[str], options: Sequence[Sequence[str]]
  ) -> list[PromptWithOptions]:
    """Tokenizes prompts and the options that may follow each of them.

    All options of a prompt start at the same token, so that the probabilities
    of the options can be compared.
    """

  def tokenize_prompts(self, prompts: tf.Tensor) -> Any:
    """Tokenizes prompts to continue, in the graph: ragged int32 [n, None]."""
    texts = _prepend(self.prompt_prefix, prompts) + self.prompt_suffix
    return self.vocabulary.tokenize(texts)

  def encode_prompts(self, prompts: Sequence[str]) -> list[np.ndarray]:
    """Tokenizes prompts to continue: one int32 array per prompt."""
    prefix, suffix = self.prompt_prefix, self.prompt_suffix
    return self.vocabulary.encode(
      [(text and prefix + text) + suffix for text in prompts]
    )


@dataclasses.dataclass(frozen=True)
class SeparateTokenizer(PromptTokenizer):
  """Tokenizes prompt and target each on its own.

  Attributes:
    prompt_space: a space before the text of a prompt, or nothing. A tokenizer
      merges this space with the first word, so it is part of the text and not
      of `before`.
    target_space: a space before the text of a target, or nothing.
  """

  prompt_space: str = ""
  target_space: str = ""

  @property
  def prompt_prefix(self) -> str:
    return self.prompt_space

  @property
  def prompt_suffix(self) -> str:
    return ""

  def tokenize(self, prompts: tf.Tensor, targets: tf.Tensor) -> Any:
    prompts = _prepend(self.prompt_space, prompts)
    targets = _prepend(self.target_space, targets)
    return self.vocabulary.tokenize(tf.concat([prompts, targets], axis=0))

  def encode_options(
    self, prompts: Sequence[str], options: Sequence[Sequence[str]]
  ) -> list[PromptWithOptions]:
    # Most prompts of a classification have the same options.
    texts = sorted({text for of_prompt in options for text in of_prompt})
    spaced = [text and self.target_space + text for text in texts]
    ids = dict(zip(texts, self.vocabulary.encode(spaced), strict=True))
    return [
      (prompt, [ids[text] for text in of_prompt])
      for prompt, of_prompt in zip(
        self.encode_prompts(prompts), options, strict=True
      )
    ]


@dataclasses.dataclass(frozen=True)
class JointTokenizer(PromptTokenizer):
  """Tokenizes prompt, joiner and target as one text.

  Attributes:
    joiner: the text between prompt and target; may be empty.
  """

  joiner: str = ""

  @property
  def prompt_prefix(self) -> str:
    return ""

  @property
  def prompt_suffix(self) -> str:
    # A space is left out: it is one token with the next word.
    return self.joiner.rstrip(" ")

  def tokenize(self, prompts: tf.Tensor, targets: tf.Tensor) -> Any:
    alone = self.tokenize_prompts(prompts)
    joint = self.vocabulary.tokenize(prompts + self.joiner + targets)
    shared = _common_prefix_lengths(alone, joint)[:, tf.newaxis]
    position = tf.ragged.range(joint.row_lengths())
    in_prompt = position < tf.cast(shared, position.dtype)
    in_target = ~in_prompt & (targets != "")[:, tf.newaxis]
    return tf.concat(
      [
        tf.ragged.boolean_mask(joint, in_prompt),
        tf.ragged.boolean_mask(joint, in_target),
      ],
      axis=0,
    )

  def encode_options(
    self, prompts: Sequence[str], options: Sequence[Sequence[str]]
  ) -> list[PromptWithOptions]:
    # Options can change only the last pieces of a prompt. The text before them
    # is tokenized once for all options.
    cuts = [self.vocabulary.last_safe_cut(prompt) for prompt in prompts]
    starts = [prompt[:cut] for prompt, cut in zip(prompts, cuts, strict=True)]
    ends = [prompt[cut:] for prompt, cut in zip(prompts, cuts, strict=True)]
    start_ids = self.vocabulary.encode(starts)
    end_ids = self.vocabulary.encode([x + self.prompt_suffix for x in ends])
    joint_ids = iter(
      self.vocabulary.encode(
        [
          end + self.joiner + text if text else ""
          for end, of_prompt in zip(ends, options, strict=True)
          for text in of_prompt
        ]
      )
    )
    encoded = []
    for start, end, of_prompt in zip(start_ids, end_ids, options, strict=True):
      joint = [next(joint_ids) for _ in of_prompt]
      shared = min(
        (common_prefix_length(end, ids) for ids in joint), default=len(end)
      )
      prompt = np.concatenate([start, end[:shared]])
      encoded.append((prompt, [ids[shared:] for ids in joint]))
    return encoded


def chat_tokenizer(
  chat: config.ChatConfig, vocabulary: Vocabulary
) -> SeparateTokenizer:
  """Returns the tokenizer of a chat template.

  A space at the end of `chat.before` or `chat.between` is tokenized with the
  text that follows it. Vocabularies that put a space before every text
  (SentencePiece) put one before the whole conversation as well.
  """
  verbatim = vocabulary.verbatim
  before, between = chat.before, chat.between
  adds_space = verbatim is not vocabulary
  if adds_space and not before.startswith(tuple(vocabulary.special_pieces)):
    before = f" {before}"
  return SeparateTokenizer(
    verbatim,
    before=vocabulary.encode_special(before.removesuffix(" ")),
    between=vocabulary.encode_special(between.removesuffix(" ")),
    after=vocabulary.encode_special(chat.after),
    prompt_space=" " if before.endswith(" ") else "",
    target_space=" " if between.endswith(" ") else "",
  )


def common_prefix_length(one: np.ndarray, other: np.ndarray) -> int:
  """Returns the number of ids that two arrays share at their beginning."""
  size = min(len(one), len(other))
  differ = np.flatnonzero(one[:size] != other[:size])
  return int(differ[0]) if len(differ) else size


def _common_prefix_lengths(one: Any, other: Any) -> Any:
  """Compares ragged ids [n, None] row by row, in the graph: int32 [n]."""
  size = tf.minimum(one.bounding_shape()[1], other.bounding_shape()[1])
  # Different padding, so that padding never counts as shared.
  first, second = one.to_tensor(-1), other.to_tensor(-2)
  same = tf.cast(first[:, :size] == second[:, :size], tf.int32)
  return tf.reduce_sum(tf.math.cumprod(same, axis=1), axis=1)


def _prepend(space: str, texts: tf.Tensor) -> tf.Tensor:
  """Puts a space before each text that is not empty."""
  return tf.where(texts == "", "", space + texts) if space else texts
