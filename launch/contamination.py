"""Searches a training corpus for the rows of an evaluation.

  python -m launch.contamination --evaluation=runs/tuned/evaluation \
      --corpus=tasks --tfds_data_dir=DIR
  python -m launch.contamination --evaluation=runs/tuned/evaluation \
      --corpus='gs://bucket/c4/*.json.gz' --slots=question,hypothesis

`--corpus=tasks` stands for the training rows of all tasks that the evaluated
weights have seen. Otherwise the corpus is files of text (in paragraphs) or of
JSON lines. It is read once, as a stream. Rows that share an n-gram with it are
dirty, the others are clean: the table has the scores on all rows, on clean rows
and on dirty rows. Writes contamination.json, contamination.md and
contamination.jsonl (the n-grams and their places) beside the results of the
evaluation.
"""

from absl import flags

from flan_tf import name_lists
from launch import cli

_EVALUATION = flags.DEFINE_string(
  "evaluation", None, "Output folder of launch.evaluate.", required=True
)
_CORPUS = flags.DEFINE_string(
  "corpus",
  "tasks",
  "`tasks`, or files of text or JSON lines, comma-separated, with * and ?.",
)
_LABEL = flags.DEFINE_string(
  "label",
  "",
  "Label of the model whose predictions are read, e.g. base; by default that of"
  " the last model.",
)
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint",
  "",
  "--corpus=tasks: folder of the evaluated weights, if it was moved.",
)
_FIELD = flags.DEFINE_string("field", "text", "Key of the text in JSON lines.")
_DATA_DIR = cli.define_data_dir()
_TASK_FILE = cli.define_task_file()
_OUTPUT = flags.DEFINE_string(
  "output", "", "Output folder; by default the folder of the evaluation."
)
_SLOTS = flags.DEFINE_string(
  "slots",
  "",
  "Slots of the rows to compare, comma-separated; by default all.",
)
_SIZE = flags.DEFINE_integer(
  "size",
  0,
  "Number of words of an n-gram; 0 for a size of each task, from its row"
  " lengths.",
  0,
)
_PERCENTILE = flags.DEFINE_float(
  "percentile",
  5,
  "Percentile of a task's row lengths in words that gives the size.",
  0,
  100,
)
_LEAST = flags.DEFINE_integer(
  "least", 8, "Smallest size that the percentile gives.", 1
)
_MOST = flags.DEFINE_integer(
  "most", 13, "Largest size that the percentile gives.", 1
)
_FREQUENT = flags.DEFINE_integer(
  "frequent",
  10,
  "N-grams in more documents than this do not count; 0 for no limit.",
  0,
)
_SHORTEST = flags.DEFINE_integer(
  "shortest", 1, "Rows of fewer words are always clean.", 1
)


def main() -> None:
  from flan_tf.api.contamination import measure_contamination
  from flan_tf.contamination.measure import ContaminationConfig

  cli.register_task_files(_TASK_FILE.value)
  contamination = measure_contamination(
    _EVALUATION.value,
    _CORPUS.value,
    label=_LABEL.value,
    checkpoint=_CHECKPOINT.value,
    field=_FIELD.value,
    data_dir=_DATA_DIR.value,
    config=ContaminationConfig(
      size=_SIZE.value,
      percentile=_PERCENTILE.value,
      least=_LEAST.value,
      most=_MOST.value,
      frequent=_FREQUENT.value,
      shortest=_SHORTEST.value,
      slots=name_lists.split_names(_SLOTS.value),
    ),
  )
  path = contamination.report(_OUTPUT.value or _EVALUATION.value)
  print(f"{contamination}\nReport: {path}")


def run() -> None:
  """Runs the console script `flan-contamination`."""
  cli.run(main)


if __name__ == "__main__":
  run()
