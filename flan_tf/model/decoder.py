"""The language model: a decoder-only transformer with named dimensions.

A transformer as in FLAN's LaMDA-PT: pre-normalized, T5 relative positions,
gated GELU, no biases; or with the choices of GPT-2, Llama, Mistral, Gemma and
Qwen (see config.ModelConfig).

  x = embed(ids)                                   [batch, stream, d_model]
  for each layer:
    x = x + attention_output(attention(queries_keys_values(norm(x))))
    x = x + mlp_output(mlp_inputs(norm(x)))
  hidden = norm(x)                                 [batch, length, d_model]

No device appears here: the layout of the mesh decides which dimension is split
over which cores. Three places change how a tensor is split, and each says so:

  * `linear.gather_weight`: a weight whose d_model is split is gathered before
    its product;
  * `Layer.norm_to_all_positions`: a residual stream whose positions are split
    is gathered before the first products of attention and MLP;
  * `Layer.to_stream`: the last products of attention and MLP are scattered to
    the positions of the residual stream again.
"""

import dataclasses
from typing import Any, Protocol

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model.dims import Dims
from flan_tf.model.linear import (
  activate,
  add_bias,
  fused_product,
  gather_weight,
  normalize,
  product,
)
from flan_tf.model.remat import Remat
from flan_tf.model.weights import (
  FusedLinear,
  LayerWeights,
  Linear,
  ModelWeights,
  Norm,
)


class LayerAttention(Protocol):
  """The attention of one layer."""

  def __call__(
    self, q: mtf.Tensor, k: mtf.Tensor, v: mtf.Tensor
  ) -> tuple[mtf.Tensor, Any]:
    """Attends.

    Args:
      q: queries [batch, length, heads, d_kv].
      k: keys [batch, length, kv_heads, d_kv].
      v: values [batch, length, kv_heads, d_kv].

    Returns:
      The mixed values [batch, length, heads, d_kv]; and the keys and values to
      keep, () where none are kept.
    """
    ...


class Attention(Protocol):
  """The attention of a model: packed, over prefix trees, or with a cache.

  Attributes:
    positions: int32 [batch, length], of the queries.
  """

  positions: mtf.Tensor

  def of_layer(self, layer: int) -> LayerAttention: ...


@dataclasses.dataclass(frozen=True)
class Layer:
  """One pre-norm layer; the same object serves all layers of a model.

  Attributes:
    config: sizes and choices.
    dims: the dimensions.
    remat: what the backward pass computes once more.
    fuse_qkv: computes queries, keys and values as one product of concatenated
      weights. That is faster on TPUs and slower on CPUs.
  """

  config: config.ModelConfig
  dims: Dims
  remat: Remat
  fuse_qkv: bool = False

  def __call__(
    self, x: mtf.Tensor, w: LayerWeights, attention: LayerAttention
  ) -> tuple[mtf.Tensor, Any]:
    """Adds attention(norm(x)) to x, then mlp(norm(x)).

    Args:
      x: the residual stream [batch, stream, d_model].
      w: the weights of the layer.
      attention: packed, prefix-tree or cached.

    Returns:
      The residual stream, and the keys and values that attention keeps.
    """
    remat = self.remat
    qkv = (w.fused_qkv(x.dtype) if self.fuse_qkv else None) or w.qkv
    project = remat.projection(self.queries_keys_values)
    q, k, v = project(x, w.attention_norm, qkv)
    y, kept = remat.attention(attention)(q, k, v)
    output = remat.projection(self.attention_output)
    x += output(y, w.attention_out, w.attention_post_norm)
    inner = remat.projection(self.mlp_inputs)(x, w.mlp_norm, w.mlp_in)
    output = remat.projection(self.mlp_output)
    return x + output(inner, w.mlp_out, w.mlp_post_norm), kept

  def queries_keys_values(
    self,
    x: mtf.Tensor,
    norm: Norm,
    qkv: tuple[Linear, Linear, Linear] | FusedLinear,
  ) -> list[mtf.Tensor]:
    """Projects the stream to [batch, length, heads or kv_heads, d_kv]."""
    d = self.dims
    x = self.norm_to_all_positions(x, norm)
    shapes = d.per_head, d.per_kv_head, d.per_kv_head
    if isinstance(qkv, FusedLinear):
      return fused_product(d, x, qkv, shapes)
    return [
      add_bias(product(d, x, w, shape), w.bias)
      for w, shape in zip(qkv, shapes, strict=True)
    ]

  def attention_output(
    self, y: mtf.Tensor, w: Linear, post_norm: Norm | None
  ) -> mtf.Tensor:
    """Projects mixed values to the stream: [batch, stream, d_model]."""
    return self.to_stream(y, w, post_norm)

  def mlp_inputs(
    self, x: mtf.Tensor, norm: Norm, weights: tuple[Linear, ...]
  ) -> list[mtf.Tensor]:
    """Projects the stream to [batch, length, d_ff]: the gate first, if any."""
    d = self.dims
    x = self.norm_to_all_positions(x, norm)
    inner = mtf.Shape([*x.shape.dims[:-1], d.d_ff])
    return [add_bias(product(d, x, w, inner), w.bias) for w in weights]

  def mlp_output(
    self, inner: list[mtf.Tensor], w: Linear, post_norm: Norm | None
  ) -> mtf.Tensor:
    """Activates and projects to the stream: [batch, stream, d_model]."""
    return self.to_stream(activate(self.config, inner), w, post_norm)

  def norm_to_all_positions(self, x: mtf.Tensor, w: Norm) -> mtf.Tensor:
    """Normalizes the stream and gathers its positions.

    Where the layout splits `stream`, each core normalizes its own positions and
    gathers those of the other cores, since its heads need all of them.

    Args:
      x: [batch, stream, d_model].
      w: the norm.

    Returns:
      [batch, length, d_model].
    """
    d = self.dims
    return ops.reshard(normalize(self.config, d, x, w), d.stream, d.length)

  def to_stream(
    self, x: mtf.Tensor, w: Linear, post_norm: Norm | None
  ) -> mtf.Tensor:
    """Multiplies by a weight into d_model and returns to the stream's split.

    Each core holds a part of the product's sum over heads or d_ff. Where the
    layout splits `stream`, a reduce-scatter sums the parts and leaves each core
    its positions; otherwise an all-reduce sums them.

    Args:
      x: [batch, length, heads, d_kv] or [batch, length, d_ff].
      w: a matrix into d_model.
      post_norm: applied to the result, if there is one.

    Returns:
      [batch, stream, d_model].
    """
    d = self.dims
    y = ops.reshard(product(d, x, w, d.hidden), d.length, d.stream)
    y = add_bias(y, w.bias)
    return y if post_norm is None else normalize(self.config, d, y, post_norm)


class Decoder:
  """The language model for batches of one shape.

  Args:
    config: sizes and choices.
    dims: the dimensions.
    remat: what the backward pass computes once more.
    fuse_qkv: see `Layer`.
  """

  def __init__(
    self,
    config: config.ModelConfig,
    dims: Dims,
    remat: Remat | None = None,
    fuse_qkv: bool = False,
  ):
    self.config, self.dims = config, dims
    self._remat = remat or Remat()
    self._layer = Layer(config, dims, self._remat, fuse_qkv)

  def __call__(
    self, weights: ModelWeights, ids: mtf.Tensor, attention: Attention
  ) -> tuple[mtf.Tensor, list]:
    """Runs the model.

    Args:
      weights: in the precision of the computation, or to be cast by the layers.
      ids: int32 [batch, length], the token before each target.
      attention: packed, prefix-tree or cached.

    Returns:
      The normalized output of the last layer [batch, length, d_model]; and, for
      each layer, the keys and values that its attention keeps.
    """
    x = self.embed(weights, ids, attention.positions)
    kept = []
    layer = self._remat.layer(self._layer)
    for index, w in enumerate(weights.layers):
      x, keys_and_values = layer(x, w, attention.of_layer(index))
      kept.append(keys_and_values)
    x = normalize(self.config, self.dims, x, weights.final_norm)
    return ops.reshard(x, self.dims.stream, self.dims.length), kept

  def embed(
    self, weights: ModelWeights, ids: mtf.Tensor, positions: mtf.Tensor
  ) -> mtf.Tensor:
    """Embeds tokens, and learned positions if any: [batch, stream, d_model]."""
    d = self.dims
    x = ops.embed(ids, gather_weight(d, weights.embedding), d.vocab)
    if weights.soft_prompt is not None:
      x = self._insert_soft_prompt(weights.soft_prompt, x, positions)
    x = ops.reshard(x, d.length, d.stream)
    if self.config.scale_embedding:
      x *= self.config.d_model**0.5
    if weights.position_embedding is not None:
      table = gather_weight(d, weights.position_embedding)
      embedded = ops.embed(positions, table, d.positions)
      x += ops.reshard(embedded, d.length, d.stream)
    return x

  def _insert_soft_prompt(
    self, weight: mtf.Tensor, x: mtf.Tensor, positions: mtf.Tensor
  ) -> mtf.Tensor:
    """Puts the soft prompt in the place of the embeddings at positions 1 to n.

    n is the length of the soft prompt. Position 0 is the start token.
    """
    d = self.dims
    table = gather_weight(d, weight)
    prompt = table.shape.dims[0]
    position_wise = [d.batch, d.length]

    def row_of(positions):
      return tf.clip_by_value(positions - 1, 0, prompt.size - 1)

    def choose(x, soft, positions):
      inside = (positions >= 1) & (positions <= prompt.size)
      return tf.where(inside[:, :, tf.newaxis], soft, x)

    rows = ops.local(
      row_of, [positions], positions.shape, position_wise, name="prompt"
    )
    soft = ops.embed(rows, table, prompt)
    return ops.local(choose, [x, soft, positions], x.shape, position_wise)

  def log_probs(
    self, weights: ModelWeights, hidden: mtf.Tensor, targets: mtf.Tensor
  ) -> mtf.Tensor:
    """Returns log p(target) in nats: float32 [batch, length].

    Args:
      weights: of the model.
      hidden: [batch, length, d_model], as returned by a call.
      targets: int32 [batch, length].
    """
    d = self.dims
    table = gather_weight(d, weights.output_embedding)
    head = output_head(self.config)
    return ops.token_log_probs(hidden, table, targets, d.vocab, head)


def output_head(model: config.ModelConfig) -> ops.Head:
  """Returns the cap of the logits, and how many table rows are tokens."""
  return ops.Head(pieces=model.pieces, cap=model.logit_cap)


def select_columns(
  d: Dims, hidden: mtf.Tensor, columns: mtf.Tensor
) -> mtf.Tensor:
  """Selects some columns of each row.

  Args:
    d: the dimensions.
    hidden: [batch, length, d_model].
    columns: int32 [batch, n].

  Returns:
    [batch, n, d_model].
  """
  return ops.local(
    lambda x, columns: tf.gather(x, columns, batch_dims=1),
    [hidden, columns],
    mtf.Shape([*columns.shape, d.width]),
    [d.batch],
    name="select_columns",
  )
