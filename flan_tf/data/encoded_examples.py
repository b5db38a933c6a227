"""Turns prompts and targets into training examples: flat arrays of token ids.

The ids of an example are those that `flan_tf.data.prompt_format` draws. Prompts
and targets that are too long are truncated or left out, and counted.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flan_tf.data import ragged
from flan_tf.data.prompt_format import Overflow, PromptFormat


class EncodedExamples(NamedTuple):
  """Training examples as token ids, one after another.

  Attributes:
    ids: int32 [tokens].
    lengths: int64 [examples], the tokens of each example.
    prompt_lengths: int64 [examples], the tokens before the loss starts.
    kept: bool [pairs], the pairs of prompt and target that became examples.
    empty_targets: number of pairs left out because the target has no tokens.
    too_long: number of pairs left out because of their length.
    trimmed_inputs: number of examples that lost a part of their prompt.
    trimmed_targets: number of examples that lost the end of their target.
  """

  ids: np.ndarray
  lengths: np.ndarray
  prompt_lengths: np.ndarray
  kept: np.ndarray
  empty_targets: int = 0
  too_long: int = 0
  trimmed_inputs: int = 0
  trimmed_targets: int = 0


def encode_examples(
  prompts: tf.Tensor, targets: tf.Tensor, prompt_format: PromptFormat
) -> EncodedExamples:
  """Tokenizes pairs of prompt and target; joins each pair to an example.

  Args:
    prompts: strings [pairs].
    targets: strings [pairs]. A pair whose target has no tokens is left out.
    prompt_format: the ids around the texts, and how long they may be.

  Returns:
    The examples in the order of the pairs.
  """
  pieces = prompt_format.tokenizer.tokenize(prompts, targets)
  ids, splits = pieces.values.numpy(), pieces.row_splits.numpy()
  starts = splits[:-1].reshape(2, -1)
  lengths = np.diff(splits).reshape(2, -1)
  has_target = lengths[1] > 0
  examples = join_examples(
    ids, starts[:, has_target], lengths[:, has_target], prompt_format
  )
  kept = np.zeros(len(has_target), bool)
  kept[has_target] = examples.kept
  return examples._replace(kept=kept, empty_targets=int(np.sum(~has_target)))


def join_examples(
  ids: np.ndarray,
  starts: np.ndarray,
  lengths: np.ndarray,
  prompt_format: PromptFormat,
) -> EncodedExamples:
  """Joins tokenized prompts and targets to training examples.

  Args:
    ids: int32 [tokens], all prompts and targets, without the ids around them.
    starts: int64 [2, pairs], the position in `ids` at which each prompt (first
      row) and each target (second row) starts.
    lengths: int64 [2, pairs], the numbers of their tokens.
    prompt_format: the ids around the texts, and how long they may be.
  """
  tokenizer, overflow = prompt_format.tokenizer, prompt_format.overflow
  after = len(tokenizer.after)
  target = np.minimum(lengths[1], prompt_format.max_target_length - after)
  prompt = np.minimum(lengths[0], prompt_format.prompt_room(target + after))
  cut_prompt, cut_target = prompt < lengths[0], target < lengths[1]
  kept = np.ones(len(target), bool)
  if overflow is Overflow.SKIP:
    kept = ~(cut_prompt | cut_target)

  middle = overflow is Overflow.MIDDLE
  tail = np.where(cut_prompt & middle, prompt // 2, 0)[kept]
  prompt, target = prompt[kept], target[kept]
  prompt_starts, target_starts = starts[:, kept]
  prompt_stops = prompt_starts + lengths[0, kept]
  example_ids, example_lengths = ragged.concatenate_parts(
    ids,
    [
      tokenizer.before,
      ragged.Slices(prompt_starts, prompt - tail),
      ragged.Slices(prompt_stops - tail, tail),
      tokenizer.between,
      ragged.Slices(target_starts, target),
      tokenizer.after,
    ],
    count=len(target),
  )
  return EncodedExamples(
    ids=example_ids,
    lengths=example_lengths,
    prompt_lengths=prompt + tokenizer.prompt_overhead,
    kept=kept,
    too_long=int(np.sum(~kept)),
    trimmed_inputs=int(np.sum(cut_prompt & kept)),
    trimmed_targets=int(np.sum(cut_target & kept)),
  )
