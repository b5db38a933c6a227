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
"""

from absl import flags

from launch import cli, jobs

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


def main() -> None:
  run = cli.resolve(_CONFIG.value)
  if _DRY_RUN.value:
    jobs.dry_run(run, _WORKDIR.value)
  else:
    jobs.train(run, _WORKDIR.value)


def run() -> None:
  """Entry point of `flan-train`."""
  cli.run(main)


if __name__ == "__main__":
  run()
