"""Exemplars: drawn with the seed, never the request, dropped until they fit."""

from absl.testing import absltest

import tasks
from flan_tf.data import (
  few_shot,
  opened_tasks,
  preview,
  requests,
)
from flan_tf.data.prompt_format import PromptFormat, Separator
from flan_tf.task import registry, wordings
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary
from tests.helpers import tiny

TINY = tiny.Tiny()
tearDownModule = TINY.close


def setUpModule():
  TINY.open()


class FewShotTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.task = registry.TaskRegistry(tasks.ALL).get("rte")
    (cls.item,), _ = opened_tasks.open_tasks([cls.task], TINY.data_dir)
    cls.vocabulary = SentencePieceVocabulary.load(TINY.vocabulary)
    ranges = cls.item.ranges
    cls.pool = few_shot.read_exemplar_pool(
      cls.task, cls.item.dataset, ranges.train, 0
    )
    found = requests.read_evaluation_rows(
      cls.task, cls.item.dataset, ranges.test
    )
    cls.asked = requests.render_requests(cls.task, found.rows, 0)

  def ask(self, asked, shots=2, markers="plain", length=4096, seed=0, **more):
    prompt_format = PromptFormat(
      self.vocabulary, input_length=length, row_length=2 * length
    )
    return few_shot.add_exemplars(
      asked,
      self.task,
      0,
      self.pool,
      prompt_format,
      shots=shots,
      markers=wordings.markers(markers),
      seed=seed,
      **more,
    )

  def test_exemplars_are_training_rows_with_their_answers(self):
    train = self.item.ranges.train
    self.assertEqual(
      [row.row_index for row in self.pool], list(range(train.start, train.stop))
    )
    known = {
      request.prompt + "\n\n" + row.slots["answer"]
      for request, row in zip(
        requests.render_requests(self.task, self.pool, 0),
        self.pool,
        strict=True,
      )
    }
    for request, query in zip(self.ask(self.asked), self.asked, strict=True):
      *exemplars, last = request.prompt.split("\n\n\n")
      self.assertEqual(last, query.prompt)
      self.assertLen(set(exemplars), 2)
      self.assertContainsSubset(exemplars, known)
      self.assertEqual(request.exemplars, 2)
      self.assertEqual(request.example, query.example)

  def test_a_request_is_never_its_own_exemplar(self):
    asked = requests.render_requests(self.task, self.pool, 0)
    for request, query in zip(
      self.ask(asked, shots=99, same_split=True), asked, strict=True
    ):
      self.assertEqual(request.exemplars, len(self.pool) - 1)
      self.assertEqual(request.prompt.count(query.prompt), 1)

  def test_the_seed_and_the_row_decide(self):
    first, again = self.ask(self.asked), self.ask(self.asked)
    self.assertEqual(first, again)
    self.assertEqual(self.ask(self.asked[::-1])[::-1], first)
    self.assertNotEqual(self.ask(self.asked, seed=1), first)
    prompts = {r.prompt.rpartition("\n\n\n")[0] for r in first}
    self.assertGreater(len(prompts), 1, "all queries have the same exemplars")

  def test_more_shots_keep_the_exemplars_of_fewer_shots(self):
    two, three = self.ask(self.asked), self.ask(self.asked, shots=3)
    for few, many in zip(two, three, strict=True):
      head = few.prompt.rpartition("\n\n\n")[0]
      self.assertStartsWith(many.prompt, head)

  def test_whole_exemplars_are_dropped_until_the_prompt_fits(self):
    full = self.ask(self.asked, shots=4)
    lengths = list(map(len, self.vocabulary.encode([r.prompt for r in full])))
    room = sorted(lengths)[len(lengths) // 2]
    cut = self.ask(self.asked, shots=4, length=room + 1)
    kept = [request.exemplars for request in cut]
    self.assertContainsSubset(kept, range(5))
    self.assertLess(min(kept), 4)
    self.assertEqual(max(kept), 4)
    for request, before in zip(cut, full, strict=True):
      (ids,) = self.vocabulary.encode([request.prompt])
      self.assertLessEqual(len(ids), room)
      parts, whole = (r.prompt.split("\n\n\n") for r in (request, before))
      self.assertEqual(parts[:-1], whole[: request.exemplars])
      self.assertEqual(parts[-1], whole[-1])

  def test_exemplars_leave_room_for_an_answer(self):
    """Exemplars are dropped if there is no room for the answer."""
    prompt_format = PromptFormat(
      self.vocabulary, 600, 64, 632, separator=Separator.NEWLINE
    )
    cut = few_shot.add_exemplars(
      self.asked,
      self.task,
      0,
      self.pool,
      prompt_format,
      shots=9,
      markers=wordings.markers("plain"),
      seed=0,
    )
    self.assertLess(min(request.exemplars for request in cut), 9)
    found = requests.encode_requests(cut, prompt_format)
    self.assertFalse(any(item.trimmed for item in found))

  def test_fixed_exemplars_are_the_same_for_all(self):
    found = self.ask(self.asked, fixed=True)
    heads = {r.prompt.rpartition("\n\n\n")[0] for r in found}
    self.assertLen(heads, 1)
    self.assertEqual(self.ask(self.asked[::-1], fixed=True)[::-1], found)
    self.assertNotEqual(self.ask(self.asked, fixed=True, seed=1), found)

  def test_fixed_exemplars_are_never_requests(self):
    asked = requests.render_requests(self.task, self.pool[:3], 0)
    for request in self.ask(asked, shots=99, same_split=True, fixed=True):
      self.assertEqual(request.exemplars, len(self.pool) - 3)
      for query in asked:
        self.assertEqual(
          request.prompt.count(query.prompt),
          int(request.example.row_index == query.example.row_index),
        )

  def test_without_room_the_prompt_has_no_exemplars(self):
    for request, query in zip(
      self.ask(self.asked, length=8), self.asked, strict=True
    ):
      self.assertEqual((request.prompt, request.exemplars), (query.prompt, 0))

  def test_no_shots_and_an_empty_pool(self):
    for request, query in zip(
      self.ask(self.asked, shots=0, markers="flan"), self.asked, strict=True
    ):
      self.assertEqual(request.prompt, f"0 {query.prompt} X 1 FLAN")

  def test_a_pool_is_drawn_from_a_long_split(self):
    ranges = self.item.ranges
    drawn = [
      [
        row.row_index
        for row in few_shot.read_exemplar_pool(
          self.task, self.item.dataset, ranges.train, seed, size=5
        )
      ]
      for seed in (0, 0, 1)
    ]
    self.assertLen(drawn[0], 5)
    self.assertEqual(drawn[0], drawn[1])
    self.assertNotEqual(drawn[0], drawn[2])
    self.assertContainsSubset(drawn[0], range(ranges.train.stop))


class PreviewTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.task = registry.TaskRegistry(tasks.ALL).get("rte")
    (self.item,), _ = opened_tasks.open_tasks([self.task], TINY.data_dir)
    self.vocabulary = SentencePieceVocabulary.load(TINY.vocabulary)

  def show(self, input_length=900, row_length=1200, **keywords):
    prompt_format = PromptFormat(
      self.vocabulary, input_length=input_length, row_length=row_length
    )
    return preview.preview_row(self.item, self.task, prompt_format, **keywords)

  def test_tokens_are_those_of_the_text(self):
    found = self.show(template=1, shots=2, seed=3)
    self.assertEqual(found["shots"], 2)
    self.assertEqual(found["prompt"].count("Proposed headline:"), 3)
    text = self.vocabulary.decode(found["prompt_tokens"])
    self.assertEqual(text, found["prompt"])
    self.assertEqual(found["target_pieces"][-1], "</s>")
    self.assertIn(found["target"], found["options"])
    self.assertFalse(found["trimmed"])
    printed = preview.format_preview(found)
    self.assertStartsWith(printed, "=== rte / template 1 / 2 shots / valid")
    self.assertIn(f"\n>>> {found['target']}\n", printed)

  def test_an_inverse_template(self):
    found = self.show(template=8, shots=1)
    self.assertEqual(found["options"], [])
    self.assertNotIn(found["target"], ("yes", "no"))

  def test_the_text_tells_that_there_are_fewer_exemplars(self):
    found = self.show(input_length=400, row_length=600, shots=9)
    self.assertLess(found["shots"], found["shots_asked"])
    self.assertIn(
      f"{found['shots']} of 9 exemplars", preview.format_preview(found)
    )

  def test_cut(self):
    found = self.show(input_length=10, row_length=40)
    self.assertTrue(found["trimmed"])
    self.assertLen(found["prompt_tokens"], 10)
    self.assertIn("was cut", preview.format_preview(found))

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "templates 0 to 9, not 10"):
      self.show(template=10)
    with self.assertRaisesRegex(ValueError, "test has 6 rows .* no row 99"):
      self.show(row=99)


if __name__ == "__main__":
  absltest.main()
