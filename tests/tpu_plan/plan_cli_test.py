"""The output of launch.plan, with a fake compiler."""

import json
import os
import pathlib
import subprocess
import sys
from unittest import mock

from absl.testing import absltest, parameterized

from flan_tf.tpu_plan import chips, request
from flan_tf.tpu_plan.planner import compiler_process, search
from launch.configs import paper, sizes
from tests.helpers import binaries
from tests.helpers.fake_compiler import REFUSED, FakeCompiler

ROOT = pathlib.Path(__file__).absolute().parents[2]


class BinaryTest(parameterized.TestCase):
  def call(self, *arguments, compiler=None) -> tuple[int, str, str]:
    """Runs launch.plan here; returns its status, stdout and stderr."""
    from launch import plan

    self.compiler = compiler or FakeCompiler()
    with (
      mock.patch.object(compiler_process, "run_request", self.compiler),
      mock.patch.dict(os.environ, FLAN_CACHE=self.folder),
    ):
      return binaries.call(plan, *arguments)

  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def run_file(self, size: str) -> str:
    return f"--config={ROOT}/launch/configs/flan_{size}.py"

  def test_a_plan(self):
    status, out, err = self.call(self.run_file("8b"), "--topology=v3:4x4")
    self.assertEqual(status, 0)
    self.assertIn("8,721,143,808 parameters", out)
    self.assertIn("30,000 steps", out)
    self.assertIn("The plan uses a vocabulary of 32,000 tokens", err)
    self.assertEqual(err.count("Compiling "), 3)

  def test_a_second_call_compiles_nothing(self):
    arguments = (self.run_file("8b"), "--topology=v3:4x4", "--json")
    _, first, _ = self.call(*arguments)
    _, second, err = self.call(*arguments)
    self.assertEqual(first, second)
    self.assertEmpty(self.compiler.requests)
    self.assertNotIn("Compiling", err)
    self.assertEqual(json.loads(first)["cores"], 32)

  def test_one_program_with_overrides(self):
    status, out, _ = self.call(
      self.run_file("8b"),
      "--topology=v4:2x2x2",
      "--programs=score",
      "--rows=32",
      "--config.mesh.shape=data:2;model:8",
      "--json",
    )
    self.assertEqual(status, 0)
    values = json.loads(out)
    self.assertEqual(values["program"], "score")
    self.assertEqual(values["rows"], 32)
    self.assertEqual(values["mesh"], "data:2;model:8")
    self.assertCountEqual(values["programs"], ["score"])

  def test_a_program_that_does_not_fit_gets_a_suggestion(self):
    arguments = (
      self.run_file("137b"),
      "--topology=v3:4x4",
      "--programs=train",
      "--config.mesh.shape=data:4;model:8",
    )
    status, out, err = self.call(*arguments)
    self.assertEqual(status, 1)
    self.assertIn("DOES NOT FIT", out)
    self.assertRegex(out, r"this would fit .*\n  --topology=v3:\S+ --config\.m")
    self.assertIn("Compiling at most 2 other settings", err)
    status, out, _ = self.call(*arguments, "--json")
    self.assertEqual(status, 1)
    (would,) = json.loads(out)["would_fit"]
    self.assertTrue(would["found"])

  def test_nothing_would_fit(self):
    status, out, _ = self.call(
      self.run_file("8b"),
      "--topology=v3:4x4",
      "--programs=train",
      compiler=FakeCompiler(fits=False, refused=REFUSED),
    )
    self.assertEqual(status, 1)
    self.assertIn("2 other settings were compiled, and none fits", out)

  def test_search(self):
    status, out, _ = self.call(
      self.run_file("8b"), "--topology=v3:4x4", "--search", "--search_limit=3"
    )
    self.assertEqual(status, 0)
    self.assertRegex(out, "^3 compiled")
    self.assertLen(self.compiler.requests, 3)
    status, out, _ = self.call(
      self.run_file("8b"),
      "--topology=v3:4x4",
      "--search",
      "--json",
      compiler=FakeCompiler(fits=False, refused=REFUSED),
    )
    self.assertEqual(status, 0)  # Three reports are in the cache.
    self.assertTrue(json.loads(out)["best"]["fits"])

  def test_a_search_that_finds_nothing(self):
    status, out, _ = self.call(
      self.run_file("8b"),
      "--topology=v3:4x4",
      "--search",
      compiler=FakeCompiler(fits=False, refused=REFUSED),
    )
    self.assertEqual(status, 1)
    self.assertIn("None of the compiled candidates fits.", out)

  def test_execute(self):
    for difference, expected in ((1e-6, 0), (1e-3, 1), (float("nan"), 1)):
      self.setUp()
      status, out, err = self.call(
        self.run_file("422m"),
        "--topology=v6e:2x2",
        "--programs=train",
        "--execute",
        compiler=FakeCompiler(differences={"loss": difference}),
      )
      self.assertEqual(status, expected)
      verdict = "DIFFERS FROM" if expected else "equals"
      self.assertIn(
        f"train: {verdict} one device, executed as\n  2 layers", out
      )
      self.assertIn("nothing has run on a TPU", out)
      self.assertIn("Executing train as 2 layers", err)
      self.assertEqual(self.compiler.requests[0].mode, "execute")

  def test_table(self):
    arguments = ("--table=v3", "--sizes=8b,68b", "--cores=64,128")
    status, out, _ = self.call(*arguments)
    self.assertEqual(status, 0)
    self.assertEmpty(self.compiler.requests)
    rows = [x for x in out.splitlines() if x.startswith("|")]
    self.assertLen(rows, 6)
    self.assertEqual("".join(rows).count("~"), 4 * 5)
    # --compile compiles all cells.
    status, out, _ = self.call(*arguments, "--compile")
    rows = [x for x in out.splitlines() if x.startswith("|")]
    self.assertNotIn("~", "".join(rows))
    self.assertGreaterEqual(len(self.compiler.requests), 4)  # Some are refused.
    # A second call compiles nothing.
    status, second, err = self.call(*arguments, "--compile")
    self.assertEqual(second, out)
    self.assertEmpty(self.compiler.requests)
    # Without --compile, the compiled cells are shown.
    status, out, err = self.call(*arguments, "--json")
    cells = json.loads(out)["cells"]
    self.assertEqual([cell["compiled"] for cell in cells], [True] * 4)
    self.assertRegex(err, r"\| 68b +\| +128 \| 4/1/32 +\| ")
    self.assertEmpty(self.compiler.requests)

  @parameterized.parameters(
    ((), "--config is missing"),
    (("CONFIG",), "--topology is missing, e.g. v3:8x8"),
    (("CONFIG", "--topology=v3-32"), r"Did you mean v3:4x4 \(v3-32\)\?"),
    (
      ("CONFIG", "--topology=v3:4x4", "--programs=tarin"),
      r"program 'tarin'\. Did you mean 'train'\?",
    ),
    (("CONFIG", "--topology=v3:4x4", "--programs="), "--programs is empty"),
    (
      ("CONFIG", "--topology=v3:8x8"),
      r"'data:2;model:16' .* does not divide on v3:8x8: 32 cores, the slice has"
      r" 128\. Meshes that divide, the most promising first: '\S+'.* or use"
      " --search",
    ),
    (
      ("CONFIG", "--topology=v3:4x4", "--programs=score", "--rows=3"),
      r"score: .* batch 3 over data:2\. .* Set --config.mesh.shape or --rows",
    ),
    (
      ("CONFIG", "--topology=v3:4x4", "--compile"),
      "--compile belongs to --table",
    ),
    (
      ("CONFIG", "--topology=v3:4x4", "--search", "--execute"),
      "--search and --execute exclude each other: --search ranks",
    ),
    (("--table=v9",), "TPU generation 'v9'"),
    (("--table=v3", "--sizes=69b"), r"size '69b'\. Did you mean '68b'\?"),
    (
      ("--table=v3", "--cores=all"),
      "--cores: expected whole numbers, e.g. 8,16",
    ),
  )
  def test_bad_flags_are_refused(self, arguments, message):
    config_flag = self.run_file("8b")
    status, _, err = self.call(
      *(config_flag if word == "CONFIG" else word for word in arguments)
    )
    self.assertEqual(status, 1)
    self.assertRegex(err, message)
    self.assertNotIn("Traceback", err)

  def test_a_report_from_the_cache_needs_no_tensorflow(self):
    arguments = [self.run_file("8b"), "--topology=v3:4x4"]
    _, expected, _ = self.call(*arguments)
    code = (
      "import sys\n"
      "from launch import plan\n"
      f"sys.argv[1:] = {arguments!r}\n"
      "try: plan.run()\n"
      "finally: print('tensorflow' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
      [sys.executable, "-c", code],
      env=os.environ | {"FLAN_CACHE": self.folder, "PYTHONPATH": str(ROOT)},
      capture_output=True,
      text=True,
    )
    self.assertEqual(done.stdout, expected)
    self.assertTrue(done.stderr.endswith("False\n"), done.stderr)


class RunFilesTest(parameterized.TestCase):
  @parameterized.parameters(*paper.SIZES)
  def test_the_papers_settings_on_a_slice_that_the_mesh_divides(self, size):
    run = paper.run(size)
    topology, *_ = paper.SLICES[size]
    self.assertEqual(run.model, sizes.SIZES[size])
    self.assertEqual(run.train.batch * run.data.length, 8192)
    self.assertEqual(run.train.steps, 30_000)
    self.assertEqual(run.train.learning_rate, 3e-5)
    self.assertEqual(run.train.schedule, "constant")
    self.assertEqual(
      (run.data.input_length, run.data.target_length), (1024, 256)
    )
    for program in request.PROGRAMS:
      one = request.make_request(run, topology, program)
      self.assertEqual(search.indivisible_reason(one), "")
    text = (ROOT / f"launch/configs/flan_{size}.py").read_text()
    self.assertIn(f"--topology={topology}", text)
    self.assertIn(chips.parse_topology(topology).accelerator_type, text)


if __name__ == "__main__":
  absltest.main()
