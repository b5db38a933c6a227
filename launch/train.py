"""Trains a model: pretraining and instruction tuning are two configurations.

  python -m launch.train --config=launch/configs/small_pretrain.py \
      --workdir=runs/base --config.train.steps=2000
  python -m launch.train --config=launch/configs/small_tune.py \
      --workdir=runs/tuned --config.train.init_from=runs/base
  python -m launch.train --config=launch/configs/small_tune.py \
      --workdir=runs/student --config.data.files=answers.jsonl

The last command trains on a file of prompts and answers, such as the answers of
a larger model (launch.generate); with --config.data.tasks=all it also trains on
all tasks. `--task_file=my_tasks.py` adds tasks of your own to the task table.

A run that was stopped resumes when the same command is started again with the
same workdir. `--dry_run` prints the resolved run, its mixture and three
prompts, and stops.

The exit status says how a run ended:

  0    it finished
  75   it was stopped, and a script or a scheduler may start it again: SIGTERM
       or SIGHUP, after which it saved; or devices or another host were lost
  130  Ctrl-C, after which it saved
  1    an error that the message explains, such as a wrong setting

`--tpu=NAME` trains on a Cloud TPU slice (launch/tpu/README.md); the axes of
--config.mesh.shape must use all its cores.
"""

import os
import sys

from absl import flags

from flan_tf import config
from flan_tf.terminal_text import visible
from launch import cli, stopping

_CONFIG = cli.define_config()
_TASK_FILE = cli.define_task_file()
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Folder for checkpoints and metrics, local or gs://.",
  required=True,
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Print the resolved run, mixture and prompts, and stop."
)
_ADAPTER_BASE = cli.define_adapter_base()
_TPU = flags.DEFINE_string(
  "tpu",
  None,
  "Name or grpc://HOST:PORT of a Cloud TPU, or 'local' for the TPU of this"
  " machine: short for --config.mesh.platform=tpu --config.mesh.tpu=NAME.",
)


def main() -> None:
  cli.register_task_files(_TASK_FILE.value)
  run = cli.resolve(_CONFIG.value)
  if _TPU.value is not None:
    run = config.replace(run, "mesh", platform="tpu", tpu=_TPU.value)
  if _DRY_RUN.value:
    from flan_tf.api import training

    print(visible(training.preview_training(run, _WORKDIR.value)))
    return
  from flan_tf.training import loop

  try:
    cli.train_and_print(run, _WORKDIR.value, _ADAPTER_BASE.value)
  except loop.PreemptedError as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: TensorFlow would wait for workers that are gone, which takes
    # minutes.
    os._exit(stopping.TRY_AGAIN)


def run() -> None:
  """Runs the console script `flan-train`."""
  cli.run(main, again="resumes from the newest checkpoint, if there is one")


if __name__ == "__main__":
  run()
