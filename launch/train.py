"""Trains a model: pretraining and instruction tuning are two configurations.

  python -m launch.train --config=launch/configs/small_pretrain.py \
      --workdir=runs/base --config.train.steps=2000
  python -m launch.train --config=launch/configs/small_tune.py \
      --workdir=runs/tuned --config.train.init_from=runs/base
  python -m launch.train --config=launch/configs/small_tune.py \
      --workdir=runs/student --config.data.files=answers.jsonl

The last one trains on a file of prompts and answers, e.g. what a larger model
said (launch.generate); with --config.data.tasks=all on all tasks beside it.
A run that was stopped goes on when it is started again with the same workdir.
`--dry_run` prints the resolved run, its mixture and three prompts, and stops.

`--tpu=NAME` trains on a Cloud TPU slice (launch/tpu/README.md), where
--config.mesh.shape must fill it. The exit status is 75 when the devices, or
another host, went away: the same command again goes on from the last
checkpoint, so scripts may repeat it.
"""

import os
import sys

from absl import flags

from flan_tf import config
from launch import cli, jobs

# "Try again": what a preempted run exits with, 75.
PREEMPTED = os.EX_TEMPFAIL

_CONFIG = cli.define_config()
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Checkpoints and metrics go here; may be gs://.",
  required=True,
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Print the resolved run, mixture and prompts, and stop."
)
_TPU = flags.DEFINE_string(
  "tpu",
  None,
  "A Cloud TPU's name or grpc://HOST:PORT, or 'local' for this machine's: short"
  " for --config.mesh.platform=tpu --config.mesh.tpu=NAME.",
)


def main() -> None:
  run = cli.resolve(_CONFIG.value)
  if _TPU.value is not None:
    run = config.replace(run, "mesh", platform="tpu", tpu=_TPU.value)
  if _DRY_RUN.value:
    jobs.dry_run(run, _WORKDIR.value)
    return
  from flan_tf.training import loop

  try:
    jobs.train(run, _WORKDIR.value)
  except loop.PreemptedError as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: TensorFlow would say goodbye to workers that are gone, which
    # takes minutes.
    os._exit(PREEMPTED)


def run() -> None:
  """Entry point of `flan-train`."""
  cli.run(main)


if __name__ == "__main__":
  run()
