"""Configuration of a whole run, and its forms for flags and for run.json.

Lists of names are tuples in a RunConfig. In run.json, and for flags such as
`--config.data.tasks=rte,cb`, each is one string with commas. `to_dict` and
`from_mapping` convert.
"""

import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections

from flan_tf import name_lists
from flan_tf.config import checks
from flan_tf.config.data import ChatConfig, DataConfig
from flan_tf.config.model import AdapterConfig, ModelConfig
from flan_tf.config.train import MeshConfig, TrainConfig

_NAMES = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """Configuration of one run.

  Attributes:
    name: a name for people.
    held_out: clusters or tasks that the run must not train on; may be one
      string with commas.
    seed: seed of every random choice of the run.
    chat: the chat template for `data.separator="chat"`. If it is not set, the
      run takes that of the checkpoint that it starts from.
  """

  name: str = "run"
  held_out: tuple[str, ...] = ()
  seed: int = 0
  data: DataConfig = dataclasses.field(default_factory=DataConfig)
  model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
  adapter: AdapterConfig = dataclasses.field(default_factory=AdapterConfig)
  chat: ChatConfig = dataclasses.field(default_factory=ChatConfig)
  mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
  train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

  def __post_init__(self):
    names = checks.names("held_out", self.held_out)
    object.__setattr__(self, "held_out", names)
    checks.seed("seed", self.seed)
    if self.adapter.soft_prompt:
      checks.at_least(
        "seed", self.seed, 0, "The soft prompt is drawn with a positive seed."
      )
    checks.batch_size(
      "train.batch", self.train.batch, "data.length", self.data.length
    )


def replace(run: RunConfig, section: str, **changes) -> RunConfig:
  """Returns a run with other settings in one section.

  `replace(run, "train", steps=9)` changes `run.train.steps`.
  """
  value = dataclasses.replace(getattr(run, section), **changes)
  return dataclasses.replace(run, **{section: value})


def to_dict(run: RunConfig) -> dict[str, Any]:
  """Returns a run as nested dicts of texts, numbers and bools.

  Each list of names is one string with commas.
  """
  return _to_plain(dataclasses.asdict(run))


def to_config_dict(run: RunConfig) -> ml_collections.ConfigDict:
  """Returns a run as the ConfigDict that `--config.a.b=c` can change."""
  return ml_collections.ConfigDict(to_dict(run))


def from_mapping(values: Mapping[str, Any]) -> RunConfig:
  """Builds a run from nested mappings; missing settings have their defaults.

  Raises:
    ValueError: a key that a run does not have (the message suggests one), a
      value of the wrong type, or a value out of its range.
  """
  return _build(RunConfig, values, "")


def to_json(run: RunConfig) -> str:
  """Returns a run as the text of run.json."""
  return json.dumps(to_dict(run), indent=2)


def from_json(text: str) -> RunConfig:
  """Builds a run from the text of run.json."""
  return from_mapping(json.loads(text))


def check_key(key: str) -> None:
  """Raises ValueError, with a suggestion, unless a run has that dotted key."""
  known = _keys(RunConfig)
  if key not in known:
    raise ValueError(name_lists.unknown_name("configuration key", key, known))


def _to_plain(values: dict[str, Any]) -> dict[str, Any]:
  plain = {}
  for name, value in values.items():
    if isinstance(value, dict):
      value = _to_plain(value)
    elif isinstance(value, tuple):
      value = name_lists.join_names(value)
    plain[name] = value
  return plain


def _keys(cls: type, prefix: str = "") -> list[str]:
  keys = []
  for name, field_type in typing.get_type_hints(cls).items():
    if _is_section(field_type):
      keys += _keys(field_type, f"{prefix}{name}.")
    else:
      keys.append(prefix + name)
  return keys


def _is_section(field_type: Any) -> bool:
  return isinstance(field_type, type) and dataclasses.is_dataclass(field_type)


def _build(cls: type, values: Mapping[str, Any], prefix: str):
  if not isinstance(values, Mapping):
    raise ValueError(f"{prefix[:-1]}: expected settings, got {values!r}.")
  types = typing.get_type_hints(cls)
  arguments = {}
  for name, value in values.items():
    if name not in types:
      known = [prefix + known for known in types]
      raise ValueError(
        name_lists.unknown_name("configuration key", prefix + name, known)
      )
    arguments[name] = _value(types[name], value, prefix + name)
  return cls(**arguments)


def _value(field_type: Any, value: Any, key: str) -> Any:
  if _is_section(field_type):
    return _build(field_type, value, f"{key}.")
  if field_type == _NAMES:
    return checks.names(key, value)
  is_flag = isinstance(value, bool)  # Python counts them as integers.
  if field_type is float and isinstance(value, int) and not is_flag:
    checks.finite(key, value)
    return float(value)
  if not isinstance(value, field_type) or is_flag and field_type is not bool:
    raise ValueError(f"{key}: expected {field_type.__name__}, got {value!r}.")
  return value
