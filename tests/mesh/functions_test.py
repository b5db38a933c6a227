"""Functions of Mesh-TF tensors are built once and called by every layer."""

import collections

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.mesh import (
  functions,
  mesh_impl,
  ops,
)
from flan_tf.mesh.collective_trace import CollectiveTrace
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.layout import parse_layout
from flan_tf.mesh.tpu_transport import TpuTransport
from tests.helpers import toys

BATCH = mtf.Dimension("batch", 8)
D_MODEL = mtf.Dimension("d_model", 6)
D_FF = mtf.Dimension("d_ff", 8)
LAYERS = 3


def setUpModule():
  toys.open_cores()


def layer(x, w_in, w_out, at):
  """Has sums over split dimensions, an integer input and a local operation."""
  y = mtf.einsum([x, w_in], mtf.Shape([BATCH, D_FF]))
  y = ops.local(
    lambda y, at: tf.tanh(y) + tf.cast(at, tf.float32)[:, tf.newaxis],
    [y, at],
    y.shape,
    [BATCH, D_FF],
  )
  return [x + mtf.einsum([y, w_out], mtf.Shape([BATCH, D_MODEL])) * 0.1]


def plain(inputs):
  x, *rest = inputs
  for _ in range(LAYERS):
    (x,) = layer(x, *rest)
  return x


def recomputed(inputs):
  shared, (x, *rest) = functions.Functions(), inputs
  for _ in range(LAYERS):
    (x,) = shared.recompute(layer, x, *rest)
  return x


def with_barrier(inputs):
  shared, (x, *rest) = functions.Functions(), inputs
  for _ in range(LAYERS):
    (x,) = shared.recompute(layer, x, *rest, barrier=True)
  return x


def nested(inputs):
  fn = lambda *args: [recomputed(args)]  # noqa: E731
  (x,) = functions.Functions().recompute(fn, *inputs)
  return x


def with_gradients(stack, *inputs):
  y = stack(inputs)
  return [y, *mtf.gradients([mtf.reduce_sum(y * y)], inputs[:3])]


class CallsCase(parameterized.TestCase):
  DIMS = ((BATCH, D_MODEL), (D_MODEL, D_FF), (D_FF, D_MODEL), (BATCH,))

  def feeds(self):
    rng = np.random.default_rng(0)
    arrays = [
      np.float32(rng.standard_normal([dim.size for dim in dims]))
      for dims in self.DIMS[:-1]
    ]
    arrays.append(np.arange(BATCH.size, dtype=np.int32))
    return list(zip(arrays, self.DIMS, strict=True))

  def made(self, mesh, stack):
    build = lambda *inputs: with_gradients(stack, *inputs)  # noqa: E731
    return toys.run(mesh, build, self.feeds())

  def assert_close(self, actual, expected):
    for got, want in zip(actual, expected, strict=True):
      np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


class RecomputeTest(CallsCase):
  @parameterized.product(
    mesh=("", "data:2;model:2"), stack=(recomputed, with_barrier, nested)
  )
  def test_gradients(self, mesh, stack):
    expected, _ = self.made("", plain)
    self.assert_close(self.made(mesh, stack)[0], expected)

  def test_the_second_computation_is_not_merged_with_the_first(self):
    """Each recomputed layer issues the all-reduce of its forward pass twice."""
    _, once = self.made("model:4", plain)
    _, twice = self.made("model:4", recomputed)
    self.assertGreater(len(twice), len(once))

  def test_an_input_that_does_not_influence_the_result(self):
    def build(x, w_in, w_out, at):
      fn = lambda x, unused, at: [x * x]  # noqa: E731
      (y,) = functions.Functions().recompute(fn, x, w_in, at)
      return mtf.gradients([y], [x])

    feeds = self.feeds()
    made, _ = toys.run("", build, feeds)
    self.assert_close(made, [2 * feeds[0][0]])

  def test_the_same_input_twice(self):
    def build(x, *_):
      fn = lambda a, b: [a * a * b]  # noqa: E731
      (y,) = functions.Functions().recompute(fn, x, x)
      return mtf.gradients([y], [x])

    feeds = self.feeds()
    made, _ = toys.run("", build, feeds)
    self.assert_close(made, [3 * feeds[0][0] ** 2])

  def test_a_result_that_nothing_uses(self):
    def build(x, *_):
      fn = lambda x: [x * x, x * 5.0]  # noqa: E731
      y, _ = functions.Functions().recompute(fn, x)
      return mtf.gradients([y], [x])

    feeds = self.feeds()
    made, _ = toys.run("", build, feeds)
    self.assert_close(made, [2 * feeds[0][0]])

  def test_one_function_with_inputs_of_different_shapes(self):
    """Each combination of shapes gets a graph of its own."""

    def build(x, w_in, *_):
      shared = functions.Functions()
      fn = lambda x: [x * 2.0]  # noqa: E731
      return [shared(fn, y)[0] for y in (x, w_in)]

    feeds = self.feeds()
    made, _ = toys.run("", build, feeds)
    self.assert_close(made, [2 * feeds[0][0], 2 * feeds[1][0]])


class OnTpuTest(CallsCase):
  """The transport of TPUs, as far as it can be tested on a CPU."""

  def on_core(self, mesh, stack):
    """Returns one core's program as a function, its trace and its layout."""
    trace = CollectiveTrace()
    rules = "batch:data;d_ff:model" if mesh else ""
    layout = parse_layout(mesh, rules, ("batch", "d_ff"))

    def on_core(number, *shards):
      core = mesh_impl.CoreMeshImpl(layout, number, TpuTransport(trace))
      graph = mtf.Mesh(mtf.Graph(), "mesh")
      inputs = [
        mtf.import_laid_out_tensor(graph, core.LaidOutTensor([x]), mtf.Shape(s))
        for x, s in zip(shards, self.DIMS, strict=True)
      ]
      outputs = with_gradients(stack, *inputs)
      lowering = core.lowering(graph)
      return [
        lowering.tensors[y].to_laid_out_tensor().one_slice for y in outputs
      ]

    return on_core, trace, layout

  def traced(self, mesh, stack):
    """Traces the program of one core; returns its graph and its collectives."""
    on_core, trace, layout = self.on_core(mesh, stack)
    specs = [
      tf.TensorSpec(layout.shard_shape(mtf.Shape(dims)), x.dtype)
      for x, dims in self.feeds()
    ]
    function = tf.function(on_core, autograph=False)
    number = tf.TensorSpec([], tf.int32)
    return function.get_concrete_function(number, *specs), trace

  @parameterized.parameters(recomputed, with_barrier, nested)
  def test_one_core_computes_the_same_values(self, stack):
    on_core, _, _ = self.on_core("", stack)
    compiled = tf.function(on_core, autograph=False, jit_compile=True)
    made = compiled(0, *(tf.constant(x) for x, _ in self.feeds()))
    self.assert_close(made, self.made("", plain)[0])

  @parameterized.parameters(recomputed, nested)
  def test_collectives_of_every_call_are_recorded(self, stack):
    mesh = "data:2;model:2"
    concrete, trace = self.traced(mesh, stack)
    _, expected = self.made(mesh, stack)
    self.assertEqual(
      [call.shape for call in trace.calls], [call.shape for call in expected]
    )
    cases = [
      op for op in concrete.graph.get_operations() if op.type == "StatelessCase"
    ]
    branches = {op.get_attr("branches")[0].name for op in cases}
    calls = 2 * (1 if stack is nested else LAYERS)
    self.assertEqual((len(cases), len(branches)), (calls, 2))

  @parameterized.product(
    mesh=("", "data:2;model:2"), stack=(recomputed, with_barrier)
  )
  def test_barrier_around_gradients(self, mesh, stack):
    """One barrier returns all results of a backward function."""
    concrete, _ = self.traced(mesh, stack)
    ends = {}
    for function in concrete.graph.as_graph_def().library.function:
      nodes = {node.name: node for node in function.node_def}
      ops = collections.Counter()
      for made in function.ret.values():
        node = nodes[made.split(":")[0]]
        while node.op == "Identity":
          node = nodes[node.input[0].split(":")[0]]
        ops[node.op, node.name] += 1
      ends[len(function.signature.input_arg)] = ops
    forward, backward = (ends[count] for count in sorted(ends))
    self.assertNotIn("XlaOptimizationBarrier", {op for op, _ in forward})
    barriers = [n for (op, _), n in backward.items() if op.endswith("Barrier")]
    # The gradients of x and of both weights.
    self.assertEqual(barriers, [3] if stack is with_barrier else [])
    self.assertEqual(sum(backward.values()), 3)

  def test_a_tensor_that_is_not_an_argument(self):
    """All calls would use the tensor of the first call."""

    def program(x):
      tpu = TpuTransport(CollectiveTrace())
      y = x * 2.0
      return tpu.call_function("scaled", lambda x: [x * y], [x])

    message = "not among its arguments: .*mul.* Pass them as arguments"
    with self.assertRaisesRegex(ValueError, message):
      tf.function(program, autograph=False)(tf.ones([2]))


if __name__ == "__main__":
  absltest.main()
