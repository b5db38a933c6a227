"""The choices of today's model families: no mesh changes them.

Their logits are compared with other implementations in
tests/bridges/bridges_test.py.
"""

import dataclasses
import functools

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.inference import language_model
from flan_tf.mesh import ops
from flan_tf.model import attention, decoder, dims, positions
from flan_tf.model.weights import layer_names
from flan_tf.training.step import TrainStep
from tests.helpers import toys

STEPS = 5


def setUpModule():
  toys.open_cores()


@functools.cache
def train(family: str, mesh: str) -> np.ndarray:
  """Loss and gradient norm of some steps on one batch, [steps, 2]."""
  model = toys.FAMILIES[family]
  if family != "gemma2":
    model = toys.one_layer(model)
  run = dataclasses.replace(toys.run_config(mesh), model=model)
  step = TrainStep(*toys.mesh(mesh), run)
  step.weights.initialize(seed=3)
  step.slots.initialize(seed=3)
  made, batch = [], toys.batch(8, 16)
  with toys.unoptimized_graphs():
    for index in range(1, STEPS + 1):
      result = step(batch, index, 3e-2)
      made.append((result.loss, result.grad_norm))
  return np.array(made)


class FamiliesTest(parameterized.TestCase):
  @parameterized.parameters(*toys.FAMILIES)
  def test_no_mesh_changes_training(self, family):
    np.testing.assert_allclose(
      train(family, "data:2;model:2"), train(family, ""), rtol=2e-5, atol=1e-5
    )
    first, *_, last = train(family, "")[:, 0]
    self.assertLess(last, first - 0.1)

  def test_heads_that_do_not_split(self):
    """Two heads of keys cannot go to four cores; the error says what can."""
    with self.assertRaisesRegex(
      ValueError, "(?s)'heads' has size 2.*'model' of size 4"
    ):
      train("llama3", "model:4")

  def test_rows_beyond_learned_positions_are_refused(self):
    model = dataclasses.replace(toys.FAMILIES["gpt2"], max_positions=12)
    run = dataclasses.replace(toys.run_config(), model=model)
    message = "data.length is 16, but .* positions for 12 tokens"
    with self.assertRaisesRegex(ValueError, message):
      TrainStep(*toys.mesh(""), run)
    with self.assertRaisesRegex(ValueError, message):
      language_model.LanguageModel(
        run, toys.Vocabulary(), devices=toys.mesh("")[0]
      )

  def test_names_of_weights(self):
    names = {
      family: layer_names(model) for family, model in toys.FAMILIES.items()
    }
    self.assertContainsSubset(
      ["attention/norm_bias", "attention/o_bias", "mlp/in_bias"], names["gpt2"]
    )
    self.assertContainsSubset(
      ["attention/post_norm", "mlp/post_norm"], names["gemma2"]
    )
    self.assertIn("attention/q_bias", names["qwen2"])
    self.assertNotIn("attention/o_bias", names["qwen2"])
    self.assertEmpty([n for n in names["llama3"] if n.endswith("bias")])

  def test_windows(self):
    model = dataclasses.replace(toys.FAMILIES["gemma2"], layers=4)
    self.assertEqual(attention.windows(model), [5, 0, 5, 0])
    model = dataclasses.replace(toys.FAMILIES["mistral"], layers=3)
    self.assertEqual(attention.windows(model), [5, 5, 5])

  def test_a_window_hides_what_is_further_back(self):
    segments = np.array([[1, 1, 1, 1, 2, 2]], np.int32)
    seen = attention.packed_mask(segments, window=2)[0, 0].numpy() == 0
    self.assertEqual(
      seen.astype(int).tolist(),
      [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
      ],
    )

  def test_shared_heads_are_repeated_heads(self):
    rng = np.random.default_rng(0)
    q = np.float32(rng.standard_normal([2, 5, 6, 4]))
    k, v = np.float32(rng.standard_normal([2, 2, 5, 2, 4]))
    mask = np.zeros([2, 1, 5, 5], np.float32)
    made = attention.attend(q, k, v, mask, cap=1.5)
    repeated = attention.attend(
      q, np.repeat(k, 3, 2), np.repeat(v, 3, 2), mask, cap=1.5
    )
    np.testing.assert_allclose(made, repeated, rtol=1e-5, atol=1e-6)

  def test_llama3_stretches_slow_frequencies_only(self):
    model = config.ModelConfig(
      d_kv=64,
      positions="rotary",
      rotary_base=500_000.0,
      rotary_scaling="llama3",
      rotary_factor=8.0,
      rotary_original_length=8192,
    )
    plain = positions.rotary_frequencies(
      dataclasses.replace(model, rotary_scaling="none")
    )
    made = positions.rotary_frequencies(model)
    turns = 8192 * plain / (2 * np.pi)
    np.testing.assert_allclose(made[turns > 4], plain[turns > 4])
    np.testing.assert_allclose(made[turns < 1], plain[turns < 1] / 8)
    between = (turns > 1) & (turns < 4)
    self.assertTrue(np.any(between))
    self.assertTrue(np.all(made[between] < plain[between]))
    self.assertTrue(np.all(made[between] > plain[between] / 8))

  def test_kv_heads_must_divide(self):
    with self.assertRaisesRegex(
      ValueError, "4 query heads .* do not divide evenly among 3 key and"
    ):
      config.ModelConfig(kv_heads=3)

  def test_head_of_a_model(self):
    model = toys.FAMILIES["gemma2"]
    self.assertEqual(decoder.output_head(model), ops.Head(0, 3.0))
    self.assertEqual(dims.dims_for(model).kv_heads.size, 2)


if __name__ == "__main__":
  absltest.main()
