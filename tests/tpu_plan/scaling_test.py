"""The scaling table: its cells, where scaling stops, and its text."""

import json

from absl.testing import absltest

from flan_tf import config
from flan_tf.tpu_plan import chips
from flan_tf.tpu_plan.planner import (
  cost_model,
  scaling,
  scaling_limit,
  scaling_table,
  search,
  step_estimate,
  summary,
)
from flan_tf.tpu_plan.request import CompileReport
from launch.configs import paper
from tests.helpers.fake_compiler import REFUSED, FakeCompiler, paper_request

V3 = chips.GENERATIONS["v3"]


def lookup_nothing(request) -> None:
  del request


def cells_without_compiler(size, cores, lookup=lookup_nothing):
  def fail(request):
    raise AssertionError(f"The compiler was called for {request}.")

  runs = {size: paper.run(size)}
  return list(scaling.plan_cells(runs, V3, fail, cores, lookup=lookup))


def cells_of_odd_rows(cores=scaling.CORES):
  """Plans 137B with rows of odd length, which cannot be split."""
  run = config.replace(paper.run("137b"), "data", length=2047)
  return list(scaling.plan_cells({"137b": run}, V3, FakeCompiler(), cores))


def table_lines(cells) -> list[str]:
  lines = []
  scaling_table.to_markdown(iter(cells), lines.append)
  return lines


class CellsTest(absltest.TestCase):
  def plan_cells(
    self, *sizes, cores=scaling.CORES, generation=V3, **changes
  ) -> list[scaling.ScalingCell]:
    self.compiler = FakeCompiler(**changes)
    runs = {size: paper.run(size) for size in sizes}
    return list(scaling.plan_cells(runs, generation, self.compiler, cores))

  def test_a_cell_for_each_size_and_number_of_cores(self):
    cells = self.plan_cells("422m", "137b")
    self.assertEqual(
      [(cell.size, cell.cores) for cell in cells],
      [(size, n) for size in ("422m", "137b") for n in scaling.CORES],
    )

  def test_rows_are_split_once_there_are_too_few(self):
    for cell in self.plan_cells("137b"):
      self.assertEqual((cell.rows, cell.batch_growth), (4, 1))
      if cell.best:
        mesh = cell.best.candidate.request.run.mesh.shape
        self.assertEqual("sequence" in mesh, cell.cores > 512)

  def test_the_batch_grows_once_nothing_divides(self):
    cells = {cell.cores: cell for cell in cells_of_odd_rows()}
    self.assertEqual((cells[512].rows, cells[512].batch_growth), (4, 1))
    for cores, growth in ((1024, 2), (2048, 4)):
      cell = cells[cores]
      self.assertEqual((cell.rows, cell.batch_growth), (4 * growth, growth))
      found = {(mesh.mesh, mesh.reason) for mesh in cell.indivisible}
      one_axis = f"model:{cores}"
      self.assertIn((one_axis, f"heads 128 over {one_axis}"), found)
      three_axes = f"data:{cores // 256};sequence:2;model:128"
      reasons = [reason for mesh, reason in found if mesh == three_axes]
      self.assertLen(reasons, 1)
      self.assertRegex(reasons[0], "^(batch 4|length 2,047) over")

  def test_a_size_that_is_far_too_large_is_not_compiled(self):
    cell, *_ = self.plan_cells("137b", cores=[8])
    self.assertIsNone(cell.best)
    self.assertRegex(
      cell.reason, r"^does not fit: \d+\.\d GiB per core by the cost model$"
    )
    self.assertEmpty(self.compiler.requests)

  def test_refused_meshes_are_counted(self):
    cell, *_ = self.plan_cells("8b", cores=[32], fits=False, refused=REFUSED)
    self.assertEqual(cell.reason, "does not fit: 3 meshes were compiled")

  def test_a_generation_without_such_a_slice(self):
    v5e = chips.GENERATIONS["v5e"]
    cell, *_ = self.plan_cells("422m", cores=[2048], generation=v5e)
    self.assertEqual(cell.reason, "v5e has no such slice")

  def test_without_compiling_unknown_cells_are_estimated(self):
    (known,) = self.plan_cells("8b", cores=[32])
    request = known.best.candidate.request
    cells = cells_without_compiler(
      "8b",
      cores=[32, 64],
      lookup=lambda one: known.best.report if one == request else None,
    )
    self.assertEqual([cell.compiled for cell in cells], [True, False])
    self.assertEqual([cell.compiled_candidates for cell in cells], [1, 0])
    self.assertEqual(cells[0].best, known.best)
    cost = cells[1].best.candidate.cost
    seconds = cells[1].best.estimate.serial_seconds
    self.assertAlmostEqual(seconds, cost.seconds)
    self.assertLessEqual(cost.hbm_bytes, cost.hbm_limit_bytes)
    lines = table_lines(cells)
    self.assertNotIn("~", lines[2])
    self.assertEqual(lines[3].count("~"), 5)
    self.assertIn(
      "Rows from the TPU compiler: 1. Rows from the cost model, marked ~: 1.",
      "\n".join(lines),
    )
    values = scaling_table.to_dict(cells)["cells"]
    self.assertEqual([cell["compiled"] for cell in values], [True, False])

  def test_a_mesh_that_the_compiler_refused_is_not_estimated(self):
    (before,) = cells_without_compiler("8b", cores=[32])
    first = before.best.candidate.request
    refused = CompileReport("train", 1, 32, False, refused=REFUSED)
    (after,) = cells_without_compiler(
      "8b", cores=[32], lookup=lambda one: refused if one == first else None
    )
    self.assertNotEqual(after.best.candidate.request, first)
    self.assertFalse(after.compiled)
    self.assertEqual(after.compiled_candidates, 1)

  def test_a_known_but_slow_mesh_does_not_win(self):
    (before,) = cells_without_compiler("8b", cores=[32])
    request = before.best.candidate.request
    *_, last = search.enumerate_candidates(request)[0]
    slow = CompileReport("train", 1, 32, True, estimated_step_seconds=100.0)
    (after,) = cells_without_compiler(
      "8b",
      cores=[32],
      lookup=lambda one: slow if one == last.request else None,
    )
    self.assertEqual(after.best, before.best)
    self.assertFalse(after.compiled)


class LimitTest(absltest.TestCase):
  def make_cell(
    self, cores, seconds, collectives, rows=4, growth=1
  ) -> scaling.ScalingCell:
    """Makes a cell.

    Args:
      cores: number of cores.
      seconds: serial seconds of a step.
      collectives: the part of them that collectives take.
      rows: rows of the batch.
      growth: `rows` / rows in the run's own batch.
    """
    tpu_slice = chips.slice_with_cores(V3, cores)
    one = paper_request("8b", str(tpu_slice), train__batch=rows)
    report = CompileReport(
      program="train",
      parameters=1,
      cores=cores,
      fits=True,
      flops_per_core=V3.peak_flops * 8 / cores * rows / 4,
      estimated_step_seconds=seconds - collectives,
      collective_bytes_per_core={"all-reduce": V3.wire_bandwidth * collectives},
    )
    best = search.CandidateResult(
      search.Candidate(one, cost_model.CostEstimate(0.0, 0.0, 0)),
      report,
      step_estimate.estimate_step(one, report),
    )
    indivisible = (
      search.IndivisibleMesh("model:128", "", "heads 64 over model:128"),
      search.IndivisibleMesh("data:8;model:16", "", "batch 4 over data:8"),
    )
    return scaling.ScalingCell(
      "8b",
      cores,
      topology=str(tpu_slice),
      rows=rows,
      batch_growth=growth,
      best=best,
      compiled_candidates=1,
      indivisible=indivisible if growth > 1 else (),
    )

  def test_where_scaling_stops_and_why(self):
    limit = scaling_limit.find_limit(
      [
        self.make_cell(8, 1.0, 0.1),
        self.make_cell(16, 0.55, 0.09),
        self.make_cell(32, 0.5, 0.3),
        self.make_cell(64, 0.2, 0.1),
      ]
    )
    self.assertEqual((limit.cores, limit.cause), (16, "collectives"))
    self.assertEqual(
      limit.explanation,
      "scales to 16 cores (91% of the throughput per core at 8); not to 32"
      " cores (55% of the throughput per core at 16): collectives take 300 ms"
      " of a step at peak, an even share would be 45 ms.",
    )

  def test_a_growing_batch_counts_by_its_tokens(self):
    limit = scaling_limit.find_limit(
      [
        self.make_cell(8, 1.0, 0.1),
        self.make_cell(16, 0.5, 0.05),
        self.make_cell(32, 0.5, 0.05, rows=8, growth=2),
      ]
    )
    self.assertEqual(limit.cores, 32)
    self.assertRegex(
      limit.explanation, r"^scales to 32 cores \(100% of the throughput"
    )
    self.assertRegex(
      limit.explanation,
      "From 32 cores on, no mesh divides both heads 64 and batch 4, so the"
      r" batch grows\. On 16, the last with the run's own batch, the throughput"
      " per core is 100% of that at 8: ",
    )

  def test_too_few_slices_to_compare(self):
    limit = scaling_limit.find_limit(
      [self.make_cell(8, 1.0, 0.1), scaling.ScalingCell("8b", 16)]
    )
    self.assertEqual((limit.cores, limit.cause), (0, ""))
    self.assertIn("too few slices to compare", limit.explanation)


class TableTest(absltest.TestCase):
  def test_text_and_json(self):
    runs = {size: paper.run(size) for size in ("8b", "137b")}
    lines = []
    cells = scaling_table.to_markdown(
      scaling.plan_cells(runs, V3, FakeCompiler()), lines.append
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
    values = json.loads(summary.to_json(scaling_table.to_dict(cells)))
    self.assertLen(values["cells"], 18)
    self.assertEqual([s["size"] for s in values["stops"]], ["8b", "137b"])
    self.assertCountEqual(values["stops"][0], ["size", "cores", "why", "cause"])
    for cell in values["cells"]:
      self.assertEqual(cell["fits"], not cell["why"])
      self.assertEqual(cell["compiled"], cell["fits"])

  def test_a_batch_that_grows(self):
    lines = table_lines(cells_of_odd_rows([512, 1024]))
    self.assertRegex(lines[3], r"^\| 137b +\| 1,024 \| .* \| +8 x2 \|")
    text = " ".join("\n".join(lines).split())
    self.assertIn("In 1 table rows no mesh divides the run's own batch", text)
    self.assertRegex(
      text, r"\* 137b on 1,024 cores: .*\(heads 128 over model:1024\)"
    )

  def test_a_size_that_is_too_large_shows_its_hbm(self):
    (cell,) = cells_without_compiler("137b", cores=[8])
    self.assertIsNone(cell.best)
    lines = table_lines([cell])
    self.assertRegex(lines[2], r"does not fit .* ~\d{3}\.\d \|")


if __name__ == "__main__":
  absltest.main()
