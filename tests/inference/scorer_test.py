"""Options that share one prompt: read once, scored as if each stood alone."""

import dataclasses
import functools
import typing
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.inference import language_model, tree_packing
from flan_tf.mesh import state
from tests.helpers import toys

MODELS = {
  "t5": toys.MODEL,
  **{name: toys.one_layer(model) for name, model in toys.FAMILIES.items()},
  "gemma2": toys.FAMILIES["gemma2"],
}


def setUpModule():
  toys.open_cores()


@functools.cache
def model(family: str, mesh: str = "", has_start: bool = True, **adapter):
  run = toys.run_config(mesh)
  run = dataclasses.replace(
    run,
    model=MODELS[family],
    adapter=config.AdapterConfig(**adapter),
  )
  vocabulary = toys.Vocabulary(eos_id=-1, has_start=has_start)
  devices = toys.mesh(mesh)[0]
  made = language_model.LanguageModel(
    run, typing.cast(Any, vocabulary), 4, devices
  )
  for weights in (made.weights, made.adapters):
    toys.assign(weights, toys.random_weights(weights.specs))
  return made


def requests(seed: int = 0, prompts: int = 12, shortest: int = 0):
  """Prompts of any length, each with two to five options of any length."""
  rng = np.random.default_rng(seed)

  def ids(size) -> np.ndarray:
    return rng.integers(2, toys.PIECES, size)

  return (
    [ids(shortest + number % 9) for number in range(prompts)],
    [
      [ids(1 + rng.integers(4)) for _ in range(2 + number % 4)]
      for number in range(prompts)
    ],
  )


def alone(
  model: language_model.LanguageModel, prompts, options
) -> list[np.ndarray]:
  """Each option behind a copy of its prompt, in a call of its own."""
  return [
    np.concatenate(
      [
        model.score([language_model.ScoredExample(np.append(ids, o), len(o))])
        for o in of_prompt
      ]
    )
    for ids, of_prompt in zip(prompts, options, strict=True)
  ]


class ScoringTest(parameterized.TestCase):
  def assert_same(self, found, wanted, **tolerance):
    self.assertLen(found, len(wanted))
    for one, other in zip(found, wanted, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-5, **tolerance)

  @parameterized.parameters(*MODELS)
  def test_sharing_a_prompt_changes_no_score(self, family):
    asked = requests()
    self.assert_same(
      model(family).score_options(*asked), alone(model(family), *asked)
    )

  @parameterized.parameters("llama3", "gpt2")
  def test_nor_where_texts_have_no_start(self, family):
    asked = requests()
    made = model(family, has_start=False)
    self.assert_same(made.score_options(*asked), alone(made, *asked))

  @parameterized.parameters("llama3", "t5")
  def test_nor_behind_a_soft_prompt(self, family):
    asked = requests()
    for has_start in (True, False):
      made = model(family, has_start=has_start, soft_prompt=3)
      found = made.score_options(*asked)
      self.assert_same(found, alone(made, *asked))
      # Something is before the soft prompt either way.
      with_start = model(family, has_start=True, soft_prompt=3)
      self.assert_same(found, with_start.score_options(*asked))

  @parameterized.product(family=["gemma2", "t5"], mesh=["data:2;model:2"])
  def test_no_mesh_changes_a_score(self, family, mesh):
    asked = requests(1)
    with toys.unoptimized_graphs():
      found = model(family, mesh).score_options(*asked)
    self.assert_same(found, model(family).score_options(*asked), atol=1e-4)

  @parameterized.parameters("", "data:2;model:2")
  def test_weights_are_held_in_the_precision_of_products(self, mesh):
    """That takes half the memory, and changes nothing at all."""
    devices, layout = toys.mesh(mesh)
    run = config.replace(toys.run_config(mesh), "mesh", precision="bfloat16")
    vocabulary: Any = toys.Vocabulary()
    found = []
    for dtype in (None, tf.float32):
      made = language_model.LanguageModel(run, vocabulary, 4, devices)
      specs = made.weights.specs
      if dtype is not None:
        made.weights = state.State(devices, layout, specs, dtype)
      toys.assign(made.weights, toys.random_weights(specs))
      (_, variables), *_ = made.weights.shards("embedding")
      found.append((variables[0].dtype, made.score_options(*requests())))
    (held, scores), (_, expected) = found
    self.assertEqual(held, tf.bfloat16)
    for one, other in zip(scores, expected, strict=True):
      np.testing.assert_array_equal(one, other)

  def test_log_probabilities_of_all_tokens_add_up_to_one(self):
    """An oracle of its own: every piece as an option."""
    made = model("gpt2")
    every = [np.array([i]) for i in range(toys.PIECES)]
    (found,) = made.score_options([np.array([5, 6, 7])], [every])
    self.assertAlmostEqual(np.exp(found).sum(), 1.0, places=4)

  def test_an_option_is_the_product_of_its_tokens(self):
    made = model("t5")
    prompt, option = np.array([5, 6, 7]), np.array([8, 9, 10])
    steps = [
      made.score(
        [language_model.ScoredExample(np.append(prompt, option[:n]), 1)]
      )[0]
      for n in (1, 2, 3)
    ]
    ((found,),) = made.score_options([prompt], [[option]])
    self.assertAlmostEqual(found, sum(steps), places=4)

  def test_options_that_fill_several_rows(self):
    made = model("llama3")
    length = made.run.data.length
    prompts, options = requests(2, prompts=1, shortest=length // 2)
    options = [options[0] * length]
    found = made.score_options(prompts, options)
    self.assert_same(found, alone(made, prompts, options))

  def test_a_row_full_to_the_last_token(self):
    made = model("llama3")
    prompt = np.arange(2, made.run.data.length + 1, dtype=int)
    options = [[np.array([3]), np.array([4])]]
    found = made.score_options([prompt], options)
    self.assert_same(found, alone(made, [prompt], options))

  def test_what_does_not_fit_is_refused(self):
    made = model("llama3")
    prompt = np.full([made.run.data.length], 2, np.int32)
    with self.assertRaisesRegex(ValueError, "do not fit into rows of"):
      made.score_options([prompt], [[np.array([3])]])

  def test_no_prompts_have_no_scores(self):
    self.assertEmpty(model("llama3").score_options([], []))


def branching(seed: int, prompts: int, longest: int):
  """Prompts that begin alike in many ways, some the same as others."""
  rng = np.random.default_rng(seed)
  found = [rng.integers(2, toys.PIECES, longest // 2)]
  while len(found) < prompts:
    some = found[rng.integers(len(found))]
    begin = some[: rng.integers(len(some) + 1)]
    size = rng.integers(longest - len(begin))
    found.append(np.append(begin, rng.integers(2, toys.PIECES, size)))
  options = [
    [rng.integers(2, 5, 1 + rng.integers(4)) for _ in range(rng.integers(1, 5))]
    for _ in found
  ]
  return found, options


def eager():
  """Shares what is short, and keeps it, as if it were long."""
  return mock.patch.multiple(
    tree_packing,
    _LEAST_SHARED=2,
    _LEAST_PREFIX=2,
    _PREFIX_MULTIPLE=4,
    _TREE=8,
  )


class SharingTest(parameterized.TestCase):
  """Prompts that begin alike, and what is kept before all rows."""

  def assert_same(self, made, asked, other=None):
    wanted = alone(other or made, *asked)
    for one, two in zip(made.score_options(*asked), wanted, strict=True):
      np.testing.assert_allclose(one, two, rtol=2e-5, atol=1e-5)

  @parameterized.parameters("t5", "gpt2", "llama3", "gemma2")
  def test_sharing_beginnings_changes_no_score(self, family):
    asked = branching(0, 12, 10)
    with eager():
      kept = [call.shape.prefix for call in self.calls(*asked)]
      self.assertNotEmpty(list(filter(None, kept)))
      self.assert_same(model(family), asked)

  def test_nor_behind_a_soft_prompt(self):
    with eager():
      made = model("llama3", has_start=True, soft_prompt=3)
      self.assert_same(made, branching(1, 8, 8))

  def test_nor_does_a_mesh(self):
    made = model("t5", "data:2;model:2")
    with eager(), toys.unoptimized_graphs():
      self.assert_same(made, branching(2, 8, 10), model("t5"))

  def test_the_order_of_prompts_changes_nothing(self):
    prompts, options = branching(3, 12, 10)
    order = np.random.default_rng(0).permutation(len(prompts))
    with eager():
      first = model("llama3").score_options(prompts, options)
      second = model("llama3").score_options(
        [prompts[i] for i in order], [options[i] for i in order]
      )
    for place, i in enumerate(order):
      np.testing.assert_allclose(second[place], first[i], rtol=1e-5)

  def calls(self, prompts, options, row_length: int = 16):
    trunks = [np.append(0, ids) for ids in prompts]
    return list(tree_packing.pack_trees(trunks, options, row_length, 4))

  @parameterized.product(seed=[0, 1, 2], row_length=[20, 60])
  def test_what_a_column_sees_is_the_text_before_it(self, seed, row_length):
    prompts, options = branching(seed, 40, 15)
    seen = []
    with eager():
      for call in self.calls(prompts, options, row_length):
        (inputs, positions, ends, columns, targets), places = call.fill()
        for p in places:
          seen.append((p.prompt, p.option))
          option = options[p.prompt][p.option]
          wanted = np.concatenate([[0], prompts[p.prompt], option])
          at = columns[p.row, p.begin : p.end]
          self.assertEqual(
            targets[p.row, p.begin : p.end].tolist(), option.tolist()
          )
          for ahead, column in enumerate(at):
            visible = np.flatnonzero(ends[p.row, : column + 1] > column)
            read = np.append(call.prefix, inputs[p.row, visible])
            size = len(prompts[p.prompt]) + 1 + ahead
            self.assertEqual(read.tolist(), wanted[:size].tolist())
            self.assertEqual(
              positions[p.row, visible].tolist(),
              list(range(len(call.prefix), size)),
            )
    pairs = {(i, o) for i, few in enumerate(options) for o in range(len(few))}
    self.assertLen(seen, len(pairs))
    self.assertEqual(set(seen), pairs)

  def test_a_passage_is_read_once(self):
    passage = np.arange(2, 102)
    prompts = [np.append(passage, [3, i]) for i in range(2, 12)]
    calls = self.calls(prompts, [[np.array([5]), np.array([6])]] * 10, 200)
    trees = [tree for call in calls for row in call.trees for tree in row]
    self.assertEqual([tree.size for tree in trees], [1 + 100 + 1 + 10])

  def test_exemplars_of_many_prompts_are_read_once(self):
    exemplars = np.arange(2, 152)
    queries = [np.append(exemplars, [i, 3, i]) for i in range(2, 102)]
    calls = self.calls(queries, [[np.array([5]), np.array([6])]] * 100, 200)
    self.assertEqual({len(call.prefix) for call in calls}, {151})
    sizes = [t.size for call in calls for row in call.trees for t in row]
    self.assertEqual(sizes, [3] * 100)

  def test_a_prompt_with_more_options_than_a_row_holds(self):
    prompt = np.arange(2, 10)
    options = [np.array([i, 3, 4]) for i in range(2, 60)]
    calls = self.calls([prompt], [options], 40)
    sizes = [t.size for call in calls for row in call.trees for t in row]
    self.assertLessEqual(max(sizes), 40)
    self.assertEqual(sum(len(call.fill()[1]) for call in calls), 58)


class PlanTest(parameterized.TestCase):
  """What is scored in which call."""

  def plan(self, lengths, row_length=1024, batch=2, **rest):
    # No two prompts begin alike.
    trunks = [np.array([i + 9, *[3] * (n - 1)]) for i, n in enumerate(lengths)]
    options = [[np.array([4]), np.array([5, 6])] for _ in lengths]
    return list(
      tree_packing.pack_trees(trunks, options, row_length, batch, **rest)
    )

  @parameterized.parameters(1, 2)
  def test_every_option_is_scored_once(self, unit):
    lengths = np.random.default_rng(0).integers(1, 900, 300)
    calls = self.plan(lengths, row_multiple=unit)
    seen = []
    for call in calls:
      self.assertLen(call.trees, min(call.shape.rows, len(call.trees)))
      self.assertEqual(call.shape.rows % unit, 0)
      (inputs, positions, ends, columns, targets), places = call.fill()
      self.assertEqual(inputs.shape, call.shape[:2])
      self.assertEqual(targets.shape, (call.shape.rows, call.shape.scored))
      for place in places:
        seen.append((place.prompt, place.option))
        at = columns[place.row, place.begin : place.end]
        self.assertEqual(
          targets[place.row, place.begin : place.end].tolist(),
          [[4], [5, 6]][place.option],
        )
        # The last token of the trunk is what the first target comes behind.
        length = lengths[place.prompt]
        last = 3 if length > 1 else place.prompt + 9
        self.assertEqual(inputs[place.row, at[0]], last)
        self.assertEqual(positions[place.row, at[0]], lengths[place.prompt] - 1)
        self.assertEqual(
          positions[place.row, at[-1]],
          positions[place.row, at[0]] + len(at) - 1,
        )
    wanted = {(i, o) for i in range(300) for o in (0, 1)}
    self.assertLen(seen, len(wanted))
    self.assertEqual(set(seen), wanted)

  def test_few_short_prompts_are_few_short_rows(self):
    (call,) = self.plan([20, 30])
    self.assertEqual(call.shape, (1, 128, 8, 0))

  def test_short_and_long_prompts_have_rows_of_their_own(self):
    calls = self.plan([40] * 100 + [800] * 4)
    self.assertEqual(
      [call.shape[:2] for call in calls],
      [(16, 128)] * 2 + [(2, 128)] + [(2, 1024)] * 2,
    )

  def test_few_short_prompts_go_with_the_long_ones(self):
    calls = self.plan([40] * 4 + [800] * 4)
    self.assertEqual({call.shape.length for call in calls}, {1024})

  def test_few_shapes(self):
    rng = np.random.default_rng(1)
    shapes = {
      call.shape
      for _ in range(40)
      for call in self.plan(rng.integers(5, 700, rng.integers(1, 400)))
    }
    self.assertLess(len(shapes), 32)

  def test_nothing_to_score(self):
    self.assertEmpty(self.plan([]))


if __name__ == "__main__":
  absltest.main()
