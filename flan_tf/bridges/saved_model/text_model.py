r"""A model as one TensorFlow graph: texts in, texts out.

  prompt -> markers -> ids, truncated -> start, soft prompt -> new ids -> text
                                                             -> log_prob

Tokenizer, prompt format, model and decode loop are in the graph, with all
tables that they look up, so that the graph runs wherever TensorFlow and
tensorflow-text do. `row_programs` has the steps between ids and ids.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from flan_tf import config
from flan_tf.bridges.saved_model.row_programs import RowPrograms
from flan_tf.data.prompt_format import Overflow, PromptFormat
from flan_tf.task import wordings
from flan_tf.vocab.base import Vocabulary

# The blanks that str.rstrip removes, for a regular expression of RE2.
_TRAILING_BLANKS = (
  r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}"
  r"\x{202f}\x{205f}\x{3000}]+\z"
)


class _Prompts(NamedTuple):
  """Prompts as the model reads them.

  Attributes:
    ids: ragged int32 [n, None], start and soft prompt included.
    trimmed: bool [n], whether a prompt was too long and lost a part.
  """

  ids: Any
  trimmed: Any


class TextModel(tf.Module):
  """A model with graphs that answer prompts and score answers.

  Args:
    run: the run that trained the weights; it gives lengths, separator, chat
      template, markers and soft prompt.
    vocabulary: the run's vocabulary.
    weights: float32 variables by name; see `row_programs.weight_shapes`.

  Raises:
    ValueError: the separator is "chat", but there is no chat template.
  """

  def __init__(
    self,
    run: config.RunConfig,
    vocabulary: Vocabulary,
    weights: Mapping[str, tf.Variable],
  ):
    super().__init__(name="text_model")
    prompt_format = PromptFormat.from_run(run, vocabulary)
    tokenizer = prompt_format.tokenizer
    self._markers = wordings.markers(run.data.markers)
    self._vocabulary = vocabulary
    self._format, self._tokenizer = prompt_format, tokenizer
    # An attribute, so that TensorFlow saves the resources.
    self.resources = [vocabulary.resources, tokenizer.vocabulary.resources]
    # Padding keeps the place of the soft prompt.
    soft_prompt = prompt_format.soft_prompt * [prompt_format.pad_id]
    start = [vocabulary.bos_id, *soft_prompt]
    self._start = tf.constant([start])
    self._always_starts = prompt_format.start_id is not None
    prompt_length = prompt_format.input_length
    example_length = prompt_format.example_length
    answer_length = prompt_format.max_target_length
    self.rows = RowPrograms(
      run,
      weights,
      prompt_format.end_ids,
      prompt_length=len(start)
      + min(prompt_length, example_length - answer_length),
      answer_length=answer_length,
      row_length=len(start)
      + min(prompt_length + answer_length, example_length),
    )

  def signatures(self) -> dict[str, Any]:
    """Returns the signatures that `saved_model_writer` describes, by name."""
    texts = functools.partial(tf.TensorSpec, [None], tf.string)
    max_new = tf.TensorSpec([], tf.int32, "max_new")
    return {
      "serving_default": tf.function(
        lambda prompt: self.generate(prompt, tf.constant(0)),
        input_signature=[texts("prompt")],
        autograph=False,
      ),
      "generate": tf.function(
        self.generate,
        input_signature=[texts("prompt"), max_new],
        autograph=False,
      ),
      "score": tf.function(
        self.score,
        input_signature=[texts("prompt"), texts("answer")],
        autograph=False,
      ),
    }

  def generate(self, prompt: Any, max_new: Any) -> dict[str, Any]:
    """Generates the most likely answers, token by token.

    Args:
      prompt: strings [n].
      max_new: int32 [], number of new tokens at most; 0 for the run's target
        length, which is also the largest value that has an effect.

    Returns:
      Arrays [n] by name:
        answer: strings.
        log_prob: float32, the sum over the answer's tokens, with the token that
          ended it.
        tokens: int32, the number of these tokens.
        ended: bool, whether the answer came to its end within `max_new`.
        trimmed: bool, whether the prompt was too long and lost a part.
    """
    check = tf.debugging.assert_non_negative(
      max_new, "max_new: expected 0 (the run's target length) or more."
    )
    with tf.control_dependencies([check] if check is not None else []):
      longest = self._format.max_target_length
      limit = tf.where(max_new > 0, max_new, longest)
    limit = tf.minimum(limit, longest)
    # Room for the longest answer, so that `max_new` does not change the prompt.
    answer_length = tf.fill(tf.shape(prompt), longest)
    ids = self._tokenizer.tokenize_prompts(self._add_markers(prompt))
    prompts = self._format_prompts(ids, answer_length)
    new_ids = self.rows.continuations(prompts.ids, limit)
    is_end = new_ids.with_values(self.rows.is_end(new_ids.values))
    text_ids = tf.ragged.boolean_mask(new_ids, tf.logical_not(is_end))
    return {
      "answer": self._vocabulary.detokenize(text_ids),
      "log_prob": self.rows.log_probs(prompts.ids, new_ids),
      "tokens": tf.cast(new_ids.row_lengths(), tf.int32),
      "ended": tf.reduce_any(is_end, axis=1),
      "trimmed": prompts.trimmed,
    }

  def score(self, prompt: Any, answer: Any) -> dict[str, Any]:
    """Scores answers as an evaluation scores options.

    Args:
      prompt: strings [n].
      answer: strings [n], one for each prompt.

    Returns:
      Arrays [n] by name:
        log_prob: float32, the sum over the answer's tokens, with the ids that
          the prompt format puts after an answer.
        tokens: int32, the number of these tokens.
        trimmed: bool, whether prompt or answer was too long and lost a part.
    """
    check = tf.debugging.assert_equal(
      tf.size(prompt), tf.size(answer), "Expected one answer for each prompt."
    )
    with tf.control_dependencies([check] if check is not None else []):
      marked = self._add_markers(prompt)
      both = self._tokenizer.tokenize(marked, tf.identity(answer))
    prompt_ids, answer_ids = both[: tf.size(prompt)], both[tf.size(prompt) :]
    check = tf.debugging.assert_positive(
      answer_ids.row_lengths(),
      "An answer has no tokens, so it has no probability.",
    )
    after = self._tokenizer.after
    with tf.control_dependencies([check] if check is not None else []):
      room = tf.fill(
        [tf.size(prompt)], self._format.max_target_length - len(after)
      )
    answers = _append(_truncate(answer_ids, room, keep_end=False), after)
    length = tf.cast(answers.row_lengths(), tf.int32)
    prompts = self._format_prompts(prompt_ids, length)
    answer_trimmed = tf.cast(answer_ids.row_lengths(), tf.int32) > room
    return {
      "log_prob": self.rows.log_probs(prompts.ids, answers),
      "tokens": length,
      "trimmed": prompts.trimmed | answer_trimmed,
    }

  def _add_markers(self, prompts: Any) -> Any:
    """Adds the run's markers to prompts; see `wordings.Markers.join`."""
    after = self._markers.answer + self._markers.cue
    texts = tf.strings.join([self._markers.prompt, prompts, after])
    return tf.strings.regex_replace(
      texts, _TRAILING_BLANKS, "", replace_global=False
    )

  def _format_prompts(self, ids: Any, answer_length: Any) -> _Prompts:
    """Truncates prompts and adds the ids around them.

    Args:
      ids: ragged int32 [n, None], the texts of the prompts.
      answer_length: int32 [n], tokens that must fit after each prompt.
    """
    prompt_format, tokenizer = self._format, self._tokenizer
    room = tf.minimum(
      prompt_format.input_length, prompt_format.example_length - answer_length
    )
    room -= tokenizer.prompt_overhead
    keep_end = prompt_format.overflow is not Overflow.END
    wrapped = _prepend(tokenizer.before, _truncate(ids, room, keep_end))
    wrapped = _append(wrapped, tokenizer.between)
    # The first predicted id needs an input before it, even if the model reads
    # no start piece.
    has_start = (wrapped.row_lengths() == 0) | self._always_starts
    start = tf.tile(self._start, [ids.nrows(tf.int32), 1])
    start = tf.ragged.boolean_mask(
      start, tf.repeat(has_start[:, tf.newaxis], self._start.shape[1], axis=1)
    )
    trimmed = tf.cast(ids.row_lengths(), tf.int32) > room
    return _Prompts(tf.concat([start, wrapped], axis=1), trimmed)


def _truncate(ids: Any, room: Any, keep_end: bool) -> Any:
  """Truncates rows of ids; see `flan_tf.data.prompt_format.truncate`.

  Args:
    ids: ragged int32 [n, None].
    room: int32 [n], ids that fit, by row.
    keep_end: whether the middle of a row is cut, not the end.
  """
  lengths = tf.cast(ids.row_lengths(), tf.int32)
  tail = room // 2 if keep_end else tf.zeros_like(room)
  rows, starts = ids.value_rowids(), tf.cast(ids.row_starts(), tf.int32)
  positions = tf.range(tf.size(ids.values)) - tf.gather(starts, rows)
  kept = positions < tf.gather(room - tail, rows)
  kept |= positions >= tf.gather(lengths - tail, rows)
  kept |= tf.gather(lengths <= room, rows)
  return tf.ragged.boolean_mask(ids, ids.with_values(kept))


def _prepend(first: Any, ids: Any) -> Any:
  """Adds the ids `first` [m] before each row of ragged ids."""
  first = tf.reshape(tf.constant(first, tf.int32), [1, -1])
  return tf.concat([tf.tile(first, [ids.nrows(tf.int32), 1]), ids], axis=1)


def _append(ids: Any, last: Any) -> Any:
  """Adds the ids `last` [m] after each row of ragged ids."""
  last = tf.reshape(tf.constant(last, tf.int32), [1, -1])
  return tf.concat([ids, tf.tile(last, [ids.nrows(tf.int32), 1])], axis=1)
