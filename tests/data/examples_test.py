"""Example tables: the order of ids, truncation, and counts of all rows."""

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
  encoded_examples,
  example_table,
  language_model,
  prepared_dataset,
  prompts,
  random_draws,
  row_ranges,
  shipped_rows,
)
from flan_tf.data.prompt_format import (
  Overflow,
  PromptFormat,
  Separator,
  truncate,
)
from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

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
  return SentencePieceVocabulary.train([*SENTENCES, "OPTIONS negative"], 330)


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
  out = shipped_rows.prepare_shipped_rows([REVIEWS], folder, folder / "out")
  return prepared_dataset.open_dataset(REVIEWS.source, out)


TRAIN = row_ranges.RowRange("train", 0, len(SENTENCES))
CHAT = config.ChatConfig("<before>", "<between>", "<after>")


@functools.cache
def plain_format():
  return PromptFormat(vocab(), 64, 32, 128)


def build(task=REVIEWS, prompt_format=None, seed=0, **kwargs):
  return example_table.build_table(
    task, dataset(), TRAIN, prompt_format or plain_format(), seed, **kwargs
  )


def parts(table, index):
  ids, prompt = table.example(index), table.prompt_lengths[index]
  return vocab().decode(ids[:prompt]), vocab().decode(ids[prompt:])


class ChatVocabulary(SentencePieceVocabulary):
  """A vocabulary that gives each part of CHAT its own ids."""

  def encode_special(self, text):
    ids = {"<before>": [101, 102], "<between>": [103], "<after>": [104]}
    return np.int32(ids[text.strip()])


def format_of(*lengths, separator=Separator.FLAN, **kwargs):
  pieces = ChatVocabulary(vocab().serialized)
  return PromptFormat(
    pieces, *lengths, separator=separator, chat=CHAT, **kwargs
  )


def join_one(inputs, target, prompt_format, counts):
  """Joins one pair step by step, as a reference for `join_examples`."""
  before, between, after = {
    Separator.FLAN: ([], [1], [1]),
    Separator.CHAT: ([101, 102], [103], [104]),
  }.get(prompt_format.separator, ([], [], []))
  length = prompt_format.row_length
  most = min(prompt_format.target_length, length // 2) - len(after)
  kept = target[:most]
  room = min(prompt_format.input_length, length - len(kept) - len(after))
  room -= len(before) + len(between)
  head = truncate(inputs, room, prompt_format.overflow)
  long_inputs, long_target = len(head) < len(inputs), len(kept) < len(target)
  if prompt_format.overflow is Overflow.SKIP and (long_inputs or long_target):
    counts.too_long += 1
    return None
  counts.trimmed_inputs += long_inputs
  counts.trimmed_targets += long_target
  prompt = [*before, *head.tolist(), *between]
  return [*prompt, *kept.tolist(), *after], len(prompt)


def counts_of(encoded):
  return example_table.RowCounts(
    too_long=encoded.too_long,
    trimmed_inputs=encoded.trimmed_inputs,
    trimmed_targets=encoded.trimmed_targets,
  )


class JoinTest(parameterized.TestCase):
  def join(self, inputs, target, **kwargs):
    """Joins one pair: (ids, length of the prompt), or None if left out."""
    made = encoded_examples.join_examples(
      np.concatenate([np.arange(10, 10 + inputs), np.arange(60, 60 + target)]),
      np.array([[0], [inputs]]),
      np.array([[inputs], [target]]),
      format_of(**{"row_length": 40, **kwargs}),
    )
    if not made.kept[0]:
      return None, counts_of(made)
    return (made.ids.tolist(), made.prompt_lengths[0]), counts_of(made)

  def test_flan_puts_end_of_text_after_prompt_and_target(self):
    (ids, prompt), counts = self.join(3, 2)
    self.assertEqual(ids, [10, 11, 12, 1, 60, 61, 1])
    self.assertEqual(prompt, 4)
    self.assertEqual(counts, example_table.RowCounts())

  def test_plain_adds_no_ids(self):
    (ids, prompt), _ = self.join(3, 2, separator=Separator.PLAIN)
    self.assertEqual((ids, prompt), ([10, 11, 12, 60, 61], 3))

  def test_a_chat_template_puts_ids_around_prompt_and_target(self):
    (ids, prompt), _ = self.join(3, 2, separator=Separator.CHAT)
    self.assertEqual(ids, [101, 102, 10, 11, 12, 103, 60, 61, 104])
    self.assertEqual(prompt, 6)

  def test_a_chat_template_is_not_cut_with_the_prompt(self):
    (ids, prompt), counts = self.join(
      10, 1, input_length=7, separator=Separator.CHAT
    )
    self.assertEqual(ids[:prompt], [101, 102, 10, 11, 18, 19, 103])
    self.assertEqual(ids[prompt:], [60, 104])
    self.assertEqual(counts.trimmed_inputs, 1)

  @parameterized.parameters(
    (Overflow.MIDDLE, [10, 11, 18, 19, 1]),
    (Overflow.END, [10, 11, 12, 13, 1]),
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
  def test_skip_leaves_out_examples_that_are_too_long(self, inputs, target):
    joined, counts = self.join(
      inputs,
      target,
      input_length=6,
      target_length=5,
      overflow=Overflow.SKIP,
    )
    self.assertIsNone(joined)
    self.assertEqual(counts.too_long, 1)

  def test_every_example_fits_into_a_packed_row(self):
    for separator in Separator:
      chat = separator is Separator.CHAT
      for length in (9, 40) if chat else (4, 5, 9, 40):
        for inputs in (0, 1, 3, 50):
          for target in (1, 2, 30):
            (ids, prompt), _ = self.join(
              inputs, target, row_length=length, separator=separator
            )
            self.assertLessEqual(len(ids), length)
            self.assertLess(prompt, len(ids))

  @parameterized.product(
    separator=[*Separator],
    overflow=[*Overflow],
    seed=[0, 1, 2],
  )
  def test_many_pairs_are_joined_like_single_pairs(
    self, separator, overflow, seed
  ):
    rng = np.random.default_rng(seed)
    prompt_format = format_of(9, 6, 13, overflow, separator=separator)
    lengths = rng.integers(0, [[14], [9]], [2, 50])
    stops = np.cumsum(lengths).reshape(2, -1)
    ids = rng.integers(2, 99, stops[-1, -1]).astype(np.int32)
    expected_counts = example_table.RowCounts()
    expected = [
      join_one(
        ids[stop - n : stop],
        ids[end - m : end],
        prompt_format,
        expected_counts,
      )
      for n, m, stop, end in zip(*lengths, *stops, strict=True)
    ]
    made = encoded_examples.join_examples(
      ids, stops - lengths, lengths, prompt_format
    )
    self.assertEqual(made.kept.tolist(), [one is not None for one in expected])
    expected = [one for one in expected if one is not None]
    self.assertEqual(made.ids.tolist(), sum((one[0] for one in expected), []))
    self.assertEqual(made.lengths.tolist(), [len(one[0]) for one in expected])
    self.assertEqual(made.prompt_lengths.tolist(), [one[1] for one in expected])
    self.assertEqual(counts_of(made), expected_counts)

  def test_no_pairs(self):
    none = np.zeros([2, 0], np.int64)
    made = encoded_examples.join_examples(
      np.zeros(0, np.int32), none, none, plain_format()
    )
    self.assertEmpty(made.ids)
    self.assertEmpty(made.kept)

  def test_truncate(self):
    cut = truncate(np.arange(10), 5, Overflow.MIDDLE)
    self.assertEqual(cut.tolist(), [0, 1, 2, 8, 9])
    self.assertLen(truncate(np.arange(10), 0, Overflow.MIDDLE), 0)

  def test_bad_formats(self):
    with self.assertRaisesRegex(ValueError, "overflow.*Did you mean 'middle'"):
      config.DataConfig(overflow="midle")
    with self.assertRaisesRegex(ValueError, "target_length is 1"):
      PromptFormat(vocab(), 9, 1, 9)
    with self.assertRaisesRegex(ValueError, "row has 7 tokens, .* takes 4 of"):
      PromptFormat(vocab(), 9, 9, 7, soft_prompt=4)
    chat = Separator.CHAT
    with self.assertRaisesRegex(ValueError, "no chat template.*--chat=chatml"):
      PromptFormat(vocab(), 9, 9, 9, separator=chat)
    template = config.ChatConfig("a long way before a prompt", "", "")
    full = PromptFormat(vocab(), 9, 9, 20, separator=chat, chat=template)
    with self.assertRaisesRegex(ValueError, "takes .* of a prompt's 9 and 0"):
      full.check()


class BuildTableTest(parameterized.TestCase):
  def test_examples_are_the_rendered_rows(self):
    table, counts = build()
    picked = random_draws.draw_index(0, "reviews", table.row_indices, 3)
    self.assertCountEqual(set(picked.tolist()), {0, 1, 2})
    for index, row in enumerate(table.row_indices):
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
    _, short = build(prompt_format=PromptFormat(vocab(), 64, 6, 20))
    self.assertGreater(short.trimmed_inputs, 0)
    self.assertGreater(short.trimmed_targets, 0)
    skip = PromptFormat(vocab(), 64, 6, 20, Overflow.SKIP)
    _, skipped = build(prompt_format=skip)
    self.assertGreater(skipped.too_long, 0)
    for made in (counts, shouted, short, skipped):
      lost = (
        made.left_out + made.hidden_label + made.empty_target + made.too_long
      )
      self.assertEqual(made.rows, made.examples + lost)

  def test_the_seed_determines_the_examples(self):
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
      for i, row in enumerate(table.row_indices)
    ]
    self.assertGreater(np.mean(wrong), 0.8)


class LanguageModelTest(absltest.TestCase):
  def build(self, row_length):
    return language_model.build_table(
      REVIEWS,
      dataset(),
      TRAIN,
      PromptFormat(vocab(), row_length=row_length),
    )

  def test_documents_are_whole(self):
    table, counts = self.build(128)
    self.assertEqual(counts.duplicates, 1)
    self.assertEqual(counts.empty_target, 1)
    self.assertEqual(set(table.prompt_lengths.tolist()), {0})
    made = [vocab().decode(table.example(i)) for i in range(len(table))]
    self.assertEqual(made, [s for s in dict.fromkeys(SENTENCES) if s])
    self.assertEqual(table.example(0)[-1], vocab().eos_id)

  def test_long_documents_continue_in_the_next_example(self):
    whole, _ = self.build(128)
    cut, counts = self.build(5)
    np.testing.assert_array_equal(whole.ids, cut.ids)
    self.assertLessEqual(cut.lengths.max(), 5)
    self.assertEqual(counts.examples, len(cut))

  def test_texts(self):
    read = list(language_model.read_texts(REVIEWS, dataset(), TRAIN))
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
    first = next(language_model.read_texts(task, dataset(), TRAIN))
    self.assertEqual(first, "a fine film\n\na fine film")

  def test_no_documents(self):
    task = dataclasses.replace(REVIEWS, documents=())
    with self.assertRaisesRegex(ValueError, "'reviews' has no running text"):
      list(language_model.read_texts(task, dataset(), TRAIN))


if __name__ == "__main__":
  absltest.main()
