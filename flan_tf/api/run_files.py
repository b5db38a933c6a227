"""Reads the configuration of a run: from a run file, run.json or a value.

A run file is a Python file with a function `get_config`, which returns the run
as an ml_collections ConfigDict or as a RunConfig. If the path has a colon, the
text after it is passed to `get_config`: "ablation.py:clusters=3".
"""

import difflib
import hashlib
import importlib.machinery
import importlib.util
import os
import pathlib
import sys
import traceback
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

_EXPECTED = (
  "Expected a Python file with a function get_config, e.g."
  " launch/configs/small_tune.py, or a run.json."
)


class RunFileError(ValueError):
  """A run file cannot be executed, or gives no run."""


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


def read_config_dict(path: str) -> ml_collections.ConfigDict:
  """Returns the settings of a run file or of a run.json, to be changed.

  Args:
    path: path of the file; for a run file perhaps with ":ARGUMENT".

  Raises:
    FileNotFoundError: there is no such file.
    RunFileError: the file gives no run.
  """
  value = _read_file(os.path.expanduser(path))
  if isinstance(value, config.RunConfig):
    return config.to_config_dict(value)
  return value


def _read_file(path: str) -> config.RunConfig | ml_collections.ConfigDict:
  """Returns what a run file or a run.json describes."""
  # The argument of get_config may itself contain colons and commas.
  head, extension, tail = path.partition(".py:")
  file, argument = (f"{head}.py", tail) if extension else (path, None)
  if not os.path.isfile(file):
    raise FileNotFoundError(_no_file_message(file))
  if file.endswith(".json"):
    return _read_json(file)
  if not file.endswith(".py"):
    raise RunFileError(f"{file!r} is no run file. {_EXPECTED}")
  try:
    module = _execute(file)
  except Exception as error:
    raise RunFileError(_describe(error, file, None)) from error
  get_config = getattr(module, "get_config", None)
  if not callable(get_config):
    raise RunFileError(
      f"The run file {file!r} has no function get_config. It must return a"
      " RunConfig, or config.to_config_dict(RunConfig(...))."
    )
  try:
    run = get_config() if argument is None else get_config(argument)
  except Exception as error:
    raise RunFileError(_describe(error, file, argument)) from error
  if not isinstance(run, (config.RunConfig, ml_collections.ConfigDict)):
    raise RunFileError(
      f"get_config of {file!r} returned {type(run).__name__}; expected a"
      " RunConfig or a ConfigDict."
    )
  return run


def _read_json(file: str) -> config.RunConfig:
  """Reads a run.json."""
  try:
    return config.from_json(pathlib.Path(file).read_text(encoding="utf-8"))
  except (ValueError, RecursionError) as error:
    raise RunFileError(f"{file!r} does not hold a run: {error}") from error


def _no_file_message(file: str) -> str:
  """Returns a message for a path that is no file, with similar names."""
  if os.path.isdir(file):
    return f"{file!r} is a folder, not a run file. {_EXPECTED}"
  close = _similar_files(file)
  suggestion = f" Did you mean {' or '.join(close)}?" if close else ""
  return f"There is no run file {file!r}.{suggestion} {_EXPECTED}"


def _similar_files(file: str) -> list[str]:
  """Returns run files with similar names: in the same folder, or shipped."""
  shipped = pathlib.Path(__file__).parents[2] / "launch" / "configs"
  known: dict[str, str] = {}
  for folder in (shipped, pathlib.Path(os.path.dirname(file) or ".")):
    for path in folder.glob("*.py") if folder.is_dir() else ():
      if path.name != "__init__.py":
        known[path.stem] = _shortest(path)
  stem = pathlib.PurePath(file).stem
  return [known[name] for name in difflib.get_close_matches(stem, known, 2)]


def _shortest(path: pathlib.Path) -> str:
  """Returns a path as one would type it in the working directory."""
  absolute = path.absolute()
  here = pathlib.Path.cwd()
  return str(absolute.relative_to(here) if here in absolute.parents else path)


def _describe(error: Exception, file: str, argument: str | None) -> str:
  """Returns a message for an error that the code of a run file raised."""
  if isinstance(error, SyntaxError):
    place = f"{error.filename or file}, line {error.lineno}"
    text = (error.text or "").strip()
    return f"{place} is not valid Python: {error.msg}: {text!r}"
  text = str(error)
  if not isinstance(error, ValueError):
    text = f"{type(error).__name__}: {error}"
  if argument is not None and isinstance(error, ValueError):
    return f"{file}:{argument}: {text}"
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if os.path.abspath(frame.filename) == os.path.abspath(file)
  ]
  if lines:
    return f"{file}, line {lines[-1]}: {text}"
  if isinstance(error, TypeError):
    call = "without an argument" if argument is None else f"with {argument!r}"
    return (
      f"get_config of {file!r} cannot be called {call}: {error}. FILE.py calls"
      " get_config(), FILE.py:TEXT calls get_config('TEXT')."
    )
  return f"{file}: {text}"


def _execute(file: str) -> types.ModuleType:
  """Executes a Python file as a module that nobody imports by name."""
  digest = hashlib.sha256(os.path.abspath(file).encode()).hexdigest()[:16]
  name = f"flan_tf_run_file_{digest}"
  loader = importlib.machinery.SourceFileLoader(name, file)
  spec = importlib.util.spec_from_loader(name, loader)
  assert spec is not None
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # Dataclasses look their module up here.
  try:
    loader.exec_module(module)
  finally:
    del sys.modules[name]
  return module
