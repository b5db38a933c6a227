"""Adafactor agrees with a NumPy version of the paper; learning rates."""

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.mesh import state
from flan_tf.mesh.compat import mtf
from flan_tf.training import adafactor, schedule
from tests.helpers import toys

# Name -> (dimensions, indices of rows and columns if it is factored).
WEIGHTS = {
  "matrix": (dict(d_model=32, d_ff=48), (1, 0)),
  "square": (dict(d_model=32, d_out=32), (0, 1)),
  "wide": (dict(vocab=96, d_model=32), (0, 1)),
  "heads": (dict(d_model=40, heads=4, d_kv=36), (0, 2)),
  "three": (dict(heads=33, d_kv=32, d_model=64), (2, 0)),
  "small heads": (dict(d_model=64, heads=4, d_kv=8), None),
  "narrow": (dict(d_model=31, d_ff=64), None),
  "scale": (dict(d_model=48), None),
  "scalar": (dict(), None),
}
STEPS = 4
TOKENS = np.float32(50)


def dims(sizes) -> list[mtf.Dimension]:
  return [mtf.Dimension(name, size) for name, size in sizes.items()]


def specs() -> dict[str, state.StateSpec]:
  start = state.constant(0.0)
  return {
    name: state.StateSpec(mtf.Shape(dims(sizes)), start)
    for name, (sizes, _) in WEIGHTS.items()
  }


def arrays(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
  """Draws arrays of very different sizes, so that clips and floors apply."""
  rng = np.random.default_rng(seed)
  made = {}
  for name, (sizes, _) in WEIGHTS.items():
    values = scale * rng.standard_normal(list(sizes.values()))
    values *= 10.0 ** rng.integers(-3, 2)
    made[name] = np.float32(values)
  return made


class Reference:
  """The paper's algorithm 4, one weight at a time, in float64."""

  def __init__(self, weight, axes):
    self.x, self.axes = weight.astype(np.float64), axes
    self.row = self.column = self.v = 0.0

  def step(self, g, t, rate, parameter_scale, weight_decay):
    beta = 1 - t**-0.8
    square = g.astype(np.float64) ** 2 + 1e-30
    if self.axes:
      of_rows, of_columns = self.axes
      by_row = square.mean(of_columns, keepdims=True)
      by_column = square.mean(of_rows, keepdims=True)
      self.row = beta * self.row + (1 - beta) * by_row
      self.column = beta * self.column + (1 - beta) * by_column
      mean = self.row.mean(of_rows, keepdims=True)
      v = self.row * self.column / mean
    else:
      self.v = v = beta * self.v + (1 - beta) * square
    u = g / np.sqrt(v)
    u /= max(1.0, np.sqrt((u**2).mean()))
    alpha = rate
    if parameter_scale:
      alpha *= max(1e-3, np.sqrt((self.x**2).mean()))
    decayed = self.x
    if weight_decay and self.x.ndim > 1:
      decayed = self.x - rate * weight_decay * self.x
    self.x = decayed - alpha * u


class AdafactorTest(parameterized.TestCase):
  def update(self, parameter_scale, weight_decay):
    """Returns a function of arrays that does one update on one device.

    The gradients are multiplied by a number of tokens, and scaled back.
    """
    weights, slots = specs(), adafactor.slot_specs(specs())

    def apply(w, s, g, t, rate):
      def build(*tensors):
        found = iter(tensors)
        parts = [{n: next(found) for n in part} for part in (w, s, g)]
        means = adafactor.squared_means(parts[-1])
        new_w, new_s = adafactor.update(
          *parts, means, *found, parameter_scale, weight_decay
        )
        self.assertCountEqual(new_s, slots)
        norm = adafactor.global_norm(parts[-1], means)
        return [norm, *(new_w[n] for n in w), *(new_s[n] for n in s)]

      feeds = [(w[n], weights[n].shape) for n in w]
      feeds += [(s[n], slots[n].shape) for n in s]
      feeds += [(TOKENS * g[n], weights[n].shape) for n in g]
      feeds += [(np.float32(x), ()) for x in (1 / TOKENS, t, rate)]
      (norm, *new), _ = toys.run("", build, feeds)
      flat = np.concatenate([TOKENS * x.ravel() for x in g.values()])
      np.testing.assert_allclose(norm, np.linalg.norm(flat), rtol=1e-5)
      return (
        dict(zip(w, new, strict=False)),
        dict(zip(s, new[len(w) :], strict=True)),
      )

    return apply

  @parameterized.product(parameter_scale=(True, False), weight_decay=(0.0, 0.2))
  def test_update_agrees_with_numpy(self, parameter_scale, weight_decay):
    update = self.update(parameter_scale, weight_decay)
    weights = arrays(seed=0)
    slots = {
      name: np.zeros(spec.shape.to_integer_list, np.float32)
      for name, spec in adafactor.slot_specs(specs()).items()
    }
    references = {
      name: Reference(weights[name], axes)
      for name, (_, axes) in WEIGHTS.items()
    }
    for t in range(1, STEPS + 1):
      grads, rate = arrays(seed=t), 0.1 / t
      weights, slots = update(weights, slots, grads, t, rate)
      for name, reference in references.items():
        with self.subTest(name, step=t):
          reference.step(grads[name], t, rate, parameter_scale, weight_decay)
          scale = np.abs(reference.x).max()
          np.testing.assert_allclose(
            weights[name], reference.x, rtol=1e-4, atol=1e-5 * scale
          )
          if reference.axes:
            row, column = slots[f"{name}/row"], slots[f"{name}/column"]
            np.testing.assert_allclose(
              row, np.squeeze(reference.row, reference.axes[1]), rtol=1e-4
            )
            np.testing.assert_allclose(
              column, np.squeeze(reference.column, reference.axes[0]), rtol=1e-4
            )
          else:
            np.testing.assert_allclose(
              slots[f"{name}/v"], reference.v, rtol=1e-4
            )

  def test_a_gradient_of_zero(self):
    """The weights of a token that never occurs must not become NaN."""
    update = self.update(True, 0.0)
    weights = arrays(seed=0)
    zeros = {name: np.zeros_like(x) for name, x in weights.items()}
    slots = {
      name: np.zeros(spec.shape.to_integer_list, np.float32)
      for name, spec in adafactor.slot_specs(specs()).items()
    }
    new, _ = update(weights, slots, zeros, 1, 0.1)
    for name, expected in weights.items():
      np.testing.assert_array_equal(new[name], expected, name)

  def test_names_and_shapes_of_the_slots(self):
    slots = {
      name: {dim.name: dim.size for dim in spec.shape}
      for name, spec in adafactor.slot_specs(specs()).items()
    }
    self.assertEqual(
      slots,
      {
        "matrix/row": dict(d_ff=48),  # The larger dimension is the row.
        "matrix/column": dict(d_model=32),
        "square/row": dict(d_model=32),  # Of equal sizes, the first dimension.
        "square/column": dict(d_out=32),
        "wide/row": dict(vocab=96),
        "wide/column": dict(d_model=32),
        "heads/row": dict(d_model=40, heads=4),
        "heads/column": dict(heads=4, d_kv=36),
        "three/row": dict(d_kv=32, d_model=64),
        "three/column": dict(heads=33, d_kv=32),
        "small heads/v": dict(d_model=64, heads=4, d_kv=8),
        "narrow/v": dict(d_model=31, d_ff=64),
        "scale/v": dict(d_model=48),
        "scalar/v": {},
      },
    )

  def test_factored_slots_are_small(self):
    matrix = mtf.Shape(dims(dict(vocab=32_000, d_model=2_048)))
    made = adafactor.slot_specs(
      {"w": state.StateSpec(matrix, state.constant(0.0))}
    )
    self.assertEqual(sum(s.shape.size for s in made.values()), 32_000 + 2_048)


class ScheduleTest(parameterized.TestCase):
  @parameterized.parameters(
    # Twice the square roots of 1/10, 1/40 and 1/100.
    ("rsqrt", {1: 0.632456, 10: 0.632456, 40: 0.316228, 100: 0.2}),
    ("constant", {1: 0.2, 5: 1, 10: 2, 11: 2, 60: 2, 110: 2, 500: 2}),
    ("linear", {1: 0.2, 5: 1, 10: 2, 35: 1.5, 60: 1, 110: 0, 500: 0}),
    # After a quarter of the decay: 1 + cos(pi / 4).
    ("cosine", {1: 0.2, 5: 1, 10: 2, 35: 1.707107, 60: 1, 110: 0, 500: 0}),
  )
  def test_values(self, name, rates):
    train = config.TrainConfig(
      schedule=name, learning_rate=2.0, warmup=10, steps=110
    )
    for step, expected in rates.items():
      with self.subTest(step=step):
        rate = schedule.learning_rate(train, step)
        self.assertAlmostEqual(rate, expected, places=6)

  @parameterized.parameters(*config.SCHEDULES)
  def test_without_warmup(self, name):
    train = config.TrainConfig(schedule=name, learning_rate=2.0, steps=100)
    first = schedule.learning_rate(train, 1)
    self.assertAlmostEqual(first, 2, delta=0.03)
    rates = [schedule.learning_rate(train, step) for step in range(1, 101)]
    self.assertEqual(rates, sorted(rates, reverse=True))

  def test_the_paper(self):
    train = config.TrainConfig()
    rates = {schedule.learning_rate(train, step) for step in (1, 30_000)}
    self.assertEqual(rates, {3e-5})

  @parameterized.parameters(*config.SCHEDULES)
  def test_a_run_of_one_step(self, name):
    train = config.TrainConfig(schedule=name, steps=1, warmup=1)
    self.assertGreaterEqual(schedule.learning_rate(train, 1), 0)


if __name__ == "__main__":
  absltest.main()
