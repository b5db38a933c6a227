"""Exemplars: drawn with the seed, never the query, dropped until all fits."""

from absl.testing import absltest

import tasks
from flan_tf.data import few_shot, pipeline, preview, prompt_format, requests
from flan_tf.task import registry, wordings
from flan_tf.vocab import vocabulary
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
    (cls.item,), _ = pipeline.plan_tasks([cls.task], TINY.data_dir)
    cls.vocabulary = vocabulary.SentencePieceVocabulary.load(TINY.vocabulary)
    plan = cls.item.plan
    cls.pool = few_shot.read_pool(cls.task, cls.item.dataset, plan.train, 0)
    found = requests.read_evaluation_rows(cls.task, cls.item.dataset, plan.test)
    cls.asked = requests.prompts_for(cls.task, found.rows, 0)

  def ask(self, asked, shots=2, markers="plain", length=4096, seed=0, **more):
    limits = prompt_format.Limits(input_length=length, row_length=2 * length)
    return few_shot.with_exemplars(
      self.task,
      asked,
      0,
      self.pool,
      shots,
      wordings.markers(markers),
      self.vocabulary,
      limits,
      seed,
      **more,
    )

  def test_exemplars_are_training_rows_with_their_answers(self):
    plan = self.item.plan.train
    self.assertEqual(
      [row.row for row in self.pool], list(range(plan.start, plan.stop))
    )
    known = {
      request.prompt + "\n\n" + row.slots["answer"]
      for request, row in zip(
        requests.prompts_for(self.task, self.pool, 0), self.pool, strict=True
      )
    }
    for request, query in zip(self.ask(self.asked), self.asked, strict=True):
      *exemplars, last = request.prompt.split("\n\n\n")
      self.assertEqual(last, query.prompt)
      self.assertLen(set(exemplars), 2)
      self.assertContainsSubset(exemplars, known)
      self.assertEqual(request.exemplars, 2)
      self.assertEqual(request.options, query.options)

  def test_a_query_is_never_its_own_exemplar(self):
    asked = requests.prompts_for(self.task, self.pool, 0)
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

  def test_more_shots_only_add(self):
    two, three = self.ask(self.asked), self.ask(self.asked, shots=3)
    for few, many in zip(two, three, strict=True):
      head = few.prompt.rpartition("\n\n\n")[0]
      self.assertStartsWith(many.prompt, head)

  def test_whole_exemplars_go_until_the_prompt_fits(self):
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
    """A row that is short for prompt and answer costs exemplars, no middle."""
    limits = prompt_format.Limits(
      600, 64, 632, separator=prompt_format.Separator.NEWLINE
    )
    cut = few_shot.with_exemplars(
      self.task,
      self.asked,
      0,
      self.pool,
      9,
      wordings.markers("plain"),
      self.vocabulary,
      limits,
      seed=0,
    )
    self.assertLess(min(request.exemplars for request in cut), 9)
    found = requests.tokenize_requests(cut, self.vocabulary, limits)
    self.assertFalse(any(item.trimmed for item in found))

  def test_fixed_exemplars_are_the_same_for_all(self):
    found = self.ask(self.asked, fixed=True)
    heads = {r.prompt.rpartition("\n\n\n")[0] for r in found}
    self.assertLen(heads, 1)
    self.assertEqual(self.ask(self.asked[::-1], fixed=True)[::-1], found)
    self.assertNotEqual(self.ask(self.asked, fixed=True, seed=1), found)

  def test_nor_is_one_of_them_ever_a_query(self):
    asked = requests.prompts_for(self.task, self.pool[:3], 0)
    for request in self.ask(asked, shots=99, same_split=True, fixed=True):
      self.assertEqual(request.exemplars, len(self.pool) - 3)
      for query in asked:
        self.assertEqual(
          request.prompt.count(query.prompt),
          int(request.row == query.row),
        )

  def test_no_room_at_all_leaves_the_query(self):
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
    plan = self.item.plan
    drawn = [
      [
        row.row
        for row in few_shot.read_pool(
          self.task, self.item.dataset, plan.train, seed, size=5
        )
      ]
      for seed in (0, 0, 1)
    ]
    self.assertLen(drawn[0], 5)
    self.assertEqual(drawn[0], drawn[1])
    self.assertNotEqual(drawn[0], drawn[2])
    self.assertContainsSubset(drawn[0], range(plan.train.stop))


class ShowTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.task = registry.TaskRegistry(tasks.ALL).get("rte")
    (self.item,), _ = pipeline.plan_tasks([self.task], TINY.data_dir)
    self.vocabulary = vocabulary.SentencePieceVocabulary.load(TINY.vocabulary)

  def show(self, limits=None, **keywords):
    return preview.show(
      self.item,
      self.task,
      self.vocabulary,
      limits or prompt_format.Limits(input_length=900, row_length=1200),
      **keywords,
    )

  def test_tokens_are_those_of_the_text(self):
    found = self.show(template=1, shots=2, seed=3)
    self.assertEqual(found["shots"], 2)
    self.assertEqual(found["prompt"].count("Proposed headline:"), 3)
    text = self.vocabulary.decode(found["prompt_tokens"])
    self.assertEqual(text, found["prompt"])
    self.assertEqual(found["target_pieces"][-1], "</s>")
    self.assertIn(found["target"], found["options"])
    self.assertFalse(found["trimmed"])
    printed = preview.text(found)
    self.assertStartsWith(printed, "=== rte / template 1 / 2 shots / valid")
    self.assertIn(f"\n>>> {found['target']}\n", printed)

  def test_a_template_that_turns_the_task_around(self):
    found = self.show(template=8, shots=1)
    self.assertEqual(found["options"], [])
    self.assertNotIn(found["target"], ("yes", "no"))

  def test_fewer_exemplars_than_asked_for_are_told(self):
    found = self.show(
      prompt_format.Limits(input_length=400, row_length=600), shots=9
    )
    self.assertLess(found["shots"], found["shots_asked"])
    self.assertIn(f"{found['shots']} of 9 exemplars", preview.text(found))

  def test_cut(self):
    found = self.show(prompt_format.Limits(input_length=10, row_length=40))
    self.assertTrue(found["trimmed"])
    self.assertLen(found["prompt_tokens"], 10)
    self.assertIn("was cut", preview.text(found))

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "templates 0 to 9, not 10"):
      self.show(template=10)
    with self.assertRaisesRegex(ValueError, "test has 6 rows .* no row 99"):
      self.show(row=99)


if __name__ == "__main__":
  absltest.main()
