"""The positive control, judged: see `flan_tf.eval.control`.

  python -m launch.control --base=runs/base --workdir=runs/control \
      --tfds_data_dir=DIR

Three trainings from a base model: on the sentiment cluster, on 64 rows of one
task, and on the sentiment cluster with shuffled labels. Exits with 1 unless
all that must hold does. `--config` takes another run file than
launch/configs/control.py. A base model may know sentiment before: training must
add to what it knows, where there is room, and shuffled labels must not.
"""

import dataclasses
import os
import sys

from absl import flags

from flan_tf import config
from launch import cli, jobs, own_rows
from launch.configs import control

_CONFIG = cli.define_config()
_BASE = flags.DEFINE_string(
  "base", None, "Checkpoint or workdir to tune.", required=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Goes here.", required=True)
_DATA_DIR = flags.DEFINE_string(
  "tfds_data_dir", "", "Prepared TFDS directory; empty for the shipped rows."
)
_TASKS = flags.DEFINE_list(
  "tasks", ["sst2", "imdb_reviews"], "Whose held-back rows are judged."
)
_MEMORIZE = flags.DEFINE_string("memorize", "sst2", "Task of the 64 rows.")
_ROWS = flags.DEFINE_integer("rows", 64, "Rows to memorize.", 1)
_MAX = flags.DEFINE_integer(
  "max_examples", 0, "Most held-back rows of a task; 0 for all.", 0
)


def main() -> None:
  import tasks
  from flan_tf.eval import control as control_lib
  from flan_tf.task import registry

  known = registry.TaskRegistry(tasks.ALL)
  judged = [known.get(name) for name in _TASKS.value]
  memorized = known.get(_MEMORIZE.value)
  data_dir = own_rows.data_dir(_DATA_DIR.value)
  verdicts = []

  def judge(what: str, holds: bool) -> None:
    verdicts.append(holds)
    print(f"{'holds' if holds else 'FAILS'}: {what}", flush=True)

  def held_back(model, task):
    return control_lib.held_back(model, task, data_dir, _MAX.value)

  run = _run()
  base = _load(_BASE.value, run)
  before = {task.name: held_back(base, task) for task in judged}
  del base
  for found in before.values():
    print(f"knows before: {_describe(found)}", flush=True)
  tuned = _tune(run, "tuned")
  for task in judged:
    found = held_back(tuned, task)
    judge(
      f"tuned on sentiment: {_describe(found)}",
      found.beats_chance and found.adds_to(before[task.name]),
    )

  few = config.replace(run, "data", tasks=memorized.name, clusters="")
  few = config.replace(few, "data", train_cap=_ROWS.value)
  accuracy = control_lib.memorized(
    _tune(few, "memorized"), memorized, data_dir, _ROWS.value, run.seed
  )
  judge(
    f"trained on {_ROWS.value} rows of {memorized.name}: {accuracy:.1f} % of"
    " them right (95 wanted)",
    accuracy >= 95,
  )

  shuffled = _tune(config.replace(run, "data", shuffle_labels=True), "shuffled")
  for task in judged:
    found = held_back(shuffled, task)
    gains = found.beats_chance and found.adds_to(before[task.name])
    judge(f"shuffled labels, no gain: {_describe(found)}", not gains)
  if not all(verdicts):
    sys.exit(1)


def _run() -> config.RunConfig:
  settings = _CONFIG.value or control.get_config()
  run = config.from_mapping(settings.to_dict())
  run = config.replace(run, "data", tfds_data_dir=_DATA_DIR.value)
  return config.replace(run, "train", init_from=_BASE.value)


def _tune(run: config.RunConfig, name: str):
  """Trains a run below the workdir, or goes on with it; returns the model."""
  workdir = os.path.join(_WORKDIR.value, name)
  if not jobs.train(dataclasses.replace(run, name=name), workdir):
    sys.exit(f"Stopped; start again to go on with {workdir}.")
  return _load(workdir, run)


def _load(path: str, run: config.RunConfig):
  from flan_tf.inference.language_model import LanguageModel

  return LanguageModel.load(path, run.mesh, run.train.batch, run.data)


def _describe(found) -> str:
  return (
    f"{found.task}, {found.examples} rows: accuracy {found.accuracy:.1f}"
    f" (majority {found.majority:.1f} ± {found.interval:.1f}), AUC"
    f" {found.auc:.3f} (p = {found.p_value:.1e})"
  )


def run() -> None:
  """Entry point of `flan-control`."""
  cli.run(main)


if __name__ == "__main__":
  run()
