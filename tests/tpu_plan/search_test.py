"""The search for meshes, its ranking, and suggestions for what does not fit."""

import json

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.tpu_plan import chips
from flan_tf.tpu_plan.mesh_sizes import MeshSizes
from flan_tf.tpu_plan.planner import (
  cost_model,
  ranking,
  search,
  suggestions,
  summary,
)
from flan_tf.tpu_plan.request import make_request
from launch.configs import paper
from tests.helpers.fake_compiler import REFUSED, FakeCompiler, paper_request


class CandidatesTest(parameterized.TestCase):
  def test_factorizations(self):
    self.assertEqual(list(search.factorizations(6, 1)), [(6,)])
    self.assertEqual(
      list(search.factorizations(6, 2)), [(1, 6), (2, 3), (3, 2), (6, 1)]
    )
    # As many as ways to distribute the seven twos of 2^7 over three factors.
    self.assertLen(list(search.factorizations(128, 3)), 9 * 8 // 2)

  @parameterized.parameters("422m", "8b", "137b")
  def test_each_mesh_divides_or_has_a_reason(self, size):
    one = paper_request(size, "v3:8x8")
    candidates, indivisible = search.enumerate_candidates(one)
    meshes = {c.request.run.mesh.shape for c in candidates}
    meshes |= {mesh.mesh for mesh in indivisible}
    # As many as ways to distribute the seven twos of 128 over three axes.
    self.assertLen(meshes, 9 * 8 // 2)
    for candidate in candidates:
      self.assertEqual(search.indivisible_reason(candidate.request), "")
    keys = [candidate.cost.sort_key for candidate in candidates]
    self.assertEqual(keys, sorted(keys))

  def test_indivisible_reason(self):
    for mesh, reason in (
      ("data:8;model:4", "batch 4 over data:8"),
      ("model:128", "128 cores, the slice has 32"),
      ("", "1 cores, the slice has 32"),
      ("data:2;model:16", ""),
    ):
      one = paper_request(mesh__shape=mesh)
      self.assertEqual(search.indivisible_reason(one), reason)
    small = paper_request("422m", "v3:2x2", mesh__shape="model:8")
    self.assertEqual(search.indivisible_reason(small), "heads 20 over model:8")
    grouped = paper_request(
      "8b", "v3:4x4", mesh__shape="model:32", model__kv_heads=8
    )
    self.assertEqual(
      search.indivisible_reason(grouped), "heads 8 over model:32"
    )

  def test_microbatches_must_divide(self):
    one = paper_request(mesh__shape="data:4;model:8", train__microbatches=2)
    self.assertEqual(search.indivisible_reason(one), "batch 2 over data:4")

  def test_equal_layouts_appear_once(self):
    """If all rows are on one group of cores, nothing is split over data."""
    candidates, _ = search.enumerate_candidates(paper_request("422m", "v3:2x2"))
    settings = [
      (str(MeshSizes(c.request.run.mesh)), c.request.run.train)
      for c in candidates
    ]
    self.assertLen(set(map(str, settings)), len(settings))

  def test_only_training_has_options(self):
    one = paper_request(program="score")
    candidates, _ = search.enumerate_candidates(one)
    runs = [candidate.request.run for candidate in candidates]
    self.assertEqual({run.train.microbatches for run in runs}, {1})
    self.assertNotIn("stream", str([run.mesh for run in runs]))

  def test_the_flags_give_the_candidate(self):
    for candidate in search.enumerate_candidates(paper_request())[0]:
      run = config.to_config_dict(paper.run("8b"))
      for flag in search.config_flags(candidate.request).split():
        key, value = flag.removeprefix("--config.").split("=")
        with run.unlocked():
          run.update_from_flattened_dict(
            {key: int(value) if value.isdigit() else value.strip("'")}
          )
      changed = config.from_mapping(run.to_dict())
      self.assertEqual(make_request(changed, "v3:4x4"), candidate.request)


class SearchTest(absltest.TestCase):
  def test_the_fastest_that_fits_comes_first(self):
    compiler = FakeCompiler()
    result = search.search_meshes(paper_request(), compiler, max_compiled=5)
    self.assertLen(compiler.requests, 5)
    self.assertLen(result.compiled, 5)
    seconds = [r.estimate.serial_seconds for r in result.compiled]
    self.assertEqual(seconds, sorted(seconds))
    self.assertEqual(result.best, result.compiled[0])
    self.assertNotEmpty(result.not_compiled)

  def test_it_stops_when_enough_fit(self):
    compiler = FakeCompiler()
    search.search_meshes(
      paper_request(), compiler, max_compiled=5, max_fitting=2
    )
    self.assertLen(compiler.requests, 2)

  def test_after_a_refusal_only_candidates_with_less_hbm_are_compiled(self):
    compiler = FakeCompiler(fits=False, refused=REFUSED)
    result = search.search_meshes(paper_request(), compiler, max_compiled=50)
    self.assertIsNone(result.best)
    hbm = [cost_model.estimate_cost(r).hbm_bytes for r in compiler.requests]
    for before, after in zip(hbm, hbm[1:], strict=False):
      self.assertLess(after, before)
    self.assertNotEmpty(result.not_compiled)


class RankingTest(absltest.TestCase):
  def test_text_and_json(self):
    one = paper_request("137b", "v3:8x8")
    result = search.search_meshes(one, FakeCompiler(), max_compiled=4)
    text = ranking.to_text(result)
    self.assertRegex(text, r"^4 compiled, .* \d+ more divide; 15 do not\.")
    self.assertIn("Do not divide:\n  data:128: batch 4 over data:128\n", text)
    best = search.config_flags(result.best.candidate.request)
    self.assertIn(f"Best: {best}", text)
    self.assertIn(summary.COMPILE_NOTE, text)
    values = json.loads(summary.to_json(ranking.to_dict(result)))
    self.assertLen(values["tried"], 4)
    self.assertEqual(values["best"], values["tried"][0])
    self.assertLen(values["untried"], len(result.not_compiled))
    self.assertLen(values["left_out"], 15)
    self.assertIn(
      {
        "mesh": "data:128",
        "layout": search.LAYOUTS[0][1],
        "why": "batch 4 over data:128",
      },
      values["left_out"],
    )

  def test_refused_candidates(self):
    compiler = FakeCompiler(fits=False, refused=REFUSED)
    result = search.search_meshes(paper_request(), compiler, max_compiled=2)
    text = ranking.to_text(result)
    self.assertIn("does not fit: ", text)
    self.assertIn("Ran out of memory.\n", text)
    self.assertIn("None of the compiled candidates fits.", text)


class SuggestionsTest(absltest.TestCase):
  def test_another_mesh_of_the_same_slice(self):
    compiler = FakeCompiler()
    one = paper_request("68b", "v3:8x8", mesh__shape="data:4;model:32")
    suggestion = suggestions.suggest_fitting(one, compiler)
    self.assertEqual(suggestion.compiled, 1)
    fitting = suggestion.best.candidate.request
    self.assertEqual(fitting.topology, "v3:8x8")
    self.assertNotEqual(fitting, one)

  def test_a_larger_slice(self):
    one = paper_request("137b", "v3:2x4")
    suggestion = suggestions.suggest_fitting(one, FakeCompiler())
    self.assertEqual(suggestion.compiled, 1)
    topology = suggestion.best.candidate.request.topology
    self.assertGreater(chips.parse_topology(topology).cores, 32)

  def test_at_most_two_are_compiled(self):
    compiler = FakeCompiler(fits=False, refused=REFUSED)
    suggestion = suggestions.suggest_fitting(paper_request(), compiler)
    self.assertIsNone(suggestion.best)
    self.assertEqual(suggestion.compiled, 2)
    self.assertLen(compiler.requests, 2)
    first, second = compiler.requests
    self.assertNotEqual(first.topology, second.topology)


if __name__ == "__main__":
  absltest.main()
