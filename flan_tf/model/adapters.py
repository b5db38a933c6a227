"""Adapters: small weights that train while the model's own weights stay fixed.

LoRA (Hu et al. 2021) adds a low-rank matrix to a weight:

    y = x W + alpha / rank (x A) B        A [inputs, rank], B [rank, outputs]

The matrices are named `layer_000/attention/q/lora_a` and `.../lora_b`. B starts
at 0, so that the first step sees the unchanged model.

A soft prompt (Lester et al. 2021; section 4.5 of the paper), `soft_prompt`
[prompt, d_model], replaces the embeddings of as many tokens, which come before
every example:

    inputs     BOS  .  .  .  What is  it ?     . stands for a learned vector
    positions    0  1  2  3     4  5   6 7

Only adapters have gradients and optimizer slots, and only they are saved.
"""

from collections.abc import Mapping

import numpy as np

from flan_tf import config
from flan_tf.mesh.compat import mtf
from flan_tf.mesh.state import State, StateSpec, constant, normal
from flan_tf.model.dims import Dims
from flan_tf.model.weights import (
  LORA_A,
  LORA_B,
  SOFT_PROMPT,
  layer_names,
  weight_name,
  weight_specs,
)


def adapter_specs(
  model: config.ModelConfig, adapter: config.AdapterConfig, d: Dims
) -> dict[str, StateSpec]:
  """Returns the weights that train instead of the model's; {} without any."""
  specs = {}
  if adapter.soft_prompt:
    prompt = mtf.Dimension("prompt", adapter.soft_prompt)
    specs[SOFT_PROMPT] = StateSpec(
      mtf.Shape([prompt, d.d_model]), normal(model.d_model**-0.5)
    )
  if not adapter.lora_rank:
    return specs
  rank = mtf.Dimension("rank", adapter.lora_rank)
  model_specs = weight_specs(model, d)
  adapted = [n for n in layer_names(model) if n in adapter.lora_weights]
  for layer in range(model.layers):
    for short in adapted:
      name = weight_name(layer, short)
      inputs, outputs = _inputs_and_outputs(short, model_specs[name].shape)
      specs[f"{name}/{LORA_A}"] = StateSpec(
        mtf.Shape([*inputs, rank]), normal(mtf.Shape(inputs).size ** -0.5)
      )
      specs[f"{name}/{LORA_B}"] = StateSpec(
        mtf.Shape([rank, *outputs]), constant(0.0)
      )
  return specs


def scale_lora(
  adapter: config.AdapterConfig, trained: Mapping[str, mtf.Tensor]
) -> dict[str, mtf.Tensor]:
  """Multiplies each LoRA B by alpha / rank; other adapters stay as they are."""
  factor = adapter.lora_alpha / max(adapter.lora_rank, 1)
  return {
    name: x * factor if name.endswith(f"/{LORA_B}") else x
    for name, x in trained.items()
  }


def initialize_soft_prompt(
  trained: State, frozen: State, pieces: int, seed: int
) -> None:
  """Sets a soft prompt, if there is one, to embeddings of random tokens.

  It learns faster from there than from noise (Lester et al. 2021, section 3).

  Args:
    trained: the adapters.
    frozen: the model's weights, already restored.
    pieces: size of the vocabulary to draw from.
    seed: of the draw.
  """
  if SOFT_PROMPT not in trained.specs:
    return
  table = frozen.gather("embedding")
  count = trained.specs[SOFT_PROMPT].shape.dims[0].size
  rows = np.random.default_rng(seed).integers(0, pieces, count)
  trained.assign(SOFT_PROMPT, table[rows])


def merge_lora(
  adapter: config.AdapterConfig,
  weight: np.ndarray,
  a: np.ndarray,
  b: np.ndarray,
) -> np.ndarray:
  """Returns W + (alpha / rank) A B in the shape of W.

  Args:
    adapter: rank and alpha.
    weight: [*inputs, *outputs].
    a: [*inputs, rank].
    b: [rank, *outputs].
  """
  product = np.tensordot(a, b, axes=1).reshape(weight.shape)
  return weight + product * (adapter.lora_alpha / adapter.lora_rank)


def _inputs_and_outputs(name: str, shape: mtf.Shape) -> tuple[list, list]:
  """Splits a weight's dimensions into those of its input and its output."""
  inputs = 2 if name == "attention/o" else 1
  return shape.dims[:inputs], shape.dims[inputs:]
