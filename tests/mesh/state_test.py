"""Initial values do not depend on how tensors are split."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.mesh import state
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.layout import Layout, numpy_index, parse_layout
from tests.helpers import toys

VOCAB = mtf.Dimension("vocab", 64)
HEADS = mtf.Dimension("heads", 8)
D_MODEL = mtf.Dimension("d_model", 16)
SHAPE = mtf.Shape([VOCAB, HEADS, D_MODEL])
RULES = (
  "",
  "vocab:model",
  "heads:model",
  "vocab:data;d_model:model",
  "heads:data;vocab:model",
)


def setUpModule():
  toys.open_cores()


def layout(shape: str, rules: str) -> Layout:
  return parse_layout(shape, rules, ("vocab", "heads", "d_model"))


def draw(layout, name="w", seed=0, stddev=1.0) -> np.ndarray:
  """Initializes a tensor shard by shard; returns the whole tensor."""
  init = state.normal(stddev)
  whole = np.full(SHAPE.to_integer_list, np.nan, np.float32)
  for core in range(layout.cores):
    at = layout.shard_range(SHAPE, core)
    shard = init(name, seed, SHAPE, at)
    assert shard.dtype == np.float32
    whole[numpy_index(at)] = shard
  return whole


class NormalTest(parameterized.TestCase):
  @parameterized.product(
    shape=("data:2;model:4", "data:4;model:2"), rules=RULES
  )
  def test_any_split_gives_the_same_tensor(self, shape, rules):
    made = draw(layout(shape, rules))
    np.testing.assert_array_equal(made, draw(layout("", "")))

  def test_names_and_seeds_differ(self):
    one = layout("", "")
    made = [
      draw(one, *args)
      for args in (("a", 0), ("b", 0), ("a", 1), ("0/a", 0), ("a", 10))
    ]
    for index, x in enumerate(made):
      for y in made[:index]:
        self.assertLess(abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]), 0.05)
    np.testing.assert_array_equal(made[0], draw(one, "a", 0))

  def test_is_normal(self):
    x = draw(layout("", ""), stddev=0.5).astype(np.float64)
    self.assertAlmostEqual(x.mean(), 0, delta=0.02)
    self.assertAlmostEqual(x.std(), 0.5, delta=0.02)
    self.assertAlmostEqual((np.abs(x) < 0.5).mean(), 0.683, delta=0.02)
    # Rows and columns are not copies of one another.
    rows = x.reshape(64, -1)
    self.assertLess(np.abs(np.corrcoef(rows) - np.eye(64)).max(), 0.5)
    self.assertLen(np.unique(x), x.size)


class StateTest(parameterized.TestCase):
  SPECS = {
    "w": state.StateSpec(mtf.Shape([D_MODEL, VOCAB]), state.normal(0.1)),
    "scale": state.StateSpec(mtf.Shape([HEADS]), state.constant(2.5)),
    "count": state.StateSpec(mtf.Shape([]), state.constant(3.0)),
  }

  @parameterized.parameters("data:4", "model:4", "data:2;model:2")
  def test_a_mesh_has_the_values_of_one_core(self, shape):
    made = {}
    for text in ("", shape):
      made[text] = state.State(*toys.mesh(text), self.SPECS)
      made[text].initialize(seed=7)
    for name in self.SPECS:
      np.testing.assert_array_equal(
        made[shape].gather(name), made[""].gather(name)
      )
    self.assertEqual(made[shape].gather("count"), 3)
    self.assertEqual(made[shape].parameters, 16 * 64 + 8 + 1)

  @parameterized.parameters("", "data:2;model:2")
  def test_another_precision(self, shape):
    whole = state.State(*toys.mesh(shape), self.SPECS)
    made = state.State(*toys.mesh(shape), self.SPECS, tf.bfloat16)
    for one in (whole, made):
      one.initialize(seed=7)
      one.assign("scale", np.float32(1 / np.arange(1, 9)))
    for name in self.SPECS:
      rounded = tf.cast(whole.gather(name), tf.bfloat16).numpy()
      np.testing.assert_array_equal(made.gather(name), rounded)
    self.assertEqual(made.gather("w").dtype, np.float32)

  @parameterized.parameters(
    ("", 1, 1), ("data:4", 1, 4), ("model:4", 4, 1), ("data:2;model:2", 2, 2)
  )
  def test_each_core_holds_only_its_shard(self, shape, shards, copies):
    spec = state.StateSpec(mtf.Shape([VOCAB]), state.normal(1.0))
    made = state.State(*toys.mesh(shape), {"w": spec})
    found = list(made.shards("w"))
    self.assertLen(found, shards)
    for (at,), variables in found:
      self.assertLen(variables, copies)
      for variable in variables:
        self.assertEqual(variable.shape, (64 // shards,))
        self.assertEqual(at[1], 64 // shards)

  def test_two_dimensions_over_one_axis(self):
    """Each core would hold a block of the diagonal, and no core the rest."""
    spec = state.StateSpec(SHAPE, state.normal(1.0))
    with self.assertRaisesRegex(
      ValueError,
      "'vocab' and 'heads' of one tensor are both split over mesh axis 'model'."
      " Take one of 'vocab:model', 'heads:model' out of mesh.layout",
    ):
      state.State(*toys.mesh("model:4"), {"w": spec})

  def test_a_size_that_is_not_a_multiple(self):
    spec = state.StateSpec(
      mtf.Shape([mtf.Dimension("heads", 6)]), state.normal(1.0)
    )
    with self.assertRaisesRegex(ValueError, "has size 6.*that fit: .1, 2, 3"):
      state.State(*toys.mesh("model:4"), {"w": spec})


if __name__ == "__main__":
  absltest.main()
