"""Training examples as ids, held flat in memory: one table a task.

What stands around prompts and targets, `flan_tf.data.prompt_format` says. A prompt
that is too long loses its middle: instructions and options stand at its ends.
Everything that is cut or left out is counted.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flan_tf.data import prompt_format, prompts, row_ranges, rows
from flan_tf.task import schema
from flan_tf.vocab.vocabulary import Vocabulary

_BATCH = 256  # texts tokenized at once: seven times faster than one by one


@dataclasses.dataclass
class Counts:
  """What became of a task's rows. `rows` = `examples` + those left out."""

  rows: int = 0
  examples: int = 0
  tokens: int = 0
  left_out: int = 0  # the task's fields said keep=False
  hidden_label: int = 0
  empty_target: int = 0
  too_long: int = 0  # overflow="skip"
  trimmed_inputs: int = 0
  trimmed_targets: int = 0
  duplicates: int = 0  # language modelling only

  def as_dict(self) -> dict[str, int]:
    return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class TokenTable:
  """Examples of one task, one behind the other.

  Attributes:
    ids: int32 [tokens], all examples.
    offsets: int64 [examples + 1]; example i is ids[offsets[i]:offsets[i + 1]].
    prompt_lengths: int32 [examples]; tokens before the loss starts.
    rows: int64 [examples]; the row of the split that each was made from.
  """

  ids: np.ndarray
  offsets: np.ndarray
  prompt_lengths: np.ndarray
  rows: np.ndarray

  def __len__(self) -> int:
    return len(self.prompt_lengths)

  @property
  def lengths(self) -> np.ndarray:
    return np.diff(self.offsets)

  def behind(self, count: int, filler: int) -> "TokenTable":
    """The same examples, each behind `count` tokens that have no loss."""
    before = np.repeat(self.offsets[:-1], count)
    return dataclasses.replace(
      self,
      ids=np.insert(self.ids, before, np.int32(filler)),
      offsets=self.offsets + count * np.arange(len(self.offsets)),
      prompt_lengths=self.prompt_lengths + np.int32(count),
    )

  def example(self, index: int) -> np.ndarray:
    return self.ids[self.offsets[index] : self.offsets[index + 1]]


class TableWriter:
  """Collects examples into a TokenTable."""

  def __init__(self):
    self._ids: list[np.ndarray] = [np.zeros(0, np.int32)]
    self._lengths: list[np.ndarray] = [np.zeros(0, np.int64)]
    self._prompt_lengths: list[np.ndarray] = [np.zeros(0, np.int32)]
    self._rows: list[np.ndarray] = [np.zeros(0, np.int64)]

  def add(self, ids: np.ndarray, prompt_length: int, row: int) -> None:
    """Adds one example."""
    self.extend(ids, [len(ids)], [prompt_length], [row])

  def extend(
    self, ids: Any, lengths: Any, prompt_lengths: Any, rows: Any
  ) -> None:
    """Adds examples that stand one behind the other in `ids`."""
    self._ids.append(np.asarray(ids, np.int32))
    self._lengths.append(np.asarray(lengths, np.int64))
    self._prompt_lengths.append(np.asarray(prompt_lengths, np.int32))
    self._rows.append(np.asarray(rows, np.int64))

  def table(self) -> TokenTable:
    lengths = np.concatenate(self._lengths)
    return TokenTable(
      ids=np.concatenate(self._ids),
      offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
      prompt_lengths=np.concatenate(self._prompt_lengths),
      rows=np.concatenate(self._rows),
    )


def build_table(
  task: schema.Task,
  dataset: rows.Dataset,
  row_range: row_ranges.RowRange,
  vocabulary: Vocabulary,
  limits: prompt_format.Limits,
  seed: int,
  shuffle_labels: bool = False,
) -> tuple[TokenTable, Counts]:
  """Reads, renders and tokenizes the training rows of a task.

  Each row takes the template that `prompts.pick_template` gives it.

  Args:
    task: the task.
    dataset: its data set.
    row_range: the rows to read.
    vocabulary: what tokenizes.
    limits: see wrapping.Limits.
    seed: of the templates and of the shuffled labels.
    shuffle_labels: a control; every answer is drawn anew, from the row's
      options or (a generation) from the rows read with it.

  Raises:
    rows.DataCorruptionError: a file cannot be read.
  """
  counts, writer = Counts(), TableWriter()
  wrapper = limits.wrapper(vocabulary)
  with rows.naming_corrupt_files(dataset, row_range.split):
    for batch in slot_batches(task, dataset, row_range, seed, shuffle_labels):
      numbers, keep = batch[rows.ROW_INDEX].numpy(), batch[prompts.KEEP].numpy()
      known = keep & ~batch[prompts.HIDDEN].numpy()
      counts.rows += len(keep)
      counts.left_out += int(np.sum(~keep))
      counts.hidden_label += int(np.sum(keep & ~known))

      index = prompts.pick_template(
        seed, task.name, numbers, len(task.templates)
      )
      texts = tf.stack(prompts.render(task, batch, index))  # [2, batch]
      texts = tf.boolean_mask(texts, known, axis=1)
      pieces = wrapper.tokenize(texts)
      ids, splits = pieces.values.numpy(), pieces.row_splits.numpy()

      starts = splits[:-1].reshape(2, -1)
      lengths = np.diff(splits).reshape(2, -1)
      answered = lengths[1] > 0
      counts.empty_target += int(np.sum(~answered))
      joined = join(
        ids,
        starts[:, answered],
        lengths[:, answered],
        wrapper,
        limits,
        counts,
      )
      fitting = numbers[known][answered][joined.fit]
      writer.extend(joined.ids, joined.lengths, joined.prompt_lengths, fitting)
      counts.examples += len(fitting)
      counts.tokens += len(joined.ids)
  return writer.table(), counts


def slot_batches(
  task: schema.Task,
  dataset: rows.Dataset,
  row_range: row_ranges.RowRange,
  seed: int,
  shuffle_labels: bool = False,
) -> Iterator[prompts.Slots]:
  """Slots and `row_index` of a task's rows, each [batch].

  One graph a task makes slots of a row. What follows works on whole batches,
  so it runs eagerly: tracing it would take longer.
  """

  def slots(row):
    filled = prompts.fill_slots(task, row)
    if shuffle_labels and task.kind is schema.TaskKind.CLASSIFICATION:
      filled |= _other_answer(seed, task, filled, row[rows.ROW_INDEX])
    # Options and references differ in number from row to row.
    del filled[prompts.OPTIONS], filled[prompts.REFERENCES]
    return {**filled, rows.ROW_INDEX: row[rows.ROW_INDEX]}

  for batch in (
    rows.read_rows(dataset, row_range, slots).batch(_BATCH).prefetch(2)
  ):
    if shuffle_labels and task.kind is schema.TaskKind.GENERATION:
      batch = {**batch, **_others_answers(seed, task, batch)}
    yield batch


def _other_answer(seed, task, slots, row_index) -> prompts.Slots:
  """A random option as the answer of a classification."""
  options = slots[prompts.OPTIONS]
  # A number below 2^30 first, since options differ in number.
  drawn = prompts.pick_template(seed, f"{task.name}/label", row_index, 1 << 30)
  index = drawn % tf.maximum(tf.size(options, tf.int64), 1)
  # A hidden label stays hidden.
  hidden = slots[prompts.HIDDEN]
  return {
    prompts.ANSWER_INDEX: tf.where(hidden, tf.constant(-1, tf.int64), index),
    schema.ANSWER_SLOT: tf.where(hidden, "", options[index]),
  }


def _others_answers(seed, task, batch) -> prompts.Slots:
  """The batch's answers, each given to a random row."""
  drawn = prompts.pick_template(
    seed, f"{task.name}/label", batch[rows.ROW_INDEX], 1 << 30
  )
  answers = tf.gather(batch[schema.ANSWER_SLOT], tf.argsort(drawn, stable=True))
  return {schema.ANSWER_SLOT: answers}


class Joined(NamedTuple):
  """Examples, one behind the other.

  Attributes:
    ids: int32 [tokens].
    lengths: int64 [examples], tokens of each.
    prompt_lengths: int64 [examples], tokens before the loss starts.
    fit: bool [pairs], those that became an example.
  """

  ids: np.ndarray
  lengths: np.ndarray
  prompt_lengths: np.ndarray
  fit: np.ndarray


def join(
  ids: np.ndarray,
  starts: np.ndarray,
  lengths: np.ndarray,
  wrapper: prompt_format.Wrapper,
  limits: prompt_format.Limits,
  counts: Counts,
) -> Joined:
  """Prompts and targets become examples; see the drawing of this module.

  Args:
    ids: int32 [tokens], all prompts and targets, with nothing around them.
    starts: int64 [2, pairs]: where each prompt starts, and its target.
    lengths: int64 [2, pairs], their tokens.
    wrapper: of the limits.
    limits: see wrapping.Limits.
    counts: trimmed and skipped examples are added here.
  """
  after = len(wrapper.after)
  target = np.minimum(lengths[1], limits.longest_target - after)
  room = np.minimum(limits.input_length, limits.row_length - target - after)
  prompt = np.minimum(lengths[0], room - wrapper.of_prompt)
  cut_prompt, cut_target = prompt < lengths[0], target < lengths[1]
  fit = np.ones(len(target), bool)
  if limits.overflow is prompt_format.Overflow.SKIP:
    fit = ~(cut_prompt | cut_target)
  counts.too_long += int(np.sum(~fit))
  counts.trimmed_inputs += int(np.sum(cut_prompt & fit))
  counts.trimmed_targets += int(np.sum(cut_target & fit))

  middle = limits.overflow is prompt_format.Overflow.MIDDLE
  tail = np.where(cut_prompt & middle, prompt // 2, 0)[fit]
  prompt, target = prompt[fit], target[fit]
  prompt_start, target_start = starts[:, fit]
  prompt_stop = prompt_start + lengths[0, fit]
  of_prompt = prompt + wrapper.of_prompt
  total = of_prompt + target + after
  begin = np.cumsum(total) - total
  first = begin + len(wrapper.before)  # of the prompt's own ids
  out = np.empty(np.sum(total), np.int32)
  for to, start, count in (
    (first, prompt_start, prompt - tail),
    (first + prompt - tail, prompt_stop - tail, tail),
    (begin + of_prompt, target_start, target),
  ):
    out[_spans(to, count)] = ids[_spans(start, count)]
  for to, part in (
    (begin, wrapper.before),
    (first + prompt, wrapper.between),
    (begin + total - after, wrapper.after),
  ):
    out[to[:, None] + np.arange(len(part))] = part
  return Joined(out, total, of_prompt, fit)


def _spans(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Starts [3 9] and lengths [2 3] are the positions 3 4 9 10 11."""
  stops = np.cumsum(lengths)
  return np.arange(np.sum(lengths)) + np.repeat(
    starts - stops + lengths, lengths
  )


def ragged_rows(ragged: tf.RaggedTensor) -> Iterator[np.ndarray]:
  """The rows of a ragged tensor [n, None] as arrays."""
  values, splits = ragged.values.numpy(), ragged.row_splits.numpy()
  for start, stop in zip(splits[:-1], splits[1:], strict=True):
    yield values[start:stop]
