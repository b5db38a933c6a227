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

`--tpu=NAME` trains on a Cloud TPU slice (launch/tpu/README.md); the axes of
--config.mesh.shape must use all its cores. The exit status is 75 if the devices
or another host were lost: the same command resumes from the last checkpoint, so
a script may repeat it.
"""

import os
import sys

from absl import flags

from flan_tf import config
from launch import cli

# EX_TEMPFAIL, 75: "try again", the exit status of a preempted run.
PREEMPTED = os.EX_TEMPFAIL

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

    print(training.preview_training(run, _WORKDIR.value))
    return
  from flan_tf.training import loop

  try:
    cli.train_and_print(run, _WORKDIR.value)
  except loop.PreemptedError as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: TensorFlow would wait for workers that are gone, which takes
    # minutes.
    os._exit(PREEMPTED)


def run() -> None:
  """Runs the console script `flan-train`."""
  cli.run(main)


if __name__ == "__main__":
  run()
