"""Reads the configuration of a run: from a run file, run.json or a value.

A run file is a Python file with a function `get_config`, which returns the run
as an ml_collections ConfigDict or as a RunConfig. If the path has a colon, the
text after it is passed to `get_config`: "ablation.py:clusters=3".
"""

import hashlib
import importlib.util
import os
import pathlib
import sys
import types
from collections.abc import Mapping
from typing import Any

import ml_collections

from flan_tf import config

# A run, its settings as a nested mapping, or the path of its file.
RunLike = (
  config.RunConfig
  | ml_collections.ConfigDict
  | Mapping[str, Any]
  | str
  | os.PathLike[str]
)


def read_run(
  run: RunLike, changes: Mapping[str, Any] | None = None
) -> config.RunConfig:
  """Returns a run as a RunConfig.

  Args:
    run: a RunConfig, a nested mapping of its settings, or the path of a run
      file or of a run.json.
    changes: settings to change, by dotted key: {"train.steps": 100}. Each is
      the same as the flag --config.KEY=VALUE of launch.train.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file gives no run, or a setting is unknown or has a wrong
      value.
  """
  resolved = _to_run(run)
  return _changed(resolved, changes) if changes else resolved


def _to_run(run: RunLike) -> config.RunConfig:
  if isinstance(run, (str, os.PathLike)):
    run = _read_file(os.path.expanduser(os.fspath(run)))
  if isinstance(run, config.RunConfig):
    return run
  values: Any = run
  if isinstance(run, ml_collections.ConfigDict):
    values = values.to_dict()
  return config.from_mapping(values)


def _changed(
  run: config.RunConfig, changes: Mapping[str, Any]
) -> config.RunConfig:
  values = config.to_dict(run)
  for key, value in changes.items():
    config.check_key(key)
    *sections, name = key.split(".")
    section = values
    for part in sections:
      section = section[part]
    section[name] = value
  return config.from_mapping(values)


def _read_file(path: str) -> config.RunConfig | ml_collections.ConfigDict:
  """Returns what a run file or a run.json describes."""
  # The argument of get_config may itself contain colons and commas.
  head, extension, tail = path.partition(".py:")
  file, argument = (f"{head}.py", tail) if extension else (path, None)
  if not os.path.isfile(file):
    raise FileNotFoundError(
      f"There is no run file {file!r}. Expected a Python file with a function"
      " get_config, e.g. launch/configs/small_tune.py, or a run.json."
    )
  if file.endswith(".json"):
    text = pathlib.Path(file).read_text(encoding="utf-8")
    return config.from_json(text)
  module = _execute(file)
  get_config = getattr(module, "get_config", None)
  if not callable(get_config):
    raise ValueError(
      f"The run file {file!r} has no function get_config. It must return a"
      " RunConfig, or config.to_config_dict(RunConfig(...))."
    )
  run = get_config() if argument is None else get_config(argument)
  if not isinstance(run, (config.RunConfig, ml_collections.ConfigDict)):
    raise ValueError(
      f"get_config of {file!r} returned {type(run).__name__}; expected a"
      " RunConfig or a ConfigDict."
    )
  return run


def _execute(file: str) -> types.ModuleType:
  """Executes a Python file as a module that nobody imports by name."""
  digest = hashlib.sha256(os.path.abspath(file).encode()).hexdigest()[:16]
  name = f"flan_tf_run_file_{digest}"
  spec = importlib.util.spec_from_file_location(name, file)
  if spec is None or spec.loader is None:
    raise ValueError(
      f"{file!r} is not a run file: expected FILE.py or FILE.json."
    )
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # Dataclasses look their module up here.
  try:
    spec.loader.exec_module(module)
  finally:
    del sys.modules[name]
  return module
