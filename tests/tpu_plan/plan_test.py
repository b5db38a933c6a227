"""What is asked and answered, the cache, the verdict, and the environment.

A stand-in takes the compiler's place. Real compilations are
the worker's tests.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import sys
from unittest import mock

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.tpu_plan import request, source_digest
from flan_tf.tpu_plan.planner import (
  answer_cache,
  compiler_process,
  flop_counts,
  summary,
)
from tests.helpers.stand_in import REFUSED, StandIn, asked


class RequestTest(parameterized.TestCase):
  def test_there_and_back(self):
    one = asked(program="decode")
    self.assertEqual(request.CompileRequest.from_json(one.to_json()), one)
    answer = StandIn()(one)
    self.assertEqual(request.CompileReport.from_json(answer.to_json()), answer)

  @parameterized.parameters(
    ({"program": "trian"}, r"program 'trian'\. Did you mean 'train'\?"),
    ({"what": "run"}, "Unknown what 'run'. Known: compile, execute"),
    ({"rows": 0}, "rows: expected a positive number, got 0"),
    ({"run": config.RunConfig()}, "model.vocab is 0, .* `ask`, which takes"),
  )
  def test_refused(self, changes, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(asked(), **changes)

  def test_keys_that_are_not_there(self):
    values = json.loads(asked().to_json()) | {"topolgy": "v3:8x8"}
    with self.assertRaisesRegex(
      ValueError, r"key of a Request 'topolgy'. Did you mean 'topology'\?"
    ):
      request.CompileRequest.from_json(json.dumps(values))
    with self.assertRaisesRegex(ValueError, "key of a Answer 'hmb'"):
      request.CompileReport.from_json('{"hmb": 1}')

  def test_the_vocabulary_is_resolved(self):
    self.assertEqual(asked().run.model.vocab, 32_000)
    self.assertEqual(asked(model__vocab=512).run.model.vocab, 512)

  def test_settings_for_the_host_make_no_other_request(self):
    for changes in (
      {"data__tfds_data_dir": "elsewhere"},
      {"data__clusters": "nli"},
      {"train__steps": 3},
      {"train__learning_rate": 1.0},
      {"train__steps_per_loop": 5},
      {"train__init_from": "base"},
      {"train__profile_steps": "2-3"},
    ):
      self.assertEqual(asked(**changes), asked(), changes)

  def test_settings_of_the_program_make_another_one(self):
    for changes in (
      {"data__length": 4096},
      {"model__layers": 1},
      {"mesh__shape": "model:32"},
      {"train__batch": 8},
      {"train__clip_norm": 0.0},
      {"train__recompute": "layers"},
      {"train__weight_decay": 0.1},
      {"adapter__lora_rank": 1},
    ):
      other = asked(**changes)
      self.assertNotEqual(other.fingerprint, asked().fingerprint, changes)

  def test_every_setting_for_the_host_exists(self):
    for part, names in request._FOR_THE_HOST.items():
      value = config.RunConfig()
      value = getattr(value, part) if part else value
      self.assertContainsSubset(names, vars(value))

  def test_tokens_of_a_run(self):
    self.assertEqual(asked().tokens, 4 * 2048)
    self.assertEqual(asked(program="score").tokens, 16 * 1280)
    self.assertEqual(asked(program="decode").tokens, 16)


class SourcesTest(absltest.TestCase):
  def test_what_a_module_imports_directly_or_not(self):
    found = source_digest.files_of("flan_tf.tpu_plan.planner.flop_counts")
    self.assertContainsSubset(
      ["flan_tf/tpu_plan/planner/flop_counts.py", "flan_tf/tpu_plan/chips.py"],
      found,
    )
    self.assertIn("flan_tf/name_lists.py", found)
    self.assertIn("flan_tf/tpu_plan/__init__.py", found)
    self.assertNotIn("flan_tf/tpu_plan/planner/summary.py", found)

  def test_the_programs_are_among_what_answers_hang_on(self):
    found = source_digest.files_of("flan_tf.tpu_plan.compiler.lower")
    self.assertContainsSubset(
      ["flan_tf/mesh/program.py", "flan_tf/mesh/transport.py"], found
    )

  def test_another_module_has_another_digest(self):
    one = source_digest.digest("flan_tf.tpu_plan.chips")
    self.assertEqual(one, source_digest.digest("flan_tf.tpu_plan.chips"))
    self.assertNotEqual(
      one, source_digest.digest("flan_tf.tpu_plan.parameter_count")
    )

  def test_words_for_people_change_nothing(self):
    one = source_digest.meaning(
      b'"""One."""\ndef f(x):\n  """Two."""\n  return x\n'
    )
    same = b"# Three.\ndef f(\n    x):\n  return (x)  # Four.\n"
    self.assertEqual(source_digest.meaning(same), one)
    self.assertNotEqual(source_digest.meaning(same.replace(b"(x)", b"-x")), one)


class CacheTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.compiler = StandIn()

  def opened(self) -> answer_cache.AnswerCache:
    return answer_cache.AnswerCache(
      os.path.join(self.folder, "new"), self.compiler
    )

  def test_asks_once(self):
    first, second = self.opened(), self.opened()
    answer = first(asked())
    self.assertEqual(second(asked()), answer)
    self.assertLen(self.compiler.asked, 1)
    self.assertEqual((first.hits, first.asked), (0, 1))
    self.assertEqual((second.hits, second.asked), (1, 0))

  def test_a_refusal_is_an_answer(self):
    large = asked("137b", mesh__shape="model:32")
    self.assertFalse(self.opened()(large).fits)
    self.assertEqual(self.opened()(large).refused, REFUSED)
    self.assertLen(self.compiler.asked, 1)

  def test_an_error_is_not_kept(self):
    def fails(asked):
      raise compiler_process.WorkerError("no")

    with self.assertRaises(compiler_process.WorkerError):
      answer_cache.AnswerCache(self.folder, fails)(asked())
    self.assertEmpty(os.listdir(self.folder))

  def test_other_source_is_another_question(self):
    self.opened()(asked())
    with mock.patch.object(source_digest, "digest", return_value=b"changed"):
      self.opened()(asked())
    self.assertLen(self.compiler.asked, 2)

  def test_a_broken_file_is_said_and_asked_again(self):
    self.opened()(asked())
    (path,) = pathlib.Path(self.folder, "new").iterdir()
    for text in ("{", "{}", '{"answer": {"no": 1}}', '{"answer": {}}'):
      path.write_text(text)
      with contextlib.redirect_stderr(io.StringIO()) as err:
        self.assertTrue(self.opened()(asked()).fits)
      self.assertRegex(err.getvalue(), "cannot be read .*: asking again")


class VerdictTest(absltest.TestCase):
  def verdicts(self, **changes):
    compiler = StandIn(**changes)
    out = []
    for program in request.PROGRAMS:
      one = asked(program=program)
      answer = compiler(one)
      estimate = flop_counts.estimate(one, answer, 30_000)
      out.append(summary.Verdict(one, answer, estimate))
    return out

  def test_the_keys_that_programs_rely_on(self):
    values = summary.to_dict(self.verdicts())
    wanted = {
      *("parameters", "cores", "topology", "mesh", "hbm_bytes_per_core"),
      *("hbm_limit_bytes", "fits", "flops_per_core"),
      *("collective_bytes_per_core", "estimated_step_seconds"),
      *("estimated_hfu", "estimated_mfu"),
    }
    self.assertContainsSubset(wanted | {"programs"}, values)
    self.assertCountEqual(values["programs"], request.PROGRAMS)
    for program in values["programs"].values():
      self.assertContainsSubset(wanted, program)
    for key in wanted:
      self.assertEqual(values[key], values["programs"]["train"][key])
    self.assertEqual(values["collective_bytes_per_core"], 4e9)
    self.assertEqual(values["mesh"], "data:2;model:16")

  def test_one_screen(self):
    text = summary.to_text(self.verdicts(), 30_000)
    self.assertLess(text.count("\n"), 40)
    self.assertIn("8,721,143,808 parameters: 16 layers", text)
    self.assertIn("v3:4x4 = v3-32: 16 chips, 32 cores, hosts 4", text)
    for program in request.PROGRAMS:
      self.assertRegex(text, rf"\n{program} \(.*\): fits\n")
    self.assertIn("all-reduce 3.00 GB, all-gather 1.00 GB a core", text)
    self.assertRegex(text, r"30,000 steps: 0\.\d\d days; with links 0\.\d\d")
    self.assertIn(
      "startup    trace 1 s, lower 2 s, compile 3 s, measured", text
    )
    self.assertTrue(text.endswith(summary.NOTE))

  def test_what_does_not_fit_has_the_compilers_words(self):
    text = summary.to_text(self.verdicts(fits=False, refused=REFUSED), 1)
    self.assertIn("DOES NOT FIT\n  the compiler: Ran out of memory.", text)

  def test_the_bar_is_as_long_as_the_memory(self):
    for kind, used, mark in (
      *(("arguments", 0.5, "|"), ("arguments", 1.0, "|")),
      *(("arguments", 1.2, ">"), ("all", 1.1, ">")),
    ):
      answer = request.CompileReport(
        *("train", 1, 8, True),
        hbm={kind: int(1e6 * used)},
        hbm_limit_bytes=int(1e6),
      )
      bar = summary._bar(answer)
      self.assertEqual(bar[1:].count("#"), min(40, round(40 * used)))
      self.assertEqual(bar[-1], mark)

  def test_an_execution_shows_differences(self):
    found = self.verdicts(differences={"loss": 2.5e-7})
    self.assertFalse(found[0].differs)
    self.assertTrue(self.verdicts(differences={"a": 0, "b": 2e-4})[0].differs)
    self.assertIn(
      "loss                 differ by at most 2.5e-07",
      summary.to_text(found, 1),
    )


class EnvironmentTest(absltest.TestCase):
  def test_a_python_that_is_named(self):
    with mock.patch.dict(os.environ, FLAN_TPU_PYTHON=sys.executable):
      self.assertTrue(compiler_process.is_made())
      self.assertEqual(compiler_process.python(), sys.executable)
    with (
      mock.patch.dict(os.environ, FLAN_TPU_PYTHON="/no/such"),
      self.assertRaisesRegex(
        compiler_process.WorkerError, "/no/such is no program"
      ),
    ):
      compiler_process.python()

  def test_an_installed_copy_is_told_what_to_do(self):
    with (
      mock.patch.dict(os.environ, FLAN_TPU_PYTHON=""),
      mock.patch.object(compiler_process, "_SCRIPT", pathlib.Path("/no/such")),
      self.assertRaisesRegex(
        compiler_process.WorkerError,
        r"flan-tf\[tpu-plan\](.|\n)*FLAN_TPU_PYTHON=",
      ),
    ):
      compiler_process.python()

  def test_the_environment_is_made_at_first_use(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    script = folder / "environment.sh"
    script.write_text(f"echo made $1; export VIRTUAL_ENV={folder}/venv\n")
    err = io.StringIO()
    with (
      mock.patch.dict(os.environ, FLAN_TPU_PYTHON="", FLAN_VENV="elsewhere"),
      mock.patch.object(compiler_process, "_SCRIPT", script),
      mock.patch.object(compiler_process, "_VENV", folder / ".venv-tpu"),
      contextlib.redirect_stderr(err),
    ):
      self.assertFalse(compiler_process.is_made())
      self.assertEqual(compiler_process.python(), f"{folder}/venv/bin/python")
    self.assertIn("Making .venv-tpu for it", err.getvalue())
    script.write_text("return 1\n")
    with (
      mock.patch.dict(os.environ, FLAN_TPU_PYTHON=""),
      mock.patch.object(compiler_process, "_SCRIPT", script),
      self.assertRaisesRegex(compiler_process.WorkerError, "could not be made"),
    ):
      compiler_process.python()

  def worker(self, body: str) -> str:
    """A program that stands for the environment's Python."""
    file = self.create_tempfile(content=f"#!/bin/bash\n{body}\n")
    os.chmod(file.full_path, 0o755)
    return file.full_path

  def test_the_answer_is_the_last_line(self):
    answer = StandIn()(asked())
    program = self.worker(
      f"cat >/dev/null; echo noise; echo '{answer.to_json()}'"
    )
    with mock.patch.dict(os.environ, FLAN_TPU_PYTHON=program):
      self.assertEqual(compiler_process.compiled(asked()), answer)

  def test_a_worker_that_fails(self):
    for body, message in (
      ("echo why >&2; exit 3", r"status 3 for train on v3:4x4, .*\nwhy"),
      ("echo nothing", r"gave no answer \((.|\n)*nothing"),
      ("true", "gave no answer"),
    ):
      program = self.worker(f"cat >/dev/null\n{body}")
      with (
        mock.patch.dict(os.environ, FLAN_TPU_PYTHON=program),
        self.assertRaisesRegex(compiler_process.WorkerError, message),
      ):
        compiler_process.compiled(asked())


if __name__ == "__main__":
  absltest.main()
