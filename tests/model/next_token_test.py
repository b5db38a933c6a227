"""Tokens are chosen alike on every mesh, and as NumPy would choose them."""

import dataclasses
import math

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf.mesh import program
from flan_tf.mesh.compat import mtf
from flan_tf.model import dims, next_token
from flan_tf.sampling import Sampling
from tests.helpers import toys

ROWS, VOCAB = 4, 64
MESHES = ("", "data:2;model:2", "model:4")
MODEL = dataclasses.replace(toys.MODEL, vocab=VOCAB)


def setUpModule():
  toys.open_cores()


def on_mesh(mesh, build, logits, *more):
  """What `build` makes of logits [rows, VOCAB] and of [rows] numbers."""
  d = dims.dims_for(MODEL, len(logits))
  shapes = [mtf.Shape([d.batch, d.vocab])]
  shapes += [mtf.Shape([d.batch])] * len(more)
  out = []

  def step(core, *feeds):
    fed = [core.feed(x, s) for x, s in zip(feeds, shapes, strict=True)]
    found = build(d, *fed)
    out[:] = [x.shape for x in found]
    core.lower()
    return [core.value(x) for x in found]

  run = program.Program(*toys.mesh(mesh), step)
  feeds = [
    run.shard(np.asarray(x), shape)
    for x, shape in zip((logits, *more), shapes, strict=True)
  ]
  found = zip(*run(*feeds), strict=True)
  return [run.assemble(x, shape) for x, shape in zip(found, out, strict=True)]


def logits_of(seed: int, rows: int = ROWS) -> np.ndarray:
  made = np.random.default_rng(seed).normal(0, 2, [rows, VOCAB])
  made[:, -3:] = -1e30  # Rows of the table that are no tokens.
  return made.astype(np.float32)


def expected(logits: np.ndarray, how: Sampling) -> np.ndarray:
  """Probabilities by sorting, as the definitions have it: [rows, VOCAB]."""
  scaled = logits.astype(np.float64) / how.temperature
  p = np.exp(scaled - scaled.max(1, keepdims=True))
  for row in p:
    order = np.argsort(-row, kind="stable")
    if how.top_k:
      row[order[how.top_k :]] = 0
    row /= row.sum()
    before = np.cumsum(row[order]) - row[order]
    row[order[before >= how.top_p]] = 0
    row /= row.sum()
  return p


class ChooseTest(parameterized.TestCase):
  @parameterized.parameters(*MESHES)
  def test_greedy_takes_the_lowest_of_equal_ids(self, mesh):
    logits = logits_of(0)
    for row, ids in enumerate(([3], [7, 50], [16, 15], [60, 0, 30])):
      logits[row, ids] = 9.0
    (found,) = on_mesh(mesh, lambda d, x: [next_token.greedy(d, x)], logits)
    self.assertEqual(found.tolist(), [3, 7, 15, 0])

  @parameterized.product(
    mesh=MESHES,
    how=(
      Sampling(temperature=1.0),
      Sampling(temperature=0.5, top_k=5),
      Sampling(temperature=2.0, top_p=0.7),
      Sampling(temperature=1.3, top_k=9, top_p=0.6),
      Sampling(temperature=1.0, top_k=1),
      Sampling(temperature=1.0, top_p=1e-6),
    ),
  )
  def test_probabilities_are_those_of_the_definition(self, mesh, how):
    logits = logits_of(1)
    (mass,) = on_mesh(
      mesh, lambda d, x: [next_token.probability_masses(d, x, how)], logits
    )
    found = mass / mass.sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected(logits, how), atol=1e-6)

  def test_equal_logits_at_a_limit_are_all_kept(self):
    logits = np.full([ROWS, VOCAB], -1.0, np.float32)
    logits[:, :2], logits[:, 10:14] = 3.0, 2.0
    how = Sampling(temperature=1.0, top_k=3)
    (mass,) = on_mesh(
      "model:4", lambda d, x: [next_token.probability_masses(d, x, how)], logits
    )
    self.assertEqual((mass > 0).sum(1).tolist(), [6] * ROWS)

  @parameterized.parameters(*MESHES)
  def test_a_draw_is_where_the_cumulated_probability_passes_it(self, mesh):
    how = Sampling(temperature=1.0, top_k=20)
    logits = np.repeat(logits_of(2, 1), 64, axis=0)
    uniform = np.linspace(0, 1, 64, endpoint=False, dtype=np.float32)
    p = expected(logits, how)[0]
    wanted = np.searchsorted(np.cumsum(p), uniform + 1e-9, side="right")
    (found,) = on_mesh(
      mesh, lambda d, x, u: [next_token.draw(d, x, u, how)], logits, uniform
    )
    self.assertEqual(found.tolist(), wanted.tolist())

  def test_draws_are_distributed_as_the_probabilities(self):
    """2,000 draws: each token's count within five standard deviations."""
    how = Sampling(temperature=1.5, top_p=0.9)
    logits = np.repeat(logits_of(3, 1), 2000, axis=0)
    uniform = np.random.default_rng(5).random(2000, np.float32)
    (found,) = on_mesh(
      "", lambda d, x, u: [next_token.draw(d, x, u, how)], logits, uniform
    )
    p = expected(logits[:1], how)[0]
    counts = np.bincount(found, minlength=VOCAB)
    spread = np.sqrt(2000 * p * (1 - p))
    self.assertTrue((np.abs(counts - 2000 * p) <= 5 * spread).all())

  def test_the_largest_number_below_one_draws_a_token(self):
    logits = logits_of(4)
    uniform = np.full([ROWS], np.nextafter(np.float32(1), np.float32(0)))
    how = Sampling(temperature=1.0, top_k=3)
    (found,) = on_mesh(
      "", lambda d, x, u: [next_token.draw(d, x, u, how)], logits, uniform
    )
    for row, token in enumerate(found):
      self.assertIn(token, np.argsort(-logits[row])[:3])

  @parameterized.parameters(*MESHES)
  def test_the_best_are_sorted_with_their_log_probabilities(self, mesh):
    logits = logits_of(6)
    logits[0, [40, 20]] = 9.0  # Equals: the lower one first.
    values, ids = on_mesh(
      mesh, lambda d, x: next_token.most_likely(d, x, 6), logits
    )
    order = np.argsort(-logits, axis=1, kind="stable")[:, :6]
    np.testing.assert_array_equal(ids, order)
    exact = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = np.take_along_axis(exact, order, 1)
    np.testing.assert_allclose(values, wanted, atol=1e-5)


class SamplingTest(parameterized.TestCase):
  @parameterized.parameters(
    ({"temperature": -1}, r"temperature is -1; expected 0 \(greedy\), or"),
    ({"temperature": math.nan}, "temperature is nan; expected"),
    ({"temperature": math.inf}, "temperature is inf; expected"),
    ({"temperature": 1e-320}, "temperature is 1e-320; .* or 1e-30 to 1e"),
    ({"temperature": 1, "top_p": math.nan}, "top_p is nan; expected above 0"),
    ({"temperature": 1, "top_k": 1 << 31}, "top_k is 2147483648; .* 32 bits"),
    ({"beams": 129}, r"beams is 129; expected 1 .* at most 128"),
    ({"length_penalty": -1e308}, "length_penalty is -1e.308; .* -10 to 10"),
    ({"length_penalty": 1e308}, "length_penalty is 1e.308; .* -10 to 10"),
    ({"length_penalty": math.nan}, "length_penalty is nan; expected a number"),
    ({"seed": 1 << 63}, "seed is 9223372036854775808; expected 0 or more"),
    ({"temperature": 1, "top_k": -2}, r"top_k is -2; expected 0 \(all"),
    ({"temperature": 1, "top_p": 0}, "top_p is 0; expected above 0"),
    ({"temperature": 1, "top_p": 1.5}, "top_p is 1.5; expected above 0"),
    ({"beams": 0}, r"beams is 0; expected 1 \(no search\) or more"),
    ({"seed": -1}, "seed is -1; expected 0 or more"),
    (
      {"beams": 2, "temperature": 0.5},
      "draws texts at random. Set only one of the two",
    ),
    ({"top_k": 5}, "temperature is 0, which draws nothing"),
    ({"top_p": 0.5}, "temperature is 0, which draws nothing"),
  )
  def test_errors_teach(self, values, message):
    with self.assertRaisesRegex(ValueError, message):
      Sampling(**values)


if __name__ == "__main__":
  absltest.main()
