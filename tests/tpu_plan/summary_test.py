"""The plan of a run's programs, as JSON values and as text."""

from absl.testing import absltest

from flan_tf.tpu_plan import request
from flan_tf.tpu_plan.planner import step_estimate, summary, summary_text
from tests.helpers.fake_compiler import REFUSED, FakeCompiler, paper_request

# Keys that other programs rely on.
KEYS = (
  "parameters",
  "cores",
  "topology",
  "mesh",
  "hbm_bytes_per_core",
  "hbm_limit_bytes",
  "fits",
  "flops_per_core",
  "collective_bytes_per_core",
  "estimated_step_seconds",
  "estimated_hfu",
  "estimated_mfu",
)


class SummaryTest(absltest.TestCase):
  def summaries(self, **changes) -> list[summary.ProgramSummary]:
    compiler = FakeCompiler(**changes)
    made = []
    for program in request.PROGRAMS:
      one = paper_request(program=program)
      report = compiler(one)
      estimate = step_estimate.estimate_step(one, report, steps=30_000)
      made.append(summary.ProgramSummary(one, report, estimate))
    return made

  def test_keys_that_other_programs_rely_on(self):
    values = summary.to_dict(self.summaries())
    self.assertContainsSubset({*KEYS, "programs"}, values)
    self.assertCountEqual(values["programs"], request.PROGRAMS)
    for program in values["programs"].values():
      self.assertContainsSubset(KEYS, program)
    for key in KEYS:
      self.assertEqual(values[key], values["programs"]["train"][key])
    self.assertEqual(values["collective_bytes_per_core"], 4e9)
    self.assertEqual(values["mesh"], "data:2;model:16")

  def test_the_text_is_one_screen(self):
    text = summary_text.to_text(self.summaries(), steps=30_000)
    self.assertLess(text.count("\n"), 40)
    self.assertIn("8,721,143,808 parameters: 16 layers", text)
    self.assertIn("v3:4x4 = v3-32: 16 chips, 32 cores, hosts 4", text)
    for program in request.PROGRAMS:
      self.assertRegex(text, rf"\n{program} \(.*\): fits\n")
    self.assertIn("all-reduce 3.00 GB, all-gather 1.00 GB per core", text)
    self.assertRegex(text, r"30,000 steps: 0\.\d\d days; serial 0\.\d\d")
    self.assertIn(
      "startup    trace 1 s, lower 2 s, compile 3 s, measured", text
    )
    self.assertTrue(text.endswith(summary.COMPILE_NOTE))

  def test_a_refusal_is_shown_in_the_compilers_words(self):
    refused = self.summaries(fits=False, refused=REFUSED)
    text = summary_text.to_text(refused, steps=1)
    self.assertIn("DOES NOT FIT\n  compiler   Ran out of memory.", text)

  def test_the_bar_is_as_long_as_the_memory(self):
    for kind, used, border in (
      ("arguments", 0.5, "|"),
      ("arguments", 1.0, "|"),
      ("arguments", 1.2, ">"),
      ("all", 1.1, ">"),
    ):
      report = request.CompileReport(
        program="train",
        parameters=1,
        cores=8,
        fits=True,
        hbm={kind: int(1e6 * used)},
        hbm_limit_bytes=int(1e6),
      )
      bar = summary_text.hbm_bar(report)
      self.assertEqual(bar[1:].count("#"), min(40, round(40 * used)))
      self.assertEqual(bar[-1], border)

  def test_an_execution_shows_differences(self):
    summaries = self.summaries(differences={"loss": 2.5e-7})
    self.assertFalse(summaries[0].differs)
    too_large = self.summaries(differences={"a": 0, "b": 2e-4})
    self.assertTrue(too_large[0].differs)
    self.assertIn(
      "loss                 differs by at most 2.5e-07",
      summary_text.to_text(summaries, steps=1),
    )


if __name__ == "__main__":
  absltest.main()
