"""The configuration of a run: frozen values, checked when they are built.

A run file (`launch/configs/*.py`) gives a `RunConfig` as an ml_collections
ConfigDict, so that `--config.train.steps=10` changes one setting of it. Every
checkpoint holds the resolved run as run.json. The model and the vocabulary of
a checkpoint are always read from the checkpoint, not from a run file.
"""

from flan_tf.config.data import (
  OBJECTIVES,
  OVERFLOWS,
  SEPARATORS,
  ChatConfig,
  DataConfig,
)
from flan_tf.config.evaluation import EXEMPLARS, SCORES
from flan_tf.config.model import (
  ATTENTION_BIASES,
  LORA_WEIGHTS,
  MLPS,
  MOST_ROWS,
  NORMS,
  POSITIONS,
  ROTARY_SCALINGS,
  AdapterConfig,
  ModelConfig,
)
from flan_tf.config.run import (
  RunConfig,
  check_key,
  from_json,
  from_mapping,
  replace,
  to_config_dict,
  to_dict,
  to_json,
)
from flan_tf.config.train import (
  PLATFORMS,
  PRECISIONS,
  RECOMPUTE_POLICIES,
  SCHEDULES,
  MeshConfig,
  TrainConfig,
)

__all__ = (
  "ATTENTION_BIASES",
  "EXEMPLARS",
  "LORA_WEIGHTS",
  "MLPS",
  "MOST_ROWS",
  "NORMS",
  "OBJECTIVES",
  "OVERFLOWS",
  "PLATFORMS",
  "POSITIONS",
  "PRECISIONS",
  "RECOMPUTE_POLICIES",
  "ROTARY_SCALINGS",
  "SCHEDULES",
  "SCORES",
  "SEPARATORS",
  "AdapterConfig",
  "ChatConfig",
  "DataConfig",
  "MeshConfig",
  "ModelConfig",
  "RunConfig",
  "TrainConfig",
  "check_key",
  "from_json",
  "from_mapping",
  "replace",
  "to_config_dict",
  "to_dict",
  "to_json",
)
