"""Parts of a layer: products with weights, norms, and activations."""

from collections.abc import Sequence

import tensorflow as tf

from flan_tf import config
from flan_tf.mesh import ops
from flan_tf.mesh.compat import mtf
from flan_tf.model.dims import Dims
from flan_tf.model.weights import FusedLinear, Linear, Norm

_ACTIVATIONS = {
  "geglu": lambda x: tf.nn.gelu(x, approximate=True),
  "swiglu": tf.nn.silu,
  "gelu": lambda x: tf.nn.gelu(x, approximate=True),
  "relu": tf.nn.relu,
}


def gather_weight(d: Dims, weight: mtf.Tensor) -> mtf.Tensor:
  """Returns a weight with all of d_model on every core.

  Where the layout splits d_model, each core stores a part of the weight and
  gathers the other parts here; the gradient is reduce-scattered to the parts
  (Rajbhandari et al. 2020, section 5.3). A weight without d_model is returned
  as it is.
  """
  if d.d_model not in weight.shape.dims:
    return weight
  return ops.reshard(weight, d.d_model, d.width)


def product(d: Dims, x: mtf.Tensor, w: Linear, shape: mtf.Shape) -> mtf.Tensor:
  """Multiplies x by a weight, and adds LoRA's low-rank product.

  Args:
    d: the dimensions.
    x: [batch, length, *inputs].
    w: [*inputs, *outputs]; its bias is not added.
    shape: of the result, [batch, length, *outputs].
  """
  y = mtf.einsum([x, _gathered(d, w.weight, x)], shape)
  if w.lora_a is not None and w.lora_b is not None:
    low = _gathered(d, w.lora_a, x)
    rank = mtf.Shape([*x.shape.dims[:2], low.shape.dims[-1]])
    inner = mtf.einsum([x, low], rank)
    y += mtf.einsum([inner, _gathered(d, w.lora_b, x)], shape)
  return y


def fused_product(
  d: Dims, x: mtf.Tensor, w: FusedLinear, shapes: Sequence[mtf.Shape]
) -> list[mtf.Tensor]:
  """Multiplies x by concatenated weights at once, and adds their biases.

  Args:
    d: the dimensions.
    x: [batch, length, d_model].
    w: the weights, in the precision of x.
    shapes: of the results, each [batch, length, heads or kv_heads, d_kv].
  """
  weight = gather_weight(d, w.weight)
  _, heads, d_kv = weight.shape
  y = mtf.einsum([x, weight], mtf.Shape([*x.shape.dims[:2], heads, d_kv]))
  parts = ops.split(y, 2, [shape.dims[2].size for shape in shapes])
  return [add_bias(y, bias) for bias, y in zip(w.biases, parts, strict=True)]


def add_bias(y: mtf.Tensor, bias: mtf.Tensor | None) -> mtf.Tensor:
  """Adds a bias [*outputs] to y [batch, length, *outputs], if there is one."""
  if bias is None:
    return y
  return mtf.add(y, mtf.cast(bias, y.dtype), output_shape=y.shape)


def normalize(
  model: config.ModelConfig, d: Dims, x: mtf.Tensor, w: Norm
) -> mtf.Tensor:
  """Applies RMSNorm (Zhang and Sennrich 2019, eq. 4) or LayerNorm.

  Computes in float32. The result has the shape and the precision of x.

  Args:
    model: names the norm and its epsilon.
    d: the dimensions.
    x: [..., d_model].
    w: the scale, and the bias of LayerNorm.
  """

  def on_core(x, scale, *bias):
    y = tf.cast(x, tf.float32)
    if bias:
      y -= tf.reduce_mean(y, axis=-1, keepdims=True)
    mean_square = tf.reduce_mean(tf.square(y), axis=-1, keepdims=True)
    y *= tf.math.rsqrt(mean_square + model.norm_epsilon)
    y *= tf.cast(scale, tf.float32)
    for term in bias:
      y += tf.cast(term, tf.float32)
    return tf.cast(y, x.dtype)

  inputs = [x, w.scale] if w.bias is None else [x, w.scale, w.bias]
  splittable = [dim for dim in x.shape if dim != d.width]
  return ops.local(on_core, inputs, x.shape, splittable, name="norm")


def activate(
  model: config.ModelConfig, inner: Sequence[mtf.Tensor]
) -> mtf.Tensor:
  """Applies the activation of the MLP.

  Args:
    model: names the activation.
    inner: (gate, input) of a gated MLP, or (input,); each [batch, length,
      d_ff]. The activation of the gate multiplies the input.

  Returns:
    [batch, length, d_ff].
  """
  activation = _ACTIVATIONS[model.mlp]

  def on_core(x, *others):
    return activation(x) * others[0] if others else activation(x)

  shape = inner[0].shape
  return ops.local(on_core, inner, shape, shape.dims, name="activation")


def _gathered(d: Dims, weight: mtf.Tensor, x: mtf.Tensor) -> mtf.Tensor:
  """Returns a weight in the precision of x with all of d_model."""
  return gather_weight(d, mtf.cast(weight, x.dtype))
