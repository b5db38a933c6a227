r"""A model as one TensorFlow graph: texts in, texts out.

  prompt -> markers -> ids, cut -> start, soft prompt -> decode -> text
                                                      -> log p

Tokenizer, prompt, transformer and the loop that decodes are in the graph, with
all that they look up, so that it runs where only TensorFlow is. What comes
between ids and ids is in `flan_tf.bridges.saved_model.row_programs`.
"""

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from flan_tf import config
from flan_tf.bridges.saved_model import row_programs
from flan_tf.data import prompt_format
from flan_tf.task import wordings
from flan_tf.vocab.vocabulary import Vocabulary

# What str.rstrip takes off.
_BLANKS = (
  r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}"
  r"\x{202f}\x{205f}\x{3000}]+\z"
)


class TextModel(tf.Module):
  """Weights and a vocabulary, with graphs that answer and score.

  Args:
    run: the run that trained the weights: its lengths, separator, markers and
      soft prompt are used.
    vocabulary: its vocabulary.
    weights: by name, float32: see `row_programs.weight_shapes`.

  Raises:
    ValueError: the run's separator asks for what there is not.
  """

  def __init__(
    self,
    run: config.RunConfig,
    vocabulary: Vocabulary,
    weights: Mapping[str, tf.Variable],
  ):
    super().__init__(name="text_model")
    limits = limits_of(run)
    self._run, self._vocabulary, self._limits = run, vocabulary, limits
    self._wrapper = limits.wrapper(vocabulary)
    # Named here, so that it is saved.
    self.resources = [vocabulary.resources, self._wrapper.vocabulary.resources]
    soft_prompt = run.adapter.soft_prompt
    # What a soft prompt takes the place of; it stands at positions 1, 2, ...
    start = [vocabulary.bos_id] + soft_prompt * [vocabulary.pad_id]
    self._start = tf.constant([start])
    self._starts = vocabulary.has_start or soft_prompt > 0
    row, answer = limits.row_length, limits.longest_target
    self.rows = row_programs.RowPrograms(
      run,
      weights,
      self._wrapper.ends,
      prompt=len(start) + min(limits.input_length, row - answer),
      answer=answer,
      both=len(start) + min(limits.input_length + answer, row),
    )

  def signatures(self) -> dict[str, Any]:
    """What a SavedModel offers: see `flan_tf.bridges.saved_model.saved_model_writer`."""
    texts = functools.partial(tf.TensorSpec, [None], tf.string)
    most = tf.TensorSpec([], tf.int32, "max_new")
    return {
      "serving_default": tf.function(
        lambda prompt: self.generate(prompt, tf.constant(0)),
        input_signature=[texts("prompt")],
        autograph=False,
      ),
      "generate": tf.function(
        self.generate, input_signature=[texts("prompt"), most], autograph=False
      ),
      "score": tf.function(
        self.score,
        input_signature=[texts("prompt"), texts("answer")],
        autograph=False,
      ),
    }

  def generate(self, prompt: Any, max_new: Any) -> dict[str, Any]:
    """The most likely continuations.

    Args:
      prompt: strings [n].
      max_new: int32 []; 0 for the run's target length, which is the most.

    Returns:
      `answer` strings, `log_prob` float32 (of its tokens, and of what ended it
      if the model came to that), `tokens` int32 (how many these are), `ended`
      bool and `trimmed` bool (whether the prompt lost a part); each [n].
    """
    check = tf.debugging.assert_non_negative(
      max_new, "max_new: expected 0 (the run's target length) or more."
    )
    with tf.control_dependencies([check] if check is not None else []):
      most = tf.where(max_new > 0, max_new, self._limits.longest_target)
    most = tf.minimum(most, self._limits.longest_target)
    room = tf.fill(tf.shape(prompt), self._limits.longest_target)
    marked = _marked(self._run.data.markers, prompt)
    asked, trimmed = self._ask(self._wrapper.tokenize_prompts(marked), room)
    made = self.rows.continuations(asked, most)
    ends = made.with_values(self.rows.ends(made.values))
    ended = tf.reduce_any(ends, axis=1)
    text = tf.ragged.boolean_mask(made, tf.logical_not(ends))
    return {
      "answer": self._vocabulary.detokenize(text),
      "log_prob": self.rows.log_probs(asked, made),
      "tokens": tf.cast(made.row_lengths(), tf.int32),
      "ended": ended,
      "trimmed": trimmed,
    }

  def score(self, prompt: Any, answer: Any) -> dict[str, Any]:
    """How likely answers are, as options of an evaluation are scored.

    Args:
      prompt: strings [n].
      answer: strings [n], one for each prompt.

    Returns:
      `log_prob` float32 (the sum over the answer's tokens and what ends it),
      `tokens` int32 (how many these are) and `trimmed` bool (whether prompt or
      answer lost a part); each [n].
    """
    same = tf.debugging.assert_equal(
      tf.size(prompt), tf.size(answer), "Expected one answer for each prompt."
    )
    with tf.control_dependencies([same] if same is not None else []):
      marked = _marked(self._run.data.markers, prompt)
      both = self._wrapper.tokenize(tf.stack([marked, tf.identity(answer)]))
    prompts, ids = both[: tf.size(prompt)], both[tf.size(prompt) :]
    empty = tf.debugging.assert_positive(
      ids.row_lengths(), "An answer has no tokens, so it has no probability."
    )
    after = self._wrapper.after
    with tf.control_dependencies([empty] if empty is not None else []):
      room = tf.fill(
        [tf.size(prompt)], self._limits.longest_target - len(after)
      )
    kept = _behind(_cut(ids, room, middle=False), after)
    length = tf.cast(kept.row_lengths(), tf.int32)
    asked, trimmed = self._ask(prompts, length)
    return {
      "log_prob": self.rows.log_probs(asked, kept),
      "tokens": length,
      "trimmed": trimmed | (tf.cast(ids.row_lengths(), tf.int32) > room),
    }

  def _ask(self, ids, answer_length) -> tuple[Any, Any]:
    """Prompts, cut to leave room for answers; and which of them were cut."""
    limits, wrapper = self._limits, self._wrapper
    room = tf.minimum(limits.input_length, limits.row_length - answer_length)
    room -= wrapper.of_prompt
    middle = limits.overflow is not prompt_format.Overflow.END
    kept = _cut(ids, room, middle)
    asked = _behind(_before(wrapper.before, kept), wrapper.between)
    # Something must come before what is predicted.
    starts = (asked.row_lengths() == 0) | self._starts
    start = tf.tile(self._start, [ids.nrows(tf.int32), 1])
    start = tf.ragged.boolean_mask(
      start, tf.repeat(starts[:, tf.newaxis], self._start.shape[1], axis=1)
    )
    trimmed = tf.cast(ids.row_lengths(), tf.int32) > room
    return tf.concat([start, asked], axis=1), trimmed


def limits_of(run: config.RunConfig) -> prompt_format.Limits:
  """The lengths and the separator of a run, as its evaluation has them."""
  data = run.data
  return prompt_format.Limits.of(
    data.input_length,
    data.target_length,
    data.length - run.adapter.soft_prompt,
    data.overflow,
    data.separator,
    run.chat,
  )


def _marked(markers: str, prompts: Any) -> Any:
  """Prompts as `wordings.Markers.join` makes them."""
  around = wordings.markers(markers)
  texts = tf.strings.join([around.prompt, prompts, around.answer + around.cue])
  return tf.strings.regex_replace(texts, _BLANKS, "", replace_global=False)


def _cut(ids: Any, room: Any, middle: bool) -> Any:
  """Ragged ids, each cut to `room` [n]: see `flan_tf.data.prompt_format.cut`."""
  lengths = tf.cast(ids.row_lengths(), tf.int32)
  tail = room // 2 if middle else tf.zeros_like(room)
  rows, starts = ids.value_rowids(), tf.cast(ids.row_starts(), tf.int32)
  place = tf.range(tf.size(ids.values)) - tf.gather(starts, rows)
  kept = place < tf.gather(room - tail, rows)
  kept |= place >= tf.gather(lengths - tail, rows)
  kept |= tf.gather(lengths <= room, rows)
  return tf.ragged.boolean_mask(ids, ids.with_values(kept))


def _before(first: Any, ids: Any) -> Any:
  """The same ids before each row of ragged ids."""
  first = tf.reshape(tf.constant(first, tf.int32), [1, -1])
  return tf.concat([tf.tile(first, [ids.nrows(tf.int32), 1]), ids], axis=1)


def _behind(ids: Any, last: Any) -> Any:
  """The same ids behind each row of ragged ids."""
  last = tf.reshape(tf.constant(last, tf.int32), [1, -1])
  return tf.concat([ids, tf.tile(last, [ids.nrows(tf.int32), 1])], axis=1)
