"""Evaluates a checkpoint over all templates, zero-shot or few-shot.

  python -m launch.evaluate --checkpoint=runs/tuned --base=runs/base \
      --held_out=nli --tfds_data_dir=DIR --output=runs/tuned/evaluation

`--held_out=nli` evaluates the tasks of that cluster, and refuses a model that
was trained on any of them, or on a related cluster. `--tasks` and `--clusters`
choose freely. `--shots=5` puts exemplars before each query; `--wording` asks
otherwise than with instructions, and `--base_wording=baseline` does so for the
untuned model alone, `both` in a third column. `--separator=chat` asks an
instruct model as its trainers asked it. With `--base` both models stand side by
side in the report.

Writes results.json (and base.json), scores.csv, report.html, report.md,
templates.png, TensorBoard, and predictions/MODEL/TASK.jsonl while it runs: the
same command goes on after a stop, and asks nothing twice.

  python -m launch.evaluate --output=runs/compared \
      --compare runs/one/evaluation runs/other/evaluation

puts two evaluations side by side, with paired differences.
"""

import os

from absl import flags

from flan_tf import config, name_lists
from flan_tf.task import wordings
from launch import cli, jobs

_CHECKPOINT = flags.DEFINE_string("checkpoint", "", "Checkpoint or workdir.")
_COMPARE = flags.DEFINE_multi_string(
  "compare",
  [],
  "Two folders of evaluations, or results files, to compare instead.",
)
_BASE = flags.DEFINE_string(
  "base", "", "Checkpoint or workdir of the model before tuning."
)
_HELD_OUT = flags.DEFINE_string(
  "held_out", "", "Clusters or tasks to evaluate, comma-separated."
)
_TASKS = flags.DEFINE_string("tasks", "", "Tasks, comma-separated.")
_CLUSTERS = flags.DEFINE_string("clusters", "", "Clusters, comma-separated.")
_DATA_DIR = flags.DEFINE_string(
  "tfds_data_dir", "", "Prepared TFDS directory; empty for the shipped rows."
)
_OUTPUT = flags.DEFINE_string(
  "output", "", "Where the results go; by default CHECKPOINT/evaluation."
)
_RESTART = flags.DEFINE_bool(
  "restart", False, "Begin anew: remove the predictions that are there."
)
_MAX = flags.DEFINE_integer(
  "max_examples", 0, "Most test and dev rows of a task; 0 for all.", 0
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the rows that are drawn.")
_BATCH = flags.DEFINE_integer("batch", 16, "Rows run at once.", 1)
_WORDING = flags.DEFINE_enum(
  "wording", wordings.INSTRUCTIONS, wordings.WORDINGS, "How tasks are worded."
)
_BASE_WORDING = flags.DEFINE_enum(
  "base_wording",
  "",
  ["", *wordings.WORDINGS, jobs.BOTH],
  "How the untuned model is asked, e.g. baseline; both: with baseline prompts"
  " and as the tuned one; by default as the tuned one.",
)
_SHOTS = flags.DEFINE_integer("shots", 0, "Exemplars before each query.", 0)
_EXEMPLARS = flags.DEFINE_enum(
  "exemplars",
  config.EXEMPLARS[0],
  config.EXEMPLARS,
  "Each query's own, or the same ones for all of a template.",
)
_SCORE = flags.DEFINE_enum(
  "score",
  config.SCORES[0],
  config.SCORES,
  "What options are ranked by: the sum of their tokens' log-probabilities, that"
  " per token or character, or against the option behind an empty prompt.",
)
_MAX_NEW = flags.DEFINE_integer(
  "max_new",
  0,
  "Most new tokens of a generation; 0 for the target length of the run.",
  0,
)
_MARKERS = flags.DEFINE_string(
  "markers",
  "",
  f"Around prompts and answers: {', '.join(wordings.MARKERS)}, or"
  " 'prompt|answer|example|cue' spelt out; by default as the model trained.",
)
_SEPARATOR = flags.DEFINE_enum(
  "separator",
  "",
  ["", *config.SEPARATORS],
  "Around prompts and answers, in tokens: end of text (flan), nothing (plain),"
  " a new line or a blank, or the model's chat wrapper; by default as the"
  " checkpoint's run says, plain for converted ones.",
)
_MESH = cli.define_mesh()


def main() -> None:
  if _COMPARE.value:
    print(_compare())
    return
  if not _CHECKPOINT.value:
    raise ValueError(
      "Say what to evaluate: --checkpoint=DIR, or --compare=DIR,DIR to put two"
      " evaluations side by side."
    )
  from flan_tf.eval import protocol

  output = _OUTPUT.value or os.path.join(_CHECKPOINT.value, "evaluation")
  models = {"base": _BASE.value} if _BASE.value else {}
  models["tuned" if models else "model"] = _CHECKPOINT.value
  print(
    jobs.evaluate(
      models,
      output,
      _HELD_OUT.value,
      name_lists.split_names(_TASKS.value),
      name_lists.split_names(_CLUSTERS.value),
      _DATA_DIR.value,
      _MESH(),
      _BATCH.value,
      protocol.EvaluationConfig(
        _MAX.value,
        _SEED.value,
        wording=_WORDING.value,
        shots=_SHOTS.value,
        exemplars=_EXEMPLARS.value,
        score=_SCORE.value,
        markers=_MARKERS.value,
        max_new=_MAX_NEW.value,
      ),
      _BASE_WORDING.value,
      _SEPARATOR.value,
      restart=_RESTART.value,
    )
  )


def _compare() -> str:
  folders = [path for text in _COMPARE.value for path in text.split(",")]
  if len(folders) != 2 or not all(folders):
    raise ValueError(
      f"--compare wants two evaluations, got {len(folders)}: {folders}. E.g."
      " --compare=runs/one/evaluation,runs/other/evaluation"
    )
  if _CHECKPOINT.value or not _OUTPUT.value:
    raise ValueError(
      "--compare wants --output=DIR, where the report goes, and no"
      " --checkpoint: nothing is evaluated."
    )
  return jobs.compare(folders[0], folders[1], _OUTPUT.value)


def run() -> None:
  """Entry point of `flan-evaluate`."""
  cli.run(main, words=_COMPARE)


if __name__ == "__main__":
  run()
