"""Random batches and prompts have what executions are to cover."""

import numpy as np
from absl.testing import absltest

from flan_tf import config
from flan_tf.inference.tree_packing import pack_trees
from flan_tf.tpu_plan import reduced_run
from flan_tf.tpu_plan.compiler import random_inputs
from tests.helpers.execute_requests import make_request


class RandomInputsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    one = make_request("both", "train")
    self.run_config = reduced_run.reduce_request(one).run

  def test_rows_are_packed(self):
    batch = random_inputs.random_batch(self.run_config, seed=1)
    is_first = batch["positions"] == 0
    is_real = batch["segment_ids"] > 0
    self.assertGreater((is_first & is_real).sum(), len(is_real))
    self.assertTrue((~is_real).any())
    is_later = is_real[:, 1:] & ~is_first[:, 1:]
    np.testing.assert_array_equal(
      batch["inputs"][:, 1:][is_later], batch["targets"][:, :-1][is_later]
    )
    self.assertFalse(batch["inputs"][is_first].any())
    self.assertFalse(batch["loss_weights"][~is_real].any())

  def test_some_prompts_share_a_prefix_that_is_worth_a_cache(self):
    prompts, options = random_inputs.random_options(
      self.run_config, count=8, seed=0
    )
    batches = list(pack_trees(prompts, options, 128, 8))
    self.assertLen([batch for batch in batches if len(batch.prefix)], 1)
    short = config.replace(self.run_config, "data", input_length=24)
    prompts, _ = random_inputs.random_options(short, count=8, seed=0)
    self.assertLess(max(map(len, prompts)), 24)

  def test_equal_seeds_give_equal_batches(self):
    first, second, third = (
      random_inputs.random_batch(self.run_config, seed)["inputs"]
      for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    self.assertFalse(np.array_equal(first, third))


if __name__ == "__main__":
  absltest.main()
