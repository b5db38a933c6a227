"""Token tables: what stands where, what is cut, and that all is counted."""

import atexit
import dataclasses
import functools
import json
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.data import (
  example_table,
  language_model,
  prompt_format,
  prompts,
  row_ranges,
  rows,
  shipped_rows,
)
from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template
from flan_tf.vocab import vocabulary

REVIEWS = Task(
  name="reviews",
  dataset="reviews",
  cluster="sentiment",
  kind=TaskKind.CLASSIFICATION,
  source=Source("glue/sst2", "2.0.0", Splits(test="validation")),
  fields=fields.slots(text="sentence", label="label"),
  slots=("text",),
  options=("negative", "positive"),
  documents=("text",),
  templates=(
    Template("{text}\n{options_}"),
    Template("Is this praise? {text}\n{options_}"),
    Template("Write a {answer} review.", "{text}"),
  ),
)


def translate_fields(row):
  return {
    "source": row["sentence"],
    "answer": tf.strings.upper(row["sentence"]),
    "keep": tf.strings.length(row["sentence"]) < 30,
  }


SHOUT = dataclasses.replace(
  REVIEWS,
  name="shout",
  kind=TaskKind.GENERATION,
  fields=translate_fields,
  slots=("source",),
  options=(),
  metrics=("bleu",),
  documents=("source",),
  templates=(Template("Shout: {source}"),),
)

SENTENCES = [
  "a fine film",
  "a dull one",
  "",
  "a fine film",
  *(f"the {n}th film of this long and winding evening" for n in range(36)),
]


@functools.cache
def vocab():
  return vocabulary.SentencePieceVocabulary.train(
    [*SENTENCES, "OPTIONS negative"], 330
  )


@functools.cache
def dataset():
  temporary = tempfile.TemporaryDirectory()
  atexit.register(temporary.cleanup)
  folder = pathlib.Path(temporary.name)
  lines = [
    {
      "split": "train",
      "row": {
        "sentence": sentence,
        "label": -1 if i == 1 else i % 2,
        "idx": i,
      },
    }
    for i, sentence in enumerate(SENTENCES)
  ]
  path = folder / "glue_sst2.jsonl"
  path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
  out = shipped_rows.prepare_sample_rows([REVIEWS], folder, folder / "out")
  return rows.open_dataset(REVIEWS.source, out)


TRAIN = row_ranges.RowRange("train", 0, len(SENTENCES))
LIMITS = prompt_format.Limits(64, 32, 128)


def build(task=REVIEWS, limits=LIMITS, seed=0, **kwargs):
  return example_table.build_table(
    task, dataset(), TRAIN, vocab(), limits, seed, **kwargs
  )


def parts(table, index):
  ids, prompt = table.example(index), table.prompt_lengths[index]
  return vocab().decode(ids[:prompt]), vocab().decode(ids[prompt:])


def wrapper_of(limits: prompt_format.Limits) -> prompt_format.Wrapper:
  """As `limits.wrapper`; that of a chat has ids that tell its parts apart."""
  if limits.separator is not prompt_format.Separator.CHAT:
    return limits.wrapper(vocab())
  before, between, after = map(np.int32, ([101, 102], [103], [104]))
  return prompt_format.Wrapper(before, between, after, vocab())


def limits_of(*lengths, separator=prompt_format.Separator.FLAN, **kwargs):
  chat = config.ChatConfig("before", "between", "after")
  return prompt_format.Limits(
    *lengths, separator=separator, chat=chat, **kwargs
  )


def join_one(inputs, target, limits, counts):
  """`tokens.join` for one pair, step by step."""
  before, between, after = {
    prompt_format.Separator.FLAN: ([], [1], [1]),
    prompt_format.Separator.CHAT: ([101, 102], [103], [104]),
  }.get(limits.separator, ([], [], []))
  most = min(limits.target_length, limits.row_length // 2) - len(after)
  kept = target[:most]
  room = min(limits.input_length, limits.row_length - len(kept) - len(after))
  room -= len(before) + len(between)
  head = prompt_format.cut(inputs, room, limits.overflow)
  long_inputs, long_target = len(head) < len(inputs), len(kept) < len(target)
  if limits.overflow is prompt_format.Overflow.SKIP and (
    long_inputs or long_target
  ):
    counts.too_long += 1
    return None
  counts.trimmed_inputs += long_inputs
  counts.trimmed_targets += long_target
  prompt = [*before, *head.tolist(), *between]
  return [*prompt, *kept.tolist(), *after], len(prompt)


class JoinTest(parameterized.TestCase):
  def join(self, inputs, target, **limits):
    """One pair: its ids and the length of its prompt, None if left out."""
    counts = example_table.Counts()
    limits = limits_of(**{"row_length": 40, **limits})
    made = example_table.join(
      np.concatenate([np.arange(10, 10 + inputs), np.arange(60, 60 + target)]),
      np.array([[0], [inputs]]),
      np.array([[inputs], [target]]),
      wrapper_of(limits),
      limits,
      counts,
    )
    if not made.fit[0]:
      return None, counts
    return (made.ids.tolist(), made.prompt_lengths[0]), counts

  def test_flan_counts_both_ends(self):
    (ids, prompt), counts = self.join(3, 2)
    self.assertEqual(ids, [10, 11, 12, 1, 60, 61, 1])
    self.assertEqual(prompt, 4)
    self.assertEqual(counts, example_table.Counts())

  def test_plain_has_none(self):
    (ids, prompt), _ = self.join(3, 2, separator=prompt_format.Separator.PLAIN)
    self.assertEqual((ids, prompt), ([10, 11, 12, 60, 61], 3))

  def test_a_chat_stands_around_both(self):
    (ids, prompt), _ = self.join(3, 2, separator=prompt_format.Separator.CHAT)
    self.assertEqual(ids, [101, 102, 10, 11, 12, 103, 60, 61, 104])
    self.assertEqual(prompt, 6)

  def test_a_chat_stays_whole_when_the_prompt_is_cut(self):
    (ids, prompt), counts = self.join(
      10, 1, input_length=7, separator=prompt_format.Separator.CHAT
    )
    self.assertEqual(ids[:prompt], [101, 102, 10, 11, 18, 19, 103])
    self.assertEqual(ids[prompt:], [60, 104])
    self.assertEqual(counts.trimmed_inputs, 1)

  @parameterized.parameters(
    (prompt_format.Overflow.MIDDLE, [10, 11, 18, 19, 1]),
    (prompt_format.Overflow.END, [10, 11, 12, 13, 1]),
  )
  def test_long_prompt(self, overflow, expected):
    (ids, prompt), counts = self.join(10, 1, input_length=5, overflow=overflow)
    self.assertEqual(ids[:prompt], expected)
    self.assertEqual(counts.trimmed_inputs, 1)

  def test_long_target_loses_its_end(self):
    (ids, prompt), counts = self.join(2, 9, target_length=4)
    self.assertEqual(ids[prompt:], [60, 61, 62, 1])
    self.assertEqual(counts.trimmed_targets, 1)

  @parameterized.parameters((10, 1), (2, 9))
  def test_skip(self, inputs, target):
    joined, counts = self.join(
      inputs,
      target,
      input_length=6,
      target_length=5,
      overflow=prompt_format.Overflow.SKIP,
    )
    self.assertIsNone(joined)
    self.assertEqual(counts.too_long, 1)

  def test_everything_fits_into_a_row(self):
    for separator in prompt_format.Separator:
      chat = separator is prompt_format.Separator.CHAT
      for length in (9, 40) if chat else (4, 5, 9, 40):
        for inputs in (0, 1, 3, 50):
          for target in (1, 2, 30):
            (ids, prompt), _ = self.join(
              inputs, target, row_length=length, separator=separator
            )
            self.assertLessEqual(len(ids), length)
            self.assertLess(prompt, len(ids))

  @parameterized.product(
    separator=[*prompt_format.Separator],
    overflow=[*prompt_format.Overflow],
    seed=[0, 1, 2],
  )
  def test_many_at_once_are_like_one_by_one(self, separator, overflow, seed):
    rng = np.random.default_rng(seed)
    limits = limits_of(9, 6, 13, overflow, separator=separator)
    lengths = rng.integers(0, [[14], [9]], [2, 50])
    stops = np.cumsum(lengths).reshape(2, -1)
    ids = rng.integers(2, 99, stops[-1, -1]).astype(np.int32)
    counts, expected_counts = example_table.Counts(), example_table.Counts()
    expected = [
      join_one(
        ids[stop - n : stop], ids[end - m : end], limits, expected_counts
      )
      for n, m, stop, end in zip(*lengths, *stops, strict=True)
    ]
    wrapper = wrapper_of(limits)
    made = example_table.join(
      ids, stops - lengths, lengths, wrapper, limits, counts
    )
    self.assertEqual(made.fit.tolist(), [one is not None for one in expected])
    expected = [one for one in expected if one is not None]
    self.assertEqual(made.ids.tolist(), sum((one[0] for one in expected), []))
    self.assertEqual(made.lengths.tolist(), [len(one[0]) for one in expected])
    self.assertEqual(made.prompt_lengths.tolist(), [one[1] for one in expected])
    self.assertEqual(counts, expected_counts)

  def test_no_pairs(self):
    none = np.zeros([2, 0], np.int64)
    made = example_table.join(
      np.zeros(0, np.int32),
      none,
      none,
      wrapper_of(LIMITS),
      LIMITS,
      example_table.Counts(),
    )
    self.assertEmpty(made.ids)
    self.assertEmpty(made.fit)

  def test_cut(self):
    cut = prompt_format.cut(np.arange(10), 5, prompt_format.Overflow.MIDDLE)
    self.assertEqual(cut.tolist(), [0, 1, 2, 8, 9])
    self.assertLen(
      prompt_format.cut(np.arange(10), 0, prompt_format.Overflow.MIDDLE), 0
    )

  def test_bad_limits(self):
    with self.assertRaisesRegex(ValueError, "overflow.*Did you mean 'middle'"):
      prompt_format.Limits.of(9, 9, 9, "midle", "flan")
    with self.assertRaisesRegex(ValueError, "target_length is 1"):
      prompt_format.Limits(9, 1, 9)
    with self.assertRaisesRegex(ValueError, "no chat wrapper.*--chat=chatml"):
      prompt_format.Limits.of(9, 9, 9, "middle", "chat")
    chat = config.ChatConfig("a long way before a prompt", "", "")
    limits = prompt_format.Limits.of(9, 9, 20, "middle", "chat", chat)
    with self.assertRaisesRegex(ValueError, "takes .* of a prompt's 9 and 0"):
      limits.wrapper(vocab())


class BuildTableTest(parameterized.TestCase):
  def test_examples_are_the_rendered_rows(self):
    table, counts = build()
    picked = prompts.pick_template(0, "reviews", table.rows, 3)
    self.assertCountEqual(set(picked.tolist()), {0, 1, 2})
    for index, row in enumerate(table.rows):
      features = {"sentence": SENTENCES[row], "label": row % 2}
      inputs, target = prompts.render_row(REVIEWS, features)[picked[index]]
      self.assertEqual(parts(table, index), (inputs, target))
    self.assertEqual(counts.examples, len(table))
    self.assertEqual(counts.tokens, len(table.ids))
    self.assertEqual(table.offsets[-1], len(table.ids))

  def test_every_row_is_counted(self):
    _, counts = build()
    self.assertEqual(counts.rows, len(SENTENCES))
    self.assertEqual(counts.hidden_label, 1)
    _, shouted = build(SHOUT)
    self.assertEqual(shouted.left_out, 36)
    self.assertEqual(shouted.empty_target, 1)
    _, short = build(limits=prompt_format.Limits(64, 6, 20))
    self.assertGreater(short.trimmed_inputs, 0)
    self.assertGreater(short.trimmed_targets, 0)
    skip = prompt_format.Limits(64, 6, 20, prompt_format.Overflow.SKIP)
    _, skipped = build(limits=skip)
    self.assertGreater(skipped.too_long, 0)
    for made in (counts, shouted, short, skipped):
      lost = (
        made.left_out + made.hidden_label + made.empty_target + made.too_long
      )
      self.assertEqual(made.rows, made.examples + lost)

  def test_the_same_every_time(self):
    one, again, other = build()[0], build()[0], build(seed=1)[0]
    np.testing.assert_array_equal(one.ids, again.ids)
    self.assertFalse(np.array_equal(one.ids, other.ids))

  def test_shuffled_labels(self):
    task = dataclasses.replace(REVIEWS, templates=REVIEWS.templates[:1])
    table, counts = build(task, shuffle_labels=True)
    plain, _ = build(task)
    self.assertEqual(counts.hidden_label, 1)
    changed = [
      parts(table, i)[1] != parts(plain, i)[1] for i in range(len(table))
    ]
    self.assertBetween(np.mean(changed), 0.2, 0.8)
    for i in range(len(table)):
      self.assertEqual(parts(table, i)[0], parts(plain, i)[0])
      self.assertIn(parts(table, i)[1], REVIEWS.options)

  def test_shuffled_answers_of_a_generation(self):
    task = dataclasses.replace(
      SHOUT, fields=lambda row: {**translate_fields(row), "keep": True}
    )
    table, _ = build(task, shuffle_labels=True)
    wrong = [
      parts(table, i)[1] != SENTENCES[row].upper()
      for i, row in enumerate(table.rows)
    ]
    self.assertGreater(np.mean(wrong), 0.8)


class LanguageModelTest(absltest.TestCase):
  def build(self, row_length):
    return language_model.build_table(
      REVIEWS, dataset(), TRAIN, vocab(), row_length
    )

  def test_documents_are_whole(self):
    table, counts = self.build(128)
    self.assertEqual(counts.duplicates, 1)
    self.assertEqual(counts.empty_target, 1)
    self.assertEqual(set(table.prompt_lengths.tolist()), {0})
    made = [vocab().decode(table.example(i)) for i in range(len(table))]
    self.assertEqual(made, [s for s in dict.fromkeys(SENTENCES) if s])
    self.assertEqual(table.example(0)[-1], vocab().eos_id)

  def test_long_documents_go_on(self):
    whole, _ = self.build(128)
    cut, counts = self.build(5)
    np.testing.assert_array_equal(whole.ids, cut.ids)
    self.assertLessEqual(cut.lengths.max(), 5)
    self.assertEqual(counts.examples, len(cut))

  def test_texts(self):
    read = list(language_model.texts(REVIEWS, dataset(), TRAIN))
    self.assertEqual(read, [s for s in SENTENCES if s])

  def test_parts_are_joined_by_blank_lines(self):
    task = dataclasses.replace(
      REVIEWS,
      fields=lambda row: {
        "text": row["sentence"],
        "more": row["sentence"],
        "answer_index": row["label"],
      },
      slots=("text", "more"),
      documents=("text", "more"),
    )
    first = next(language_model.texts(task, dataset(), TRAIN))
    self.assertEqual(first, "a fine film\n\na fine film")

  def test_no_documents(self):
    task = dataclasses.replace(REVIEWS, documents=())
    with self.assertRaisesRegex(ValueError, "'reviews' has no running text"):
      list(language_model.texts(task, dataset(), TRAIN))


if __name__ == "__main__":
  absltest.main()
