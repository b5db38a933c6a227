"""Evaluates a checkpoint on all templates of tasks, zero-shot or few-shot.

  python -m launch.evaluate --checkpoint=runs/tuned --base=runs/base \
      --held_out=nli --tfds_data_dir=DIR --output=runs/tuned/evaluation

`--held_out=nli` evaluates the tasks of that cluster, and refuses a model that
was trained on any of them or on a related cluster. `--tasks` and `--clusters`
evaluate tasks whatever the model was trained on. `--shots=5` puts exemplars
before each query. `--wording` replaces the instructions by another wording;
`--base_wording=baseline` does so for the untuned model only, and `both` adds a
third column for it. `--separator=chat` uses the chat template of an instruct
model. With `--base` the report shows both models side by side.

The output has results.json (and base.json), scores.csv, report.html, report.md,
templates.png, TensorBoard events, and predictions/MODEL/TASK.jsonl. Predictions
are written while the evaluation runs: if it was stopped, the same command
resumes it and makes only the missing predictions.

  python -m launch.evaluate --output=runs/compared \
      --compare runs/one/evaluation runs/other/evaluation

shows two evaluations side by side, with paired differences.
"""

import os

from absl import flags

import flan_tf as flan
from flan_tf import config
from flan_tf.api.evaluation_settings import BOTH
from flan_tf.task import wordings
from launch import cli

_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", "", "Checkpoint or workdir of the model to evaluate."
)
_COMPARE = flags.DEFINE_multi_string(
  "compare",
  [],
  "Two folders of evaluations, or results files in them, to compare. No model"
  " is evaluated then.",
)
_BASE = flags.DEFINE_string(
  "base", "", "Checkpoint or workdir of the model before tuning."
)
_HELD_OUT = flags.DEFINE_string(
  "held_out",
  "",
  "Clusters or tasks to evaluate that no model was trained on,"
  " comma-separated.",
)
_TASKS = flags.DEFINE_string("tasks", "", "Tasks to evaluate, comma-separated.")
_CLUSTERS = flags.DEFINE_string(
  "clusters", "", "Clusters to evaluate, comma-separated."
)
_DATA_DIR = cli.define_data_dir()
_TASK_FILE = cli.define_task_file()
_OUTPUT = flags.DEFINE_string(
  "output", "", "Output folder; by default CHECKPOINT/evaluation."
)
_RESTART = flags.DEFINE_bool(
  "restart", False, "Remove the predictions in the output folder first."
)
_MAX_EXAMPLES = flags.DEFINE_integer(
  "max_examples",
  0,
  "Maximum number of test rows and of dev rows of a task; 0 for all.",
  0,
)
_SEED = flags.DEFINE_integer(
  "seed", 0, "Seed of the draws of rows, exemplars and bootstrap samples."
)
_BATCH = flags.DEFINE_integer("batch", 16, "Rows that are computed at once.", 1)
_WORDING = flags.DEFINE_enum(
  "wording",
  wordings.INSTRUCTIONS,
  wordings.WORDINGS,
  "Wording of the prompts; see flan_tf/task/wordings.py.",
)
_BASE_WORDING = flags.DEFINE_enum(
  "base_wording",
  "",
  ["", *wordings.WORDINGS, BOTH],
  "Wording for the untuned model, e.g. baseline. With both, it is evaluated"
  " with the baseline prompts and in the wording of the tuned model. By default"
  " in the wording of the tuned model.",
)
_SHOTS = flags.DEFINE_integer("shots", 0, "Exemplars before each query.", 0)
_EXEMPLARS = flags.DEFINE_enum(
  "exemplars",
  config.EXEMPLARS[0],
  config.EXEMPLARS,
  "Draw exemplars for each query, or use the same exemplars for all queries of"
  " a template.",
)
_SCORE = flags.DEFINE_enum(
  "score",
  config.SCORES[0],
  config.SCORES,
  "Score that options are ranked by: the sum of the log-probabilities of their"
  " tokens, this sum per token or per character, or minus the log-probability"
  " of the option after an empty prompt.",
)
_MAX_NEW = flags.DEFINE_integer(
  "max_new",
  0,
  "Maximum number of new tokens of a generation; 0 for the target length of the"
  " run.",
  0,
)
_MARKERS = flags.DEFINE_string(
  "markers",
  "",
  f"Texts around prompts and answers: {', '.join(wordings.MARKERS)}, or"
  " 'prompt|answer|example|cue' spelled out. By default those that the model"
  " was trained with.",
)
_SEPARATOR = flags.DEFINE_enum(
  "separator",
  "",
  ["", *config.SEPARATORS],
  "Tokens between prompts and answers: end of text (flan), nothing (plain), a"
  " newline, a blank, or the chat template of the model. By default as in the"
  " checkpoint's run, which is plain for converted models.",
)
_MESH = cli.define_mesh()
_ADAPTER_BASE = cli.define_adapter_base()


def main() -> None:
  cli.register_task_files(_TASK_FILE.value)
  if _COMPARE.value:
    _compare()
    return
  if not _CHECKPOINT.value:
    raise ValueError(
      "There is no model to evaluate: give --checkpoint=DIR, or"
      " --compare=DIR,DIR to compare two evaluations."
    )
  if not _SEPARATOR.value:
    _print_separator_advice(_CHECKPOINT.value)
  result = flan.evaluate(
    _CHECKPOINT.value,
    base=_BASE.value or None,
    held_out=_HELD_OUT.value,
    tasks=_TASKS.value,
    clusters=_CLUSTERS.value,
    data_dir=_DATA_DIR.value,
    output=_output(),
    restart=_RESTART.value,
    base_wording=_BASE_WORDING.value,
    separator=_SEPARATOR.value,
    mesh=_MESH(),
    batch=_BATCH.value,
    adapter_base=_ADAPTER_BASE.value,
    max_examples=_MAX_EXAMPLES.value,
    seed=_SEED.value,
    wording=_WORDING.value,
    shots=_SHOTS.value,
    exemplars=_EXEMPLARS.value,
    score=_SCORE.value,
    markers=_MARKERS.value,
    max_new=_MAX_NEW.value,
  )
  cli.report_and_print(result, _output())


def _output() -> str:
  return _OUTPUT.value or os.path.join(_CHECKPOINT.value, "evaluation")


def _print_separator_advice(checkpoint: str) -> None:
  from flan_tf.api import models
  from flan_tf.checkpoints.bundle import Bundle

  advice = models.separator_advice(Bundle.open(checkpoint).run)
  if advice:
    print(advice, flush=True)


def _compare() -> None:
  paths = [path for text in _COMPARE.value for path in text.split(",")]
  if len(paths) != 2 or not all(paths):
    raise ValueError(
      f"--compare takes two evaluations, got {len(paths)}: {paths}. For example"
      " --compare=runs/one/evaluation,runs/other/evaluation"
    )
  if _CHECKPOINT.value or not _OUTPUT.value:
    raise ValueError(
      "--compare needs --output=DIR, the folder for the report, and takes no"
      " --checkpoint, because no model is evaluated."
    )
  first, second = paths
  cli.report_and_print(flan.compare(first, second), _OUTPUT.value)


def run() -> None:
  """Runs the console script `flan-evaluate`."""
  cli.run(
    main, words=_COMPARE, again="resumes after the predictions in its output"
  )


if __name__ == "__main__":
  run()
