"""Training, scores and generated tokens are the same on every mesh."""

import functools
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.inference import language_model
from flan_tf.mesh import mesh_impl, program
from flan_tf.mesh.collective_trace import CollectiveCall, CollectiveTrace
from flan_tf.mesh.compat import mtf
from flan_tf.model import dims
from flan_tf.model.weights import weight_specs
from flan_tf.training.step import TrainStep
from tests.helpers import toys

MESHES = ("data:4", "model:4", "data:2;model:2")
STEPS = 5
SINGLE_CHANGES = (
  ("microbatches", 2),
  ("recompute", "layers"),
  ("recompute", "light"),
  ("recompute", "inputs"),
)


def setUpModule():
  toys.open_cores()


def _no_gather(*args, **kwargs):
  raise AssertionError("Each core gathers a whole tensor.")


def _without_gathers(fn):
  """Caches a function, and makes it fail if it gathers a split tensor."""

  @functools.cache
  def wrapped(*args):
    with mock.patch.multiple(
      mesh_impl.CoreMeshImpl, allconcat=_no_gather, alltoall=_no_gather
    ):
      return fn(*args)

  return wrapped


@_without_gathers
def train(mesh: str, *changes):
  return train_on(mesh, toys.RULES, *changes)


def train_on(mesh: str, rules: str, *changes):
  """Returns metrics of each step, final weights and slots, and collectives."""
  run = toys.run_config(mesh, **dict(changes))
  step = TrainStep(*toys.mesh(mesh, rules), run)
  step.weights.initialize(seed=3)
  step.slots.initialize(seed=3)
  metrics = []
  for index in range(1, STEPS + 1):
    made = step(toys.batch(8, 16, seed=index), index, 1e-2)
    metrics.append((made.loss, made.grad_norm, made.tokens))
  final = {
    name: state.gather(name)
    for state in (step.weights, step.slots)
    for name in state.specs
  }
  return np.array(metrics), final, step.trace


@_without_gathers
def model(mesh: str) -> language_model.LanguageModel:
  made = language_model.LanguageModel(
    toys.run_config(mesh),
    toys.Vocabulary(eos_id=-1),
    batch=4,
    devices=toys.mesh(mesh)[0],
  )
  toys.assign(made.weights, toys.random_weights(made.weights.specs))
  return made


@_without_gathers
def score(mesh: str) -> np.ndarray:
  rng = np.random.default_rng(5)
  examples = []
  for index in range(24):  # More than one batch.
    ids = rng.integers(2, toys.MODEL.vocab, 2 + index % 15)
    examples.append(
      language_model.ScoredExample(ids, scored=1 + index % len(ids))
    )
  return model(mesh).score(examples)


@_without_gathers
def generate(mesh: str) -> list[list[int]]:
  rng = np.random.default_rng(6)
  prompts = [rng.integers(2, toys.MODEL.vocab, n) for n in (5, 1, 0, 17, 9, 3)]
  return [ids.tolist() for ids in model(mesh).generate(prompts, max_new=6)]


# Layouts that gather weights, positions of the residual stream, or keys.
_SPLIT_HEADS = "heads:model;d_ff:model;vocab:model"
GATHERING = {
  "weights": ("data:4", "batch:data;d_model:data"),
  "stream": ("model:4", f"{_SPLIT_HEADS};stream:model"),
  "both": (
    "data:2;model:2",
    f"batch:data;{_SPLIT_HEADS};d_model:data;stream:model",
  ),
  "weights over heads": ("model:4", "d_model:model"),
  "keys": ("sequence:4", "length:sequence"),
  "keys and weights": ("sequence:2;model:2", f"length:sequence;{_SPLIT_HEADS}"),
}


class MeshInvarianceTest(parameterized.TestCase):
  @parameterized.parameters(
    *((mesh,) for mesh in MESHES), ("data:2;model:2", *SINGLE_CHANGES)
  )
  def test_training(self, mesh, *changes):
    metrics, _, _ = train("")
    self.assertAlmostEqual(metrics[0, 0], np.log(toys.MODEL.vocab), delta=2)
    self.assertLess(metrics[-1, 0], metrics[0, 0])
    self.check(train(mesh, *changes))

  @parameterized.parameters(
    *((layout, "light") for layout in GATHERING),
    ("both", "nothing"),
    ("both", "inputs"),
    ("both", "layers"),
  )
  def test_layouts_that_gather(self, layout, recompute):
    with toys.unoptimized_graphs():
      trained = train_on(*GATHERING[layout], ("recompute", recompute))
    self.check(trained)

  def test_a_stream_that_is_split_twice_is_refused(self):
    rules = f"length:sequence;{_SPLIT_HEADS};stream:model"
    with self.assertRaisesRegex(
      ValueError, "'length' is split over mesh axis 'sequence', and 'stream'"
    ):
      train_on("sequence:2;model:2", rules)

  def check(self, trained):
    """Compares training on a mesh with training on one device."""
    metrics, final, _ = train("")
    on_mesh, final_on_mesh, _ = trained
    np.testing.assert_allclose(on_mesh, metrics, rtol=1e-5)
    self.assertEqual(list(final_on_mesh), list(final))
    for name, expected in final.items():
      with self.subTest(name):
        np.testing.assert_allclose(
          final_on_mesh[name], expected, rtol=1e-5, atol=1e-5
        )

  @parameterized.parameters(*MESHES)
  def test_scores(self, mesh):
    self.assertEqual(len(set(score("").round(3))), 24)
    np.testing.assert_allclose(score(mesh), score(""), rtol=1e-5, atol=1e-5)

  @parameterized.parameters(*MESHES)
  def test_generations(self, mesh):
    self.assertEqual([len(ids) for ids in generate("")], [6] * 6)
    self.assertGreater(len(set(sum(generate(""), []))), 8)
    self.assertEqual(generate(mesh), generate(""))

  @parameterized.parameters(*MESHES)
  def test_few_collectives(self, mesh):
    """The bound fails for any unnecessary collective of a layer or a weight."""
    trace = train(mesh)[2]
    specs = weight_specs(toys.MODEL, dims.dims_for(toys.MODEL))
    limit = 0
    if "data" in mesh:
      limit += len(specs) + 2  # Each gradient, the loss, the number of tokens.
    if "model" in mesh:
      # Embedding and log-probabilities, and the gradient of the latter.
      limit += 1 + 3 + 1
      # After attention and MLP, in the forward and in the backward pass.
      limit += 4 * toys.MODEL.layers
      # Gradient norm; Adafactor's means of squares, of rows, and of updates.
      limit += 5
    self.assertBetween(len(trace.calls), 1, limit)
    self.assertContainsSubset({c.kind for c in trace.calls}, {"Add", "Max"})
    self.assertEqual({call.dtype for call in trace.calls}, {"float32"})

  def test_one_device_needs_no_collectives(self):
    self.assertEmpty(train("")[2].calls)


def call(*shape, kind="Add"):
  return CollectiveCall(kind, ((0, 1),), shape, "float32")


class TraceTest(parameterized.TestCase):
  def trace(self, *calls_by_core):
    trace = CollectiveTrace()
    for core, calls in enumerate(calls_by_core):
      trace.begin(core)
      for one in calls:
        trace.add(core, one)
    return trace

  def test_equal_lists(self):
    trace = self.trace([call(2), call(3, 4)], [call(2), call(3, 4)])
    trace.check()
    self.assertEqual(trace.calls, (call(2), call(3, 4)))
    self.assertEqual(trace.bytes, 4 * (2 + 12))

  def test_no_calls(self):
    trace = self.trace()
    trace.check()
    self.assertEqual((trace.calls, trace.bytes), ((), 0))

  @parameterized.parameters(
    ([call(2), call(3)], [call(3), call(2)], 0),
    ([call(2), call(3)], [call(2)], 1),
    ([call(2)], [call(2), call(3)], 1),
    ([call(2)], [call(2, kind="Max")], 0),
  )
  def test_a_mismatch(self, first, second, where):
    trace = self.trace(first, first, second)
    with self.assertRaisesRegex(
      RuntimeError, f"(?s)Collective {where} .*differs.*core 0: .*core 2: "
    ):
      trace.check()

  def test_a_core_that_is_traced_twice_has_its_last_list(self):
    trace = self.trace([call(2)], [call(2)])
    trace.begin(0)
    trace.add(0, call(2))
    trace.check()

  def test_keys(self):
    """Instance keys are equal on all cores and unique among collectives."""
    first, second = (
      CollectiveTrace(),
      CollectiveTrace(),
    )
    keys = [first.add(core, call(2)) for core in (0, 1, 0, 1)]
    self.assertEqual(keys[:2], [keys[0]] * 2)
    self.assertEqual(keys[2:], [keys[2]] * 2)
    self.assertLen({*keys, second.add(0, call(2))}, 3)

  def test_a_program_whose_cores_differ_does_not_run(self):
    rows = mtf.Dimension("batch", 4)

    def step(core, x):
      x = core.feed(x, mtf.Shape([rows]))
      replica = tf.distribute.get_replica_context().replica_id_in_sync_group
      total = mtf.reduce_sum(x)
      if int(tf.get_static_value(replica)) == 2:
        total = mtf.reduce_max(x)
      core.lower()
      return core.value(total)

    run = program.Program(*toys.mesh("data:4"), step)
    with self.assertRaisesRegex(RuntimeError, "core 2: .*Max"):
      run(run.shard(np.ones(4, np.float32), mtf.Shape([rows])))


if __name__ == "__main__":
  absltest.main()
