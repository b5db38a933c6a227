"""What all binaries share: the `--config` flag, and errors without a traceback.

`--config=FILE --config.a.b=c`: the file's `get_config()` gives the run, the
flags change it. A key that no run has is an error with a suggestion.
"""

import contextlib
import logging as stdlib_logging
import os
import re
import sys
from collections.abc import Callable, Iterator

from absl import app, flags, logging
from ml_collections import config_dict, config_flags

from flan_tf import config

# Flags that are defined here are those of the binary that asks for them, so
# that its --help shows them.
flags.disclaim_key_flags()


def define_config() -> flags.FlagHolder:
  """Defines --config."""
  _refuse_unknown_overrides(sys.argv)
  return config_flags.DEFINE_config_file(
    "config", None, "Run file, e.g. launch/configs/small_tune.py."
  )


def define_mesh() -> Callable[[], config.MeshConfig]:
  """Defines --mesh, --layout and --precision; gives what they say."""
  default = config.MeshConfig()
  shape = flags.DEFINE_string(
    "mesh", default.shape, "E.g. data:2;model:4; one core if empty."
  )
  layout = flags.DEFINE_string(
    "layout",
    default.layout,
    "Which dimension goes over which axis of the mesh.",
  )
  precision = flags.DEFINE_enum(
    "precision", default.precision, config.PRECISIONS, "Of the computation."
  )
  return lambda: config.MeshConfig(
    shape.value, layout.value, precision=precision.value
  )


def resolve(value: config_dict.ConfigDict | None) -> config.RunConfig:
  """The run of the flag; ValueError if there is none, or it cannot be."""
  if value is None:
    raise ValueError("--config is missing, e.g. launch/configs/small_tune.py")
  return config.from_mapping(value.to_dict())


def run(
  main: Callable[[], None],
  tensorflow: bool = True,
  words: flags.FlagHolder | None = None,
) -> None:
  """Runs a binary's main under absl.

  What a user can mend (a ValueError, a missing or corrupt file, a run that
  diverged) is printed as one message, and the exit status is 1; `-v=1` shows
  where it came from.

  Args:
    main: the binary's work.
    tensorflow: whether to start TensorFlow first, quietly; without, `main`
      calls `start_tensorflow` if it needs it at all.
    words: a flag of many texts that takes the words behind its first value,
      `--compare A B`; others are refused.
  """

  def with_messages(argv: list[str]) -> None:
    if words is not None and words.value:
      words.value.extend(argv[1:])
    elif len(argv) > 1:
      raise app.UsageError(f"Expected flags only, got {argv[1:]}.")
    _show_own_log()
    if tensorflow:
      start_tensorflow()
    try:
      main()
      sys.stdout.flush()
    except BrokenPipeError:  # The reader has seen enough: `... | head`.
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
      if logging.get_verbosity() > 0 or not _is_for_users(error):
        raise
      sys.exit(f"{type(error).__name__}: {error}")

  app.run(with_messages)


def _show_own_log() -> None:
  handler = stdlib_logging.StreamHandler()
  handler.setFormatter(stdlib_logging.Formatter("%(message)s"))
  ours = stdlib_logging.getLogger("flan_tf")
  ours.addHandler(handler)
  ours.setLevel(stdlib_logging.INFO)
  ours.propagate = False


def start_tensorflow() -> None:
  """Starts TensorFlow, which takes seconds, and hushes all but its errors."""
  if logging.get_verbosity() <= 0:
    logging.set_verbosity(logging.ERROR)
    with _stderr_closed():
      import tensorflow as tf

      tf.config.list_physical_devices()
    stdlib_logging.getLogger("tensorflow").setLevel(stdlib_logging.ERROR)


@contextlib.contextmanager
def _stderr_closed() -> Iterator[None]:
  """Drops what C++ code prints while TensorFlow starts, e.g. of absent GPUs.

  It prints before it reads how much it may. Python's exceptions still come.
  """
  sys.stderr.flush()
  saved = os.dup(2)
  try:
    with open(os.devnull, "wb") as nowhere:
      os.dup2(nowhere.fileno(), 2)
    yield
  finally:
    os.dup2(saved, 2)
    os.close(saved)


def _is_for_users(error: Exception) -> bool:
  ours = type(error).__module__.startswith(("flan_tf", "tasks", "launch"))
  return ours or isinstance(error, (ValueError, FileNotFoundError))


def _refuse_unknown_overrides(argv: list[str]) -> None:
  """ml_collections reports an unknown key without saying what was meant."""
  for argument in argv[1:]:
    match = re.match(r"--?config\.([\w.]+)", argument)
    if match:
      try:
        config.check_key(match.group(1))
      except ValueError as error:
        sys.exit(f"{argument}: {error}")
