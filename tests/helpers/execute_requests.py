"""Requests to execute small programs on meshes with several layouts."""

import dataclasses
from typing import Any, NamedTuple

from flan_tf import config
from flan_tf.tpu_plan import request
from tests.helpers import toys

DATA_AND_MODEL = "batch:data;heads:model;d_ff:model;vocab:model"
_ALL = f"{DATA_AND_MODEL};d_model:data;stream:model"
_EIGHT_HEADS = dataclasses.replace(toys.MODEL, heads=8)
_ONE_LAYER = toys.one_layer(_EIGHT_HEADS)
_GROUPED = dataclasses.replace(toys.FAMILIES["gemma2"], heads=8, kv_heads=4)


class ExecutedLayout(NamedTuple):
  """A mesh and layout, with the model and settings to execute on it."""

  mesh: str
  rules: str
  model: config.ModelConfig
  settings: dict[str, Any]


LAYOUTS = {
  "rows": ExecutedLayout(
    "data:8", DATA_AND_MODEL, _ONE_LAYER, {"train.recompute": "light"}
  ),
  "weights": ExecutedLayout(
    "model:8", DATA_AND_MODEL, _ONE_LAYER, {"train.microbatches": 2}
  ),
  "both": ExecutedLayout("data:2;model:4", DATA_AND_MODEL, _GROUPED, {}),
  "everything": ExecutedLayout(
    "data:2;model:4", _ALL, _EIGHT_HEADS, {"train.recompute": "layers"}
  ),
  "everything, adapters": ExecutedLayout(
    "data:4;model:2",
    _ALL,
    toys.one_layer(toys.FAMILIES["qwen2"]),
    {"adapter.lora_rank": 2, "adapter.soft_prompt": 3},
  ),
  "stream": ExecutedLayout(
    "model:4",
    f"{DATA_AND_MODEL};stream:model",
    toys.one_layer(toys.FAMILIES["gpt2"]),
    {"train.recompute": "inputs"},
  ),
  "three axes": ExecutedLayout(
    "data:2;sequence:2;model:2",
    f"{DATA_AND_MODEL};length:sequence",
    toys.one_layer(toys.MODEL),
    {"train.recompute": "light"},
  ),
  "three axes, weights": ExecutedLayout(
    "data:2;sequence:2;model:2",
    f"{DATA_AND_MODEL};length:sequence;stream:sequence;d_model:data",
    toys.one_layer(toys.FAMILIES["mistral"]),
    {"train.microbatches": 2},
  ),
}


def make_request(layout: str, program: str) -> request.CompileRequest:
  """Makes a request with mode "execute".

  Args:
    layout: a name in LAYOUTS.
    program: train, score or decode.
  """
  mesh, rules, model, settings = LAYOUTS[layout]
  run = config.RunConfig(
    # Prompts this short share no prefix that is worth a cache.
    data=config.DataConfig(input_length=24, target_length=8, length=32),
    model=dataclasses.replace(model, vocab=128),
    mesh=config.MeshConfig(mesh, rules),
    train=config.TrainConfig(batch=8, weight_decay=0.1),
  )
  if layout == "both":
    run = config.replace(run, "data", input_length=96, target_length=32)
  for name, value in settings.items():
    section, _, key = name.partition(".")
    run = config.replace(run, section, **{key: value})
  return request.make_request(run, "v3:2x2", program, "execute", rows=8)
