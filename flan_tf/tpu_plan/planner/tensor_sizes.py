"""Sizes of the tensors that one core holds or computes, for the cost model.

Everything here follows from the model's dimensions and the mesh: a dimension
that is split into n shards has 1/n of its size on a core.
"""

import functools
import math

from flan_tf.tpu_plan import parameter_count
from flan_tf.tpu_plan.mesh_sizes import MeshSizes
from flan_tf.tpu_plan.request import CompileRequest

BYTES_PER_ELEMENT = {"float32": 4, "bfloat16": 2}
# Output logits are computed in this many chunks; see flan_tf.mesh.ops.
_LOGIT_CHUNKS = 8


class TensorSizes:
  """Bytes of tensors on one core, for one microbatch of a program.

  Attributes:
    model: the model's configuration.
    mesh: axes and layout.
    element_bytes: bytes of an element in `mesh.precision`, the type of
      activations, of gradients, and of weights in products.
  """

  def __init__(self, request: CompileRequest):
    self._request = request
    self.model = request.run.model
    self.mesh = MeshSizes(request.run.mesh)
    self.element_bytes = BYTES_PER_ELEMENT[request.run.mesh.precision]

  @functools.cached_property
  def parameters(self) -> float:
    """Number of parameters that the core holds (a count, not bytes)."""
    in_layer = self._held(parameter_count.layer_weight_shapes(self.model))
    others = self._held(parameter_count.other_weight_shapes(self.model))
    return self.model.layers * in_layer + others

  @property
  def tokens(self) -> float:
    """Number of tokens of a microbatch that the core computes."""
    tokens = self._request.tokens
    if self._request.program == "train":
      tokens //= self._request.run.train.microbatches
    return tokens / self.mesh.shards("batch", "length")

  @property
  def hidden(self) -> float:
    """Activations of shape [batch, length, d_model]."""
    return self.tokens * self.model.d_model * self.element_bytes

  @property
  def stream(self) -> float:
    """The residual stream between layers: [batch, stream, d_model].

    It has the positions of `hidden`, split over the axis of "stream". If the
    layout splits "length" over the same axis, `hidden` is split already.
    """
    if self.mesh.axis_of("stream") == self.mesh.axis_of("length"):
      return self.hidden
    return self.hidden / self.mesh.shards("stream")

  @property
  def projections(self) -> float:
    """Queries, keys, values, attention's output, and the MLP's two products."""
    mesh, model = self.mesh, self.model
    width = 4 * model.heads * model.d_kv / mesh.shards("heads")
    width += 2 * model.d_ff / mesh.shards("d_ff")
    return self.tokens * width * self.element_bytes

  @property
  def keys_and_values(self) -> float:
    """Keys and values of a layer, for all positions of a row."""
    model, mesh = self.model, self.mesh
    width = 2 * (model.kv_heads or model.heads) * model.d_kv
    tokens = self.tokens * mesh.shards("length")
    return tokens * width / mesh.shards("heads") * self.element_bytes

  @property
  def attention_weights(self) -> float:
    """Attention weights of a layer: [batch, heads, length, length]."""
    heads = self.model.heads / self.mesh.shards("heads")
    return self.tokens * self._request.length * heads * self.element_bytes

  @property
  def attention_matrices(self) -> float:
    """Attention logits in float32, and attention weights."""
    both = BYTES_PER_ELEMENT["float32"] + self.element_bytes
    return self.attention_weights * both / self.element_bytes

  @property
  def layer_weights(self) -> float:
    """Weights of a layer in products: in `mesh.precision`, d_model gathered."""
    held = self._held(parameter_count.layer_weight_shapes(self.model))
    return held * self.mesh.shards("d_model") * self.element_bytes

  @property
  def layer(self) -> float:
    """All that exists while one layer is computed, its weights included."""
    activations = 4 * self.hidden + self.projections + self.attention_matrices
    return activations + self.layer_weights

  @property
  def logits(self) -> float:
    """One chunk of the output logits, in float32."""
    width = self.model.vocab / self.mesh.shards("vocab")
    return self.tokens * width * BYTES_PER_ELEMENT["float32"] / _LOGIT_CHUNKS

  @property
  def cache(self) -> float:
    """The key/value cache of all layers."""
    model, request = self.model, self._request
    width = 2 * (model.kv_heads or model.heads) * model.d_kv * model.layers
    total = request.rows * request.length * width * self.element_bytes
    return total / self.mesh.shards("batch", "heads")

  def _held(self, shapes: parameter_count.WeightShapes) -> float:
    """Returns the number of elements of these weights that the core holds."""
    return sum(
      math.prod(shape.values()) / self.mesh.shards(*shape)
      for shape in shapes.values()
    )
