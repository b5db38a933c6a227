"""TPU programs on virtual cores give the results of one device.

All of them run in one process of the TPU environment. The tests are skipped
where it has not been made: `source tools/python/environment.sh tpu`.
"""

import subprocess

from absl.testing import absltest, parameterized

from flan_tf.tpu_plan import reduced_run, request
from flan_tf.tpu_plan.planner import compiler_process, summary
from flan_tf.tpu_plan.request import CompileReport
from tests.helpers.execute_requests import LAYOUTS, make_request

CASES = tuple(
  (layout, program) for layout in LAYOUTS for program in request.PROGRAMS
)
_COMPARED = {
  "train": ("loss", "gradient_norm", "weights", "slots"),
  "score": ("log_probs",),
  "decode": ("tokens", "keys_and_values"),
}
# Executes a request with a collective that does nothing, then opens a mesh with
# more cores than there are threads.
_BROKEN_COLLECTIVE = """
from flan_tf.mesh.tpu_transport import TpuTransport
TpuTransport.allreduce = lambda self, x, groups, kind: x
from flan_tf.tpu_plan.compiler import worker
worker.main()
from flan_tf.tpu_plan.compiler import virtual_cores
virtual_cores.open_virtual_devices(17)
"""


class ExecuteTest(parameterized.TestCase):
  reports: dict[tuple[str, str], CompileReport]

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if not compiler_process.is_installed():
      raise absltest.SkipTest(
        "There is no TPU environment: environment.sh tpu."
      )
    reports = compiler_process.run_requests(
      [make_request(*case) for case in CASES]
    )
    cls.reports = dict(zip(CASES, reports, strict=True))

  @parameterized.parameters(*CASES)
  def test_virtual_cores_equal_one_device(self, layout, program):
    report = self.reports[layout, program]
    self.assertCountEqual(report.differences, _COMPARED[program])
    for name, difference in report.differences.items():
      self.assertLessEqual(difference, summary.MAX_DIFFERENCE, name)
    one = make_request(layout, program)
    self.assertEqual(report.cores, reduced_run.reduced_cores(one))

  def test_a_missing_collective_is_noticed(self):
    """And a mesh of more cores than there are threads, in the same process."""
    done = subprocess.run(
      [compiler_process.interpreter(), "-c", _BROKEN_COLLECTIVE],
      input=make_request("weights", "decode").to_json(),
      env=compiler_process.environment_variables(),
      capture_output=True,
      text=True,
    )
    report = CompileReport.from_json(done.stdout.splitlines()[-1])
    for name in _COMPARED["decode"]:
      self.assertGreater(report.differences[name], 10 * summary.MAX_DIFFERENCE)
    self.assertRegex(
      done.stderr,
      "mesh has 17 cores, but XLA's client has 16 devices(.|\n)*count=17",
    )


if __name__ == "__main__":
  absltest.main()
