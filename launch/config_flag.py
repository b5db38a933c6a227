"""The flag --config: a run file, and changes of single settings.

`--config=FILE --config.a.b=c`: `get_config()` of the file gives the run, and
the flags change it. An unknown key is an error with a suggestion.
"""

import re
import sys

from absl import flags
from ml_collections import config_dict, config_flags

from flan_tf import config
from flan_tf.api import run_files
from launch import failures

flags.disclaim_key_flags()


def define_config() -> flags.FlagHolder:
  """Defines --config."""
  _check_overrides(sys.argv)
  holder = config_flags.DEFINE_config_file(
    "config", None, "Run file, e.g. launch/configs/small_tune.py."
  )
  # That of ml_collections hides errors until the configuration is used.
  flags.FLAGS[holder.name].parser = _RunFileParser()
  return holder


class _RunFileParser(flags.ArgumentParser):
  """Reads the run file that a flag names."""

  def parse(self, argument: str) -> config_dict.ConfigDict:
    try:
      value = run_files.read_config_dict(argument)
    except OSError as error:
      # absl shows the message of a ValueError only.
      raise ValueError(failures.cause(error)) from error
    value.lock()
    return value

  def flag_type(self) -> str:
    return "run file"


def _check_overrides(argv: list[str]) -> None:
  """Exits if a --config.KEY does not exist.

  The message of ml_collections would not suggest the right key.
  """
  for argument in argv[1:]:
    match = re.match(r"--?config\.([\w.]+)", argument)
    if match:
      try:
        config.check_key(match.group(1))
      except ValueError as error:
        sys.exit(f"{argument}: {error}")
