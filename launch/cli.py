"""The parts that binaries share: flags, output, and errors without a traceback.

`--config=FILE --config.a.b=c`: `get_config()` of the file gives the run, and
the flags change it. An unknown key is an error with a suggestion.
"""

import contextlib
import logging as stdlib_logging
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from absl import app, flags, logging
from ml_collections import config_dict, config_flags

import flan_tf as flan
from flan_tf import config
from flan_tf.progress_bars import enable_progress_bars

if TYPE_CHECKING:
  from flan_tf.training.session import TrainingSession

# The flags below belong to the binary that asks for them, so that its --help
# shows them.
flags.disclaim_key_flags()


def define_config() -> flags.FlagHolder:
  """Defines --config."""
  _check_overrides(sys.argv)
  return config_flags.DEFINE_config_file(
    "config", None, "Run file, e.g. launch/configs/small_tune.py."
  )


def define_data_dir() -> flags.FlagHolder[str]:
  """Defines --tfds_data_dir."""
  return flags.DEFINE_string(
    "tfds_data_dir",
    "",
    "A prepared TFDS directory, local or gs://. By default the rows that are"
    " shipped with flan_tf.",
  )


def define_task_file() -> flags.FlagHolder[list[str]]:
  """Defines --task_file; see `register_task_files`."""
  return flags.DEFINE_multi_string(
    "task_file",
    [],
    "A Python file with tasks of your own, TASKS = (Task(...), ...). They are"
    " used in addition to the shipped tasks. May be repeated.",
  )


def register_task_files(paths: list[str]) -> None:
  """Adds the tasks of --task_file to the task table."""
  for path in paths:
    flan.tasks.register_file(path)


def define_mesh() -> Callable[[], config.MeshConfig]:
  """Defines --mesh, --layout and --precision; returns a reader of them."""
  default = config.MeshConfig()
  shape = flags.DEFINE_string(
    "mesh",
    default.shape,
    "Axes of the device mesh and their sizes, e.g. data:2;model:4. By default"
    " one core.",
  )
  layout = flags.DEFINE_string(
    "layout",
    default.layout,
    "Dimensions of the model and the mesh axes that split them.",
  )
  precision = flags.DEFINE_enum(
    "precision",
    default.precision,
    config.PRECISIONS,
    "Number format of the computation.",
  )
  return lambda: config.MeshConfig(
    shape.value, layout.value, precision=precision.value
  )


def resolve(value: config_dict.ConfigDict | None) -> config.RunConfig:
  """Returns the run of --config.

  Raises:
    ValueError: the flag is missing, or a setting has a wrong value.
  """
  if value is None:
    raise ValueError("--config is missing, e.g. launch/configs/small_tune.py")
  return config.from_mapping(value.to_dict())


def train_and_print(
  run: config.RunConfig, workdir: str
) -> "flan.TrainingResult":
  """Trains a run; prints what it starts from and where it ends."""
  result = flan.train(run, workdir, on_start=print_session)
  end = "Finished" if result.finished else "Stopped"
  print(f"{end} at step {result.step}. Checkpoints and metrics: {workdir}")
  print(f"Look: tensorboard --logdir={os.path.join(workdir, 'tensorboard')}")
  return result


def print_session(session: "TrainingSession") -> None:
  """Prints the description of an open training session."""
  from flan_tf.training import run_summary

  print(run_summary.describe(session), flush=True)


def report_and_print(result: "flan.Evaluation", output: str) -> None:
  """Writes the report of an evaluation; prints the scores and the path."""
  report = result.report(output)
  print(f"{result}\nReport: {report}")


def run(
  main: Callable[[], None],
  tensorflow: bool = True,
  words: flags.FlagHolder | None = None,
) -> None:
  """Runs the main function of a binary under absl.

  An error that a user can mend (a ValueError, a missing or corrupt file, a run
  that diverged) is printed as one message, and the exit status is 1. With -v=1
  it has its traceback.

  Args:
    main: the binary's work.
    tensorflow: whether to start TensorFlow first, without its log. If false,
      `main` calls `start_tensorflow` before it needs TensorFlow.
    words: a flag of several texts that takes the arguments after its first
      value as well: `--compare A B`. Without it, such arguments are refused.
  """

  def main_with_messages(argv: list[str]) -> None:
    if words is not None and words.value:
      words.value.extend(argv[1:])
    elif len(argv) > 1:
      raise app.UsageError(f"Expected flags only, got {argv[1:]}.")
    _show_flan_tf_log()
    enable_progress_bars()
    if tensorflow:
      start_tensorflow()
    try:
      main()
      sys.stdout.flush()
    except BrokenPipeError:  # The reader of a pipe has ended: `... | head`.
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
      if logging.get_verbosity() > 0 or not _is_for_users(error):
        raise
      sys.exit(f"{type(error).__name__}: {error}")

  _show_help_of(sys.modules[main.__module__])
  app.run(main_with_messages)


def start_tensorflow() -> None:
  """Imports TensorFlow, which takes seconds, and hides all but its errors."""
  if logging.get_verbosity() <= 0:
    logging.set_verbosity(logging.ERROR)
    with _stderr_closed():
      import tensorflow as tf

      tf.config.list_physical_devices()
    stdlib_logging.getLogger("tensorflow").setLevel(stdlib_logging.ERROR)


def _show_help_of(binary: types.ModuleType) -> None:
  """Makes --help of a console script show the docstring and flags of a binary.

  absl shows those of the program that Python started, which is the binary under
  `python -m launch.NAME` only.
  """
  program = sys.modules["__main__"]
  if binary is program:
    return
  program.__doc__ = binary.__doc__
  for flag in flags.FLAGS.get_key_flags_for_module(binary):
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _show_flan_tf_log() -> None:
  """Shows the log of flan_tf on stderr, as plain messages."""
  handler = stdlib_logging.StreamHandler()
  handler.setFormatter(stdlib_logging.Formatter("%(message)s"))
  log = stdlib_logging.getLogger("flan_tf")
  log.addHandler(handler)
  log.setLevel(stdlib_logging.INFO)
  log.propagate = False


@contextlib.contextmanager
def _stderr_closed() -> Iterator[None]:
  """Drops what C++ code prints while TensorFlow starts, e.g. of absent GPUs.

  It prints before it reads its log level. Python's exceptions are still shown.
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
  """Returns whether a user can mend the error without its traceback."""
  ours = type(error).__module__.startswith(("flan_tf", "tasks", "launch"))
  return ours or isinstance(error, (ValueError, FileNotFoundError))


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
