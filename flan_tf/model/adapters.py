"""LoRA (Hu et al. 2021): a low-rank matrix is trained for each weight.

    y = x W + alpha / rank (x A) B        A [inputs, rank], B [rank, outputs]

W stays as it was, so only A and B have gradients and slots, and only they are
saved. B begins at 0: the first step sees the model that it started from.
Beside `layer_000/attention/q` stand `layer_000/attention/q/lora_a` and
`.../lora_b`; the model adds whatever it finds (transformer.py).
"""

from collections.abc import Mapping

import numpy as np

from flan_tf import config
from flan_tf.mesh import state
from flan_tf.mesh.compat import mtf
from flan_tf.model import transformer
from flan_tf.model.dims import Dims

A, B = "lora_a", "lora_b"


def specs(
  model: config.ModelConfig, adapter: config.AdapterConfig, d: Dims
) -> dict[str, state.Spec]:
  """A and B of every adapted weight; empty where nothing is adapted."""
  if not adapter.lora_rank:
    return {}
  rank = mtf.Dimension("rank", adapter.lora_rank)
  of_model = transformer.weight_specs(model, d)
  wanted = config.split_names(adapter.lora_weights)
  found = {}
  for name, spec in of_model.items():
    layer, _, short = name.partition("/")
    if not layer.startswith("layer_") or short not in wanted:
      continue
    inputs, outputs = _sides(short, spec.shape)
    start = state.normal(mtf.Shape(inputs).size ** -0.5)
    found[f"{name}/{A}"] = state.Spec(mtf.Shape([*inputs, rank]), start)
    found[f"{name}/{B}"] = state.Spec(
      mtf.Shape([rank, *outputs]), state.constant(0.0)
    )
  return found


def scaled(
  adapter: config.AdapterConfig, trained: Mapping[str, mtf.Tensor]
) -> dict[str, mtf.Tensor]:
  """What the model adds: B times alpha / rank, and A as it is."""
  factor = adapter.lora_alpha / max(adapter.lora_rank, 1)
  return {
    name: x * factor if name.endswith(B) else x for name, x in trained.items()
  }


def merged(
  adapter: config.AdapterConfig,
  weight: np.ndarray,
  a: np.ndarray,
  b: np.ndarray,
) -> np.ndarray:
  """W + alpha / rank A B, in the shape of W.

  Args:
    adapter: rank and alpha.
    weight: [*inputs, *outputs].
    a: [*inputs, rank].
    b: [rank, *outputs].
  """
  product = np.tensordot(a, b, axes=1).reshape(weight.shape)
  return weight + product * (adapter.lora_alpha / adapter.lora_rank)


def _sides(name: str, shape: mtf.Shape) -> tuple[list, list]:
  """A weight's dimensions: those of its input, those of its output."""
  inputs = 2 if name == "attention/o" else 1
  return shape.dims[:inputs], shape.dims[inputs:]
