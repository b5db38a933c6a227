"""Runs the positive control and judges it; see `flan_tf.eval.control`.

  python -m launch.control --base=runs/base --workdir=runs/control \
      --tfds_data_dir=DIR

Three trainings start from a base model: on the sentiment cluster, on 64 rows of
one task, and on the sentiment cluster with shuffled labels. The exit status is
1 unless all claims hold. `--config` takes a run file other than
launch/configs/control.py. A base model may know sentiment before: then training
must improve on it, where there is room, and shuffled labels must not.
"""

import sys

from absl import flags

from flan_tf import config
from launch import cli
from launch.configs import control as control_run

_CONFIG = cli.define_config()
_BASE = flags.DEFINE_string(
  "base", None, "Checkpoint or workdir of the model to tune.", required=True
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder for the three trainings.", required=True
)
_DATA_DIR = cli.define_data_dir()
_TASK_FILE = cli.define_task_file()
_TASKS = flags.DEFINE_list(
  "tasks", ["sst2", "imdb_reviews"], "Tasks whose held-back rows are judged."
)
_MEMORIZE = flags.DEFINE_string(
  "memorize", "sst2", "Task of the rows to memorize."
)
_ROWS = flags.DEFINE_integer("rows", 64, "Number of rows to memorize.", 1)
_MAX_EXAMPLES = flags.DEFINE_integer(
  "max_examples",
  0,
  "Maximum number of held-back rows of a task; 0 for all.",
  0,
)


def main() -> None:
  from flan_tf.api import control

  cli.register_task_files(_TASK_FILE.value)
  findings = control.run_control(
    _run(),
    _WORKDIR.value,
    judged=_TASKS.value,
    memorized=_MEMORIZE.value,
    rows=_ROWS.value,
    max_examples=_MAX_EXAMPLES.value,
    train=cli.train_and_print,
  )
  all_hold = True
  for finding in findings:
    if finding.holds is None:
      print(finding.text, flush=True)
      continue
    print(
      f"{'holds' if finding.holds else 'FAILS'}: {finding.text}", flush=True
    )
    all_hold = all_hold and finding.holds
  if not all_hold:
    sys.exit(1)


def _run() -> config.RunConfig:
  settings = _CONFIG.value or control_run.get_config()
  run = config.from_mapping(settings.to_dict())
  run = config.replace(run, "data", tfds_data_dir=_DATA_DIR.value)
  return config.replace(run, "train", init_from=_BASE.value)


def run() -> None:
  """Runs the console script `flan-control`."""
  cli.run(main, again="resumes in the stage that was stopped")


if __name__ == "__main__":
  run()
