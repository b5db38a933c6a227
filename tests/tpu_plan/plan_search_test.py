"""Meshes that divide, what would fit instead, and how far training scales.

With a stand-in for the compiler.
"""

import json

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.tpu_plan import chips, mesh_sizes, request
from flan_tf.tpu_plan.planner import (
  cost_model,
  flop_counts,
  ranking,
  scaling,
  scaling_table,
  search,
  suggestions,
  summary,
)
from launch.configs import paper
from tests.helpers.stand_in import REFUSED, StandIn, asked


class SearchTest(parameterized.TestCase):
  def test_all_ways_to_write_a_number(self):
    self.assertEqual(list(search.factors(6, 1)), [(6,)])
    self.assertEqual(
      list(search.factors(6, 2)), [(1, 6), (2, 3), (3, 2), (6, 1)]
    )
    # 2^7 into three: as many as ways to put seven into three heaps.
    self.assertLen(list(search.factors(128, 3)), 9 * 8 // 2)

  @parameterized.parameters("422m", "8b", "137b")
  def test_each_mesh_divides_or_has_a_reason(self, size):
    one = asked(size, "v3:8x8")
    candidates, left_out = search.enumerate_all(one)
    meshes = {c.asked.run.mesh.shape for c in candidates}
    # As many as ways to put seven twos into three heaps.
    self.assertLen(meshes | {out.mesh for out in left_out}, 9 * 8 // 2)
    for candidate in candidates:
      self.assertEqual(search.why_not(candidate.asked), "")
    worths = [candidate.by_hand.worth for candidate in candidates]
    self.assertEqual(worths, sorted(worths))

  def test_why_not(self):
    for mesh, why in (
      ("data:8;model:4", "batch 4 over data:8"),
      ("model:128", "128 cores, the slice has 32"),
      ("", "1 cores, the slice has 32"),
      ("data:2;model:16", ""),
    ):
      self.assertEqual(search.why_not(asked(mesh__shape=mesh)), why)
    small = asked("422m", "v3:2x2", mesh__shape="model:8")
    self.assertEqual(search.why_not(small), "heads 20 over model:8")
    grouped = asked("8b", "v3:4x4", mesh__shape="model:32", model__kv_heads=8)
    self.assertEqual(search.why_not(grouped), "heads 8 over model:32")

  def test_microbatches_may_not_divide(self):
    one = asked(mesh__shape="data:4;model:8", train__microbatches=2)
    self.assertEqual(search.why_not(one), "batch 2 over data:4")

  def test_layouts_that_are_the_same_are_one(self):
    """With all rows on one core group nothing is split over data."""
    candidates, _ = search.enumerate_all(asked("422m", "v3:2x2"))
    seen = [
      (str(mesh_sizes.MeshSizes(c.asked.run.mesh)), c.asked.run.train)
      for c in candidates
    ]
    self.assertLen(set(map(str, seen)), len(seen))

  def test_only_training_has_options(self):
    candidates, _ = search.enumerate_all(asked(program="score"))
    self.assertEqual(
      {(c.asked.run.train.microbatches) for c in candidates}, {1}
    )
    self.assertNotIn("stream", str([c.asked.run.mesh for c in candidates]))

  def test_the_fastest_that_fits_comes_first(self):
    compiler = StandIn()
    found = search.search(asked(), compiler, limit=5)
    self.assertLen(compiler.asked, 5)
    self.assertLen(found.tried, 5)
    seconds = [t.estimate.serial_seconds for t in found.tried]
    self.assertEqual(seconds, sorted(seconds))
    self.assertEqual(found.best, found.tried[0])
    self.assertNotEmpty(found.untried)

  def test_stops_when_enough_fit(self):
    compiler = StandIn()
    search.search(asked(), compiler, limit=5, enough=2)
    self.assertLen(compiler.asked, 2)

  def test_after_a_refusal_only_what_needs_less_is_tried(self):
    compiler = StandIn(fits=False, refused=REFUSED)
    found = search.search(asked(), compiler, limit=50)
    self.assertIsNone(found.best)
    needs = [cost_model.by_hand(one).hbm_bytes for one in compiler.asked]
    for more, less in zip(needs, needs[1:], strict=False):
      self.assertLess(less, more)
    self.assertNotEmpty(found.untried)

  def test_flags_give_the_candidate(self):
    for candidate in search.enumerate_all(asked())[0]:
      run = config.to_config_dict(paper.run("8b"))
      for flag in search.flags(candidate.asked).split():
        key, value = flag.removeprefix("--config.").split("=")
        with run.unlocked():
          run.update_from_flattened_dict(
            {key: int(value) if value.isdigit() else value.strip("'")}
          )
      again = request.ask(config.from_mapping(run.to_dict()), "v3:4x4")
      self.assertEqual(again, candidate.asked)

  def test_ranking(self):
    found = search.search(asked("137b", "v3:8x8"), StandIn(), limit=4)
    text = ranking.to_text(found)
    self.assertRegex(text, r"^4 compiled, .* \d+ more divide; 15 do not\.")
    self.assertIn("Do not divide:\n  data:128: batch 4 over data:128\n", text)
    self.assertIn(f"Best: {search.flags(found.best.candidate.asked)}", text)
    self.assertIn(summary.NOTE, text)
    values = json.loads(summary.to_json(ranking.to_dict(found)))
    self.assertLen(values["tried"], 4)
    self.assertEqual(values["best"], values["tried"][0])
    self.assertLen(values["untried"], len(found.untried))
    self.assertLen(values["left_out"], 15)

  def test_ranking_of_what_was_refused(self):
    compiler = StandIn(fits=False, refused=REFUSED)
    text = ranking.to_text(search.search(asked(), compiler, limit=2))
    self.assertIn("does not fit: ", text)
    self.assertIn("Ran out of memory.\n", text)
    self.assertIn("None that was compiled fits.", text)


class RemedyTest(absltest.TestCase):
  def test_another_mesh_of_the_same_slice(self):
    compiler = StandIn()
    one = asked("68b", "v3:8x8", mesh__shape="data:4;model:32")
    best, tried = suggestions.would_fit(one, compiler)
    self.assertLen(tried, 1)
    self.assertEqual(best.candidate.asked.topology, "v3:8x8")
    self.assertNotEqual(best.candidate.asked, one)

  def test_a_larger_slice(self):
    best, tried = suggestions.would_fit(asked("137b", "v3:2x4"), StandIn())
    self.assertLen(tried, 1)
    self.assertGreater(
      chips.parse_topology(best.candidate.asked.topology).cores, 32
    )

  def test_no_more_than_two_tries(self):
    compiler = StandIn(fits=False, refused=REFUSED)
    best, tried = suggestions.would_fit(asked(), compiler)
    self.assertIsNone(best)
    self.assertLen(tried, 2)
    self.assertLen(compiler.asked, 2)
    self.assertNotEqual(*[one.topology for one in compiler.asked])


class ScalingTest(absltest.TestCase):
  def cells(self, *names, cores=scaling.CORES, generation="v3", **changes):
    self.compiler = StandIn(**changes)
    runs = {name: paper.run(name) for name in names}
    return list(
      scaling.cells(runs, chips.GENERATIONS[generation], self.compiler, cores)
    )

  def uncompiled(self, size, cores, known=lambda one: None):
    """Cells; fails if the compiler is asked."""
    v3 = chips.GENERATIONS["v3"]
    runs = {size: paper.run(size)}
    return list(scaling.cells(runs, v3, self.fail, cores, known=known))

  def test_a_cell_for_each_size_and_number(self):
    found = self.cells("422m", "137b")
    self.assertEqual(
      [(made.size, made.cores) for made in found],
      [(name, n) for name in ("422m", "137b") for n in scaling.CORES],
    )

  def test_rows_are_cut_once_there_are_too_few(self):
    for made in self.cells("137b"):
      self.assertEqual((made.rows, made.grown), (4, 1))
      if made.best:
        mesh = made.best.candidate.asked.run.mesh.shape
        self.assertEqual("sequence" in mesh, made.cores > 512)

  def odd(self, cores=scaling.CORES):
    """137B with rows that do not come apart."""
    run = config.replace(paper.run("137b"), "data", length=2047)
    v3 = chips.GENERATIONS["v3"]
    return list(scaling.cells({"137b": run}, v3, StandIn(), cores))

  def test_the_batch_grows_once_nothing_divides(self):
    found = {made.cores: made for made in self.odd()}
    self.assertEqual((found[512].rows, found[512].grown), (4, 1))
    for cores, grown in ((1024, 2), (2048, 4)):
      made = found[cores]
      self.assertEqual((made.rows, made.grown), (4 * grown, grown))
      why = {(out.mesh, out.why) for out in made.left_out}
      alone = f"model:{cores}"
      self.assertIn((alone, f"heads 128 over {alone}"), why)
      mesh = f"data:{cores // 256};sequence:2;model:128"
      reasons = [reason for name, reason in why if name == mesh]
      self.assertLen(reasons, 1)
      self.assertRegex(reasons[0], "^(batch 4|length 2,047) over")

  def test_what_does_not_fit_by_far_is_not_compiled(self):
    made, *_ = self.cells("137b", cores=[8])
    self.assertIsNone(made.best)
    self.assertRegex(made.why, r"^does not fit: \d+\.\d GiB a core, by hand$")
    self.assertEmpty(self.compiler.asked)

  def test_what_is_refused(self):
    made, *_ = self.cells("8b", cores=[32], fits=False, refused=REFUSED)
    self.assertEqual(made.why, "does not fit: 3 tried")

  def test_no_such_slice(self):
    made, *_ = self.cells("422m", cores=[2048], generation="v5e")
    self.assertEqual(made.why, "v5e has no such slice")

  def made(self, cores, seconds, collectives, rows=4, grown=1):
    """A cell with these figures."""
    where = chips.with_cores(chips.GENERATIONS["v3"], cores)
    one = asked("8b", str(where), train__batch=rows)
    wire = where.generation.wire_bandwidth
    answer = request.CompileReport(
      *("train", 1, cores, True),
      flops_per_core=where.generation.peak_flops * 8 / cores * rows / 4,
      estimated_step_seconds=seconds - collectives,
      collective_bytes_per_core={"all-reduce": wire * collectives},
    )
    candidate = search.Candidate(one, cost_model.CostEstimate(0.0, 0.0, 0))
    tried = search.Tried(candidate, answer, flop_counts.estimate(one, answer))
    out = (
      search.LeftOut("model:128", "", "heads 64 over model:128"),
      search.LeftOut("data:8;model:16", "", "batch 4 over data:8"),
    )
    left_out = out if grown > 1 else ()
    return scaling.ScalingCell(
      "8b", cores, str(where), rows, grown, tried, 1, 0, left_out
    )

  def test_where_it_stops_and_why(self):
    stop = scaling.stop(
      [
        self.made(8, 1.0, 0.1),
        self.made(16, 0.55, 0.09),
        self.made(32, 0.5, 0.3),
        self.made(64, 0.2, 0.1),
      ]
    )
    self.assertEqual((stop.cores, stop.cause), (16, "collectives"))
    self.assertEqual(
      stop.why,
      "scales to 16 cores, where a core does 91% of its tokens at 8; not to 32"
      " cores, where a core does 55% of its tokens at 16: collectives"
      " take 300 ms of a step at peak, an even share would be 45.",
    )

  def test_a_growing_batch_is_counted_by_its_tokens(self):
    stop = scaling.stop(
      [
        self.made(8, 1.0, 0.1),
        self.made(16, 0.5, 0.05),
        self.made(32, 0.5, 0.05, rows=8, grown=2),
      ]
    )
    self.assertEqual(stop.cores, 32)
    self.assertRegex(stop.why, "^scales to 32 cores, .* 100% of its tokens")
    self.assertRegex(
      stop.why,
      "From 32 cores on no mesh divides both heads 64 and batch 4, so the batch"
      r" grows\. On 16, the last with its own rows, a core does 100%: ",
    )

  def test_too_few_to_compare(self):
    stop = scaling.stop([self.made(8, 1.0, 0.1), scaling.ScalingCell("8b", 16)])
    self.assertEqual((stop.cores, stop.cause), (0, ""))
    self.assertIn("too few slices to compare", stop.why)

  def test_table(self):
    lines = []
    found = scaling_table.to_markdown(
      iter(self.cells("8b", "137b")), lines.append
    )
    rows = [line for line in lines if line.startswith("|")]
    self.assertLen(rows, 2 + 18)
    self.assertLen({line.count("|") for line in rows}, 1)
    self.assertLen({len(line) for line in rows}, 1)
    self.assertLessEqual(max(map(len, "\n".join(lines).split("\n"))), 100)
    self.assertRegex(rows[2], r"^\| 8b +\| +8 \| 1/1/8 +\| ")
    self.assertRegex(rows[-1], r"^\| 137b +\| 2,048 \| 4/4/128 +\| +4 \|")
    self.assertNotRegex("\n".join(rows[2:11]), "~")
    text = "\n".join(lines)
    self.assertRegex(text, r"\n\* 137b: scales to ")
    self.assertRegex(text, "not measurements")
    values = json.loads(summary.to_json(scaling_table.to_dict(found)))
    self.assertLen(values["cells"], 18)
    self.assertEqual([s["size"] for s in values["stops"]], ["8b", "137b"])
    for cell in values["cells"]:
      self.assertEqual(cell["fits"], not cell["why"])
      self.assertEqual(cell["compiled"], cell["fits"])

  def test_table_of_a_batch_that_grows(self):
    lines = []
    scaling_table.to_markdown(iter(self.odd([512, 1024])), lines.append)
    self.assertRegex(lines[3], r"^\| 137b +\| 1,024 \| .* \| +8 x2 \|")
    text = " ".join("\n".join(lines).split())
    self.assertIn("In 1 rows no mesh divides the run's own batch", text)
    self.assertRegex(
      text, r"\* 137b on 1,024 cores: .*\(heads 128 over model:1024\)"
    )

  def test_without_compiling_the_rest_is_by_hand(self):
    """One cell is known, the other is not; nobody is asked."""
    (want,) = self.cells("8b", cores=[32])
    first = want.best.candidate.asked
    found = self.uncompiled(
      "8b",
      cores=[32, 64],
      known=lambda one: want.best.answer if one == first else None,
    )
    self.assertEqual([made.compiled for made in found], [True, False])
    self.assertEqual([made.tried for made in found], [1, 0])
    self.assertEqual(found[0].best, want.best)
    by_hand = found[1].best.candidate.by_hand
    seconds = found[1].best.estimate.serial_seconds
    self.assertAlmostEqual(seconds, by_hand.seconds)
    self.assertLessEqual(by_hand.hbm_bytes, by_hand.hbm_limit_bytes)
    lines = []
    made = scaling_table.to_markdown(iter(found), lines.append)
    self.assertNotIn("~", lines[2])
    self.assertEqual(lines[3].count("~"), 5)
    self.assertIn("compiler's: 1 rows. ~ by hand: 1 rows.", "\n".join(lines))
    cells = scaling_table.to_dict(made)["cells"]
    self.assertEqual([cell["compiled"] for cell in cells], [True, False])

  def test_a_mesh_that_the_compiler_refused_is_not_given_by_hand(self):
    (before,) = self.uncompiled("8b", cores=[32])
    first = before.best.candidate.asked
    refused = request.CompileReport("train", 1, 32, False, refused=REFUSED)
    (after,) = self.uncompiled(
      "8b", cores=[32], known=lambda one: refused if one == first else None
    )
    self.assertNotEqual(after.best.candidate.asked, first)
    self.assertFalse(after.compiled)
    self.assertEqual(after.tried, 1)

  def test_a_slow_mesh_that_is_known_is_not_the_cells(self):
    (before,) = self.uncompiled("8b", cores=[32])
    *_, last = search.enumerate_all(before.best.candidate.asked)[0]
    slow = request.CompileReport(
      *("train", 1, 32, True), estimated_step_seconds=100.0
    )
    (after,) = self.uncompiled(
      "8b", cores=[32], known=lambda one: slow if one == last.asked else None
    )
    self.assertEqual(after.best, before.best)
    self.assertFalse(after.compiled)

  def test_too_large_by_hand_says_how_large(self):
    (made,) = self.uncompiled("137b", cores=[8])
    self.assertIsNone(made.best)
    lines = []
    scaling_table.to_markdown(iter([made]), lines.append)
    self.assertRegex(lines[2], r"does not fit .* ~\d{3}\.\d \|")


if __name__ == "__main__":
  absltest.main()
