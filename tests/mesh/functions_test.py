"""Functions of Mesh-TF tensors: built once, whoever calls them."""

import collections

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.mesh import functions, mesh_impl, ops, transport
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.layout import parse_layout
from tests.helpers import toys

BATCH = mtf.Dimension("batch", 8)
D_MODEL = mtf.Dimension("d_model", 6)
D_FF = mtf.Dimension("d_ff", 8)
LAYERS = 3


def setUpModule():
  toys.open_cores()


def layer(x, w_in, w_out, at):
  """Sums over split dimensions, an integer input, a local operation."""
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
  calls, (x, *rest) = functions.Calls(), inputs
  for _ in range(LAYERS):
    (x,) = calls.recompute("layer", layer, [x, *rest])
  return x


def together(inputs):
  calls, (x, *rest) = functions.Calls(), inputs
  for _ in range(LAYERS):
    (x,) = calls.recompute("layer", layer, [x, *rest], together=True)
  return x


def nested(inputs):
  fn = lambda *args: [recomputed(args)]  # noqa: E731
  (x,) = functions.Calls().recompute("layers", fn, inputs)
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
    mesh=("", "data:2;model:2"), stack=(recomputed, together, nested)
  )
  def test_gradients(self, mesh, stack):
    expected, _ = self.made("", plain)
    self.assert_close(self.made(mesh, stack)[0], expected)

  def test_the_second_run_is_not_merged_with_the_first(self):
    """Every recomputed layer issues its all-reduce forward once more."""
    _, once = self.made("model:4", plain)
    _, twice = self.made("model:4", recomputed)
    self.assertGreater(len(twice), len(once))

  def test_an_input_without_influence(self):
    def build(x, w_in, w_out, at):
      fn = lambda x, unused, at: [x * x]  # noqa: E731
      (y,) = functions.Calls().recompute("square", fn, [x, w_in, at])
      return mtf.gradients([y], [x])

    feeds = self.feeds()
    made, _ = toys.run("", build, feeds)
    self.assert_close(made, [2 * feeds[0][0]])

  def test_one_input_given_twice(self):
    def build(x, *_):
      fn = lambda a, b: [a * a * b]  # noqa: E731
      (y,) = functions.Calls().recompute("cube", fn, [x, x])
      return mtf.gradients([y], [x])

    feeds = self.feeds()
    made, _ = toys.run("", build, feeds)
    self.assert_close(made, [3 * feeds[0][0] ** 2])

  def test_a_result_that_nothing_needs(self):
    def build(x, *_):
      fn = lambda x: [x * x, x * 5.0]  # noqa: E731
      y, _ = functions.Calls().recompute("both", fn, [x])
      return mtf.gradients([y], [x])

    feeds = self.feeds()
    made, _ = toys.run("", build, feeds)
    self.assert_close(made, [2 * feeds[0][0]])

  def test_a_name_goes_with_shapes(self):
    """One name, and inputs of other shapes: another function."""

    def build(x, w_in, *_):
      calls = functions.Calls()
      fn = lambda x: [x * 2.0]  # noqa: E731
      return [calls("double", fn, [y])[0] for y in (x, w_in)]

    feeds = self.feeds()
    made, _ = toys.run("", build, feeds)
    self.assert_close(made, [2 * feeds[0][0], 2 * feeds[1][0]])


class OnTpuTest(CallsCase):
  """With the transport of TPUs, as far as a CPU can follow."""

  def on_core(self, mesh, stack, seen=lambda: None):
    """What one core does: a function of its number and inputs; its trace."""
    trace = transport.CollectiveTrace()
    rules = "batch:data;d_ff:model" if mesh else ""
    layout = parse_layout(mesh, rules, ("batch", "d_ff"))

    def on_core(number, *slices):
      core = mesh_impl.CoreMeshImpl(
        layout, number, transport.TpuTransport(trace)
      )
      graph = mtf.Mesh(mtf.Graph(), "mesh")
      inputs = [
        mtf.import_laid_out_tensor(graph, core.LaidOutTensor([x]), mtf.Shape(s))
        for x, s in zip(slices, self.DIMS, strict=True)
      ]
      outputs = with_gradients(stack, *inputs)
      lowering = core.lowering(graph)
      return [
        lowering.tensors[y].to_laid_out_tensor().one_slice for y in outputs
      ]

    return on_core, trace, layout

  def traced(self, mesh, stack):
    """The graph of it, and its trace."""
    on_core, trace, layout = self.on_core(mesh, stack)
    specs = [
      tf.TensorSpec(layout.part_shape(mtf.Shape(dims)), x.dtype)
      for x, dims in self.feeds()
    ]
    function = tf.function(on_core, autograph=False)
    number = tf.TensorSpec([], tf.int32)
    return function.get_concrete_function(number, *specs), trace

  @parameterized.parameters(recomputed, together, nested)
  def test_one_core_computes_the_same(self, stack):
    on_core, _, _ = self.on_core("", stack)
    compiled = tf.function(on_core, autograph=False, jit_compile=True)
    made = compiled(0, *(tf.constant(x) for x, _ in self.feeds()))
    self.assert_close(made, self.made("", plain)[0])

  @parameterized.parameters(recomputed, nested)
  def test_collectives_are_those_of_every_call(self, stack):
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
    mesh=("", "data:2;model:2"), stack=(recomputed, together)
  )
  def test_gradients_that_are_there_together(self, mesh, stack):
    """One barrier makes all that a backward function returns."""
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
    # Of x and both weights.
    self.assertEqual(barriers, [3] if stack is together else [])
    self.assertEqual(sum(backward.values()), 3)

  def test_what_is_no_argument(self):
    """A tensor from elsewhere would be that of the first call for all."""

    def program(x):
      tpu = transport.TpuTransport(transport.CollectiveTrace())
      y = x * 2.0
      return tpu.call("scaled", lambda x: [x * y], [x])

    message = "uses .*mul.*not among its arguments: give all that it uses"
    with self.assertRaisesRegex(ValueError, message):
      tf.function(program, autograph=False)(tf.ones([2]))


if __name__ == "__main__":
  absltest.main()
