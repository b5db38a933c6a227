"""Small weights that train while the model's own stay as they are.

LoRA (Hu et al. 2021): a low-rank matrix for each weight,

    y = x W + alpha / rank (x A) B        A [inputs, rank], B [rank, outputs]

called `layer_000/attention/q/lora_a` and `.../lora_b`. B begins at 0, so the
first step sees the model that it started from.

Soft prompts (Lester et al. 2021; section 4.5 of the paper): `soft_prompt`
[prompt, d_model] takes the place of the embeddings of as many tokens, which
stand before every example:

    inputs     BOS  .  .  .  What is  it ?     . has no embedding of its own
    positions    0  1  2  3     4  5   6 7

Only these have gradients and slots, and only they are saved. The model uses
whatever it finds among its weights (transformer.py).
"""

from collections.abc import Mapping

import numpy as np

from flan_tf import config, name_lists
from flan_tf.mesh import state
from flan_tf.mesh.compat import mtf
from flan_tf.model import decoder
from flan_tf.model.dims import Dims

A, B = "lora_a", "lora_b"
SOFT_PROMPT = decoder.SOFT_PROMPT


def specs(
  model: config.ModelConfig, adapter: config.AdapterConfig, d: Dims
) -> dict[str, state.StateSpec]:
  """What trains instead of the model; empty where nothing is adapted."""
  found = {}
  if adapter.soft_prompt:
    prompt = mtf.Dimension("prompt", adapter.soft_prompt)
    found[SOFT_PROMPT] = state.StateSpec(
      mtf.Shape([prompt, d.d_model]), state.normal(model.d_model**-0.5)
    )
  if not adapter.lora_rank:
    return found
  rank = mtf.Dimension("rank", adapter.lora_rank)
  of_model = decoder.weight_specs(model, d)
  wanted = name_lists.split_names(adapter.lora_weights)
  for name, spec in of_model.items():
    layer, _, short = name.partition("/")
    if not layer.startswith("layer_") or short not in wanted:
      continue
    inputs, outputs = _sides(short, spec.shape)
    start = state.normal(mtf.Shape(inputs).size ** -0.5)
    found[f"{name}/{A}"] = state.StateSpec(mtf.Shape([*inputs, rank]), start)
    found[f"{name}/{B}"] = state.StateSpec(
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


def start_from_tokens(
  trained: state.State, frozen: state.State, pieces: int, seed: int
) -> None:
  """Lets soft prompts begin as embeddings of random tokens.

  They learn faster from there than from noise (Lester et al. 2021, section 3).

  Args:
    trained: the adapters.
    frozen: the model's weights, which must be there already.
    pieces: how many tokens there are to draw from.
    seed: of the draw.
  """
  if SOFT_PROMPT not in trained.specs:
    return
  table = frozen.gather("embedding")
  count = trained.specs[SOFT_PROMPT].shape.dims[0].size
  rows = np.random.default_rng(seed).integers(0, pieces, count)
  trained.assign(SOFT_PROMPT, table[rows])


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
