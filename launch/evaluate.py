"""Evaluates a checkpoint, zero-shot, over all templates.

  python -m launch.evaluate --checkpoint=runs/tuned --base=runs/base \
      --held_out=nli --tfds_data_dir=DIR --output=runs/tuned/evaluation

`--held_out=nli` evaluates the tasks of that cluster, and refuses a model that
was trained on any of them, or on a related cluster. `--tasks` and `--clusters`
choose freely. `--shots=5` puts exemplars before each query; `--wording` asks
otherwise than with instructions, and `--base_wording=baseline` does so for the
untuned model alone. `--separator=chat` asks an instruct model as its trainers
asked it. With `--base` both models stand side by side in the report.
Writes results.json (and base.json), report.md, templates.png and TensorBoard.
"""

import os

from absl import flags

from flan_tf import config, wordings
from launch import cli, jobs

_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", None, "Checkpoint or workdir.", required=True
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
  ["", *wordings.WORDINGS],
  "How the untuned model is asked, e.g. baseline; by default as the tuned one.",
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
  " a new line (newline), or the model's chat wrapper; by default as the"
  " checkpoint's run says, plain for converted ones.",
)
_MESH = cli.define_mesh()


def main() -> None:
  from flan_tf.eval import protocol

  output = _OUTPUT.value or os.path.join(_CHECKPOINT.value, "evaluation")
  mesh = _MESH()
  models = {"base": _BASE.value} if _BASE.value else {}
  models["tuned" if models else "model"] = _CHECKPOINT.value
  names = config.split_names(_TASKS.value)
  clusters = config.split_names(_CLUSTERS.value)
  print(
    jobs.evaluate(
      models,
      output,
      _HELD_OUT.value,
      names,
      clusters,
      _DATA_DIR.value,
      mesh,
      _BATCH.value,
      protocol.Settings(
        _MAX.value,
        _SEED.value,
        wording=_WORDING.value,
        shots=_SHOTS.value,
        exemplars=_EXEMPLARS.value,
        score=_SCORE.value,
        markers=_MARKERS.value,
      ),
      _BASE_WORDING.value,
      _SEPARATOR.value,
    )
  )


def run() -> None:
  """Entry point of `flan-evaluate`."""
  cli.run(main)


if __name__ == "__main__":
  run()
