"""Our operations agree with TensorFlow and NumPy, on several meshes."""

from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.ops import log_probs
from tests.helpers import toys

MESHES = ("", "data:4", "model:4", "data:2;model:2")

BATCH = mtf.Dimension("batch", 8)
LENGTH = mtf.Dimension("length", 3)
D_MODEL = mtf.Dimension("d_model", 6)
HEADS = mtf.Dimension("heads", 4)
D_FF = mtf.Dimension("d_ff", 8)
VOCAB = mtf.Dimension("vocab", 16)


def setUpModule():
  toys.open_cores()


def normal(*dims: mtf.Dimension, seed: int = 0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  return np.float32(rng.standard_normal([dim.size for dim in dims]))


def ids(*dims: mtf.Dimension) -> np.ndarray:
  rng = np.random.default_rng(9)
  shape = [dim.size for dim in dims]
  return rng.integers(0, VOCAB.size, shape).astype(np.int32)


def plain_gradients(fn, arrays, dy):
  """Returns the value and the gradients of `fn` by TensorFlow alone."""
  xs = [tf.constant(x) for x in arrays]
  with tf.GradientTape() as tape:
    tape.watch(xs)
    y = fn(*xs)
  return y.numpy(), [
    tf.convert_to_tensor(g).numpy()
    for g in tape.gradient(y, xs, output_gradients=dy)
  ]


class OpsCase(parameterized.TestCase):
  def assert_close(self, actual, expected, rtol=1e-5):
    self.assertEqual(len(actual), len(expected))
    for got, want in zip(actual, expected, strict=True):
      np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-5)


class LocalTest(OpsCase):
  @parameterized.parameters(*MESHES)
  def test_gradients_of_inputs_that_are_not_split(self, mesh):
    """x is split over data, w over model, and the scale is not split."""
    shape = mtf.Shape([BATCH, HEADS, D_MODEL])

    def fn(x, w, scale):
      return tf.tanh(x[:, tf.newaxis] * w[tf.newaxis] + scale)

    def build(x, w, scale, dy):
      y = ops.local(fn, [x, w, scale], shape, [BATCH, HEADS])
      return [y, *mtf.gradients([y], [x, w, scale], grad_ys=[dy])]

    dims = [(BATCH, D_MODEL), (HEADS, D_MODEL), (D_MODEL,), shape.dims]
    *arrays, dy = (normal(*of, seed=i) for i, of in enumerate(dims))
    y, grads = plain_gradients(fn, arrays, dy)
    feeds = list(zip([*arrays, dy], dims, strict=True))
    self.assert_close(toys.run(mesh, build, feeds)[0], [y, *grads])

  def test_an_input_that_is_computed_from_another(self):
    """d(x y)/dx is y, although y = 2 x: Mesh-TF applies the chain rule."""

    def build(x):
      y = ops.local(lambda x, y: x * y, [x, x * 2.0], x.shape)
      return mtf.gradients([y], [x])

    x = normal(LENGTH)
    made, _ = toys.run("", build, [(x, [LENGTH])])
    self.assert_close(made, [4 * x])

  def test_integers_have_no_gradient(self):
    def build(x, positions):
      y = ops.local(
        lambda x, at: x * tf.cast(at, tf.float32), [x, positions], x.shape
      )
      return mtf.gradients([y], [x])

    at = np.arange(3, dtype=np.int32)
    made, _ = toys.run("", build, [(normal(LENGTH), [LENGTH]), (at, [LENGTH])])
    self.assert_close(made, [at])

  def test_type_of_the_result(self):
    def build(x):
      fn = lambda x: tf.cast(x > 0, tf.int32)  # noqa: E731
      return [ops.local(fn, [x], x.shape, dtype=tf.int32)]

    x = normal(LENGTH)
    (made,), _ = toys.run("", build, [(x, [LENGTH])])
    self.assertEqual(made.tolist(), (x > 0).astype(int).tolist())

  @parameterized.parameters(
    ("model:4", D_FF, "model"), ("data:4", BATCH, "data")
  )
  def test_a_split_that_changes_the_result_is_refused(self, mesh, dim, axis):
    def build(x):
      fn = lambda x: tf.cumsum(x)  # noqa: E731
      return [ops.local(fn, [x], x.shape, [LENGTH, HEADS], name="cumulate")]

    message = (
      f"cumulate: dimension '{dim.name}' is split over mesh axis '{axis}', but"
      r" only \['heads', 'length'\] may be\. Change mesh\.layout"
    )
    with self.assertRaisesRegex(ValueError, message):
      toys.run(mesh, build, [(normal(dim), [dim])])
    toys.run("", build, [(normal(dim), [dim])])  # On one core nothing is split.


class EmbedTest(OpsCase):
  @parameterized.parameters(*MESHES)
  def test_rows_and_gradients(self, mesh):
    """Ids occur more than once, so that their gradients are summed."""

    def build(ids, table, dy):
      y = ops.embed(ids, table, VOCAB)
      return [y, *mtf.gradients([y], [table], grad_ys=[dy])]

    tokens, table = ids(BATCH, LENGTH), normal(VOCAB, D_MODEL)
    dy = normal(BATCH, LENGTH, D_MODEL, seed=1)
    grad = np.zeros_like(table)
    np.add.at(grad, tokens, dy)
    feeds = [
      (tokens, [BATCH, LENGTH]),
      (table, [VOCAB, D_MODEL]),
      (dy, [BATCH, LENGTH, D_MODEL]),
    ]
    self.assert_close(toys.run(mesh, build, feeds)[0], [table[tokens], grad])

  def test_rows_are_exact(self):
    every = np.arange(VOCAB.size, dtype=np.int32).reshape(8, 2)
    two = mtf.Dimension("two", 2)
    table = normal(VOCAB, D_MODEL)
    made, _ = toys.run(
      "model:4",
      lambda ids, table: [ops.embed(ids, table, VOCAB)],
      [(every, [BATCH, two]), (table, [VOCAB, D_MODEL])],
    )
    np.testing.assert_array_equal(made[0], table[every])


class TokenLogProbsTest(OpsCase):
  TARGETS = ids(BATCH, LENGTH)
  HIDDEN = normal(BATCH, LENGTH, D_MODEL)
  TABLE = normal(VOCAB, D_MODEL, seed=1)
  DY = normal(BATCH, LENGTH, seed=2)

  def made(self, mesh, scale=1.0):
    def build(hidden, table, targets, dy):
      y = ops.token_log_probs(hidden, table, targets, VOCAB)
      return [y, *mtf.gradients([y], [hidden, table], grad_ys=[dy])]

    feeds = [
      (self.HIDDEN * np.float32(scale), [BATCH, LENGTH, D_MODEL]),
      (self.TABLE, [VOCAB, D_MODEL]),
      (self.TARGETS, [BATCH, LENGTH]),
      (self.DY, [BATCH, LENGTH]),
    ]
    return toys.run(mesh, build, feeds)[0]

  def expected(self, scale=1.0):
    def plain(hidden, table):
      logits = tf.einsum("bld,vd->blv", hidden, table)
      return -tf.nn.sparse_softmax_cross_entropy_with_logits(
        self.TARGETS, logits
      )

    hidden = self.HIDDEN * np.float32(scale)
    y, grads = plain_gradients(plain, [hidden, self.TABLE], self.DY)
    return [y, *grads]

  @parameterized.parameters(
    *((mesh, 1 << 22) for mesh in MESHES),
    # Chunks of a few positions, the last one shorter; and of one position.
    *((mesh, 7 * VOCAB.size) for mesh in MESHES),
    ("", 1),
  )
  def test_values_and_gradients(self, mesh, chunk):
    with mock.patch.object(log_probs, "CHUNK_ELEMENTS", chunk):
      self.assert_close(self.made(mesh), self.expected())

  @parameterized.parameters("", "model:4")
  def test_large_logits_stay_finite(self, mesh):
    made = self.made(mesh, scale=1e3)
    for got, want in zip(made, self.expected(scale=1e3), strict=True):
      self.assertTrue(np.isfinite(got).all())
      np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)

  @parameterized.parameters(*MESHES)
  def test_probabilities_sum_to_one(self, mesh):
    one = mtf.Dimension("length", VOCAB.size)
    hidden = np.repeat(normal(BATCH, D_MODEL)[:, np.newaxis], one.size, axis=1)
    every = np.tile(np.arange(VOCAB.size, dtype=np.int32), [BATCH.size, 1])
    (made,), _ = toys.run(
      mesh,
      lambda h, table, t: [ops.token_log_probs(h, table, t, VOCAB)],
      [
        (hidden, [BATCH, one, D_MODEL]),
        (self.TABLE, [VOCAB, D_MODEL]),
        (every, [BATCH, one]),
      ],
    )
    self.assert_close([np.exp(made).sum(axis=1)], [np.ones(BATCH.size)])


class SumsTest(OpsCase):
  @parameterized.parameters(
    ("", 0), ("data:4", 1), ("model:4", 1), ("data:2;model:2", 3)
  )
  def test_one_all_reduce_for_each_set_of_axes(self, mesh, collectives):
    """Tensors are split over data, over model, over both, and not at all."""
    dims = [[BATCH], [HEADS, D_MODEL], [VOCAB], [BATCH, D_FF], [D_MODEL], []]
    arrays = [normal(*of, seed=i) for i, of in enumerate(dims)]
    scalar = mtf.Shape([])
    made, calls = toys.run(
      mesh,
      lambda *xs: ops.reduce_sums(xs, [scalar] * len(xs), tf.square),
      list(zip(arrays, dims, strict=True)),
    )
    self.assert_close(made, [(x.astype(float) ** 2).sum() for x in arrays])
    self.assertLen(calls, collectives)

  @parameterized.parameters(
    ("", 0), ("data:4", 1), ("model:4", 1), ("data:2;model:2", 2)
  )
  def test_over_some_dimensions(self, mesh, collectives):
    x = normal(BATCH, D_FF)
    made, calls = toys.run(
      mesh,
      lambda x: ops.reduce_sums([x, x, x], [[BATCH], [D_FF], x.shape]),
      [(x, [BATCH, D_FF])],
    )
    self.assert_close(made, [x.sum(1), x.sum(0), x])
    self.assertLen(calls, collectives)

  def test_bfloat16_is_summed_in_float32(self):
    x = np.full([BATCH.size, VOCAB.size], 1.0, np.float32)

    def build(x):
      return ops.reduce_sums([mtf.cast(x, tf.bfloat16)], [mtf.Shape([])])

    # bfloat16 has 8 bits of precision: it cannot count beyond 256.
    made, _ = toys.run(
      "data:2;model:2",
      build,
      [(np.repeat(x, 4, 1), [BATCH, mtf.Dimension("vocab", 4 * VOCAB.size)])],
    )
    self.assert_close(made, [512])


if __name__ == "__main__":
  absltest.main()
