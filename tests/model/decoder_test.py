"""The model against independent ones, and what must not change its output."""

import dataclasses
import itertools
from unittest import mock

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.mesh import program, state
from flan_tf.model import attention, dims, linear, positions
from flan_tf.model.decoder import Decoder
from flan_tf.model.weights import (
  ModelWeights,
  cast_weights,
  layer_names,
  weight_specs,
)
from tests.helpers import toys

BOTH = {
  "t5": toys.MODEL,
  "rotary": dataclasses.replace(
    toys.MODEL,
    mlp="swiglu",
    positions="rotary",
    shared_embedding=False,
    scale_embedding=False,
  ),
  **toys.FAMILIES,
}
LENGTH = 24


class Runner:
  """A model on one device that gives hidden states and log-probabilities."""

  def __init__(self, model: config.ModelConfig, rows: int, precision="float32"):
    devices, layout = toys.mesh("")
    d = dims.dims_for(model, rows, LENGTH)
    specs = weight_specs(model, d)
    self.state = state.State(devices, layout, specs)
    self.weights = toys.random_weights(specs)
    toys.assign(self.state, self.weights)
    self._shape = [rows, LENGTH]

    def step(core, *features):
      *tokens, targets = (core.feed(x, d.tokens) for x in features)
      weights = cast_weights(core.read(self.state), tf.as_dtype(precision))
      hidden = toys.hidden_states(model, d, weights, *tokens)
      log_probs = Decoder(model, d).log_probs(
        ModelWeights.of(model, weights), hidden, targets
      )
      core.lower()
      return core.value(hidden), core.value(log_probs)

    self._program = program.Program(devices, layout, step)
    self._tokens = d.tokens

  def __call__(self, batch):
    """Hidden states [rows, length, d_model], log-probs [rows, length]."""
    names = ("inputs", "segment_ids", "positions", "targets")
    feeds = [self._program.shard(batch[name], self._tokens) for name in names]
    return [np.asarray(x) for x in self._program(*feeds)[0]]

  def logits(self, batch):
    table = self.weights.get("unembedding", self.weights["embedding"])
    return self(batch)[0] @ table.T


def whole_rows(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
  """One segment in each row, no padding."""
  rng = np.random.default_rng(seed)
  shape = [rows, LENGTH]
  return {
    "inputs": rng.integers(0, toys.MODEL.vocab, shape, np.int32),
    "targets": rng.integers(0, toys.MODEL.vocab, shape, np.int32),
    "segment_ids": np.ones(shape, np.int32),
    "positions": np.tile(np.arange(LENGTH, dtype=np.int32), [rows, 1]),
  }


# -- references ----------------------------------------------------------------


def llama_logits(weights, model: config.ModelConfig, inputs) -> np.ndarray:
  """KerasHub's Llama with our weights; it rotates halves as we do."""
  backbone = keras_hub.models.LlamaBackbone(
    vocabulary_size=model.vocab,
    num_layers=model.layers,
    num_query_heads=model.heads,
    num_key_value_heads=model.heads,
    hidden_dim=model.d_model,
    intermediate_dim=model.d_ff,
    rope_max_wavelength=model.rotary_base,
    layer_norm_epsilon=model.norm_epsilon,
    dtype="float32",
  )
  renamed = {
    "self_attention_layernorm/scale": "attention/norm",
    "query/kernel": "attention/q",
    "key/kernel": "attention/k",
    "value/kernel": "attention/v",
    "attention_output/kernel": "attention/o",
    "feedforward_layernorm/scale": "mlp/norm",
    "feedforward_gate_dense/kernel": "mlp/gate",
    "feedforward_intermediate_dense/kernel": "mlp/in",
    "feedforward_output_dense/kernel": "mlp/out",
  }
  left = set(weights)
  for variable in backbone.weights:
    path = variable.path
    if path.startswith("transformer_layer_"):
      layer = int(path.split("/")[0].rpartition("_")[2])
      (ours,) = (ours for end, ours in renamed.items() if path.endswith(end))
      name = f"layer_{layer:03d}/{ours}"
    else:
      name = {
        "token_embedding/embeddings": "embedding",
        "token_embedding/reverse_embeddings": "unembedding",
        "sequence_output_layernorm/scale": "final_norm",
      }[path]
    value = weights[name]
    variable.assign(value.T if name == "unembedding" else value)
    left.remove(name)
  assert not left, left
  hidden = backbone({"token_ids": inputs, "padding_mask": np.ones_like(inputs)})
  logits = backbone.token_embedding(hidden, reverse=True)
  return keras.ops.convert_to_numpy(logits)


def t5_logits(weights, model: config.ModelConfig, inputs) -> np.ndarray:
  """Gated GELU and T5's positions in NumPy, by float64, token by token.

  With 8 buckets up to a distance of 16, distances 0 to 3 have one each; the
  others begin at 4 * 4^(k/4): 4, 5.7, 8 and 11.3.
  """
  assert (model.relative_buckets, model.relative_max_distance) == (8, 16)
  first_of_bucket = [0, 1, 2, 3, 4, 6, 8, 12]
  w = {name: value.astype(np.float64) for name, value in weights.items()}

  def norm(x, scale):
    return x / np.sqrt((x**2).mean() + model.norm_epsilon) * scale

  def gelu(x):
    cubic = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(cubic))

  def of_row(ids):
    xs = [w["embedding"][i] * np.sqrt(model.d_model) for i in ids]
    for layer in range(model.layers):
      of = {n: w[f"layer_{layer:03d}/{n}"] for n in layer_names(model)}
      ys = [norm(x, of["attention/norm"]) for x in xs]
      q, k, v = (
        [np.einsum("d,dhk->hk", y, of[f"attention/{name}"]) for y in ys]
        for name in "qkv"
      )
      for at in range(len(xs)):
        for head in range(model.heads):
          logits = []
          for key in range(at + 1):
            bucket = sum(at - key >= first for first in first_of_bucket) - 1
            bias = w["relative_bias"][head, bucket]
            product = q[at][head] @ k[key][head] / np.sqrt(model.d_kv)
            logits.append(product + bias)
          share = np.exp(np.array(logits) - max(logits))
          share /= share.sum()
          mixed = sum(s * v[key][head] for key, s in enumerate(share))
          xs[at] = xs[at] + mixed @ of["attention/o"][head]
      for at, x in enumerate(xs):
        y = norm(x, of["mlp/norm"])
        inner = gelu(y @ of["mlp/gate"]) * (y @ of["mlp/in"])
        xs[at] = x + inner @ of["mlp/out"]
    return [w["embedding"] @ norm(x, w["final_norm"]) for x in xs]

  return np.array([of_row(row) for row in inputs])


class ReferenceTest(parameterized.TestCase):
  @parameterized.parameters(("t5", t5_logits), ("rotary", llama_logits))
  def test_logits(self, name, reference):
    model, batch = BOTH[name], whole_rows(2)
    runner = Runner(model, 2)
    expected = reference(runner.weights, model, batch["inputs"])
    self.assertGreater(np.std(expected), 0.5)
    np.testing.assert_allclose(
      runner.logits(batch), expected, rtol=1e-4, atol=1e-4
    )
    log_probs = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
    np.testing.assert_allclose(
      runner(batch)[1],
      np.take_along_axis(log_probs, batch["targets"][..., None], 2)[..., 0],
      rtol=1e-4,
      atol=1e-4,
    )

  @parameterized.parameters(
    # Bucket 16 + k begins at 16 * 8^(k/16): 16, 18.2, 20.7, 23.6, ...
    (32, 128, [*range(17), 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87,
               99, 113]),
    (8, 16, [0, 1, 2, 3, 4, 6, 8, 12]),
  )  # fmt: skip
  def test_t5_buckets(self, buckets, max_distance, first_of_bucket):
    distances = np.arange(-5, 3 * max_distance, dtype=np.int32)
    made = positions.relative_bucket(
      tf.constant(distances), buckets, max_distance
    )
    expected = np.searchsorted(first_of_bucket, distances, side="right") - 1
    self.assertLen(first_of_bucket, buckets)
    self.assertEqual(made.numpy().tolist(), np.maximum(expected, 0).tolist())

  def test_rotary_positions_are_relative(self):
    rng = np.random.default_rng(0)
    q, k = np.float32(rng.standard_normal([2, 1, 1, 1, 8]))
    rates = positions.rotary_frequencies(config.ModelConfig(d_kv=8))
    products = [
      np.sum(
        positions.rotate(tf.constant(q), tf.constant([[at + 5]]), rates)
        * positions.rotate(tf.constant(k), tf.constant([[at]]), rates)
      )
      for at in (0, 3, 200)
    ]
    np.testing.assert_allclose(products, products[0], rtol=1e-4)

  def test_activations(self):
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    for name, fn in {
      "gelu": lambda x: keras.ops.gelu(x, approximate=True),
      "relu": lambda x: np.maximum(x, 0),
      "swiglu": lambda x: x / (1 + np.exp(-x)),
    }.items():
      made = linear._ACTIVATIONS[name](tf.constant(x))
      np.testing.assert_allclose(made, fn(x), atol=1e-5, err_msg=name)


# -- invariances ---------------------------------------------------------------


@parameterized.parameters("t5", "rotary")
class InvarianceTest(parameterized.TestCase):
  runners = {}

  def runner(self, positions) -> Runner:
    """Rows of four: the same program for all tests."""
    if positions not in self.runners:
      self.runners[positions] = Runner(BOTH[positions], 4)
    return self.runners[positions]

  def test_packed_rows_score_as_separate_rows(self, positions):
    """Row 0 holds the segments of rows 1, 2 and 3, then padding."""
    batch = {name: np.zeros_like(x) for name, x in whole_rows(4).items()}
    rng = np.random.default_rng(1)
    begin, places = 0, []
    for row, size in ((1, 9), (2, 4), (3, 7)):
      for at, index in ((0, begin), (row, 0)):
        part = slice(index, index + size)
        batch["segment_ids"][at, part] = row if at == 0 else 1
        batch["positions"][at, part] = np.arange(size)
      for name in ("inputs", "targets"):
        ids = rng.integers(0, toys.MODEL.vocab, size)
        batch[name][0, begin : begin + size] = ids
        batch[name][row, :size] = ids
      places.append((row, begin, size))
      begin += size
    log_probs = self.runner(positions)(batch)[1]
    for row, begin, size in places:
      np.testing.assert_allclose(
        log_probs[0, begin : begin + size], log_probs[row, :size], rtol=1e-5
      )

  def test_a_token_changes_nothing_before_it(self, positions):
    batch, at = whole_rows(4), 10
    changed = {name: x.copy() for name, x in batch.items()}
    changed["inputs"][:, at] = (batch["inputs"][:, at] + 1) % toys.MODEL.vocab
    before, after = (self.runner(positions)(x)[0] for x in (batch, changed))
    np.testing.assert_array_equal(after[:, :at], before[:, :at])
    self.assertGreater(np.abs(after - before)[:, at:].max(2).min(), 1e-4)

  def test_padding_changes_nothing(self, positions):
    """Whatever ids stand there, and however much of it there is."""
    batch, size = whole_rows(4), 13
    batch["segment_ids"][:, size:] = 0
    other = whole_rows(4, seed=2)
    changed = {n: x.copy() for n, x in batch.items()}
    for name in ("inputs", "targets", "positions"):
      changed[name][:, size:] = other[name][:, size:]
    full = dict(batch, segment_ids=np.ones_like(batch["segment_ids"]))
    made = [self.runner(positions)(x)[1] for x in (batch, changed, full)]
    np.testing.assert_array_equal(made[1][:, :size], made[0][:, :size])
    np.testing.assert_allclose(made[2][:, :size], made[0][:, :size], rtol=1e-5)
    self.assertTrue(np.isfinite(made).all())

  def test_rows_of_nothing_but_padding_are_finite(self, positions):
    batch = {name: np.zeros_like(x) for name, x in whole_rows(4).items()}
    for made in self.runner(positions)(batch):
      self.assertTrue(np.isfinite(made).all())

  def test_bfloat16(self, positions):
    batch = whole_rows(4)
    exact = self.runner(positions)(batch)[1]
    rounded = Runner(BOTH[positions], 4, "bfloat16")(batch)[1]
    self.assertEqual(rounded.dtype, np.float32)
    error = np.abs(rounded - exact)
    self.assertLess(error.mean(), 0.02 * np.std(exact))
    self.assertGreater(error.max(), 0)  # It was bfloat16 indeed.


# -- combinations --------------------------------------------------------------

D, H, K, F, V, R = 8, 2, 6, 12, 128, 8
COMMON = V * D + 2 * (4 * D * H * K + 2 * D) + D  # Two layers.


class RelativeBiasTest(absltest.TestCase):
  def test_rows_with_distances_of_their_own(self):
    rng = np.random.default_rng(0)
    table = tf.constant(rng.standard_normal([3, 8]), tf.bfloat16)
    distance = tf.constant(rng.integers(-2, 40, [2, 5, 7]), tf.int32)
    made = positions.relative_bias_of_rows(table, distance, 20)
    rows = [positions.relative_bias(table, row, 20) for row in distance]
    np.testing.assert_array_equal(made, tf.stack(rows))


def plain_attention(q, k, v, mask, bias, cap):
  """In float64, and TensorFlow's softmax: [batch, length, heads, d_kv]."""
  q, k, v, mask, bias = (tf.cast(x, tf.float64) for x in (q, k, v, mask, bias))
  k, v = (tf.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
  logits = tf.einsum("blhk,bmhk->bhlm", q * q.shape[-1] ** -0.5, k)
  if cap:
    logits = cap * tf.tanh(logits / cap)
  weights = tf.nn.softmax(logits + bias + mask)
  return tf.einsum("bhlm,bmhk->blhk", weights, v)


class AttendTest(parameterized.TestCase):
  @parameterized.product(
    dtype=(tf.float32, tf.bfloat16),
    batch=(1, 2),
    groups=(1, 2, 4),
    cap=(0.0, 2.0),
  )
  def test_values_and_gradients(self, dtype, batch, groups, cap):
    rng = np.random.default_rng(0)
    shapes = [[batch, 16, heads, 8] for heads in (4, groups, groups)]
    q, k, v = (tf.constant(rng.standard_normal(s), dtype) for s in shapes)
    bias = tf.constant(rng.standard_normal([4, 16, 16]), tf.float32)
    # The last positions are padding.
    segments = [[1] * 12 + [0] * 4, [1] * 5 + [2] * 8 + [0] * 3]
    mask = attention.packed_mask(tf.constant(segments[:batch]))
    kept = []

    def together(xs):
      kept.extend(xs)
      return list(xs)

    def values_and_gradients(attend):
      with tf.GradientTape() as tape:
        tape.watch([q, k, v, bias])
        out = attend()
        loss = tf.reduce_sum(tf.cast(out, tf.float64) ** 3)
      return [out, *tape.gradient(loss, [q, k, v, bias])]

    def ours(*given):
      return attention.attend(q, k, v, mask, bias, 0.0, cap, *given)

    def as_trained():
      return values_and_gradients(lambda: ours(together))

    want = values_and_gradients(
      lambda: plain_attention(q, k, v, mask, bias, cap)
    )
    most = 1e-6 if dtype == tf.float32 else 0.03
    for found in (
      values_and_gradients(ours),
      as_trained(),
      tf.function(as_trained, autograph=False)(),
    ):
      for pair in zip(found, want, strict=True):
        got, wanted = (tf.cast(x, tf.float64) for x in pair)
        error = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
        self.assertLess(error, most)
    # Nothing but the weights, as they are multiplied; eager and traced.
    self.assertEqual([x.dtype for x in kept], [dtype] * 2)


class BlocksTest(parameterized.TestCase):
  """Long rows, taken in blocks of queries."""

  @parameterized.parameters(
    dict(length=16, far=6),
    dict(length=16, far=30),
    dict(length=8, far=5, groups=2, cap=2.0),
    dict(length=4, far=6),
    dict(length=10, far=6),
  )
  def test_the_same_attention(self, length, far, groups=4, cap=0.0):
    rng = np.random.default_rng(0)

    def normal(*shape):
      return tf.constant(rng.standard_normal(shape), tf.float32)

    q, k = normal(2, length, 4, 8), normal(2, length, groups, 8)
    v, table = normal(2, length, groups, 8), normal(4, 8)
    segments = tf.constant(rng.integers(0, 2, [2, length]).cumsum(1))
    mask = attention.packed_mask(segments)
    distance = tf.range(length)[:, tf.newaxis] - tf.range(length)

    def of_all():
      bias = positions.relative_bias(table, distance, far)
      return attention.attend(q, k, v, mask, bias, 0.0, cap)

    def in_blocks():
      bias = positions.near_bias(
        table, attention.block_size(length), length, far
      )
      return attention.attend_in_blocks(q, k, v, mask, bias, 0.0, cap, list)

    found = []
    with mock.patch.object(attention, "_BLOCK", 4):
      for attend in (of_all, in_blocks):
        with tf.GradientTape() as tape:
          tape.watch([q, k, v, table])
          out = attend()
          loss = tf.reduce_sum(out**3)
        found.append([out, *tape.gradient(loss, [q, k, v, table])])
    for want, got in zip(*found, strict=True):
      np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5)


class CombinationsTest(parameterized.TestCase):
  @parameterized.parameters(
    itertools.product(config.MLPS, config.POSITIONS, (True, False))
  )
  def test_number_of_parameters(self, mlp, positions, shared):
    model = config.ModelConfig(
      layers=2,
      d_model=D,
      heads=H,
      d_kv=K,
      d_ff=F,
      vocab=V,
      mlp=mlp,
      positions=positions,
      max_positions=LENGTH,
      relative_buckets=R,
      shared_embedding=shared,
    )
    matrices = 3 if mlp in ("geglu", "swiglu") else 2
    expected = COMMON + 2 * matrices * D * F
    expected += {"t5": H * R, "learned": LENGTH * D}.get(positions, 0)
    expected += 0 if shared else V * D
    runner = Runner(model, 1)
    self.assertEqual(runner.state.parameters, expected)
    batch = whole_rows(1)
    hidden, log_probs = runner(batch)
    self.assertEqual(hidden.shape, (1, LENGTH, D))
    self.assertTrue((log_probs < 0).all())

  def test_the_vocabulary_must_be_known(self):
    with self.assertRaisesRegex(ValueError, "model.vocab is 0: resolve it"):
      dims.dims_for(config.ModelConfig())

  @parameterized.parameters((1, 128), (128, 128), (129, 256), (32_000, 32_000))
  def test_padded_vocab(self, size, padded):
    self.assertEqual(dims.padded_vocab(size), padded)

  def test_new_weights_keep_activations_near_one(self):
    """And the first loss near that of guessing, whatever the embedding."""
    runner = Runner(toys.MODEL, 4)
    runner.state.initialize(0)
    hidden, log_probs = runner(whole_rows(4))
    self.assertBetween(np.std(hidden), 0.5, 2)
    self.assertAlmostEqual(-log_probs.mean(), np.log(toys.MODEL.vocab), delta=1)

  def test_every_weight_matters(self):
    runner, batch = Runner(BOTH["t5"], 1), whole_rows(1)
    before = runner(batch)[1]
    for name, value in runner.weights.items():
      with self.subTest(name):
        with mock.patch.dict(runner.weights, {name: value * 1.5}):
          toys.assign(runner.state, runner.weights)
          self.assertGreater(np.abs(runner(batch)[1] - before).max(), 1e-3)


if __name__ == "__main__":
  absltest.main()
