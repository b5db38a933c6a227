"""Requests and reports: checks, JSON, and what a fingerprint depends on."""

import dataclasses
import json

from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.tpu_plan import request
from flan_tf.tpu_plan.request import CompileReport, CompileRequest
from tests.helpers.fake_compiler import FakeCompiler, paper_request


class RequestTest(parameterized.TestCase):
  def test_json_gives_equal_values(self):
    one = paper_request(program="decode")
    self.assertEqual(CompileRequest.from_json(one.to_json()), one)
    report = FakeCompiler()(one)
    self.assertEqual(CompileReport.from_json(report.to_json()), report)

  def test_json_keys_of_cache_files(self):
    values = json.loads(paper_request().to_json())
    self.assertCountEqual(
      values, ["run", "topology", "program", "what", "rows"]
    )
    self.assertEqual(values["what"], "compile")

  @parameterized.parameters(
    ({"program": "trian"}, r"program 'trian'\. Did you mean 'train'\?"),
    ({"mode": "run"}, "Unknown mode 'run'. Known: compile, execute"),
    ({"rows": 0}, "rows: expected a positive number, got 0"),
    (
      {"run": config.RunConfig()},
      "model.vocab is 0, .* `make_request`, which sets it to 32000",
    ),
  )
  def test_bad_values_are_refused(self, changes, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(paper_request(), **changes)

  def test_unknown_keys_are_refused(self):
    values = json.loads(paper_request().to_json()) | {"topolgy": "v3:8x8"}
    with self.assertRaisesRegex(
      ValueError,
      r"key of a CompileRequest 'topolgy'. Did you mean 'topology'\?",
    ):
      CompileRequest.from_json(json.dumps(values))
    with self.assertRaisesRegex(ValueError, "key of a CompileReport 'hmb'"):
      CompileReport.from_json('{"hmb": 1}')

  def test_a_vocabulary_of_unknown_size_gets_the_default(self):
    self.assertEqual(paper_request().run.model.vocab, 32_000)
    self.assertEqual(paper_request(model__vocab=512).run.model.vocab, 512)

  def test_host_settings_do_not_change_the_request(self):
    for changes in (
      {"data__tfds_data_dir": "elsewhere"},
      {"data__clusters": "nli"},
      {"train__steps": 3},
      {"train__learning_rate": 1.0},
      {"train__steps_per_loop": 5},
      {"train__init_from": "base"},
      {"train__profile_steps": "2-3"},
    ):
      self.assertEqual(paper_request(**changes), paper_request(), changes)

  def test_program_settings_change_the_fingerprint(self):
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
      changed = paper_request(**changes)
      self.assertNotEqual(
        changed.fingerprint, paper_request().fingerprint, changes
      )

  def test_every_host_setting_exists(self):
    for section, names in request._HOST_SETTINGS.items():
      value = config.RunConfig()
      value = getattr(value, section) if section else value
      self.assertContainsSubset(names, vars(value))

  def test_tokens_in_one_run_of_each_program(self):
    self.assertEqual(paper_request().tokens, 4 * 2048)
    self.assertEqual(paper_request(program="score").tokens, 16 * 1280)
    self.assertEqual(paper_request(program="decode").tokens, 16)


if __name__ == "__main__":
  absltest.main()
