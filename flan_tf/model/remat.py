"""The rematerialisation policy: what the backward pass computes once more.

Training keeps the intermediate results of the forward pass for the gradients.
A policy drops some of them and computes them again in the backward pass:

  policy     kept for the backward pass              computed again
  nothing    everything                              nothing
  layers     the residual stream before each layer   the layer
  inputs     the residual stream, products with      norms, casts,
             weights, results of attention           activations
  light      the residual stream, products with      norms, casts,
             weights                                 activations, attention

With "inputs" and "light" a layer is cut after its first products and around
its attention. Each part then ends with its products. Gradients do not need the
result of a part, so that no product with a weight is computed again.
"""

import dataclasses
import functools
from collections.abc import Callable

from flan_tf.mesh.functions import Functions


@dataclasses.dataclass(frozen=True)
class Remat:
  """One policy; each method wraps a function of Mesh-TF tensors accordingly.

  Attributes:
    policy: see the docstring of the module; one of config.RECOMPUTE_POLICIES.
    functions: the functions of the program that are computed again.
  """

  policy: str = "nothing"
  functions: Functions = dataclasses.field(default_factory=Functions)

  def layer(self, fn: Callable) -> Callable:
    """Wraps a whole layer."""
    if self.policy != "layers":
      return fn
    return functools.partial(self.functions.recompute, fn)

  def projection(self, fn: Callable) -> Callable:
    """Wraps a part of a layer that begins or ends with products of weights."""
    if self.policy not in ("inputs", "light"):
      return fn
    return functools.partial(self.functions.recompute, fn, barrier=True)

  def attention(self, fn: Callable) -> Callable:
    """Wraps the attention between queries, keys and values."""
    if self.policy != "light":
      return fn
    return functools.partial(self.functions.recompute, fn, barrier=True)
