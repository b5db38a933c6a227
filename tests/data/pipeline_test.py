"""The whole pipeline on a toy directory, and requests for evaluation."""

import atexit
import dataclasses
import functools
import itertools
import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.data import (
  example_table,
  opened_tasks,
  packing,
  pipeline,
  requests,
  rows,
  shipped_rows,
)
from flan_tf.data.prompt_format import Overflow, PromptFormat, Separator
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
    Template("Write a {answer} review.", "{text}"),
  ),
)
GRAMMAR = dataclasses.replace(
  REVIEWS,
  name="grammar",
  dataset="grammar",
  cluster="misc",
  source=Source("glue/cola", "2.0.0", Splits(test="validation")),
  options=("wrong", "right"),
  documents=(),
)
REPEAT = dataclasses.replace(
  REVIEWS,
  name="repeat",
  dataset="repeat",
  kind=TaskKind.GENERATION,
  fields=fields.slots(text="sentence", answer="sentence"),
  options=(),
  metrics=("bleu",),
  templates=(Template("Say again: {text}"),),
)
MISSING = dataclasses.replace(
  REVIEWS, name="missing", source=Source("glue/mrpc", "2.0.0")
)
CHAT = config.ChatConfig("<user> ", "</s>\n<model>\n", "</s>")


@functools.cache
def data_dir():
  temporary = tempfile.TemporaryDirectory()
  atexit.register(temporary.cleanup)
  folder = pathlib.Path(temporary.name)
  for name, count in (("glue_sst2", 40), ("glue_cola", 15)):
    lines = []
    for i in range(count):
      row = {"sentence": f"sentence number {i}", "label": i % 2, "idx": i}
      split = "train" if i % 4 else "validation"
      if i == 8:
        row |= {"label": -1, "sentence": ""}
      lines.append(json.dumps({"split": split, "row": row}))
    (folder / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
  return shipped_rows.prepare_shipped_rows(
    [REVIEWS, GRAMMAR], folder, folder / "out"
  )


@functools.cache
def vocab():
  return SentencePieceVocabulary.train(
    ["sentence number positive OPTIONS"], 300
  )


def short_format():
  return PromptFormat(vocab(), 48, 16, 64)


def load(*tasks, threads=None, **data):
  settings = config.DataConfig(length=64, **data)
  run = config.RunConfig(data=settings)
  prompt_format = PromptFormat.from_run(run, vocab())
  return pipeline.load_training_tables(
    tasks, data_dir(), settings, prompt_format, seed=0, threads=threads
  )


class PipelineTest(parameterized.TestCase):
  def test_report(self):
    tables, report = load(REVIEWS, MISSING, GRAMMAR)
    self.assertEqual(list(tables), ["reviews", "grammar"])
    self.assertEqual(report.rates, {"reviews": 24, "grammar": 9})
    self.assertAlmostEqual(sum(t.probability for t in report.tasks), 1)
    one = report.tasks[0]
    self.assertEqual(
      (one.train, one.dev, one.test),
      ("train[0:24]", "train[24:30]", "validation[0:10]"),
    )
    self.assertEqual(one.source, "glue/sst2:2.0.0")
    self.assertIn("not prepared", report.left_out["missing"])
    value = json.loads(json.dumps(report.to_json()))
    self.assertEqual(value["total_rate"], 33)
    self.assertIn("left out: missing", str(report))

  def test_mixing_cap(self):
    _, report = load(REVIEWS, GRAMMAR, mixing_cap=10)
    self.assertEqual(report.rates, {"reviews": 10, "grammar": 9})

  def test_nothing_left(self):
    with self.assertRaisesRegex(
      opened_tasks.NothingToTrainError, "(?s)nothing to train on.*missing: "
    ):
      load(MISSING)
    with self.assertRaisesRegex(
      opened_tasks.NothingToTrainError, "no tasks were chosen"
    ):
      load()

  def test_language_model(self):
    twin = dataclasses.replace(REVIEWS, name="twin")
    tables, report = load(REVIEWS, twin, GRAMMAR, objective="language_model")
    self.assertEqual(list(tables), ["reviews"])
    self.assertEqual(
      report.left_out,
      {
        "twin": "its text is that of reviews",
        "grammar": "it has no running text to model",
      },
    )
    with self.assertRaisesRegex(ValueError, "objective: Unknown value 'lm'"):
      load(REVIEWS, objective="lm")

  def test_threads_do_not_matter(self):
    one, _ = load(REVIEWS, GRAMMAR, REPEAT, threads=1)
    many, _ = load(REVIEWS, GRAMMAR, REPEAT, threads=3)
    for name, table in one.items():
      np.testing.assert_array_equal(table.ids, many[name].ids)

  def test_corruption_stops_the_run(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    line = {"sentence": "x", "label": 0, "idx": 0}
    (folder / "glue_sst2.jsonl").write_text(
      json.dumps({"split": "train", "row": line})
    )
    out = shipped_rows.prepare_shipped_rows([REVIEWS], folder, folder / "out")
    (shard,) = pathlib.Path(out).rglob("*tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-1])
    with self.assertRaisesRegex(rows.DataCorruptionError, "tfrecord"):
      pipeline.load_training_tables(
        [REVIEWS], out, config.DataConfig(), PromptFormat(vocab()), seed=0
      )

  def test_batches(self):
    tables, report = load(REVIEWS, GRAMMAR)
    stream = pipeline.training_batches(
      tables, report, PromptFormat(vocab(), row_length=64), batch_size=4, seed=0
    )
    for batch in itertools.islice(stream, 3):
      for name in packing.FEATURES:
        self.assertEqual(batch.features[name].shape, (4, 64))
      self.assertEqual(batch.names, ("reviews", "grammar"))


class RequestsTest(parameterized.TestCase):
  def read(self, task=REVIEWS, **kwargs):
    ((item,), _) = opened_tasks.open_tasks([task], data_dir())
    return requests.read_evaluation_rows(
      task, item.dataset, item.ranges.test, **kwargs
    )

  def test_rows(self):
    read = self.read()
    self.assertLen(read.rows, 9)
    self.assertEqual((read.hidden, read.left_out), (1, 0))
    first = read.rows[1]
    self.assertEqual(first.row_index, 1)
    self.assertEqual(first.options, ("negative", "positive"))
    self.assertEqual(first.references, ("negative",))
    self.assertLen(self.read(limit=3).rows, 3)

  def test_empty_references_are_hidden(self):
    read = self.read(REPEAT)
    self.assertEqual((len(read.rows), read.hidden), (9, 1))
    asked = requests.render_requests(REPEAT, read.rows, 0)
    self.assertEqual(asked[0].prompt, "Say again: sentence number 0")
    (ids,) = requests.encode_requests(asked[:1], short_format())
    self.assertEqual(ids.options, ())

  def test_prompts(self):
    asked = requests.render_requests(REVIEWS, self.read().rows, 0)
    self.assertEqual(
      asked[1].prompt,
      "sentence number 4\nOPTIONS:\n- negative\n- positive",
    )
    self.assertEmpty(requests.render_requests(REVIEWS, [], 0))
    with self.assertRaisesRegex(ValueError, r"template 1 cannot.*\[0\]"):
      requests.render_requests(REVIEWS, self.read().rows, 1)

  @parameterized.parameters(*Separator)
  def test_tokens(self, separator):
    prompt_format = PromptFormat(
      vocab(), 300, 100, 400, separator=separator, chat=CHAT
    )
    tokenizer = prompt_format.tokenizer
    before, between, after = (
      part.tolist()
      for part in (tokenizer.before, tokenizer.between, tokenizer.after)
    )
    joiner = {
      Separator.PLAIN: "",
      Separator.NEWLINE: "\n",
      Separator.BLANK: " ",
    }
    asked = requests.render_requests(REVIEWS, self.read().rows, 0)
    made = requests.encode_requests(asked, prompt_format)
    for request in made:
      ids = request.prompt.tolist()
      if separator in joiner:
        # One text: a piece may span the border.
        for option, text in zip(
          request.options, ("negative", "positive"), strict=True
        ):
          whole = vocab().decode([*ids, *option])
          expected = request.request.prompt + joiner[separator] + text
          self.assertEqual(whole, expected)
        continue
      end = len(ids) - len(between)
      self.assertEqual((ids[: len(before)], ids[end:]), (before, between))
      text = vocab().decode(ids[len(before) : end])
      self.assertEqual(text, request.request.prompt)
      for ids, text in zip(
        request.options, ("negative", "positive"), strict=True
      ):
        end = len(ids) - len(after)
        self.assertEqual(ids[end:].tolist(), after)
        self.assertEqual(vocab().decode(ids[:end]), text)
      self.assertFalse(request.trimmed)

  def test_training_and_evaluation_read_the_same_ids(self):
    task = dataclasses.replace(REVIEWS, templates=REVIEWS.templates[:1])
    ((item,), _) = opened_tasks.open_tasks([task], data_dir())
    part = item.ranges.test
    chat = {"separator": Separator.CHAT, "chat": CHAT}
    for prompt_format in (
      short_format(),
      PromptFormat(vocab(), 30, 16, 64),
      PromptFormat(vocab(), 300, 100, 400, **chat),
      PromptFormat(vocab(), 60, 16, 90, **chat),
    ):
      table, _ = example_table.build_table(
        task, item.dataset, part, prompt_format, 0
      )
      asked = requests.render_requests(task, self.read(task).rows, 0)
      made = requests.encode_requests(asked, prompt_format)
      for i, request in enumerate(made):
        answer = request.options[request.request.example.answer_index]
        np.testing.assert_array_equal(
          table.example(i), np.concatenate([request.prompt, answer])
        )

  def test_long_prompts_leave_room_for_options(self):
    prompt_format = PromptFormat(vocab(), 100, 8, 24, Overflow.SKIP)
    asked = requests.render_requests(REVIEWS, self.read().rows, 0)
    for request in requests.encode_requests(asked, prompt_format):
      longest = max(map(len, request.options))
      self.assertLessEqual(len(request.prompt) + longest, 24)
      self.assertTrue(request.trimmed)

  def test_an_empty_option_is_an_error(self):
    request = requests.Request(
      requests.Example(7, ("yes",), ("yes", ""), 0), "Which?"
    )
    with self.assertRaisesRegex(ValueError, "Row 7: option '' has no tokens"):
      requests.encode_requests([request], short_format())


if __name__ == "__main__":
  absltest.main()
