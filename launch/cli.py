"""The parts that binaries share: flags, output, and how they end."""

import contextlib
import logging as stdlib_logging
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

from absl import app, flags, logging
from ml_collections import config_dict

import flan_tf as flan
from flan_tf import config
from flan_tf.progress_bars import enable_progress_bars
from flan_tf.terminal_text import visible
from launch import failures, remote_paths, stopping
from launch.config_flag import define_config as define_config

if TYPE_CHECKING:
  from flan_tf.training.session import TrainingSession

# The flags below belong to the binary that asks for them, so that its --help
# shows them.
flags.disclaim_key_flags()


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


def define_adapter_base() -> flags.FlagHolder[str]:
  """Defines --adapter_base."""
  return flags.DEFINE_string(
    "adapter_base",
    "",
    "For a checkpoint of adapters (LoRA, soft prompt): where the checkpoint of"
    " the model that they adapt lies now. By default where it was when they"
    " were trained.",
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
  run: config.RunConfig, workdir: str, adapter_base: str = ""
) -> "flan.TrainingResult":
  """Trains a run; prints what it starts from and where it ends.

  The arguments are those of `flan_tf.train`.

  Raises:
    SystemExit: a signal stopped the training, which resumes when it is started
      again. The status is 130 after Ctrl-C, and else 75, "try again".
  """
  result = flan.train(
    run, workdir, on_start=print_session, adapter_base=adapter_base
  )
  end = f"Finished at step {result.step}."
  if result.stopped_by:
    end = (
      f"Stopped by {result.stopped_by} at step {result.step} of"
      f" {result.run.train.steps}, and saved. Start the same command again to"
      " resume."
    )
  print(f"{end} Checkpoints and metrics: {workdir}")
  print(f"Look: tensorboard --logdir={os.path.join(workdir, 'tensorboard')}")
  if result.stopped_by:
    sys.exit(stopping.status_after(result.stopped_by))
  return result


def print_session(session: "TrainingSession") -> None:
  """Prints the description of an open training session."""
  from flan_tf.training import run_summary

  print(visible(run_summary.describe(session)), flush=True)


def report_and_print(result: "flan.Evaluation", output: str) -> None:
  """Writes the report of an evaluation; prints the scores and the path."""
  report = result.report(output)
  print(f"{result}\nReport: {report}")


def run(
  main: Callable[[], None],
  tensorflow: bool = True,
  words: flags.FlagHolder | None = None,
  again: str = "starts from the beginning",
) -> None:
  """Runs the main function of a binary under absl, and ends the process.

  An error that a user can mend is printed as one message, and the exit status
  is 1. A signal gives a message, too. Any other error is a bug and has its
  traceback. See `launch.failures`.

  Args:
    main: the binary's work.
    tensorflow: whether to start TensorFlow first, without its log. If false,
      `main` calls `start_tensorflow` before it needs TensorFlow.
    words: a flag of several texts that takes the arguments after its first
      value as well: `--compare A B`. Without it, such arguments are refused.
    again: what the same command does after a signal has stopped this one, as in
      "resumes after the last prediction".
  """

  def main_with_tensorflow(argv: list[str]) -> None:
    if words is not None and words.value:
      words.value.extend(argv[1:])
    elif len(argv) > 1:
      raise app.UsageError(f"Expected flags only, got {argv[1:]}.")
    _show_flan_tf_log()
    enable_progress_bars()
    if tensorflow:
      start_tensorflow()
    main()
    sys.stdout.flush()

  _show_help_of(sys.modules[main.__module__])
  try:
    with stopping.raised_by_signals():
      app.run(main_with_tensorflow)
  except BrokenPipeError:  # The reader of a pipe has ended: `... | head`.
    _drop_output()
  except stopping.Stopped as stop:
    _end(f"{stop} The same command {again}.", stop.status)
  except Exception as error:
    message = failures.message(error)
    if message is None:
      error.add_note(visible(failures.bug_note(error)))
      raise
    if logging.get_verbosity() > 0:
      raise
    _end(message, 1)


def _end(message: str, status: int) -> NoReturn:
  """Ends the process with a message on standard error."""
  try:
    sys.stdout.flush()
  except OSError:  # The disk that takes the output is full, for example.
    _drop_output()
  print(visible(message), file=sys.stderr, flush=True)
  sys.exit(status)


def _drop_output() -> None:
  """Drops all later output, so that Python does not fail on it at its end."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def start_tensorflow() -> None:
  """Imports TensorFlow, which takes seconds, and hides all but its errors."""
  if logging.get_verbosity() <= 0:
    logging.set_verbosity(logging.ERROR)
    with _stderr_closed():
      import tensorflow as tf

      tf.config.list_physical_devices()
    stdlib_logging.getLogger("tensorflow").setLevel(stdlib_logging.ERROR)
  remote_paths.check_network()


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


class _VisibleFormatter(stdlib_logging.Formatter):
  def format(self, record: stdlib_logging.LogRecord) -> str:
    return visible(super().format(record))


def _show_flan_tf_log() -> None:
  """Shows the log of flan_tf on stderr, as plain messages."""
  handler = stdlib_logging.StreamHandler()
  handler.setFormatter(_VisibleFormatter("%(message)s"))
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
