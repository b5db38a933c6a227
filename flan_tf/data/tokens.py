"""Training examples as ids, held flat in memory: one table a task.

    separator   ids of one example                       loss on
    flan        prompt ids, EOS, target ids, EOS         target ids, last EOS
    plain       prompt ids, target ids                   target ids
    newline     prompt ids, a new line, target ids       target ids
    chat        before, prompt ids, between,             target ids, after
                target ids, after

The parts of a chat are the model's own (`config.ChatConfig`), special pieces
among them. They stay whole whatever is cut, and count in all lengths.

A prompt that is too long loses its middle: instructions and options stand at
its ends. Everything that is cut or left out is counted.
"""

import dataclasses
import enum
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flan_tf import config, schema, suggest
from flan_tf.data import prompts, rows, split_plan
from flan_tf.data import vocabulary as vocabulary_lib

_BATCH = 256  # texts tokenized at once: seven times faster than one by one


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
  row_range: split_plan.RowRange,
  vocabulary: vocabulary_lib.AnyVocabulary,
  limits: Limits,
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
    limits: see Limits.
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
  row_range: split_plan.RowRange,
  seed: int,
  shuffle_labels: bool = False,
) -> Iterator[prompts.Slots]:
  """Slots and `row_index` of a task's rows, each [batch].

  One graph a task makes slots of a row. What follows works on whole batches,
  so it runs eagerly: tracing it would take longer.
  """

  def slots(row):
    filled = prompts.fill_slots(task, row)
    if shuffle_labels and task.kind is schema.Kind.CLASSIFICATION:
      filled |= _other_answer(seed, task, filled, row[rows.ROW_INDEX])
    # Options and references differ in number from row to row.
    del filled[prompts.OPTIONS], filled[prompts.REFERENCES]
    return {**filled, rows.ROW_INDEX: row[rows.ROW_INDEX]}

  for batch in (
    rows.read_rows(dataset, row_range, slots).batch(_BATCH).prefetch(2)
  ):
    if shuffle_labels and task.kind is schema.Kind.GENERATION:
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
  wrapper: Wrapper,
  limits: Limits,
  counts: Counts,
) -> Joined:
  """Prompts and targets become examples; see the drawing of this module.

  Args:
    ids: int32 [tokens], all prompts and targets, with nothing around them.
    starts: int64 [2, pairs]: where each prompt starts, and its target.
    lengths: int64 [2, pairs], their tokens.
    wrapper: of the limits.
    limits: see Limits.
    counts: trimmed and skipped examples are added here.
  """
  after = len(wrapper.after)
  target = np.minimum(lengths[1], limits.longest_target - after)
  room = np.minimum(limits.input_length, limits.row_length - target - after)
  prompt = np.minimum(lengths[0], room - wrapper.of_prompt)
  cut_prompt, cut_target = prompt < lengths[0], target < lengths[1]
  fit = np.ones(len(target), bool)
  if limits.overflow is Overflow.SKIP:
    fit = ~(cut_prompt | cut_target)
  counts.too_long += int(np.sum(~fit))
  counts.trimmed_inputs += int(np.sum(cut_prompt & fit))
  counts.trimmed_targets += int(np.sum(cut_target & fit))

  middle = limits.overflow is Overflow.MIDDLE
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


def _spans(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Starts [3 9] and lengths [2 3] are the positions 3 4 9 10 11."""
  stops = np.cumsum(lengths)
  return np.arange(np.sum(lengths)) + np.repeat(
    starts - stops + lengths, lengths
  )


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


def ragged_rows(ragged: tf.RaggedTensor) -> Iterator[np.ndarray]:
  """The rows of a ragged tensor [n, None] as arrays."""
  values, splits = ragged.values.numpy(), ragged.row_splits.numpy()
  for start, stop in zip(splits[:-1], splits[1:], strict=True):
    yield values[start:stop]
