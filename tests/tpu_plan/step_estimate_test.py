"""Model FLOPs, and the utilization and duration that follow from a report."""

import dataclasses

from absl.testing import absltest

from flan_tf import config
from flan_tf.tpu_plan import parameter_count
from flan_tf.tpu_plan.planner import flop_counts, step_estimate
from flan_tf.tpu_plan.request import (
  DEFAULT_VOCAB,
  CompileReport,
  CompileRequest,
  make_request,
)
from launch.configs import sizes
from tests.helpers.fake_compiler import with_settings


def tiny_request(
  size="tiny", topology="v3:2x2", program="train", **settings
) -> CompileRequest:
  model = dataclasses.replace(sizes.SIZES[size], vocab=DEFAULT_VOCAB)
  run = config.RunConfig(
    model=model, mesh=config.MeshConfig(precision="bfloat16")
  )
  return make_request(with_settings(run, **settings), topology, program)


def tiny_parameters() -> int:
  return parameter_count.count_parameters(tiny_request().run.model)


class ModelFlopsTest(absltest.TestCase):
  def test_formulas(self):
    # Two layers, two heads of 32, 16 rows of 1024 + 256 tokens.
    n = tiny_parameters()
    attention = 2 * 2 * 32 * 1280
    tokens = 16 * 1280
    score = flop_counts.model_flops(tiny_request(program="score"))
    self.assertEqual(score, tokens * (2 * n + 4 * attention))
    decode = flop_counts.model_flops(tiny_request(program="decode"))
    self.assertEqual(decode, 16 * (2 * n + 4 * attention))
    train = flop_counts.model_flops(tiny_request(train__batch=16))
    self.assertEqual(train, tokens * (6 * n + 12 * attention))

  def test_137b_on_the_papers_batch(self):
    one = tiny_request("137b", "v3:8x8", data__length=2048, train__batch=4)
    self.assertEqual(one.tokens, 8192)
    # 6 x 137.7e9 x 8192, and 12 x 64 x 128 x 128 x 2048 x 8192.
    self.assertAlmostEqual(
      flop_counts.model_flops(one) / 1e15, 6.7683 + 0.2111, places=3
    )

  def test_with_adapters_the_weights_have_no_gradients(self):
    full = flop_counts.model_flops(tiny_request())
    adapted = flop_counts.model_flops(tiny_request(adapter__lora_rank=8))
    saved = 2 * tiny_parameters() * tiny_request().tokens
    self.assertEqual(full - adapted, saved)

  def test_microbatches_and_rematerialization_do_not_count(self):
    self.assertEqual(
      flop_counts.model_flops(tiny_request()),
      flop_counts.model_flops(
        tiny_request(train__microbatches=4, train__recompute="layers")
      ),
    )


class StepEstimateTest(absltest.TestCase):
  def test_utilization_and_duration(self):
    one = tiny_request("137b", "v3:8x8", data__length=2048, train__batch=4)
    report = CompileReport(
      program="train",
      parameters=1,
      cores=128,
      fits=True,
      flops_per_core=60e12,
      estimated_step_seconds=1.5,
      collective_bytes_per_core={"all-reduce": 16.4e9, "all-gather": 16.4e9},
    )
    estimate = step_estimate.estimate_step(one, report, steps=30_000)
    # The peak is 61.5 TFLOP/s per core.
    self.assertAlmostEqual(estimate.hfu, 60 / 1.5 / 61.5)
    self.assertAlmostEqual(estimate.mfu, 6979.4 / 128 / 1.5 / 61.5, places=3)
    self.assertAlmostEqual(estimate.tokens_per_second, 8192 / 1.5)
    self.assertAlmostEqual(estimate.days, 30_000 * 1.5 / 86_400)
    # Two cores share four links of 82 GB/s.
    self.assertAlmostEqual(estimate.collective_seconds, 32.8 / 164)
    self.assertAlmostEqual(estimate.serial_seconds, 1.7)
    self.assertAlmostEqual(estimate.collectives_share, 0.2 / 1.7)
    self.assertAlmostEqual(estimate.serial_mfu, estimate.mfu * 1.5 / 1.7)
    self.assertAlmostEqual(estimate.serial_days, estimate.days * 1.7 / 1.5)

  def test_collective_seconds_of_the_report_are_used(self):
    report = CompileReport(
      program="train",
      parameters=1,
      cores=8,
      fits=True,
      estimated_step_seconds=2.0,
      collective_bytes_per_core={"all-reduce": 1e9},
      collective_seconds=0.5,
    )
    estimate = step_estimate.estimate_step(tiny_request(), report)
    self.assertEqual(estimate.serial_seconds, 2.5)
    self.assertEqual(estimate.collectives_share, 0.2)

  def test_a_refused_program_has_zeros(self):
    report = CompileReport("score", 1, 8, False, refused="too large")
    one = tiny_request(program="score")
    estimate = step_estimate.estimate_step(one, report, steps=10)
    self.assertEqual(
      (estimate.mfu, estimate.hfu, estimate.serial_seconds), (0, 0, 0)
    )


if __name__ == "__main__":
  absltest.main()
